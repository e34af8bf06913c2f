//! Frames of the serial line: every message of both directions, every kind of value, every outcome.

use weir_protocol::frame::{self, Decoder, MAX_FRAME};
use weir_protocol::serial::agent_to_device::{Command, Down};
use weir_protocol::serial::device_to_agent::{CommandResult, Describe, Held, Hello, Outcome, Readings, Ring, Up};
use weir_protocol::{
    Channel, ChannelId, Clock, DeviceId, Items, Reading, Restart, SchemaHash, Sequence, Timestamp, Value, ValueKind,
    items,
};

use crate::Message;

const BOOT: Restart = Restart::from_boot(3, 0x89ab_cdef);

pub(crate) fn messages() -> Vec<Message> {
    let mut all = up();
    all.extend(down());
    all
}

/// Values encoded back to back.
pub(crate) fn packed<T: serde::Serialize>(values: &[T]) -> Vec<u8> {
    let mut out = Vec::new();
    values.iter().for_each(|value| items::push(&mut out, value));
    out
}

/// A channel of each kind.
pub(crate) fn channels() -> Vec<u8> {
    let channel = |id, name, unit, kind, resolution| Channel { id: ChannelId(id), name, unit, kind, resolution };
    packed(&[
        channel(0, "temperature", "Cel", ValueKind::Float, 0.01),
        channel(1, "energy", "kW.h", ValueKind::Double, 0.0),
        channel(2, "count", "1", ValueKind::Integer, 1.0),
        channel(3, "door", "1", ValueKind::Boolean, 0.0),
        channel(300, "state", "1", ValueKind::Text, 0.0),
    ])
}

/// A reading of each kind and by each clock.
pub(crate) fn readings() -> [Reading<'static>; 5] {
    let reading =
        |channel, time, clock, value| Reading { channel: ChannelId(channel), time: Timestamp(time), clock, value };
    [
        reading(0, 1_767_225_600_123_456, Clock::Synchronised, Value::Float(21.5)),
        reading(1, 1_767_225_600_223_456, Clock::Synchronised, Value::Double(-0.1)),
        reading(2, 1_767_225_600_200_000, Clock::Synchronised, Value::Integer(-70_000)),
        reading(3, 12_000_000, Clock::Uptime, Value::Boolean(true)),
        reading(300, 12_250_000, Clock::Uptime, Value::Text("open")),
    ]
}

fn device() -> DeviceId {
    DeviceId::new("porch-1").expect("a name")
}

fn up() -> Vec<Message> {
    let channels = channels();
    let schema = SchemaHash::of(Items::new(&channels));
    let held = |restart, base, next| Held { restart, schema, base: Sequence(base), next: Sequence(next) };
    let held = packed(&[held(Restart::from_boot(2, 1), 500, 612), held(BOOT, 0, 0)]);
    let readings = packed(&readings());
    let run = |readings| Readings {
        restart: BOOT,
        schema,
        base: Sequence(7),
        next: Sequence(300),
        first: Sequence(128),
        readings: Items::new(readings),
    };
    let result = |outcome| Up::CommandResult(CommandResult { id: 77, outcome });
    let hello = |ring, held| Up::Hello(Hello { device: device(), schema, ring, held: Items::new(held) });
    let unbound = packed(&[Held { restart: Restart::UNBOUND, schema, base: Sequence(0), next: Sequence(4) }]);
    [
        ("up.hello.durable", hello(Ring::Durable, &held)),
        ("up.hello.volatile-unbound", hello(Ring::Volatile, &unbound)),
        ("up.describe", Up::Describe(Describe { schema, channels: Items::new(&channels) })),
        ("up.readings", Up::Readings(run(&readings))),
        ("up.readings.none", Up::Readings(run(&[]))),
        ("up.time-request", Up::TimeRequest { sent: 987_654_321 }),
        ("up.result.done", result(Outcome::Done)),
        ("up.result.unsupported", result(Outcome::Unsupported)),
        ("up.result.out-of-range", result(Outcome::OutOfRange)),
        ("up.result.failed", result(Outcome::Failed)),
    ]
    .map(|(name, message)| Message {
        name,
        encoded: frame::to_vec(&message).expect("fits"),
        exact: true,
        said: format!("{message:?}"),
        read: |bytes| read(bytes, |message| format!("{:?}", frame::message::<Up<'_>>(message).expect("a message"))),
    })
    .into()
}

fn down() -> Vec<Message> {
    let (restart, at) = (Restart::from_agent(0x0123_4567_89ab_cdef), Sequence(1 << 40));
    [
        ("down.ack", Down::Ack { restart: BOOT, accepted: Sequence(613) }),
        ("down.credit", Down::Credit { restart, upto: at }),
        ("down.resend", Down::Resend { restart, from: Sequence(0) }),
        ("down.hello-request", Down::HelloRequest),
        ("down.describe-request", Down::DescribeRequest { schema: SchemaHash(0xdead_beef) }),
        ("down.assign-restart", Down::AssignRestart { restart }),
        ("down.time-sync", Down::TimeSync { sent: 987_654_321, time: Timestamp(1_767_225_600_123_456) }),
        ("down.configure", Down::Configure { id: 78, interval_ms: 60_000 }),
        ("down.command.sample", Down::Command { id: 79, command: Command::Sample }),
        ("down.command.identify", Down::Command { id: 80, command: Command::Identify }),
        ("down.command.reboot", Down::Command { id: 81, command: Command::Reboot }),
    ]
    .map(|(name, message)| Message {
        name,
        encoded: frame::to_vec(&message).expect("fits"),
        exact: true,
        said: format!("{message:?}"),
        read: |bytes| read(bytes, |message| format!("{:?}", frame::message::<Down>(message).expect("a message"))),
    })
    .into()
}

/// The one frame in these bytes.
fn read(bytes: &[u8], message: impl Fn(&[u8]) -> String) -> String {
    let mut decoder = Decoder::<MAX_FRAME>::new();
    let mut input = bytes;
    let found = decoder.feed(&mut input).expect("a whole frame").expect("a good one");
    message(found)
}
