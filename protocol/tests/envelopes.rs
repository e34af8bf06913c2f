//! Batches: what is queued is what is sent, the manifest names all of it, and damage is told apart.
#![cfg(feature = "std")]

use proptest::prelude::*;
use weir_protocol::batch::{Claim, Envelope, EnvelopeBuilder, EnvelopeError, LossKind, RunBuilder, Section, Span};
use weir_protocol::batch::{command, describe};
use weir_protocol::{
    Channel, ChannelId, Clock, DeviceId, Items, Reading, Restart, SchemaHash, Sequence, Timestamp, Value, ValueKind,
    items,
};

fn device(n: u8) -> DeviceId {
    DeviceId::new(&format!("device-{n}")).expect("a name")
}

/// A run of `count` readings, a quarter of a second apart.
fn run(n: u8, first: u64, count: u32) -> RunBuilder {
    let mut run = RunBuilder::new(device(n), Restart(5), SchemaHash(1), Sequence(first));
    for i in 0..i64::from(count) {
        run.push(&Reading {
            channel: ChannelId(i as u16 % 3),
            time: Timestamp(1_700_000_000_000_000 + i * 250_000),
            clock: Clock::Synchronised,
            value: Value::Double(i as f64 / 3.0),
        });
    }
    run
}

fn sample_batch(compress: bool) -> Vec<u8> {
    let mut builder = EnvelopeBuilder::new();
    builder.push(&run(1, 10, 90).section());
    builder.push(&run(1, 100, 5).section());
    let claim =
        Claim { device: device(2), restart: Restart(8), kind: LossKind::Ring, start: Sequence(0), end: Sequence(7) };
    builder.push(&Section::Claim(claim));
    builder.finish(compress)
}

#[test]
fn sections_come_out_as_they_went_in_and_neighbours_share_a_span() {
    for compress in [false, true] {
        let bytes = sample_batch(compress);
        let envelope = Envelope::open(&bytes).expect("readable");
        let spans: Vec<Span> = envelope.manifest().collect();
        assert_eq!(
            spans,
            [
                Span { device: device(1), restart: Restart(5), start: Sequence(10), end: Sequence(105) },
                Span { device: device(2), restart: Restart(8), start: Sequence(0), end: Sequence(7) },
            ]
        );
        let mut buffer = Vec::new();
        let sections: Vec<Section> =
            envelope.sections(&mut buffer).expect("good body").iter().collect::<Result<_, _>>().expect("all decode");
        let expected = run(1, 10, 90);
        assert_eq!(sections[0], expected.section());
        let Section::Readings(first) = sections[0] else { panic!("not readings") };
        let readings: Vec<_> = first.iter().collect::<Result<_, _>>().expect("all decode");
        assert_eq!(readings.len(), 90);
        assert_eq!(readings[4].0, Sequence(14));
        assert_eq!(readings[4].1.time, Timestamp(1_700_000_001_000_000));
        assert!(matches!(sections[2], Section::Claim(c) if c.kind == LossKind::Ring && c.end == Sequence(7)));
    }
}

#[test]
fn compression_pays_on_a_long_run() {
    assert!(sample_batch(true).len() < sample_batch(false).len());
}

#[test]
fn a_run_that_says_more_or_less_than_it_holds_ends_with_an_error() {
    let built = run(1, 0, 3);
    let Section::Readings(good) = built.section() else { panic!("not readings") };
    for count in [2, 4] {
        let wrong = weir_protocol::batch::ReadingRun { count, ..good };
        let results: Vec<_> = wrong.iter().collect();
        assert!(results.last().expect("some").is_err(), "count {count}");
        assert_eq!(results.iter().filter(|r| r.is_err()).count(), 1, "and stops there");
    }
}

proptest! {
    /// Damage in front makes the batch unreadable; damage behind leaves the manifest.
    #[test]
    fn a_flipped_bit_is_found_and_a_good_manifest_survives_a_bad_body(
        compress in any::<bool>(), at in any::<prop::sample::Index>(), bit in 0..8u8,
    ) {
        let good = sample_batch(compress);
        let manifest: Vec<Span> = Envelope::open(&good).expect("readable").manifest().collect();
        let mut bytes = good.clone();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        match Envelope::open(&bytes) {
            Err(EnvelopeError::Unreadable(_) | EnvelopeError::Version(_)) => {}
            Err(EnvelopeError::Body(why)) => prop_assert!(false, "open does not read the body: {why}"),
            Ok(envelope) => {
                prop_assert_eq!(envelope.manifest().collect::<Vec<_>>(), manifest);
                prop_assert!(envelope.sections(&mut Vec::new()).is_err());
            }
        }
    }

    #[test]
    fn random_bytes_never_panic_and_never_pass(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Envelope::open(&bytes).is_err());
        prop_assert!(describe::decode(&bytes).is_err());
        prop_assert!(command::decode(&bytes).is_err());
        for section in Items::<Section>::new(&bytes).iter() {
            if let Ok(Section::Readings(run)) = section {
                let _ = run.iter().count();
            }
        }
    }

    /// A body length of 4 GiB must not be believed.
    #[test]
    fn a_cut_batch_is_refused(keep in 0..600usize) {
        let good = sample_batch(false);
        let cut = &good[..keep.min(good.len() - 1)];
        prop_assert!(Envelope::open(cut).is_err() || Envelope::open(cut).is_ok_and(|e| e.sections(&mut Vec::new()).is_err()));
    }
}

#[test]
fn a_description_is_taken_only_if_its_hash_and_names_are_right() {
    let channel = |id, name| Channel { id: ChannelId(id), name, unit: "Cel", kind: ValueKind::Float, resolution: 0.01 };
    let payload = |channels: &[Channel], lie: u32| {
        let mut encoded = Vec::new();
        channels.iter().for_each(|c| items::push(&mut encoded, c));
        let channels = Items::new(&encoded);
        let schema = SchemaHash(SchemaHash::of(channels).0 ^ lie);
        describe::encode(&describe::Description { device: device(1), schema, channels })
    };
    let good = payload(&[channel(0, "temperature"), channel(1, "humidity")], 0);
    let decoded = describe::decode(&good).expect("good");
    assert_eq!(decoded.channels.iter().count(), 2);
    assert!(describe::decode(&payload(&[channel(0, "temperature")], 1)).is_err(), "a wrong hash");
    assert!(describe::decode(&payload(&[channel(0, "a"), channel(0, "b")], 0)).is_err(), "an id twice");
    assert!(describe::decode(&payload(&[channel(0, "a"), channel(1, "a")], 0)).is_err(), "a name twice");
}

#[test]
fn a_command_arrives() {
    let ask = command::AgentCommand::Describe { device: device(3), schema: SchemaHash(9) };
    assert_eq!(command::decode(&command::encode(&ask)), Ok(ask));
}
