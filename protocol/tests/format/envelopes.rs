//! What travels over MQTT: envelopes with every kind of section, descriptions, commands.

use weir_protocol::batch::command::{self, AgentCommand};
use weir_protocol::batch::describe::{self, Description};
use weir_protocol::batch::{
    Claim, Envelope, EnvelopeBuilder, Held, LossKind, Position, Refusal, RestartEnd, RunBuilder, Section, SetAside,
    Span, Summary,
};
use weir_protocol::{ChannelId, Clock, DeviceId, Items, Reading, Restart, SchemaHash, Sequence, Timestamp, Value};

use crate::Message;
use crate::serial::{channels, packed, readings};

const RESTART: Restart = Restart::from_boot(3, 0x89ab_cdef);

fn device() -> DeviceId {
    DeviceId::new("porch-1").expect("a name")
}

pub(crate) fn messages() -> Vec<Message> {
    let mut all = batches();
    all.push(description());
    all.push(question());
    all
}

fn batches() -> Vec<Message> {
    let mut run = RunBuilder::new(device(), RESTART, SchemaHash(0x1234_5678), Sequence(128));
    readings().iter().for_each(|reading| run.push(reading));
    let mut long = RunBuilder::new(device(), RESTART, SchemaHash(0x1234_5678), Sequence(0));
    for second in 0..200 {
        let value = Value::Float(20.0 + second as f32 / 8.0);
        let time = Timestamp(1_767_225_600_000_000 + second * 1_000_000);
        long.push(&Reading { channel: ChannelId(0), time, clock: Clock::Synchronised, value });
    }
    let claim = |kind, start, end| {
        Section::Claim(Claim { device: device(), restart: RESTART, kind, start: Sequence(start), end: Sequence(end) })
    };
    let claims = [
        claim(LossKind::Ring, 0, 10),
        claim(LossKind::Queue, 10, 20),
        claim(LossKind::UnknownHistory, 20, 21),
        claim(LossKind::Unaccounted, 21, 22),
        claim(LossKind::Damage, 300, 301),
        claim(LossKind::Rejected, 1 << 40, (1 << 40) + 1),
        claim(LossKind::Exported, 400, 500),
    ];
    let end = Section::End(RestartEnd { device: device(), restart: RESTART, from: Sequence(613) });
    let decided = [claim(LossKind::Reduced, 500, 600), claim(LossKind::Expired, 600, 612)];
    let mut means =
        RunBuilder::new(device(), Restart::from_agent(0x0102_0304_0506_0708), SchemaHash(0x0bad_cafe), Sequence(9));
    readings()[..2].iter().for_each(|reading| means.push(reading));
    let nothing = RunBuilder::new(device(), Restart::from_agent(1), SchemaHash(0), Sequence(0));
    let held =
        packed(&[Held { start: Sequence(100), end: Sequence(200) }, Held { start: Sequence(612), end: Sequence(613) }]);
    let position = |held| {
        let (from, upto) = (Sequence(7), Sequence(613));
        Section::Position(Position { device: device(), restart: RESTART, from, upto, held: Items::new(held) })
    };
    let refused =
        Section::SetAside(SetAside { refusal: Refusal::OutOfRange, expected: "-40 to 85 Cel", run: run.run() });
    vec![
        batch("batch.decided", &decided, false),
        batch("batch.summary", &[summary(&means, &held), summary(&nothing, &held)], false),
        batch("batch.set-aside", &[refused], false),
        batch("batch.empty", &[], false),
        batch("batch.readings", &[run.section()], false),
        batch("batch.claims", &claims, false),
        batch("batch.end", &[end], false),
        batch("batch.position", &[position(&held), position(&[])], false),
        batch("batch.every-section", &[run.section(), claims[0], end, position(&held)], false),
        Message { exact: false, ..batch("batch.zstd", &[long.section(), claims[6]], true) },
    ]
}

/// Readings of `instead` in the place of the sequences in `ranges`.
fn summary<'a>(instead: &'a RunBuilder, ranges: &'a [u8]) -> Section<'a> {
    Section::Summary(Summary { of: RESTART, ranges: Items::new(ranges), run: instead.run() })
}

fn batch(name: &'static str, sections: &[Section<'_>], compress: bool) -> Message {
    let mut builder = EnvelopeBuilder::new();
    sections.iter().for_each(|section| builder.push(section));
    let encoded = builder.finish(compress);
    assert_eq!(encoded[3] & 1 == 1, compress, "{name}");
    let said = read(&encoded);
    for section in sections {
        assert!(said.contains(&format!("{section:?}")), "{name} holds {section:?}");
    }
    Message { name, encoded, exact: true, said, read }
}

/// The manifest, the sections, and the readings within them.
fn read(bytes: &[u8]) -> String {
    let envelope = Envelope::open(bytes).expect("readable");
    let spans: Vec<Span> = envelope.manifest().collect();
    let mut buffer = Vec::new();
    let sections = envelope.sections(&mut buffer).expect("a good body");
    let mut said = format!("{spans:?}");
    for section in sections.iter() {
        let section = section.expect("a section");
        said += &format!("\n{section:?}");
        let run = match section {
            Section::Readings(run) => Some(run),
            Section::Summary(summary) => Some(summary.run),
            Section::SetAside(aside) => Some(aside.run),
            _ => None,
        };
        if let Some(run) = run {
            let readings: Vec<_> = run.iter().collect::<Result<_, _>>().expect("readings");
            said += &format!("\n{readings:?}");
        }
    }
    said
}

fn description() -> Message {
    let channels = channels();
    let items = Items::new(&channels);
    let description = Description { device: device(), schema: SchemaHash::of(items), channels: items };
    Message {
        name: "describe",
        encoded: describe::encode(&description),
        exact: true,
        said: format!("{description:?}"),
        read: |bytes| format!("{:?}", describe::decode(bytes).expect("a description")),
    }
}

fn question() -> Message {
    let ask = AgentCommand::Describe { device: device(), schema: SchemaHash(0xdead_beef) };
    Message {
        name: "command.describe",
        encoded: command::encode(&ask),
        exact: true,
        said: format!("{ask:?}"),
        read: |bytes| format!("{:?}", command::decode(bytes).expect("a command")),
    }
}
