//! A message of a broker as a plain function over bytes, for fuzzers. Not part of the interface of this package.

use super::filter;
use super::message::Subscription;
use super::payload::MAX_VALUES;
use super::settings::TopicConfig;
use crate::source::name::MAX_CHANNEL;

/// Takes any bytes as a topic in the first line and a payload in those behind it, of every one of these subscriptions.
pub fn message(topics: &[TopicConfig], bytes: &[u8]) {
    let line = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (topic, payload) = bytes.split_at(line);
    let topic = String::from_utf8_lossy(topic);
    let _ = filter::fault(&topic);
    for subscription in topics.iter().map(Subscription::of) {
        let _ = subscription.matches(&topic);
        match subscription.read(&topic, payload.get(1..).unwrap_or_default()) {
            Ok(understood) => {
                assert!(understood.values.len() <= MAX_VALUES, "{} values", understood.values.len());
                for (name, value) in &understood.values {
                    assert!((1..=MAX_CHANNEL).contains(&name.len()), "{name:?}");
                    let _ = value.value();
                }
            }
            Err(why) => assert!(!why.is_empty(), "a refusal says why"),
        }
    }
}
