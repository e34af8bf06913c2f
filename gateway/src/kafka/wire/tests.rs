//! Hostile lengths.

use super::{Input, MOST_ELEMENTS, Malformed};
use crate::kafka::messages::{ApiKey, Request, RequestHeader};

/// A Metadata request of version 1 whose 14 bytes claim 2^31 - 1 topics: a decoder that believes it asks for 60 GB.
#[test]
fn the_frame_of_fourteen_bytes_is_refused_before_anything_is_allocated() {
    let mut frame = vec![0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff];
    frame.extend(i32::MAX.to_be_bytes());
    assert_eq!(frame.len(), 14);
    let mut input = Input::new(&frame);
    let header = RequestHeader::decode(&mut input).unwrap();
    let refused = Request::decode(ApiKey::Metadata, &mut input, header.api_version);
    assert_eq!(refused, Err(Malformed::Array { elements: i32::MAX as usize, got: 0 }));
}

#[test]
fn all_arrays_of_a_request_share_one_bound() {
    let mut bytes = (MOST_ELEMENTS as i32).to_be_bytes().to_vec();
    bytes.resize(4 + MOST_ELEMENTS, 0);
    bytes.extend(1_i32.to_be_bytes());
    bytes.push(0);
    let mut input = Input::new(&bytes);
    assert_eq!(input.array(1, Input::i8).map(|array| array.len()), Ok(MOST_ELEMENTS));
    assert_eq!(input.array(1, Input::i8), Err(Malformed::Elements));
}

#[test]
fn varints_end_at_32_bits() {
    for (bytes, expected) in [
        (&[0x80, 0x80, 0x80, 0x80, 0x10][..], Malformed::Varint),
        (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00][..], Malformed::Varint),
        (&[0x80, 0x80][..], Malformed::Short { wanted: 1, got: 0 }),
        (&[0xff, 0xff, 0xff, 0xff, 0x0f][..], Malformed::Short { wanted: u32::MAX as usize - 1, got: 0 }),
    ] {
        let mut input = Input::new(bytes);
        input.set_flexible(true);
        assert_eq!(input.bytes(), Err(expected), "{bytes:x?}");
    }
}

#[test]
fn lengths_say_what_is_wrong_with_them() {
    assert_eq!(Input::new(&[0xff, 0xfe]).string(), Err(Malformed::Length(-2)));
    assert_eq!(Input::new(&[0xff, 0xff]).string(), Err(Malformed::Null));
    assert_eq!(Input::new(&[0, 1, 0xff]).string(), Err(Malformed::NotUtf8));
    assert_eq!(Input::new(&[0, 2, b'a']).string(), Err(Malformed::Short { wanted: 2, got: 1 }));
    let mut flexible = Input::new(&[0x81, 0x80, 0x02]);
    flexible.set_flexible(true);
    assert_eq!(flexible.string(), Err(Malformed::LongString(32_768)));
}
