//! What senders may ask: the writes of InfluxDB 1 and 2, and what their clients ask before they write.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use serde_json::json;

use super::body::{self, BodyError};
use super::collectd::ValueList;
use super::line::Precision;
use super::write::{Outcome, Refused, Writer};
use crate::counters::Event;
use crate::http::{Answer, Request, Router};
use crate::source::context::Context;

/// When to come again, in seconds.
const RETRY_AFTER: &str = "10";

/// The port.
pub(super) struct Port {
    pub(super) writer: Writer,
    pub(super) context: Context,
    /// What senders must show.
    pub(super) token: Option<String>,
    /// The largest body, unpacked, in bytes.
    pub(super) most: usize,
}

impl Port {
    /// The routes.
    pub(super) fn routes(self: Arc<Self>) -> Router {
        let most = self.most;
        let (one, two, collectd, query) = (Arc::clone(&self), Arc::clone(&self), Arc::clone(&self), self);
        Router::default()
            .post("/write", most, move |request| write(Arc::clone(&one), request))
            .post("/api/v2/write", most, move |request| write(Arc::clone(&two), request))
            .post("/collectd", most, move |request| write_collectd(Arc::clone(&collectd), request))
            .post("/query", MOST_QUERY, move |request| std::future::ready(query.query(&request)))
            .get("/ping", |_| std::future::ready(ping()))
            .get("/health", |_| std::future::ready(health()))
    }

    /// Whether the sender shows what it must. As `Token` and `Bearer`, or as the password of a login.
    fn admits(&self, request: &Request) -> bool {
        let Some(token) = &self.token else { return true };
        let shown = request.header("authorization").and_then(|header| header.split_once(' '));
        match shown {
            Some(("Token" | "Bearer", shown)) => is_same(shown.trim(), token),
            Some(("Basic", login)) => {
                let login = STANDARD.decode(login.trim()).ok().and_then(|login| String::from_utf8(login).ok());
                login.as_deref().and_then(|login| login.split_once(':')).is_some_and(|(_, word)| is_same(word, token))
            }
            _ => false,
        }
    }

    /// Clients of InfluxDB 1 make their database before they write; there is nothing to make.
    fn query(&self, request: &Request) -> Answer {
        if !self.admits(request) {
            return self.unauthorized();
        }
        let asked = request.query("q").unwrap_or_else(|| form(&request.body));
        match asked.trim_start().to_ascii_uppercase().starts_with("CREATE DATABASE") {
            true => Answer::json(StatusCode::OK, &json!({ "results": [{ "statement_id": 0 }] })),
            false => Answer::error(StatusCode::BAD_REQUEST, "nothing can be queried here; ask the gateway"),
        }
    }

    fn unauthorized(&self) -> Answer {
        self.context.counters.add(Event::PushesRefused, 1);
        let why = "show the token of line_protocol.token_file as `Authorization: Token ...`";
        Answer::json(StatusCode::UNAUTHORIZED, &json!({ "code": "unauthorized", "error": why, "message": why }))
    }

    /// The body of a push.
    fn text(&self, request: Request) -> Result<String, BodyError> {
        let encoding = request.header("content-encoding").map(str::to_owned);
        body::text(request.body, encoding.as_deref(), self.most)
    }

    fn unread(&self, error: &BodyError) -> Answer {
        let status = match error {
            BodyError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::Encoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            BodyError::Gzip(_) | BodyError::Text(_) => StatusCode::BAD_REQUEST,
        };
        self.refuse(status, &error.to_string())
    }

    fn answer(&self, outcome: Outcome) -> Answer {
        match outcome {
            Outcome::Kept(refused) if refused.count == 0 => Answer::empty(StatusCode::NO_CONTENT),
            Outcome::Kept(refused) => self.partial(&refused),
            Outcome::Late { line } => self.late(line),
        }
    }

    fn refuse(&self, status: StatusCode, why: &str) -> Answer {
        self.context.counters.warn(Event::PushesRefused, || why.to_owned());
        let code = if status == StatusCode::PAYLOAD_TOO_LARGE { "request too large" } else { "invalid" };
        Answer::json(status, &json!({ "code": code, "error": why, "message": why }))
    }

    /// A push of which every good line is on disk. Clients know the words `partial write`, and do not send it again.
    fn partial(&self, refused: &Refused) -> Answer {
        let named: Vec<String> = refused.named.iter().map(|(line, why)| format!("line {line}: {why}")).collect();
        let count = refused.count;
        let why = format!("partial write: {count} lines refused, the others are kept: {}", named.join("; "));
        self.context.report.error(why.clone());
        let line = refused.named.first().map(|(line, _)| *line);
        let body = json!({ "code": "invalid", "error": why, "message": why, "line": line });
        Answer::json(StatusCode::BAD_REQUEST, &body)
    }

    fn late(&self, line: Option<usize>) -> Answer {
        let why = match line {
            Some(1) => "the queue has no room; nothing was taken".to_owned(),
            Some(line) => format!("the queue has no room from line {line} on; lines before it may come twice"),
            None => "the disk did not take it in time; lines may come twice".to_owned(),
        };
        self.context.counters.warn(Event::PushesRefused, || why.clone());
        self.context.report.error(why.clone());
        let body = json!({ "code": "unavailable", "error": why, "message": why });
        Answer::json(StatusCode::SERVICE_UNAVAILABLE, &body).header("retry-after", RETRY_AFTER)
    }
}

/// The largest query, in bytes.
const MOST_QUERY: usize = 4096;

async fn write(port: Arc<Port>, request: Request) -> Answer {
    if !port.admits(&request) {
        return port.unauthorized();
    }
    let precision = match request.query("precision").filter(|text| !text.is_empty()) {
        None => Precision::default(),
        Some(text) => match Precision::parse(&text) {
            Some(precision) => precision,
            None => {
                let why = format!("precision {text:?} is not known; write ns, us, ms, s, m or h");
                return port.refuse(StatusCode::BAD_REQUEST, &why);
            }
        },
    };
    match port.text(request) {
        Ok(text) => port.answer(port.writer.write(&text, precision).await),
        Err(error) => port.unread(&error),
    }
}

async fn write_collectd(port: Arc<Port>, request: Request) -> Answer {
    if !port.admits(&request) {
        return port.unauthorized();
    }
    let text = match port.text(request) {
        Ok(text) => text,
        Err(error) => return port.unread(&error),
    };
    match serde_json::from_str::<Vec<ValueList>>(&text) {
        Ok(lists) => port.answer(port.writer.write_collectd(&lists).await),
        Err(error) => {
            let why = format!("no value lists of collectd: {error}; write Format \"JSON\" in its write_http section");
            port.refuse(StatusCode::BAD_REQUEST, &why)
        }
    }
}

fn ping() -> Answer {
    Answer::empty(StatusCode::NO_CONTENT).header("x-influxdb-version", concat!("weir-", env!("CARGO_PKG_VERSION")))
}

fn health() -> Answer {
    let body = json!({ "name": "weir-agent", "status": "pass", "version": env!("CARGO_PKG_VERSION") });
    Answer::json(StatusCode::OK, &body)
}

/// The query in a form's body, as the older clients send it.
fn form(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let query = text.split('&').find_map(|pair| pair.strip_prefix("q="));
    query.unwrap_or_default().replace(['+'], " ").replace("%20", " ")
}

/// Takes as long for a wrong one that begins right as for any other.
fn is_same(shown: &str, token: &str) -> bool {
    let digest = |text: &str| ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest(shown).as_ref() == digest(token).as_ref()
}
