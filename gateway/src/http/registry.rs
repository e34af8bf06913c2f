//! The part of the schema registry's API that consumers read, on the paths where clients look for it
//! (docs.confluent.io, "Schema Registry API Reference").
//!
//! What it guarantees: an id that stands in a value is answered with the schema that decodes it, whichever subject a
//! client believes it to be of; nothing here can be changed from outside.
//!
//! | path | answer |
//! |---|---|
//! | `/subjects` | the subjects, [`schemas`] says how they are named |
//! | `/subjects/{s}/versions`, `.../{1, 2, latest or -1}`, `.../{v}/schema`, `.../{v}/referencedby` | the versions of a subject |
//! | `POST /subjects/{s}` with `{"schema": "..."}` | whether that is a schema of the subject |
//! | `/schemas`, `/schemas/types`, `/schemas/ids/{id}`, `.../schema`, `.../subjects`, `.../versions` | schemas by id |
//! | `/config`, `/config/{s}`, `/mode`, `/mode/{s}`, `/contexts` | what clients ask before they read |
//!
//! Errors are `{"error_code": 40401, "message": "..."}`: 40401 no such subject, 40402 no such version, 40403 no such
//! schema. Writes are 405.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use serde::Deserialize;
use serde_json::{Value, json};

use super::App;
use super::posted::{self, Unread};
use crate::schemas::{self, Registered, VERSION, canonical};

const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// What compatibility clients are told: a schema that never changes is compatible with all that came before.
const COMPATIBILITY: &str = "FULL_TRANSITIVE";

/// An answer.
struct Answer(Value);

/// A refusal: status, code, what is wrong.
struct Refused(StatusCode, u32, String);

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, CONTENT_TYPE)], self.0.to_string()).into_response()
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = json!({"error_code": self.1, "message": self.2});
        (self.0, [(header::CONTENT_TYPE, CONTENT_TYPE)], body.to_string()).into_response()
    }
}

type Answered = Result<Answer, Refused>;

/// The paths of the registry.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/subjects", reads(get(subjects)))
        .route("/subjects/{subject}", reads(get(no_get).post(look_up)))
        .route("/subjects/{subject}/versions", reads(get(versions)))
        .route("/subjects/{subject}/versions/{version}", reads(get(version)))
        .route("/subjects/{subject}/versions/{version}/schema", reads(get(version_schema)))
        .route("/subjects/{subject}/versions/{version}/referencedby", reads(get(referenced_by)))
        .route("/schemas", reads(get(all)))
        .route("/schemas/types", reads(get(async || Answer(json!(["AVRO"])))))
        .route("/schemas/ids/{id}", reads(get(by_id)))
        .route("/schemas/ids/{id}/schema", reads(get(schema_by_id)))
        .route("/schemas/ids/{id}/subjects", reads(get(subjects_by_id)))
        .route("/schemas/ids/{id}/versions", reads(get(versions_by_id)))
        .route("/config", reads(get(async || config())))
        .route("/config/{subject}", reads(get(config_of)))
        .route("/mode", reads(get(async || mode())))
        .route("/mode/{subject}", reads(get(mode_of)))
        .route("/contexts", reads(get(async || Answer(json!(["."])))))
}

/// What is not read is refused, with the way to do it.
fn reads(methods: MethodRouter<App>) -> MethodRouter<App> {
    methods.fallback(async || {
        let why = "schemas follow from the topics in the settings and from what devices describe; \
                   nothing is registered or changed here";
        Refused(StatusCode::METHOD_NOT_ALLOWED, 405, why.to_owned())
    })
}

fn refused(code: u32, message: String) -> Refused {
    // The first three digits are the status.
    let status = StatusCode::from_u16((code / 100) as u16).unwrap_or(StatusCode::NOT_FOUND);
    Refused(status, code, message)
}

/// The versions of a subject, ascending and at least one.
fn subject(app: &App, name: &str) -> Result<Vec<Registered>, Refused> {
    let known = schemas::all(&app.topics).into_iter();
    let versions: Vec<_> = known.filter(|registered| registered.subject() == name).collect();
    if versions.is_empty() {
        let why = format!("Subject '{name}' not found; the subject of a topic is <topic>-value");
        return Err(refused(40401, why));
    }
    Ok(versions)
}

fn numbered(app: &App, id: &str) -> Result<Registered, Refused> {
    let number: Option<u32> = id.parse().ok();
    let mut known = schemas::all(&app.topics).into_iter();
    known
        .find(|registered| Some(registered.id) == number)
        .ok_or_else(|| refused(40403, format!("Schema {id} not found; /schemas lists those there are")))
}

fn of_version(app: &App, name: &str, version: &str) -> Result<Registered, Refused> {
    let mut versions = subject(app, name)?;
    let wanted = match (version, version.parse::<i64>()) {
        ("latest", _) | (_, Ok(-1)) => return versions.pop().ok_or_else(|| refused(40402, "no version".to_owned())),
        (_, Ok(number)) if number > 0 => number,
        _ => {
            return Err(refused(42202, format!("The version {version} is not valid; expected {VERSION} or latest")));
        }
    };
    let known: Vec<_> = versions.iter().map(|registered| registered.version).collect();
    versions
        .into_iter()
        .find(|registered| i64::from(registered.version) == wanted)
        .ok_or_else(|| refused(40402, format!("Version {wanted} not found; {name} has {known:?}")))
}

#[derive(Deserialize)]
struct SubjectsQuery {
    #[serde(rename = "subjectPrefix", default)]
    prefix: String,
}

async fn subjects(State(app): State<App>, Query(SubjectsQuery { prefix }): Query<SubjectsQuery>) -> Answer {
    let known = schemas::all(&app.topics).into_iter().filter(|registered| registered.version == VERSION);
    let names = known.map(|registered| registered.subject());
    Answer(names.filter(|name| name.starts_with(&prefix)).collect())
}

async fn all(State(app): State<App>, Query(SubjectsQuery { prefix }): Query<SubjectsQuery>) -> Answer {
    let known = schemas::all(&app.topics);
    Answer(
        known.iter().filter(|registered| registered.subject().starts_with(&prefix)).map(Registered::to_json).collect(),
    )
}

async fn no_get(Path(name): Path<String>) -> Refused {
    refused(40401, format!("GET /subjects/{name}/versions lists the versions of a subject"))
}

async fn versions(State(app): State<App>, Path(name): Path<String>) -> Answered {
    let versions = subject(&app, &name)?;
    Ok(Answer(versions.iter().map(|registered| registered.version).collect()))
}

async fn version(State(app): State<App>, Path((name, version)): Path<(String, String)>) -> Answered {
    Ok(Answer(of_version(&app, &name, &version)?.to_json()))
}

async fn version_schema(State(app): State<App>, Path((name, version)): Path<(String, String)>) -> Answered {
    bare(&of_version(&app, &name, &version)?)
}

async fn referenced_by(State(app): State<App>, Path((name, version)): Path<(String, String)>) -> Answered {
    of_version(&app, &name, &version)?;
    Ok(Answer(json!([])))
}

#[derive(Deserialize)]
struct Posted {
    schema: String,
}

async fn look_up(State(app): State<App>, Path(name): Path<String>, body: axum::body::Body) -> Answered {
    let versions = subject(&app, &name)?;
    let body: Bytes = posted::read(body).await.map_err(|unread| match unread {
        Unread::TooLarge => refused(41301, format!("a body of more than {} bytes", posted::MAX_BODY)),
        Unread::TooSlow => refused(40801, "the body did not come in time".to_owned()),
    })?;
    let invalid = |error: serde_json::Error| refused(42201, format!("Invalid schema: {error}"));
    let posted: Posted = serde_json::from_slice(&body).map_err(invalid)?;
    let theirs = canonical::of(&serde_json::from_str::<Value>(&posted.schema).map_err(invalid)?);
    for registered in &versions {
        if theirs == canonical::of(&serde_json::from_str::<Value>(&registered.json).map_err(invalid)?) {
            return Ok(Answer(registered.to_json()));
        }
    }
    let ids: Vec<_> = versions.iter().map(|registered| registered.id).collect();
    Err(refused(40403, format!("Schema not found: it is none of {name}, whose ids are {ids:?}")))
}

/// Clients name the subject that they believe the schema to be of; the id alone decides, as ids are never shared.
async fn by_id(State(app): State<App>, Path(id): Path<String>) -> Answered {
    Ok(Answer(json!({"schema": numbered(&app, &id)?.json})))
}

async fn schema_by_id(State(app): State<App>, Path(id): Path<String>) -> Answered {
    bare(&numbered(&app, &id)?)
}

async fn subjects_by_id(State(app): State<App>, Path(id): Path<String>) -> Answered {
    Ok(Answer(json!([numbered(&app, &id)?.subject()])))
}

async fn versions_by_id(State(app): State<App>, Path(id): Path<String>) -> Answered {
    let registered = numbered(&app, &id)?;
    Ok(Answer(json!([{"subject": registered.subject(), "version": registered.version}])))
}

/// The schema itself, not as a text within JSON.
fn bare(registered: &Registered) -> Answered {
    let parsed = serde_json::from_str(&registered.json);
    parsed.map(Answer).map_err(|error| refused(50001, error.to_string()))
}

fn config() -> Answer {
    Answer(json!({"compatibilityLevel": COMPATIBILITY}))
}

async fn config_of(State(app): State<App>, Path(name): Path<String>) -> Answered {
    subject(&app, &name).map(|_| config())
}

fn mode() -> Answer {
    Answer(json!({"mode": "READONLY"}))
}

async fn mode_of(State(app): State<App>, Path(name): Path<String>) -> Answered {
    subject(&app, &name).map(|_| mode())
}
