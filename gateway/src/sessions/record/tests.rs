//! Version 1 as it is on disks. Never edited: another version is another number.

use bytes::Bytes;
use weir_protocol::Restart;

use super::*;
use crate::delivery::Position;
use crate::mqtt::packet::{Filter, Properties, QoS, RetainHandling};

fn key() -> Key {
    Key { tenant: Tenant::new("mill").expect("a name"), client: ClientId::new("pump/1").expect("a client id") }
}

fn positions() -> Positions {
    Positions::from_iter([Position { topic: "messages".into(), partition: 2, offset: 300 }])
}

fn subscription() -> Subscription {
    let filter = Filter {
        filter: "a/+".to_owned(),
        qos: QoS::AtLeastOnce,
        no_local: true,
        retain_as_published: false,
        retain_handling: RetainHandling::Never,
    };
    Subscription { filter, identifier: Some(9), since: positions() }
}

fn will() -> Will {
    Will {
        topic: Bytes::from_static(b"a/b"),
        payload: Bytes::from_static(b"gone"),
        qos: QoS::ExactlyOnce,
        retain: true,
        delay: 5,
        properties: Properties { expiry: Some(60), forwarded: Bytes::from_static(b"\x01\x01") },
    }
}

const CLIENT: &[u8] = b"\x00\x04mill\x00\x06pump/1";
const POSITIONS_1: &[u8] = b"\x00\x01\x00\x08messages\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x01\x2c";

/// Every kind: part, what its key has behind the client, its value, what it says.
fn pinned() -> Vec<(Part, Vec<u8>, Vec<u8>, Said)> {
    let session = SessionRecord { number: 0x0102, expiry: 3600, attached: true, clock_ms: 5000 };
    let history = History { restart: Restart(7), next: 8 };
    let number = b"\x01\x00\x00\x00\x00\x00\x00\x01\x02".as_slice();
    let rest = |rest: &[u8]| [number, rest].concat();
    let filter: Box<str> = "a/+".into();
    vec![
        (
            Part::Session,
            vec![],
            rest(b"\x00\x00\x0e\x10\x01\x00\x00\x00\x00\x00\x00\x13\x88"),
            Said::Session(Some(session)),
        ),
        (
            Part::Subscription(filter.clone()),
            b"\x00\x03a/+".to_vec(),
            [&rest(b"\x25\x00\x00\x00\x09")[..], POSITIONS_1].concat(),
            Said::Subscription(filter, Some((0x0102, subscription()))),
        ),
        (Part::Positions, vec![], rest(POSITIONS_1), Said::Positions(Some((0x0102, positions())))),
        (
            Part::History,
            vec![],
            b"\x01\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x08".to_vec(),
            Said::History(Some(history)),
        ),
        (
            Part::OpenId(260),
            b"\x01\x04".to_vec(),
            rest(b"\x00\x00\x00\x00\x00\x00\x00\x07"),
            Said::OpenId(260, Some((0x0102, 7))),
        ),
        (
            Part::Will,
            vec![],
            rest(
                b"\x02\x01\x00\x00\x00\x05\x01\x00\x00\x00\x3c\x00\x00\x00\x03a/b\x00\x00\x00\x02\x01\x01\x00\x00\x00\x04gone",
            ),
            Said::Will(Some((0x0102, will()))),
        ),
    ]
}

#[test]
fn version_1_is_what_it_was() {
    for (kind, (part, behind, pinned, said)) in (1u8..).zip(pinned()) {
        let pinned_key = [&[1, kind], CLIENT, &behind].concat();
        let (mut name, mut value) = (Vec::new(), Vec::new());
        encode_key(&key(), &part, &mut name);
        assert_eq!(name, pinned_key, "{part:?}");
        match &said {
            Said::Session(Some(session)) => session.encode(&mut value),
            Said::Subscription(_, Some((number, known))) => subscription::encode(*number, known, &mut value),
            Said::Positions(Some((number, known))) => positions::encode(*number, known, &mut value),
            Said::History(Some(history)) => history.encode(&mut value),
            Said::OpenId(_, Some((number, sequence))) => open_id::encode(*number, *sequence, &mut value),
            Said::Will(Some((number, known))) => will::encode(*number, known, &mut value),
            _ => unreachable!("each says something"),
        }
        assert_eq!(value, pinned, "{part:?}");
        assert_eq!(decode(&pinned_key, Some(&pinned)), Ok(Entry::Of(key(), said)));
    }
    let mut value = Vec::new();
    clock::encode(5000, &mut value);
    assert_eq!(value, b"\x01\x00\x00\x00\x00\x00\x00\x13\x88");
    assert_eq!(decode(b"\x01\x07", Some(&value)), Ok(Entry::Clock(Some(5000))));
}

#[test]
fn what_is_none_of_ours_is_refused_byte_by_byte() {
    for (kind, (part, behind, value, _)) in (1u8..).zip(pinned()) {
        let key = [&[1, kind], CLIENT, &behind].concat();
        assert!(decode(&key, None).is_ok());
        for end in 0..key.len() {
            assert!(decode(&key[..end], None).is_err(), "{part:?}, key of {end} bytes");
        }
        assert!(decode(&[&key[..], b"x"].concat(), None).is_err());
        for end in 0..value.len() {
            assert!(decode(&key, Some(&value[..end])).is_err(), "{part:?}, value of {end} bytes");
        }
        assert!(decode(&key, Some(&[&value[..], b"x"].concat())).is_err());
        let mut newer = value.clone();
        newer[0] = 2;
        assert_eq!(decode(&key, Some(&newer)), Err(Malformed::Version { got: 2, expected: 1 }));
    }
    assert_eq!(decode(b"\x02\x01", None), Err(Malformed::Version { got: 2, expected: 1 }));
    assert_eq!(decode(b"\x01\x08\x00\x01t\x00\x01c", None), Err(Malformed::Kind { got: 8 }));
    assert_eq!(decode(b"\x01\x01\x00\x01t\x00\x00", None), Err(Malformed::Field { field: "client" }));
}
