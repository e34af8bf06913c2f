//! Tokens over Kafka: the user `token` of SASL/PLAIN.

use std::collections::BTreeSet;

use kafka_protocol::messages::{
    ApiKey, DeleteGroupsRequest, DeleteGroupsResponse, GroupId, MetadataRequest, MetadataResponse,
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};

use crate::client::{Client, publish_one, text};
use crate::roles::{expired, status, token};
use crate::secure::command;
use crate::world::Gateway;
use crate::{audit, client};

/// SASL_AUTHENTICATION_FAILED of the protocol.
const FAILED: i16 = 58;
/// GROUP_AUTHORIZATION_FAILED.
const NOT_YOURS: i16 = 30;
/// GROUP_ID_NOT_FOUND.
const NO_SUCH_GROUP: i16 = 69;

async fn guarded() -> Gateway {
    let settings =
        [("ACCESS__KAFKA", "required"), ("ACCESS__HTTP", "required"), ("ACCESS__FAILED_LOGINS_PER_ADDRESS", "0")];
    Gateway::start_with(tempfile::tempdir().unwrap(), &settings).await
}

/// Connects with a token; the error code, 0 for none.
async fn connect(gateway: &Gateway, token: &str) -> (Client, i16) {
    let mut client = Client::new(gateway.at.kafka).await;
    let handshake = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
    let answer: SaslHandshakeResponse = client.ask(ApiKey::SaslHandshake, 1, &handshake).await;
    assert_eq!(answer.error_code, 0);
    let said = format!("\0token\0{token}");
    let message = SaslAuthenticateRequest::default().with_auth_bytes(said.into_bytes().into());
    let answer: SaslAuthenticateResponse = client.ask(ApiKey::SaslAuthenticate, 2, &message).await;
    (client, answer.error_code)
}

async fn topics(client: &mut Client) -> Vec<String> {
    let all = MetadataRequest::default().with_topics(None);
    let answer: MetadataResponse = client.ask(ApiKey::Metadata, 12, &all).await;
    answer.topics.into_iter().filter_map(|topic| Some(topic.name?.0.to_string())).collect()
}

async fn delete_group(client: &mut Client) -> i16 {
    let request = DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text("lake"))]);
    let answer: DeleteGroupsResponse = client.ask(ApiKey::DeleteGroups, 2, &request).await;
    answer.results[0].error_code
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_reads_what_its_role_may_until_it_is_revoked() {
    let gateway = guarded().await;
    let (id, viewer) = token(&gateway, &["--role", "viewer"]).await;
    let (own, operator) = token(&gateway, &["--role", "operator"]).await;
    let (_, admin) = token(&gateway, &["--role", "admin"]).await;
    let (mut reader, error) = connect(&gateway, &viewer).await;
    assert_eq!(error, 0);
    publish_one(&gateway, "pump-1", 0..5).await;
    let mut read = 0;
    for partition in 0..4 {
        let page = client::only(reader.fetch(&client::fetch("readings", partition, 0)).await);
        read += client::records(&page).len();
    }
    assert_eq!(read, 5);
    assert_eq!(delete_group(&mut reader).await, NOT_YOURS);
    let (mut keeper, error) = connect(&gateway, &operator).await;
    assert_eq!((error, delete_group(&mut keeper).await), (0, NO_SUCH_GROUP));
    // Whoever reads topics over Kafka reads those of all tenants, and none that is for admins alone.
    let listed = topics(&mut keeper).await;
    assert!(listed.iter().any(|topic| topic == "readings"), "{listed:?}");
    let hidden = ["weir.audit", "weir.access", "weir.sessions", "weir.retained"];
    assert!(hidden.iter().all(|hidden| listed.iter().all(|topic| topic != hidden)), "{listed:?}");

    command(&gateway, &["token", "revoke", &id]).await;
    assert!(reader.frame().await.is_none(), "its connection ends");
    assert_eq!(topics(&mut keeper).await, listed, "that of the other token goes on");
    assert_eq!(connect(&gateway, &viewer).await.1, FAILED);
    let who = format!("token:{id}");
    let refused = [(who.as_str(), "the role does not allow it"), ("token", "an unknown or revoked token")];
    audit::until_refused(&gateway, &admin, "kafka", &refused).await;
    let acts = audit::acts(&audit::read(&gateway, &admin).await);
    let deleted = ("DeleteGroups".to_owned(), format!("token:{own}"), "lake".to_owned(), NO_SUCH_GROUP.to_string());
    assert!(acts.contains(&deleted), "what operators do is in the audit: {acts:#?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_good_for_it_is_refused_and_in_the_audit() {
    let gateway = guarded().await;
    let (_, admin) = token(&gateway, &["--role", "admin"]).await;
    let (_, of_tenant) = token(&gateway, &["--role", "admin", "--tenant", "plant"]).await;
    let (_, enrolment) = token(&gateway, &["--enroll", "pump-1"]).await;
    let expired = expired(&gateway).await;
    let cases = [
        ("weir_bm90IGEgdG9rZW4", "an unknown or revoked token"),
        ("pencil", "an unknown or revoked token"),
        (&expired, "a token that has ended"),
        (&enrolment, "a token for enrolment alone"),
        (&of_tenant, "a token of one tenant"),
    ];
    let mut refused = BTreeSet::new();
    for (shown, why) in cases {
        let (mut client, error) = connect(&gateway, shown).await;
        assert_eq!(error, FAILED, "{why}");
        assert!(client.frame().await.is_none(), "closed behind the answer");
        refused.insert(("token", why));
        audit::until_refused(&gateway, &admin, "kafka", &refused.iter().copied().collect::<Vec<_>>()).await;
    }
    // The one of a tenant is good over HTTP, where it sees its own.
    assert_eq!(status(&gateway, "GET", "/devices", Some(&of_tenant)).await, 200);
    gateway.stop().await;
}
