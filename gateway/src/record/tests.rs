//! The bytes of the records, against those of an independent encoder, and against hostile ones.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_protocol::batch::LossKind;
use weir_protocol::{
    AgentId, Channel, ChannelId, Clock, DeviceId, Items, Restart, SchemaHash, Sequence, Tenant, Timestamp,
    Value as Measured, ValueKind,
};

use super::dead_letter::{DeadSpan, Format};
use super::reading::{ChannelFields, Head, Origin, encode};
use super::*;

/// Made once with fastavro 1.12 from the schemas in `gateway/schemas`, with the Confluent prefix in front.
const BY_FASTAVRO: [&str; 9] = [
    "00000000010e64656661756c740a6e6f7274680a70726f6265263932323333373230333638353437373538313380401674656d70657261747572650643656c808991e288d2a3060202000000000080354000",
    "00000000010e64656661756c740a6e6f7274680a70726f626502310002740231010004dfc50801",
    "00000000010e64656661756c740a6e6f7274680a70726f626502310402740231000008086f70656e00",
    "00000000010e64656661756c740a6e6f7274680a70726f6265023106027402310000060100",
    "00000000020e64656661756c740a6e6f7274680a70726f626502371e756e6b6e6f776e2d686973746f727904000ac801808080808040000000",
    "00000000020e64656661756c740a6e6f7274680a70726f62650237187461696c2d756e6b6e6f776e00021800",
    "00000000020e64656661756c740a6e6f7274680a70726f626502370c64616d6167650206080000021072656164696e6773",
    "00000000030e64656661756c740a6e6f727468020a70726f62650237020401001e756e6b6e6f776e2d6368616e6e656c0242020600ff10",
    "00000000040e64656661756c740a6e6f7274680a70726f626510303063306666656504d8041674656d70657261747572650643656c000000803e080a73746174650231080000000000",
];

fn bytes(hex: &str) -> Vec<u8> {
    let (pairs, _) = hex.as_bytes().as_chunks::<2>();
    pairs.iter().map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn names() -> (Tenant, AgentId, DeviceId) {
    (Tenant::DEFAULT, AgentId::new("north").unwrap(), DeviceId::new("probe").unwrap())
}

/// The same nine values by the encoders here.
fn by_us() -> Vec<Vec<u8>> {
    let (tenant, agent, device) = names();
    let reading = |restart, sequence, (channel, unit), stamp, value, heals| {
        let head = Head::new(tenant, agent, device, Restart(restart));
        let mut out = Vec::new();
        encode(&mut out, &head, 1, Sequence(sequence), &ChannelFields::new(channel, unit), stamp, value, heals);
        out
    };
    let encoded = |encode: &dyn Fn(&mut Vec<u8>)| {
        let mut out = vec![7];
        encode(&mut out);
        out
    };
    let loss = |kind, ranges, from, of| Loss { tenant, agent, device, restart: Restart(7), kind, ranges, from, of };
    let single = |range| vec![range];
    let channel = |id, name, unit, kind, resolution| Channel { id: ChannelId(id), name, unit, kind, resolution };
    let uptime = (Timestamp(0), Clock::Uptime);
    let synchronised = (Timestamp(1_767_225_600_123_456), Clock::Synchronised);
    let (start, end) = (Sequence(1), Sequence(2));
    let letter = DeadLetter {
        tenant,
        agent,
        spans: vec![DeadSpan { device, restart: Restart(7), start, end, heals: true }],
        reason: "unknown-channel",
        position: Some(33),
        format: Format::Section,
        original: &[0, 0xff, 0x10],
    };
    let description = Description {
        tenant,
        agent,
        device,
        schema: SchemaHash(0x00c0_ffee),
        channels: vec![
            channel(300, "temperature", "Cel", ValueKind::Float, 0.25),
            channel(4, "state", "1", ValueKind::Text, 0.0),
        ],
    };
    vec![
        reading((1 << 63) + 5, 4096, ("temperature", "Cel"), synchronised, Measured::Double(21.5), false),
        reading(1, 0, ("t", "1"), (Timestamp(-1), Clock::Uptime), Measured::Integer(-70_000), true),
        reading(1, 2, ("t", "1"), uptime, Measured::Text("open"), false),
        reading(1, 3, ("t", "1"), uptime, Measured::Boolean(true), false),
        encoded(&|out| loss("unknown-history", vec![0..5, 100..1 << 40], None, None).encode(out)),
        encoded(&|out| loss("tail-unknown", Vec::new(), Some(Sequence(12)), None).encode(out)),
        encoded(&|out| loss("damage", single(3..4), None, Some("readings")).encode(out)),
        encoded(&|out| letter.encode(out)),
        encoded(&|out| description.encode(out)),
    ]
}

#[test]
fn every_record_has_the_bytes_of_an_independent_encoder() {
    for (ours, theirs) in by_us().iter().zip(BY_FASTAVRO) {
        assert_eq!(*ours, bytes(theirs));
    }
}

#[test]
fn a_decoded_record_is_the_json_object_of_its_schema() {
    let [reading, .., tail, damage, letter, description] = BY_FASTAVRO.map(bytes);
    let json = |value: &[u8]| serde_json::to_value(Value::decode(value).unwrap()).unwrap();
    assert_eq!(
        json(&reading),
        serde_json::json!({
            "tenant": "default", "agent": "north", "device": "probe", "restart": "9223372036854775813",
            "sequence": 4096, "channel": "temperature", "unit": "Cel", "time": 1_767_225_600_123_456_u64,
            "clock": "synchronised", "value": 21.5, "heals": false,
        })
    );
    assert_eq!(json(&tail)["from"], 12);
    assert_eq!(json(&damage)["of"], "readings");
    assert_eq!(json(&letter)["original"], "AP8Q");
    assert_eq!(json(&letter)["format"], "section");
    assert_eq!(json(&description)["schema"], "00c0ffee");
    assert_eq!(json(&description)["channels"][1]["kind"], "text");
}

#[test]
fn the_origin_of_a_reading_is_what_its_record_says_and_nothing_else_has_one() {
    for value in BY_FASTAVRO.map(bytes) {
        let origin = Origin::of(&value);
        let Ok(Value::Reading(reading)) = Value::decode(&value) else {
            assert_eq!(origin, None);
            continue;
        };
        let origin = origin.unwrap();
        assert_eq!(origin.device(), Ok((reading.tenant, reading.device)));
        assert_eq!(origin.channel, reading.channel.as_bytes());
        let head = |restart| Head::new(reading.tenant, reading.agent, reading.device, restart).bytes().to_vec();
        assert_eq!(origin.head, head(reading.restart), "what repeats is encoded and compared as one");
        assert_ne!(origin.head, head(Restart(reading.restart.0 + 1)));
    }
}

#[test]
fn a_float_keeps_its_own_digits_in_json() {
    let (tenant, agent, device) = names();
    let head = Head::new(tenant, agent, device, Restart(1));
    let (fields, stamp) = (ChannelFields::new("t", "Cel"), (Timestamp(0), Clock::Uptime));
    for measured in [21.7_f32, -22.344_93, 0.1, f32::MIN_POSITIVE, f32::MAX] {
        let mut out = Vec::new();
        encode(&mut out, &head, 1, Sequence(0), &fields, stamp, Measured::Float(measured), false);
        let json = serde_json::to_value(Value::decode(&out).unwrap()).unwrap();
        let printed: f64 = json["value"].to_string().parse().unwrap();
        assert_eq!(printed as f32, measured, "every bit comes back");
        assert_eq!(printed, measured.to_string().parse::<f64>().unwrap(), "and no digit is added");
    }
}

#[test]
fn every_schema_is_json_and_names_the_fields_of_its_record_in_order() {
    for (schema, example) in
        [Schema::Reading, Schema::Loss, Schema::DeadLetter, Schema::Description].iter().zip([0, 4, 7, 8])
    {
        let json: serde_json::Value = serde_json::from_str(schema.json()).unwrap();
        let value = bytes(BY_FASTAVRO[example]);
        let text = serde_json::to_string(&Value::decode(&value).unwrap()).unwrap();
        let mut at = 0;
        for field in json["fields"].as_array().unwrap() {
            let name = format!("{}:", field["name"]);
            at += text[at..].find(&name).unwrap_or_else(|| panic!("{name} behind byte {at} of {text}"));
        }
    }
}

/// A schema id means one schema for ever: consumers keep what they were given for it. A change takes a new id.
#[test]
fn the_schemas_of_version_1_never_change() {
    let checksums = Schema::ALL.map(|schema| crc32c::crc32c(schema.json().as_bytes()));
    assert_eq!(checksums, [2_698_042_129, 1_626_420_369, 1_427_882_457, 3_890_668_506]);
}

/// What a consumer finds in `weir.loss` is said where people look, also what came after the text of its schema.
#[test]
fn every_kind_of_loss_is_in_the_operator_s_table() {
    let table = include_str!("../../../deploy/gateway.md");
    let kinds = (0..u8::MAX).map_while(|place| Items::<LossKind>::new(&[place]).iter().next()?.ok());
    let names: Vec<_> = kinds.map(LossKind::as_str).chain([loss::TAIL_UNKNOWN]).collect();
    assert!(names.len() > 9, "{names:?}");
    for name in names {
        assert!(table.contains(&format!("\n| `{name}` |")), "deploy/gateway.md does not say what {name} is");
    }
}

#[test]
fn hostile_bytes_are_refused_and_never_believed_in_advance() {
    let mut random = StdRng::seed_from_u64(1);
    for value in BY_FASTAVRO.map(bytes) {
        for length in 0..value.len() {
            assert!(Value::decode(&value[..length]).is_err(), "cut at {length}");
        }
        for _ in 0..2000 {
            let mut flipped = value.clone();
            let at = random.random_range(0..flipped.len());
            flipped[at] = random.random();
            // Whatever it says, it neither panics nor asks for the memory that a length promises.
            let _ = Value::decode(&flipped);
            let _ = Origin::of(&flipped).map(|origin| origin.device());
        }
    }
    assert_eq!(Value::decode(b"\0\0\0\0\x09"), Err(Malformed::Schema { got: 9 }));
    assert_eq!(Value::decode(b"json"), Err(Malformed::NotFramed));
}
