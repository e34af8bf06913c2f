//! Every value against the schema that is served for its topic, by a decoder that knows nothing but the schema.

use serde_json::{Value as Json, json};
use weir_protocol::{
    AgentId, Channel, ChannelId, Clock, DeviceId, Restart, SchemaHash, Sequence, Tenant, Timestamp, Value, ValueKind,
};

use super::*;
use crate::record::avro::Input;
use crate::record::dead_letter::{DeadSpan, Format};
use crate::record::reading::{ChannelFields, Head, encode};
use crate::record::{DeadLetter, Description, Loss, Schema};

/// Decodes what a schema describes.
fn decode(schema: &Json, input: &mut Input<'_>) -> Json {
    let field = "?";
    let kind = schema.as_str().or_else(|| schema["type"].as_str());
    match (schema, kind) {
        (Json::Array(branches), _) => decode(&branches[input.unsigned(field).unwrap() as usize], input),
        (_, Some("record")) => {
            let fields = schema["fields"].as_array().unwrap();
            fields
                .iter()
                .map(|field| (field["name"].as_str().unwrap().to_owned(), decode(&field["type"], input)))
                .collect()
        }
        (_, Some("array")) => {
            let items = input.array(field, |input| Ok(decode(&schema["items"], input)));
            items.unwrap().into()
        }
        (_, Some("enum")) => schema["symbols"][input.unsigned(field).unwrap() as usize].clone(),
        (_, Some("null")) => Json::Null,
        (_, Some("string")) => input.string(field).unwrap().into(),
        (_, Some("bytes")) => input.bytes(field).unwrap().into(),
        (_, Some("int" | "long")) => input.long(field).unwrap().into(),
        (_, Some("float")) => input.float(field).unwrap().into(),
        (_, Some("double")) => input.double(field).unwrap().into(),
        (_, Some("boolean")) => input.boolean(field).unwrap().into(),
        // A schema within a schema.
        _ => decode(&schema["type"], input),
    }
}

/// The value, decoded by the schema alone, which takes all of it.
fn by_schema(schema: &str, value: &[u8]) -> Json {
    let mut input = Input::new(&value[5..]);
    let decoded = decode(&serde_json::from_str(schema).unwrap(), &mut input);
    assert!(input.is_empty(), "{decoded} and more");
    decoded
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    out
}

#[test]
fn every_value_decodes_by_the_schema_of_its_id() {
    let (tenant, restart) = (Tenant::DEFAULT, Restart(u64::MAX));
    let (agent, device) = (AgentId::new("north").unwrap(), DeviceId::new("probe").unwrap());
    let values = [
        (Value::Float(0.5), json!(0.5)),
        (Value::Double(-1.25), json!(-1.25)),
        (Value::Integer(i64::MIN), json!(i64::MIN)),
        (Value::Boolean(true), json!(true)),
        (Value::Text("open"), json!("open")),
    ];
    for (value, expected) in values {
        let head = Head::new(tenant, agent, device, restart);
        let (fields, stamp) = (ChannelFields::new("door", "1"), (Timestamp(-7), Clock::Synchronised));
        let bytes = encoded(|out| encode(out, &head, 1, Sequence(3), &fields, stamp, value, true));
        for schema in [Schema::Reading.json().to_owned(), generated::of_topic("doors")] {
            let decoded = by_schema(&schema, &bytes);
            assert_eq!(decoded["value"], expected);
            assert_eq!(decoded["restart"], u64::MAX.to_string());
            assert_eq!((&decoded["clock"], &decoded["time"]), (&json!("synchronised"), &json!(-7)));
            assert_eq!(decoded["heals"], true);
        }
    }

    let loss =
        Loss { tenant, agent, device, restart, kind: "ring", ranges: vec![1..5, 7..8], from: None, of: Some("x") };
    let decoded = by_schema(Schema::Loss.json(), &encoded(|out| loss.encode(out)));
    assert_eq!(
        (&decoded["ranges"], &decoded["of"]),
        (&json!([{"start": 1, "end": 5}, {"start": 7, "end": 8}]), &json!("x"))
    );

    let (start, end) = (Sequence(1), Sequence(2));
    let spans = vec![DeadSpan { device, restart, start, end, heals: false }];
    let (reason, position, format) = ("not-finite", Some(9), Format::Section);
    let letter = DeadLetter { tenant, agent, spans, reason, position, format, original: &[0, 255] };
    let decoded = by_schema(Schema::DeadLetter.json(), &encoded(|out| letter.encode(out)));
    assert_eq!((&decoded["format"], &decoded["original"]), (&json!("section"), &json!([0, 255])));
    assert_eq!((&decoded["position"], &decoded["spans"][0]["end"]), (&json!(9), &json!(2)));

    let (id, kind) = (ChannelId(300), ValueKind::Text);
    let channels = vec![Channel { id, name: "door", unit: "1", kind, resolution: 0.25 }];
    let description = Description { tenant, agent, device, schema: SchemaHash(1), channels };
    let decoded = by_schema(Schema::Description.json(), &encoded(|out| description.encode(out)));
    assert_eq!((&decoded["channels"][0]["kind"], &decoded["channels"][0]["id"]), (&json!("text"), &json!(300)));
}
