//! The schema of a topic that routes made: that of a reading under a name of its own.
//!
//! What it guarantees: the same topic name gives the same bytes in every build, two names give two record names, and
//! the fields are those of `gateway/schemas/reading.avsc` in their order, so that a reading is encoded alike in all
//! topics. The text names the topic and not its rules, because rules change and a schema must not.

use crate::record::{SUMMARY_JSON, Schema};

/// What the text of a reading's schema says of its record alone.
const NAME: &str = "\"Reading\"";
const DOC: &str =
    "One sample, kept. Its identity is (tenant, device, restart, sequence). The record's key is the device.";

/// The schema of readings in `topic`, as JSON.
pub fn of_topic(topic: &str) -> String {
    named(Schema::Reading.json(), topic)
}

/// The schema of readings in `topic` that stand for others, as JSON.
pub fn of_summaries(topic: &str) -> String {
    named(SUMMARY_JSON, topic)
}

fn named(json: &str, topic: &str) -> String {
    let name = format!("\"{}\"", record_name(topic));
    let doc = format!(
        "One sample, kept, that a route of the gateway's settings sends to the topic {topic}. \
         Its identity is (tenant, device, restart, sequence). The record's key begins with the device."
    );
    json.replacen(NAME, &name, 1).replacen(DOC, &doc, 1)
}

/// A name that Avro allows and that no other topic has: what is neither letter nor digit is written as `_` and two
/// hexadecimal digits, `_` itself as `__`.
pub fn record_name(topic: &str) -> String {
    let mut name = String::from("Reading_");
    for byte in topic.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => name.push(char::from(byte)),
            b'_' => name.push_str("__"),
            other => name.push_str(&format!("_{other:02x}")),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schemas::canonical;

    #[test]
    fn every_topic_has_a_record_name_of_its_own_that_avro_allows() {
        let topics = ["vibration", "a.b", "a-b", "a_b", "a__b", "a_2db", "a-2d", "Clock", "0", "_", "."];
        let mut names: Vec<_> = topics.map(record_name).to_vec();
        for name in &names {
            assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{name}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), topics.len());
    }

    #[test]
    fn it_is_the_schema_of_a_reading_but_for_its_name() {
        let canonical = |json: &str| canonical::of(&serde_json::from_str(json).unwrap()).to_string();
        let (generated, reading) = (canonical(&of_topic("vibration")), canonical(Schema::Reading.json()));
        assert!(of_topic("vibration").contains("to the topic vibration."));
        let renamed = generated.replace("weir.Reading_vibration", "weir.Reading");
        assert_eq!(renamed, reading);
        let generated = canonical(&of_summaries("vibration"));
        assert_eq!(generated.replace("weir.Reading_vibration", "weir.Reading"), canonical(SUMMARY_JSON));
    }

    /// Ids of routed topics are durable, and so is what they mean.
    #[test]
    fn its_bytes_never_change() {
        assert_eq!(crc32c::crc32c(of_topic("vibration").as_bytes()), 2_008_966_605);
    }
}
