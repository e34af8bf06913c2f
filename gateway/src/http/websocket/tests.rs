use super::*;

/// The example of RFC 6455, section 1.3, with our subprotocol.
const GOOD: [(HeaderName, &str); 6] = [
    (header::HOST, "127.0.0.1:8080"),
    (header::UPGRADE, "websocket"),
    (header::CONNECTION, "keep-alive, Upgrade"),
    (header::SEC_WEBSOCKET_VERSION, "13"),
    (header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
    (header::SEC_WEBSOCKET_PROTOCOL, "chat, mqtt"),
];

/// The good request with some headers in place of its own; an empty one is left out.
fn answer(changes: &[(HeaderName, &str)], origins: &[&str]) -> Result<String, u16> {
    let mut headers: HeaderMap = GOOD.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
    for (name, value) in changes {
        headers.remove(name);
        if !value.is_empty() {
            headers.insert(name.clone(), value.parse().unwrap());
        }
    }
    let origins: Vec<_> = origins.iter().map(|origin| (*origin).to_owned()).collect();
    accept(&headers, &origins).map_err(|refused| refused.into_response().status().as_u16())
}

#[test]
fn the_answer_to_the_key_of_the_standard_is_that_of_the_standard() {
    assert_eq!(answer(&[], &[]).as_deref(), Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
}

#[test]
fn what_is_no_opening_handshake_of_mqtt_is_refused() {
    for (name, value, expected) in [
        (header::UPGRADE, "", 400),
        (header::UPGRADE, "h2c", 400),
        (header::CONNECTION, "close", 400),
        (header::SEC_WEBSOCKET_VERSION, "8", 426),
        (header::SEC_WEBSOCKET_VERSION, "", 426),
        (header::SEC_WEBSOCKET_KEY, "", 400),
        (header::SEC_WEBSOCKET_KEY, "c2hvcnQ=", 400),
        // [MQTT-6.0.0-3].
        (header::SEC_WEBSOCKET_PROTOCOL, "", 400),
        (header::SEC_WEBSOCKET_PROTOCOL, "mqttv3.1", 400),
    ] {
        assert_eq!(answer(&[(name.clone(), value)], &[]), Err(expected), "{name}: {value}");
    }
}

#[test]
fn pages_of_other_sites_come_in_only_if_the_settings_name_them() {
    let from = |origin, origins: &[&str]| answer(&[(header::ORIGIN, origin)], origins).is_ok();
    assert!(from("http://127.0.0.1:8080", &[]));
    assert!(!from("http://example.org", &[]));
    assert!(!from("null", &[]));
    let rebound = [(header::HOST, "evil.example:8080"), (header::ORIGIN, "http://evil.example:8080")];
    assert!(answer(&rebound, &[]).is_err(), "a name that its site has given to this address");
    assert!(from("https://plant.example", &["https://plant.example"]));
    assert!(!from("http://plant.example", &["https://plant.example"]));
    assert!(!from("http://127.0.0.1:8080", &["https://plant.example"]), "what is named is all");
    assert!(from("https://anybody.example", &["*"]));
    assert!(answer(&[], &["https://plant.example"]).is_ok(), "no page");
}
