//! What the audit says, and who reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rcgen::KeyPair;
use serde_json::Value;
use tokio::time::timeout;

use crate::roles::{guarded, status, token};
use crate::secure::{PATIENCE, Secure, request, type_in};
use crate::world::{Gateway, ask};

/// Everything in `weir.audit`, over HTTP.
pub(crate) async fn read(gateway: &Gateway, token: &str) -> Vec<Value> {
    let path = "/topics/weir.audit/partitions/0/records?limit=10000";
    let at = gateway.at.http;
    let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n");
    let (status, body) = ask(at, &head).await;
    assert_eq!(status, 200, "{body}");
    let page: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(page["next"], page["end"]);
    page["records"].as_array().unwrap().iter().map(|record| record["value"].clone()).collect()
}

/// Reads until whom was refused at this door for what is as expected: refusals are written behind their answers.
pub(crate) async fn until_refused(gateway: &Gateway, token: &str, door: &str, expected: &[(&str, &str)]) {
    let own = |(who, why): &(&str, &str)| ((*who).to_owned(), (*why).to_owned());
    let expected: BTreeSet<_> = expected.iter().map(own).collect();
    let mut seen = BTreeSet::new();
    let reading = async {
        while seen != expected {
            seen = refusals(&read(gateway, token).await, door).into_keys().collect();
        }
    };
    if timeout(PATIENCE, reading).await.is_err() {
        panic!("left: in the audit; right: expected\n{seen:?}\n{expected:?}");
    }
}

fn text(entry: &Value, key: &str) -> String {
    entry[key].as_str().unwrap_or_default().to_owned()
}

/// How often whom was refused for what at this door.
pub(crate) fn refusals(entries: &[Value], door: &str) -> BTreeMap<(String, String), u64> {
    let mut counts = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry["refused"] == door) {
        *counts.entry((text(entry, "who"), text(entry, "why"))).or_default() += entry["count"].as_u64().unwrap();
    }
    counts
}

/// Act, who did it, to what, and the status or error: of each that began and ended, in the order of their ends.
pub(crate) fn acts(entries: &[Value]) -> Vec<(String, String, String, String)> {
    let (begun, ended): (Vec<_>, Vec<_>) =
        entries.iter().filter(|entry| !entry["act"].is_null()).partition(|entry| entry["state"] == "begun");
    let ids = |entries: &[&Value]| entries.iter().map(|entry| text(entry, "id")).collect::<Vec<_>>();
    assert_eq!(ids(&begun), ids(&ended), "each act has a beginning and an end");
    let line = |entry: &&Value| {
        let result = text(entry, "result");
        let is_good = result.starts_with('2') || result == "0";
        assert_eq!(entry["state"] == "done", is_good, "{entry}");
        (text(entry, "act"), text(entry, "who"), text(entry, "target"), result)
    };
    ended.iter().map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn admins_of_all_tenants_read_the_audit_and_nobody_else() {
    let gateway = guarded().await;
    let (_, admin) = token(&gateway, &["--role", "admin"]).await;
    let mut refused = Vec::new();
    for others in [&["--role", "viewer"][..], &["--role", "operator"], &["--role", "admin", "--tenant", "plant"]] {
        let (id, other) = token(&gateway, others).await;
        for target in ["/topics/weir.audit", "/topics/weir.audit/partitions/0/records", "/topics/weir.audit/tail"] {
            assert_eq!(status(&gateway, "GET", target, Some(&other)).await, 403, "{others:?}: {target}");
            assert_eq!(status(&gateway, "GET", target, Some(&admin)).await, 200, "{target}");
        }
        refused.push(format!("token:{id}"));
    }
    let refused: Vec<_> = refused.iter().map(|who| (who.as_str(), "the role does not allow it")).collect();
    until_refused(&gateway, &admin, "http", &refused).await;
    // What holds hashes and what rules hide is served to nobody.
    for topic in ["weir.access", "weir.sessions", "weir.retained"] {
        let target = format!("/topics/{topic}/partitions/0/records");
        assert_eq!(status(&gateway, "GET", &target, Some(&admin)).await, 404, "{target}");
    }
    gateway.stop().await;
}

/// What `topic consume` shows of it.
fn consumed(data: &Path) -> Vec<Value> {
    let shown = type_in(data, &["topic", "consume", "weir.audit", "--output", "json"]);
    let values = shown.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["value"].take());
    values.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_let_in_and_who_is_not_is_in_the_audit() {
    let secure = Secure::start(&[]).await;
    let asked = request(&KeyPair::generate().unwrap(), "pump-1");
    let token = secure.command(&["token", "create", "--enroll", "pump-1", "--output", "json"]).await;
    let token: Value = serde_json::from_str(&token).unwrap();
    let (id, token) = (text(&token, "id"), text(&token, "token"));
    assert_eq!(secure.post("/enroll", None, None, &asked).await.unwrap().0, 401);
    assert_eq!(secure.post("/enroll?name=pump-2", Some(&token), None, &asked).await.unwrap().0, 403);
    assert_eq!(secure.post("/enroll", Some(&token), None, &asked).await.unwrap().0, 201);
    assert_eq!(secure.post("/renew", None, None, &asked).await.unwrap().0, 401);
    let (old, _) = secure.issued("pump-9", 200);
    assert_eq!(secure.post("/renew", None, Some(&old), &asked).await.unwrap().0, 201);

    // The audit is read on the gateway's machine once it has stopped, or beside it, by the same command.
    let data = secure.gateway.stop().await;
    let entries = consumed(data.path());
    let refused = [
        (("enrol", String::new()), "no token"),
        (("enrol", "pump-2".to_owned()), "the enrolment token is not good for that"),
        (("renew", String::new()), "no certificate"),
    ];
    for ((door, who), why) in refused {
        assert_eq!(refusals(&entries, door).get(&(who, why.to_owned())), Some(&1), "{door} {why}: {entries:#?}");
    }
    let acts = acts(&entries);
    let enrolled = ("POST /enroll".to_owned(), format!("token:{id}"), "default/pump-1".to_owned(), "201".to_owned());
    let renewed =
        ("POST /renew".to_owned(), "client:default/pump-9".to_owned(), "default/pump-9".to_owned(), "201".to_owned());
    assert_eq!(acts[2..], [enrolled, renewed], "behind the acts that made the authority and the token");
}

/// `ca issue` and `ca revoke` worked on the files, and the audit did not know.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_authority_does_is_in_the_audit_beside_a_gateway_and_without_one() {
    let secure = Secure::start(&[]).await;
    let asked = secure.gateway.data.path().join("pump.csr");
    std::fs::write(&asked, request(&KeyPair::generate().unwrap(), "whatever")).unwrap();
    let asked = asked.display().to_string();
    let issued = secure.command(&["ca", "issue", "--csr", &asked, "--name", "pump-1", "--output", "json"]).await;
    let issued: Value = serde_json::from_str(&issued).unwrap();
    let revoked = secure.command(&["ca", "revoke", "pump-1"]).await;
    assert_eq!(revoked, format!("revoked {}  default/pump-1", text(&issued, "serial")));
    let data = secure.gateway.stop().await;
    type_in(data.path(), &["ca", "issue", "--csr", &asked, "--name", "pump/2"]);
    type_in(data.path(), &["token", "create", "--role", "viewer", "--tenant", "plant"]);

    let entries = consumed(data.path());
    let done: Vec<_> = acts(&entries).into_iter().map(|(act, _, target, result)| (act, target, result)).collect();
    let path = "/ca/certificates/{tenant}/{client}";
    let expected = [
        ("POST /ca".to_owned(), "/ca"),
        (format!("POST {path}"), "/ca/certificates/default/pump-1"),
        (format!("DELETE {path}"), "/ca/certificates/default/pump-1"),
        (format!("POST {path}"), "/ca/certificates/default/pump%2F2"),
        ("POST /access/tokens".to_owned(), "/access/tokens"),
    ];
    assert_eq!(done, expected.map(|(act, target)| (act, target.to_owned(), "200".to_owned())));
    let details: Vec<_> = entries.iter().filter(|entry| entry["state"] == "done").map(|e| text(e, "detail")).collect();
    let serial = text(&issued, "serial");
    assert_eq!(details[..3], ["localhost".to_owned(), format!("serial {serial}"), format!("serials {serial}")]);
    assert!(details[4].ends_with(" viewer of plant"), "{details:?}");
}
