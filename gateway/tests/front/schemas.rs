//! The commands about schemas, beside a gateway and without one.

use std::path::Path;

use serde_json::{Value, json};

use crate::redrive::{settings, weir};
use crate::whole::publish_v4;
use crate::world::{Gateway, description};

/// A description in a file, as JSON: one channel of id 0.
fn file(dir: &Path, name: &str, unit: &str, kind: &str) -> String {
    let channel = json!({"id": 0, "name": "temperature", "unit": unit, "kind": kind});
    let path = dir.join(name);
    std::fs::write(&path, json!({"device": "pump-1", "channels": [channel]}).to_string()).unwrap();
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_is_checked_before_a_device_is_changed() {
    let gateway = Gateway::start().await;
    publish_v4(&gateway, "edge-1", vec![("describe", description("pump-1"))]).await;
    let path = settings(&gateway);
    let dir = gateway.data.path().to_owned();
    let fine = file(&dir, "fine.json", "Cel", "double");
    let kelvin = file(&dir, "kelvin.json", "K", "float");
    let payload = dir.join("payload");
    std::fs::write(&payload, description("pump-1")).unwrap();
    let check = async |arguments: &[&str]| weir(&path, &[&["schema", "check"], arguments].concat()).await;

    let (mut gateway, mut data) = (Some(gateway), None);
    // Beside the gateway, then on its files.
    for _ in 0..2 {
        let (code, said, _) = check(&[&fine]).await;
        assert_eq!((code, said.as_str()), (Some(0), "pump-1  this description  1 channel, breaks nothing\n"));
        let (code, _, _) = check(&[payload.to_str().unwrap()]).await;
        assert_eq!(code, Some(0), "the payload of a message is a description too");
        let (code, said, message) = check(&[&kelvin]).await;
        assert_eq!(code, Some(1), "{message}");
        assert!(said.contains("unit-changed: channel 0 was float in \"Cel\"; temperature is float in \"K\""), "{said}");
        let (code, said, _) = check(&[&kelvin, "--device", "another", "--output", "json"]).await;
        assert_eq!(code, Some(0), "another device is another matter");
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(
            (&said["device"], &said["compatible"], &said["broken"]),
            (&json!("another"), &json!(true), &json!([]))
        );
        let (code, said, _) = check(&["--device", "pump-1"]).await;
        assert!(code == Some(0) && said.contains("breaks nothing"), "{said}");

        let (code, listed, _) = weir(&path, &["schema", "list"]).await;
        assert_eq!((code, listed.lines().next()), (Some(0), Some("   1  readings-value")));
        for name in ["1", "readings", "readings-value"] {
            let (_, shown, _) = weir(&path, &["schema", "show", name]).await;
            let schema: Value = serde_json::from_str(&shown).unwrap();
            assert_eq!(schema["name"], "Reading");
        }
        assert_eq!(weir(&path, &["schema", "show", "nothing"]).await.0, Some(2));
        if let Some(gateway) = gateway.take() {
            data = Some(gateway.stop().await);
        }
    }
    assert_eq!(check(&[]).await.0, Some(2));
    assert_eq!(check(&["--device", "nobody"]).await.0, Some(1));
    std::fs::write(&fine, "{}").unwrap();
    let (code, _, message) = check(&[&fine]).await;
    assert!(code == Some(2) && message.contains("expected {\"device\""), "{message}");
    drop(data);
}
