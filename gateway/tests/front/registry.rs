//! The schema registry as its clients ask it.

use serde_json::{Value, json};

use crate::whole::publish_v4;
use crate::world::{Gateway, ask, batch, description, post};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_finds_the_schema_of_every_value_by_its_id() {
    let gateway = Gateway::start().await;
    let subjects = gateway.json("/subjects").await;
    assert_eq!(subjects, json!(["readings-value", "weir.loss-value", "weir.deadletter-value", "weir.describe-value"]));
    for (id, subject) in (1..).zip(subjects.as_array().unwrap()) {
        let subject = subject.as_str().unwrap();
        let versions = if subject == "readings-value" { json!([1, 2]) } else { json!([1]) };
        assert_eq!(gateway.json(&format!("/subjects/{subject}/versions")).await, versions);
        let latest = gateway.json(&format!("/subjects/{subject}/versions/1")).await;
        assert_eq!((&latest["id"], &latest["version"]), (&json!(id), &json!(1)));
        // confluent-kafka names the subject, whatever it believes that to be; kafkajs does not.
        for path in [format!("/schemas/ids/{id}"), format!("/schemas/ids/{id}?subject={subject}&fetchMaxId=false")] {
            assert_eq!(gateway.json(&path).await["schema"], latest["schema"]);
        }
        let bare = gateway.json(&format!("/schemas/ids/{id}/schema")).await;
        assert_eq!(bare, serde_json::from_str::<Value>(latest["schema"].as_str().unwrap()).unwrap());
        assert_eq!(gateway.json(&format!("/subjects/{subject}/versions/1/schema")).await, bare);
        assert_eq!(gateway.json(&format!("/schemas/ids/{id}/subjects")).await, json!([subject]));
        let versions = json!([{"subject": subject, "version": 1}]);
        assert_eq!(gateway.json(&format!("/schemas/ids/{id}/versions")).await, versions);
        assert_eq!(gateway.json(&format!("/config/{subject}")).await, json!({"compatibilityLevel": "FULL_TRANSITIVE"}));
    }
    // Readings that stand for others: the schema of readings and one field that has a default.
    let latest = gateway.json("/subjects/readings-value/versions/latest").await;
    assert_eq!((&latest["id"], &latest["version"]), (&json!((1 << 24) + 1), &json!(2)));
    let fields = |schema: &Value| {
        let schema: Value = serde_json::from_str(schema.as_str().unwrap()).unwrap();
        schema["fields"].as_array().unwrap().clone()
    };
    let first = fields(&gateway.json("/schemas/ids/1").await["schema"]);
    let mut second = fields(&latest["schema"]);
    let added = second.pop().unwrap();
    assert_eq!((second, &added["name"], &added["default"]), (first, &json!("summarises"), &Value::Null));
    assert_eq!(gateway.json("/schemas").await.as_array().unwrap().len(), 5);
    assert_eq!(gateway.json("/schemas/types").await, json!(["AVRO"]));
    assert_eq!(gateway.json("/mode").await, json!({"mode": "READONLY"}));
    assert_eq!(gateway.json("/contexts").await, json!(["."]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_not_has_the_code_that_clients_expect() {
    let gateway = Gateway::start().await;
    for (path, status, code) in [
        ("/subjects/other-value/versions", 404, 40401),
        ("/subjects/readings/versions/latest", 404, 40401),
        ("/config/other-value", 404, 40401),
        ("/subjects/readings-value/versions/3", 404, 40402),
        ("/subjects/weir.loss-value/versions/2", 404, 40402),
        ("/subjects/readings-value/versions/0", 422, 42202),
        ("/subjects/readings-value/versions/newest", 422, 42202),
        ("/schemas/ids/77", 404, 40403),
        ("/schemas/ids/99999999999", 404, 40403),
        ("/schemas/ids/one/schema", 404, 40403),
    ] {
        let (got, body) = gateway.get(path).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((got, &body["error_code"]), (status, &json!(code)), "{path}: {body}");
        assert!(body["message"].is_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_can_be_looked_up_and_not_registered() {
    let gateway = Gateway::start().await;
    let at = gateway.at.http;
    let served = gateway.json("/subjects/readings-value/versions/1").await["schema"].clone();
    // As a client sends it that parsed the schema and wrote it again.
    let mut parsed: Value = serde_json::from_str(served.as_str().unwrap()).unwrap();
    parsed["doc"] = "mine".into();
    for schema in [served, parsed.to_string().into()] {
        let (status, found) = post(at, "/subjects/readings-value", &json!({"schema": schema})).await;
        assert_eq!(status, 200, "{found}");
        assert_eq!(serde_json::from_str::<Value>(&found).unwrap()["id"], 1);
    }
    let other = json!({"schema": "\"string\""});
    let (status, body) = post(at, "/subjects/readings-value", &other).await;
    assert_eq!(status, 404);
    assert!(body.contains("40403"), "{body}");
    assert_eq!(post(at, "/subjects/readings-value", &json!({"schema": "{"})).await.0, 422);
    assert_eq!(post(at, "/subjects/readings-value", &json!(["x".repeat(300_000)])).await.0, 413);

    let (status, body) = post(at, "/subjects/readings-value/versions", &other).await;
    assert_eq!(status, 405, "{body}");
    assert!(body.contains("settings"), "{body}");
    for request in ["DELETE /subjects/readings-value", "PUT /config", "PUT /mode"] {
        let request = format!("{request} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(ask(at, &request).await.0, 405, "{request}");
    }
}

/// Two topics of routes, of which one holds JSON.
const ROUTES: &str = r#"
[[topics.route]]
topic = "pump-readings"
device = "pump-*"
[[topics.route]]
topic = "plain"
device = "fan-*"
[[topics.define]]
topic = "plain"
format = "json"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_routed_topic_has_a_schema_of_its_own_for_ever_and_one_of_json_has_none() {
    let gateway = Gateway::start_by(tempfile::tempdir().unwrap(), ROUTES).await;
    for device in ["pump-1", "fan-1"] {
        publish_v4(&gateway, "edge-1", vec![("describe", description(device)), ("batch", batch(device, 0..3))]).await;
    }
    let subjects = gateway.json("/subjects").await;
    assert_eq!(subjects.as_array().unwrap().len(), 5, "{subjects}");
    let version = gateway.json("/subjects/pump-readings-value/versions/latest").await;
    let schema: Value = serde_json::from_str(version["schema"].as_str().unwrap()).unwrap();
    assert_eq!(schema["name"], "Reading_pump_2dreadings");
    assert!(version["id"].as_u64().unwrap() >= 5, "{version}");
    assert_eq!(gateway.get("/subjects/plain-value/versions").await.0, 404);
    // As HTTP shows a value, so it is in the log: both kinds.
    let [pumps, fans] = [gateway.records("pump-readings").await, gateway.records("plain").await];
    assert_eq!((pumps.len(), fans.len()), (3, 3));
    assert!(pumps.iter().chain(&fans).all(|record| record["value"]["channel"] == "temperature"));

    // The route goes, the topic and its schema stay.
    let gateway = Gateway::start_on(gateway.stop().await).await;
    assert_eq!(gateway.json("/subjects/pump-readings-value/versions/latest").await, version);
    gateway.stop().await;
}
