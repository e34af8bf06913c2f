//! Every API in every version that is advertised, against an independent codec.
//!
//! A request with content in every field that the version has, written by the other codec, is read by ours to the same
//! content; a response written by ours is read by the other to the same content. A version that is added to
//! [`SUPPORTED`] is tested here at once.

mod admission;
mod groups;
mod hostile;
mod offsets;
mod topics;

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as theirs;
use kafka_protocol::messages::{BrokerId, GroupId, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use super::header::{self, RequestHeader};
use super::{ApiKey, Request, SUPPORTED, Supported};
use crate::kafka::wire::{Input, Output};

#[test]
fn every_version_of_every_api_says_the_same_as_an_independent_codec() {
    for api in SUPPORTED {
        assert!(api.min <= api.max);
        for version in api.min..=api.max {
            let _ = example(api.key, version);
        }
    }
}

#[test]
fn headers_are_those_of_an_independent_codec_in_every_version() {
    for api in SUPPORTED {
        let theirs = theirs::ApiKey::try_from(api.key.number()).unwrap();
        for version in api.min..=api.max {
            let request_version = theirs.request_header_version(version);
            assert_eq!(request_version >= 2, api.is_flexible(version), "{:?} {version}", api.key);
            let frame = request(api.key, version, &[]);
            let mut input = Input::new(&frame);
            let expected = RequestHeader {
                api_key: api.key.number(),
                api_version: version,
                correlation_id: 77,
                client_id: Some("weir-test".to_owned()),
            };
            assert_eq!(RequestHeader::decode(&mut input), Ok(expected));
            assert_eq!(input.remaining(), 0);

            let mut out = Output::new();
            header::encode_response(&mut out, &api, version, 77);
            let mut bytes = joined(out);
            let header = theirs::ResponseHeader::decode(&mut bytes, theirs.response_header_version(version)).unwrap();
            assert_eq!((header.correlation_id, bytes.len()), (77, 0), "{:?} {version}", api.key);
        }
    }
}

/// A client of the future asks for its newest version, with a header that has tagged fields: the header is read, and
/// the answer can be given.
#[test]
fn the_header_of_a_version_that_is_not_served_is_read() {
    let frame = request(ApiKey::ApiVersions, 9, b"\x05\x00whatever");
    let header = RequestHeader::decode(&mut Input::new(&frame)).unwrap();
    assert_eq!((header.api_key, header.api_version, header.correlation_id), (18, 9, 77));
    assert_eq!(header.supported(), None);
    assert_eq!(Supported::of(4), None, "LeaderAndIsr is not served");
}

/// The requests of the independent codec as text, from which the seeds of the fuzzer are made: `weir-fuzz` does not
/// depend on that codec.
#[test]
fn the_requests_that_the_fuzzer_begins_with_are_these() {
    let line = |api: &Supported, version| {
        let frame = request(api.key, version, &example(api.key, version));
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{:?}.{version} {hex}\n", api.key)
    };
    let lines: String = SUPPORTED.iter().flat_map(|api| (api.min..=api.max).map(move |at| line(api, at))).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/kafka/messages/tests/requests.txt");
    if std::env::var_os("WEIR_WRITE").is_some() {
        std::fs::write(path, &lines).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(kept == lines, "run this test with WEIR_WRITE=1, then `cargo run -p weir-fuzz -- seeds`");
}

/// A whole request: header and body.
pub(super) fn request(key: ApiKey, version: i16, body: &[u8]) -> Bytes {
    let api = theirs::ApiKey::try_from(key.number()).unwrap();
    let header = theirs::RequestHeader::default()
        .with_request_api_key(key.number())
        .with_request_api_version(version)
        .with_correlation_id(77)
        .with_client_id(Some(text("weir-test")));
    let mut frame = BytesMut::new();
    header.encode(&mut frame, api.request_header_version(version).min(2)).unwrap();
    frame.extend_from_slice(body);
    frame.freeze()
}

/// Checks both directions of one version, and gives the body of the request.
pub(super) fn example(key: ApiKey, version: i16) -> Bytes {
    match key {
        ApiKey::Produce => topics::produce(version),
        ApiKey::Fetch => topics::fetch(version),
        ApiKey::ListOffsets => topics::list_offsets(version),
        ApiKey::Metadata => topics::metadata(version),
        ApiKey::DescribeConfigs => topics::describe_configs(version),
        ApiKey::DescribeCluster => topics::describe_cluster(version),
        ApiKey::OffsetCommit => offsets::commit(version),
        ApiKey::OffsetFetch => offsets::fetch(version),
        ApiKey::OffsetDelete => offsets::delete(version),
        ApiKey::FindCoordinator => groups::find_coordinator(version),
        ApiKey::JoinGroup => groups::join(version),
        ApiKey::SyncGroup => groups::sync(version),
        ApiKey::Heartbeat => groups::heartbeat(version),
        ApiKey::LeaveGroup => groups::leave(version),
        ApiKey::DescribeGroups => groups::describe(version),
        ApiKey::ListGroups => groups::list(version),
        ApiKey::DeleteGroups => groups::delete(version),
        ApiKey::ApiVersions => admission::api_versions(version),
        ApiKey::SaslHandshake => admission::handshake(version),
        ApiKey::SaslAuthenticate => admission::authenticate(version),
    }
}

/// Both directions: `asked` must read as `expected`; what `answer` writes must read as `answered`.
fn agree<A>(
    key: ApiKey,
    version: i16,
    asked: impl Encodable,
    expected: Request,
    answer: impl FnOnce(&mut Output),
    answered: A,
) -> Bytes
where
    A: Decodable + PartialEq + Debug,
{
    let mut body = BytesMut::new();
    asked.encode(&mut body, version).unwrap_or_else(|error| panic!("{key:?} {version}: {error}"));
    let body = body.freeze();
    let mut input = Input::new(&body);
    assert_eq!(Request::decode(key, &mut input, version), Ok(expected), "{key:?} {version}");
    assert_eq!(input.remaining(), 0, "{key:?} {version}: a request is read to its end");

    let mut out = Output::new();
    answer(&mut out);
    let mut bytes = joined(out);
    let read = A::decode(&mut bytes, version).unwrap_or_else(|error| panic!("{key:?} {version}: {error}"));
    assert_eq!(read, answered, "{key:?} {version}");
    assert_eq!(bytes.len(), 0, "{key:?} {version}: a response is read to its end");
    body
}

fn joined(out: Output) -> Bytes {
    let length = out.len();
    let pieces = out.finish();
    assert_eq!(length, pieces.iter().map(Bytes::len).sum::<usize>());
    pieces.concat().into()
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

/// What a field has in a version that knows it; else the default.
fn when<T: Default>(known: bool, value: T) -> T {
    if known { value } else { T::default() }
}

/// The same of a field whose default is -1.
fn or_unknown(known: bool, value: i32) -> i32 {
    if known { value } else { -1 }
}

const NODE: BrokerId = BrokerId(0);
