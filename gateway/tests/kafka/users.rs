//! Who may read.

use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse, SaslAuthenticateRequest,
    SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weir_gateway::kafka::auth::Secret;

use crate::client::{Client, text};
use crate::world::Gateway;

/// A gateway with the user `reader`, whose password is `sesame`.
async fn guarded(settings: &[(&str, &str)]) -> Gateway {
    let secret = Secret::of(b"sesame", 4096.try_into().unwrap(), vec![7; 16]);
    let setting = format!("{{ reader = \"{secret}\" }}");
    Gateway::start_with(tempfile::tempdir().unwrap(), &[&[("KAFKA__USERS", setting.as_str())], settings].concat()).await
}

async fn is_served(client: &mut Client) -> bool {
    client.send(ApiKey::Metadata, 12, &MetadataRequest::default().with_topics(None)).await;
    client.frame().await.is_some()
}

async fn authenticate(client: &mut Client, message: &'static [u8]) -> i16 {
    let handshake = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
    let answer: SaslHandshakeResponse = client.ask(ApiKey::SaslHandshake, 1, &handshake).await;
    assert_eq!(answer.error_code, 0);
    let message = SaslAuthenticateRequest::default().with_auth_bytes(message.into());
    let answer: SaslAuthenticateResponse = client.ask(ApiKey::SaslAuthenticate, 2, &message).await;
    answer.error_code
}

#[tokio::test(flavor = "multi_thread")]
async fn with_users_nothing_is_served_before_one_has_authenticated() {
    let gateway = guarded(&[]).await;
    let mut stranger = Client::new(gateway.at.kafka).await;
    assert!(!is_served(&mut stranger).await);

    let mut wrong = Client::new(gateway.at.kafka).await;
    assert_eq!(authenticate(&mut wrong, b"\0reader\0Sesame").await, 58);
    assert!(wrong.frame().await.is_none(), "closed behind the answer");

    let mut right = Client::new(gateway.at.kafka).await;
    assert_eq!(authenticate(&mut right, b"\0reader\0sesame").await, 0);
    let answer: MetadataResponse = right.ask(ApiKey::Metadata, 12, &MetadataRequest::default().with_topics(None)).await;
    assert_eq!(answer.brokers.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_the_old_handshake_sends_the_bare_message() {
    let gateway = guarded(&[]).await;
    for (password, is_right) in [("sesame", true), ("Sesame", false)] {
        let mut client = Client::new(gateway.at.kafka).await;
        let handshake = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
        let answer: SaslHandshakeResponse = client.ask(ApiKey::SaslHandshake, 0, &handshake).await;
        assert_eq!(answer.error_code, 0);
        let message = format!("\0reader\0{password}");
        client.stream.write_i32(message.len() as i32).await.unwrap();
        client.stream.write_all(message.as_bytes()).await.unwrap();
        if is_right {
            assert_eq!(client.stream.read_i32().await.unwrap(), 0, "an empty message ends it");
            assert!(is_served(&mut client).await);
        } else {
            assert!(client.frame().await.is_none());
        }
    }
}

/// Clients that ask for versions and then neither authenticate nor go: they stay in the lobby, where one more sends the
/// oldest away, and no place is taken from those who may read.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_authenticate_takes_nobody_s_place() {
    let settings = [("KAFKA__CONNECTIONS", "1"), ("KAFKA__LOBBY", "5")];
    let gateway = guarded(&settings).await;
    let mut strangers = Vec::new();
    for _ in 0..20 {
        let mut stranger = Client::new(gateway.at.kafka).await;
        let _: ApiVersionsResponse = stranger.ask(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default()).await;
        strangers.push(stranger);
    }
    for stranger in &mut strangers[..15] {
        assert!(stranger.frame().await.is_none(), "sent away");
    }
    let mut reader = Client::new(gateway.at.kafka).await;
    assert_eq!(authenticate(&mut reader, b"\0reader\0sesame").await, 0);
    assert!(is_served(&mut reader).await);
}
