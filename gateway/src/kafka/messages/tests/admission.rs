//! What comes first on a connection.

use bytes::Bytes;
use kafka_protocol::messages as theirs;
use kafka_protocol::messages::api_versions_response::ApiVersion;

use super::{agree, joined, text, when};
use crate::kafka::messages::{ApiKey, ErrorCode, Request, SUPPORTED, api_versions, sasl_authenticate, sasl_handshake};
use crate::kafka::wire::Output;
use kafka_protocol::protocol::Decodable;

pub(super) fn api_versions(version: i16) -> Bytes {
    let (name, library) = (when(version >= 3, "librdkafka"), when(version >= 3, "2.6.1"));
    let asked = theirs::ApiVersionsRequest::default()
        .with_client_software_name(text(name))
        .with_client_software_version(text(library));
    let expected =
        api_versions::Request { client_software_name: name.to_owned(), client_software_version: library.to_owned() };
    let response = api_versions::Response { error: ErrorCode::None };
    let answered = theirs::ApiVersionsResponse::default().with_api_keys(advertised());
    agree(
        ApiKey::ApiVersions,
        version,
        asked,
        Request::ApiVersions(expected),
        |out| response.encode(out, version),
        answered,
    )
}

/// A client of the future learns in version 0 which versions there are.
#[test]
fn an_unsupported_version_of_api_versions_is_answered_in_version_0() {
    let mut out = Output::new();
    api_versions::Response { error: ErrorCode::UnsupportedVersion }.encode(&mut out, 0);
    let read = theirs::ApiVersionsResponse::decode(&mut joined(out), 0).unwrap();
    assert_eq!(read, theirs::ApiVersionsResponse::default().with_error_code(35).with_api_keys(advertised()));
}

fn advertised() -> Vec<ApiVersion> {
    let one = |api: &crate::kafka::messages::Supported| {
        ApiVersion::default().with_api_key(api.key.number()).with_min_version(api.min).with_max_version(api.max)
    };
    SUPPORTED.iter().map(one).collect()
}

pub(super) fn handshake(version: i16) -> Bytes {
    let asked = theirs::SaslHandshakeRequest::default().with_mechanism(text("GSSAPI"));
    let expected = sasl_handshake::Request { mechanism: "GSSAPI".to_owned() };
    let response = sasl_handshake::Response {
        error: ErrorCode::UnsupportedSaslMechanism,
        mechanisms: vec!["PLAIN".to_owned(), "SCRAM-SHA-256".to_owned()],
    };
    let answered = theirs::SaslHandshakeResponse::default()
        .with_error_code(33)
        .with_mechanisms(vec![text("PLAIN"), text("SCRAM-SHA-256")]);
    agree(
        ApiKey::SaslHandshake,
        version,
        asked,
        Request::SaslHandshake(expected),
        |out| response.encode(out, version),
        answered,
    )
}

pub(super) fn authenticate(version: i16) -> Bytes {
    let asked = theirs::SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from_static(b"\0user\0password"));
    let expected = sasl_authenticate::Request { auth_bytes: Bytes::from_static(b"\0user\0password") };
    let response = sasl_authenticate::Response {
        error: ErrorCode::SaslAuthenticationFailed,
        error_message: Some("wrong".to_owned()),
        auth_bytes: Bytes::from_static(b"e=other-error"),
    };
    let answered = theirs::SaslAuthenticateResponse::default()
        .with_error_code(58)
        .with_error_message(Some(text("wrong")))
        .with_auth_bytes(Bytes::from_static(b"e=other-error"));
    agree(
        ApiKey::SaslAuthenticate,
        version,
        asked,
        Request::SaslAuthenticate(expected),
        |out| response.encode(out, version),
        answered,
    )
}
