//! The serial line: what is sent arrives, what is damaged is refused, and garbage never loses the next frame.
#![cfg(feature = "std")]

use proptest::prelude::*;
use weir_protocol::frame::{self, Decoder, FrameError, MAX_FRAME};
use weir_protocol::items;
use weir_protocol::serial::agent_to_device::{Command, Down};
use weir_protocol::serial::device_to_agent::{Held, Hello, Readings, Ring, Up};
use weir_protocol::{ChannelId, Clock, DeviceId, Items, Reading, Restart, SchemaHash, Sequence, Timestamp, Value};

/// Every message that `bytes` decode to, in order, and every refusal.
fn decode_all(bytes: &[u8]) -> Vec<Result<Vec<u8>, FrameError>> {
    let mut decoder = Decoder::<MAX_FRAME>::new();
    let mut input = bytes;
    let mut found = Vec::new();
    while let Some(frame) = decoder.feed(&mut input) {
        found.push(frame.map(<[u8]>::to_vec));
    }
    found
}

fn any_down() -> impl Strategy<Value = Down> {
    prop_oneof![
        (any::<u64>(), any::<u64>()).prop_map(|(r, s)| Down::Ack { restart: Restart(r), accepted: Sequence(s) }),
        (any::<u64>(), any::<u64>()).prop_map(|(r, s)| Down::Credit { restart: Restart(r), upto: Sequence(s) }),
        (any::<u64>(), any::<u64>()).prop_map(|(r, s)| Down::Resend { restart: Restart(r), from: Sequence(s) }),
        Just(Down::HelloRequest),
        any::<u32>().prop_map(|h| Down::DescribeRequest { schema: SchemaHash(h) }),
        any::<u64>().prop_map(|r| Down::AssignRestart { restart: Restart(r) }),
        (any::<u64>(), any::<i64>()).prop_map(|(sent, t)| Down::TimeSync { sent, time: Timestamp(t) }),
        (any::<u32>(), any::<u32>()).prop_map(|(id, interval_ms)| Down::Configure { id, interval_ms }),
        any::<u32>().prop_map(|id| Down::Command { id, command: Command::Sample }),
    ]
}

/// Values without NaN, which is equal to nothing.
fn any_value() -> impl Strategy<Value = (u8, f64, i64, bool, String)> {
    (0..5u8, -1e9..1e9f64, any::<i64>(), any::<bool>(), "[ -~]{0,40}")
}

fn value((kind, double, integer, boolean, text): &(u8, f64, i64, bool, String)) -> Value<'_> {
    match kind {
        0 => Value::Float(*double as f32),
        1 => Value::Double(*double),
        2 => Value::Integer(*integer),
        3 => Value::Boolean(*boolean),
        _ => Value::Text(text),
    }
}

proptest! {
    #[test]
    fn a_message_arrives_as_it_was_sent(down in any_down()) {
        let bytes = frame::to_vec(&down).expect("fits");
        let found = decode_all(&bytes);
        prop_assert_eq!(found.len(), 1);
        let message: Down = frame::message(found[0].as_ref().expect("good")).expect("known");
        prop_assert_eq!(message, down);
    }

    #[test]
    fn readings_arrive_in_order_with_every_bit(
        values in prop::collection::vec((any::<u16>(), any::<i64>(), any::<bool>(), any_value()), 0..8),
        (restart, base, first, next) in (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()),
    ) {
        let mut encoded = Vec::new();
        let sent: Vec<Reading> = values.iter().map(|(channel, time, synchronised, v)| Reading {
            channel: ChannelId(*channel),
            time: Timestamp(*time),
            clock: if *synchronised { Clock::Synchronised } else { Clock::Uptime },
            value: value(v),
        }).collect();
        for reading in &sent {
            items::push(&mut encoded, reading);
        }
        let up = Up::Readings(Readings {
            restart: Restart(restart), schema: SchemaHash(7), base: Sequence(base), next: Sequence(next),
            first: Sequence(first), readings: Items::new(&encoded),
        });
        let bytes = frame::to_vec(&up).expect("fits");
        let found = decode_all(&bytes);
        let Up::Readings(got) = frame::message(found[0].as_ref().expect("good")).expect("known") else { panic!("other message") };
        prop_assert_eq!((got.restart.0, got.base.0, got.first.0, got.next.0), (restart, base, first, next));
        let got: Vec<Reading> = got.readings.iter().collect::<Result<_, _>>().expect("all decode");
        prop_assert_eq!(got, sent);
    }

    /// One changed bit never passes for another message: it is refused, or it split or joined frames.
    #[test]
    fn a_flipped_bit_is_never_taken_for_a_message(down in any_down(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let mut bytes = frame::to_vec(&down).expect("fits");
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        bytes.push(0);
        for found in decode_all(&bytes) {
            prop_assert!(found.is_err(), "accepted {found:?}");
        }
    }

    #[test]
    fn after_any_garbage_and_a_zero_the_next_frame_is_found(
        garbage in prop::collection::vec(any::<u8>(), 0..4000), down in any_down(), cut in 1..7usize,
    ) {
        let mut bytes = garbage;
        bytes.push(0);
        bytes.extend(frame::to_vec(&down).expect("fits"));
        // However the bytes arrive.
        let mut decoder = Decoder::<MAX_FRAME>::new();
        let mut last = None;
        for mut chunk in bytes.chunks(cut) {
            while let Some(frame) = decoder.feed(&mut chunk) {
                last = frame.ok().map(<[u8]>::to_vec);
            }
        }
        let message: Down = frame::message(&last.expect("found")).expect("known");
        prop_assert_eq!(message, down);
    }

    #[test]
    fn random_bytes_as_a_message_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(Up::Readings(r)) = frame::message::<Up>(&bytes) {
            let _ = r.readings.iter().count();
        }
        let _ = frame::message::<Down>(&bytes);
    }
}

#[test]
fn a_hello_lists_what_is_held() {
    let held = [
        Held { restart: Restart::from_boot(1, 9), schema: SchemaHash(1), base: Sequence(4), next: Sequence(6) },
        Held { restart: Restart::from_boot(2, 3), schema: SchemaHash(1), base: Sequence(0), next: Sequence(0) },
    ];
    let mut encoded = Vec::new();
    held.iter().for_each(|h| items::push(&mut encoded, h));
    let device = DeviceId::new("porch-1").expect("a name");
    let hello = Up::Hello(Hello { device, schema: SchemaHash(1), ring: Ring::Durable, held: Items::new(&encoded) });
    let bytes = frame::to_vec(&hello).expect("fits");
    let found = decode_all(&bytes);
    let Up::Hello(got) = frame::message(found[0].as_ref().expect("good")).expect("known") else {
        panic!("other message")
    };
    assert_eq!(got.device, device);
    assert_eq!(got.held.iter().collect::<Result<Vec<_>, _>>().expect("all decode"), held);
}

#[test]
fn each_refusal_says_why() {
    let good = frame::to_vec(&Down::HelloRequest).expect("fits");
    let mut wrong_version = [9, 3, 0, 0, 0, 0];
    let crc = weir_protocol::checksum::crc32(&wrong_version[..2]);
    wrong_version[2..].copy_from_slice(&crc.to_le_bytes());
    let mut stuffed = [0; 16];
    let length = cobs::encode(&wrong_version, &mut stuffed);
    stuffed[length] = 0;

    assert_eq!(decode_all(&stuffed[..=length]), [Err(FrameError::BadVersion(9))]);
    assert_eq!(decode_all(&[1, 0]), [Err(FrameError::TooShort)]);
    assert_eq!(decode_all(&[200, 1, 0]), [Err(FrameError::BadStuffing)]);
    assert_eq!(decode_all(&[vec![1; MAX_FRAME + 1], vec![0]].concat()), [Err(FrameError::TooLong)]);
    assert_eq!(decode_all(&[&[0, 0], &good[..], &[0]].concat()).len(), 1, "idle zeros are no frames");
}
