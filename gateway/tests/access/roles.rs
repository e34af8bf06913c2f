//! Every path with every kind of token: who is served, who is refused, and that the audit has all of it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::audit;
use crate::secure::{PATIENCE, command};
use crate::world::Gateway;

/// Whom a path is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum For {
    Everybody,
    Viewer,
    Operator,
    Admin,
}
use For::{Admin, Everybody, Operator, Viewer};

/// Whether a token of one tenant is good for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Tenants,
    All,
}
use Of::{All, Tenants};

/// Method, path, what is asked for, for whom, and what whoever may is answered: 400, 404 and the like come from behind the door.
const PATHS: &[(&str, &str, &str, For, Of, u16)] = &[
    ("GET", "/healthz", "/healthz", Everybody, Tenants, 200),
    ("GET", "/readyz", "/readyz", Everybody, Tenants, 200),
    ("GET", "/mqtt", "/mqtt", Everybody, Tenants, 400),
    // Who comes here proves himself in another way: see `enrolment` and `renewal`.
    ("POST", "/enroll", "/enroll", Everybody, Tenants, 400),
    ("POST", "/renew", "/renew", Everybody, Tenants, 401),
    ("GET", "/metrics", "/metrics", Viewer, All, 200),
    ("GET", "/version", "/version", Viewer, Tenants, 200),
    ("GET", "/status", "/status", Viewer, Tenants, 200),
    ("GET", "/topics", "/topics", Viewer, Tenants, 200),
    ("GET", "/topics/{topic}", "/topics/readings", Viewer, Tenants, 200),
    (
        "GET",
        "/topics/{topic}/partitions/{partition}/records",
        "/topics/readings/partitions/0/records",
        Viewer,
        Tenants,
        200,
    ),
    ("GET", "/topics/{topic}/tail", "/topics/readings/tail", Viewer, Tenants, 200),
    ("GET", "/devices", "/devices", Viewer, Tenants, 200),
    ("GET", "/devices/{device}", "/devices/pump-1", Viewer, Tenants, 404),
    ("POST", "/devices/{device}/owner", "/devices/pump-1/owner", Operator, All, 400),
    ("GET", "/sessions", "/sessions", Viewer, Tenants, 200),
    ("GET", "/sessions/{tenant}/{client}", "/sessions/default/pump-1", Viewer, Tenants, 404),
    ("DELETE", "/sessions/{tenant}/{client}", "/sessions/default/pump-1", Operator, Tenants, 404),
    ("GET", "/deadletters/{partition}", "/deadletters/0", Viewer, Tenants, 200),
    ("POST", "/deadletters/redrive", "/deadletters/redrive", Operator, All, 400),
    ("GET", "/groups", "/groups", Viewer, All, 200),
    ("GET", "/groups/{group}", "/groups/lake", Viewer, All, 404),
    ("DELETE", "/groups/{group}", "/groups/lake", Operator, All, 404),
    ("POST", "/groups/{group}/reset", "/groups/lake/reset", Operator, All, 400),
    ("POST", "/groups/{group}/commit", "/groups/lake/commit", Viewer, All, 400),
    ("GET", "/subjects", "/subjects", Viewer, Tenants, 200),
    ("GET", "/subjects/{subject}", "/subjects/lake", Viewer, Tenants, 404),
    ("POST", "/subjects/{subject}", "/subjects/lake", Viewer, Tenants, 404),
    ("GET", "/subjects/{subject}/versions", "/subjects/readings-value/versions", Viewer, Tenants, 200),
    ("GET", "/subjects/{subject}/versions/{version}", "/subjects/readings-value/versions/1", Viewer, Tenants, 200),
    (
        "GET",
        "/subjects/{subject}/versions/{version}/schema",
        "/subjects/readings-value/versions/1/schema",
        Viewer,
        Tenants,
        200,
    ),
    (
        "GET",
        "/subjects/{subject}/versions/{version}/referencedby",
        "/subjects/readings-value/versions/1/referencedby",
        Viewer,
        Tenants,
        200,
    ),
    ("GET", "/schemas", "/schemas", Viewer, Tenants, 200),
    ("GET", "/schemas/types", "/schemas/types", Viewer, Tenants, 200),
    ("GET", "/schemas/ids/{id}", "/schemas/ids/1", Viewer, Tenants, 200),
    ("GET", "/schemas/ids/{id}/schema", "/schemas/ids/1/schema", Viewer, Tenants, 200),
    ("GET", "/schemas/ids/{id}/subjects", "/schemas/ids/1/subjects", Viewer, Tenants, 200),
    ("GET", "/schemas/ids/{id}/versions", "/schemas/ids/1/versions", Viewer, Tenants, 200),
    ("GET", "/config", "/config", Viewer, Tenants, 200),
    ("GET", "/config/{subject}", "/config/readings-value", Viewer, Tenants, 200),
    ("GET", "/mode", "/mode", Viewer, Tenants, 200),
    ("GET", "/mode/{subject}", "/mode/readings-value", Viewer, Tenants, 200),
    ("GET", "/contexts", "/contexts", Viewer, Tenants, 200),
    ("GET", "/access/users", "/access/users", Admin, All, 200),
    ("PUT", "/access/users/{name}", "/access/users/plc", Admin, All, 400),
    ("DELETE", "/access/users/{name}", "/access/users/plc", Admin, All, 404),
    ("GET", "/access/tokens", "/access/tokens", Admin, All, 200),
    ("POST", "/access/tokens", "/access/tokens", Admin, All, 400),
    ("DELETE", "/access/tokens/{id}", "/access/tokens/abc", Admin, All, 404),
    ("POST", "/ca/certificates/{tenant}/{client}", "/ca/certificates/default/pump-1", Admin, All, 400),
    ("DELETE", "/ca/certificates/{tenant}/{client}", "/ca/certificates/default/pump-1", Admin, All, 503),
    ("DELETE", "/ca/serials/{serial}", "/ca/serials/0a", Admin, All, 503),
    // The last: from then on there is an authority.
    ("POST", "/ca", "/ca", Admin, All, 200),
];

/// Method and path of every `.route(..)` below `dir`, as it is written.
fn registered(dir: &Path, found: &mut Vec<(&'static str, String)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            registered(&path, found);
            continue;
        }
        let text: String = std::fs::read_to_string(&path).unwrap().split_whitespace().collect();
        for rest in text.split(".route(\"").skip(1) {
            let Some((path, rest)) = rest.split_once("\",") else { continue };
            // Up to the parenthesis that closes `.route(`.
            let mut open = 1;
            let end = rest.find(|c| {
                open += i32::from(c == '(') - i32::from(c == ')');
                open == 0
            });
            let methods = &rest[..end.unwrap_or(rest.len())];
            for (call, method) in [("get(", "GET"), ("post(", "POST"), ("put(", "PUT"), ("delete(", "DELETE")] {
                let is_called = methods.starts_with(call)
                    || [".", "("].iter().any(|before| methods.contains(&format!("{before}{call}")));
                found.extend(is_called.then(|| (method, path.to_owned())));
            }
        }
    }
}

/// Whoever adds a path says here who may use it.
#[test]
fn every_path_has_its_line() {
    let mut found = Vec::new();
    registered(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http"), &mut found);
    found.sort();
    found.dedup();
    let mut known: Vec<_> = PATHS.iter().map(|(method, path, ..)| (*method, (*path).to_owned())).collect();
    known.sort();
    assert!(found.len() > 40, "{found:?}");
    assert_eq!(found, known, "left: registered below src/http; right: the lines of this test");
}

/// A token, or none, and what comes of it.
struct Holder {
    token: Option<String>,
    /// As the audit names it.
    who: String,
    /// What it may do, if it is good for anything.
    role: Option<For>,
    is_of_one_tenant: bool,
    /// Why it is not good for anything, as the audit says it.
    why: &'static str,
}

impl Holder {
    fn good(token: &(String, String), role: For, is_of_one_tenant: bool) -> Self {
        let (id, token) = token.clone();
        Self { token: Some(token), who: format!("token:{id}"), role: Some(role), is_of_one_tenant, why: "" }
    }

    fn bad(token: Option<&str>, why: &'static str) -> Self {
        let token = token.map(str::to_owned);
        Self { token, who: String::new(), role: None, is_of_one_tenant: false, why }
    }

    /// The status of a request; 200 stands for whatever comes from behind the door.
    fn verdict(&self, of: For, tenants: Of) -> u16 {
        match self.role {
            _ if of == Everybody => 200,
            None => 401,
            Some(role) if role < of || (self.is_of_one_tenant && tenants == All) => 403,
            Some(_) => 200,
        }
    }
}

/// Makes a token by a command; its id and itself.
pub(crate) async fn token(gateway: &Gateway, more: &[&str]) -> (String, String) {
    let made = command(gateway, &[&["token", "create", "--output", "json"], more].concat()).await;
    let made: Value = serde_json::from_str(&made).unwrap();
    let text = |key: &str| made[key].as_str().unwrap().to_owned();
    (text("id"), text("token"))
}

/// The status of a request. The tail has no end, and nobody waits for it.
pub(crate) async fn status(gateway: &Gateway, method: &str, target: &str, token: Option<&str>) -> u16 {
    let authorization = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let body = if method == "GET" { "" } else { "{}" };
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: x\r\n{authorization}Content-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let asked = async {
        let mut stream = TcpStream::connect(gateway.at.http).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.map(|_| head)
    };
    let head = timeout(PATIENCE, asked).await.unwrap().unwrap();
    std::str::from_utf8(&head[9..]).unwrap().parse().unwrap()
}

/// A gateway whose HTTP port wants tokens, and does not mind how many are wrong.
pub(crate) async fn guarded() -> Gateway {
    let settings = [("ACCESS__HTTP", "required"), ("ACCESS__FAILED_LOGINS_PER_ADDRESS", "0")];
    Gateway::start_with(tempfile::tempdir().unwrap(), &settings).await
}

/// A token that has ended.
pub(crate) async fn expired(gateway: &Gateway) -> String {
    let (_, token) = token(gateway, &["--role", "admin", "--expires", "1h"]).await;
    gateway.clock.advance(3601);
    token
}

#[tokio::test(flavor = "multi_thread")]
async fn each_path_serves_the_role_it_is_for_and_the_audit_has_every_act_and_refusal() {
    let gateway = guarded().await;
    let (id, revoked) = token(&gateway, &["--role", "admin"]).await;
    command(&gateway, &["token", "revoke", &id]).await;
    let expired = expired(&gateway).await;
    let (_, enrolment) = token(&gateway, &["--enroll", "pump-*"]).await;
    let of_tenant = token(&gateway, &["--role", "admin", "--tenant", "plant"]).await;
    let viewer = token(&gateway, &["--role", "viewer"]).await;
    let operator = token(&gateway, &["--role", "operator"]).await;
    let admin = token(&gateway, &["--role", "admin"]).await;
    let holders = [
        Holder::bad(None, "no token"),
        Holder::bad(Some("weir_bm90IGEgdG9rZW4"), "an unknown or revoked token"),
        Holder::bad(Some(&revoked), "an unknown or revoked token"),
        Holder::bad(Some(&expired), "a token that has ended"),
        Holder::bad(Some(&enrolment), "a token for enrolment alone"),
        Holder::good(&viewer, Viewer, false),
        Holder::good(&operator, Operator, false),
        Holder::good(&admin, Admin, false),
        Holder::good(&of_tenant, Admin, true),
    ];
    let before = audit::read(&gateway, &admin.1).await;
    let mut refusals: BTreeMap<(String, String), u64> = BTreeMap::new();
    let (mut acts, mut wrong) = (Vec::new(), Vec::new());
    for (method, path, target, of, tenants, served) in PATHS {
        for holder in &holders {
            let shown = holder.token.as_deref();
            let expected = match (holder.verdict(*of, *tenants), shown) {
                // No token at all is what is wrong there first.
                (200, None) if *path == "/enroll" => 401,
                (200, _) => *served,
                (refused, _) => refused,
            };
            let answered = status(&gateway, method, target, shown).await;
            if answered != expected {
                let Holder { role, who, why, .. } = holder;
                wrong.push(format!("{method} {target} by {role:?} {who} {why}: {answered}, expected {expected}"));
            }
            match holder.verdict(*of, *tenants) {
                200 if *of > Viewer && *method != "GET" => {
                    acts.push((
                        format!("{method} {path}"),
                        holder.who.clone(),
                        (*target).to_owned(),
                        answered.to_string(),
                    ));
                }
                200 => (),
                401 => *refusals.entry((String::new(), holder.why.to_owned())).or_default() += 1,
                _ => *refusals.entry((holder.who.clone(), "the role does not allow it".to_owned())).or_default() += 1,
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Counts of what was refused again are written when the gateway stops.
    let gateway = Gateway::start_with(gateway.stop().await, &[("ACCESS__HTTP", "required")]).await;
    let entries = audit::read(&gateway, &admin.1).await;
    let since = &entries[before.len()..];
    assert_eq!(audit::refusals(since, "http"), refusals);
    assert_eq!(audit::acts(since), acts);
    gateway.stop().await;
}
