//! What is pushed as a plain function over bytes, for fuzzers. Not part of the interface of this package.

use bytes::Bytes;
use weir_protocol::DeviceId;

use super::body;
use super::collectd::ValueList;
use super::line::{Line, Naming, Precision};
use super::write::read;
use crate::source::name::MAX_CHANNEL;

/// The most bytes that a body is unpacked to.
const MOST: usize = 64 << 10;

/// Takes any bytes as the body of a push, packed and not, of line protocol and of collectd.
pub fn push(bytes: &[u8]) {
    let Ok(device) = DeviceId::new("edge-1") else { return };
    let naming = Naming { device_tag: "host".to_owned(), device, tags: None };
    for encoding in [None, Some("gzip")] {
        let Ok(text) = body::text(Bytes::copy_from_slice(bytes), encoding, MOST) else { continue };
        assert!(text.len() <= MOST, "a body is bounded");
        for (at, precision) in [Precision::Nanoseconds, Precision::Hours].into_iter().enumerate() {
            let mut before = 0;
            for (number, line) in read(&text, &naming, precision) {
                assert!(number > before && number <= 1 + text.len(), "lines are counted, round {at}");
                before = number;
                check(line);
            }
        }
        for list in serde_json::from_str::<Vec<ValueList>>(&text).iter().flatten() {
            check(list.line(device));
        }
    }
}

fn check(line: Result<Line<'_>, String>) {
    match line {
        Ok(line) => {
            for (name, field) in &line.fields {
                assert!((1..=MAX_CHANNEL).contains(&name.len()), "{name:?}");
                let _ = field.as_ref().map(|field| field.value());
            }
        }
        Err(why) => assert!(!why.is_empty(), "a refusal says why"),
    }
}
