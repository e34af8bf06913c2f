use super::*;

/// A frame as a client sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut out = vec![first];
    match payload.len() {
        length @ 0..=125 => out.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

/// What comes out of bytes that are read `step` at a time.
fn read(bytes: &[u8], step: usize) -> Result<(Vec<u8>, Vec<Control>), Fault> {
    let mut incoming = Incoming::new();
    let (mut out, mut controls) = (Vec::new(), Vec::new());
    for chunk in bytes.chunks(step) {
        let mut chunk = chunk.to_vec();
        let (mut payload, mut seen) = (0, 0);
        while seen < chunk.len() {
            let taken = incoming.take(&mut chunk, payload, seen)?;
            (payload, seen) = (taken.payload, taken.seen);
            controls.extend(taken.control);
        }
        out.extend_from_slice(&chunk[..payload]);
    }
    Ok((out, controls))
}

/// The example of section 5.7.
#[test]
fn a_masked_hello_is_read() {
    let binary = [0x82, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(read(&binary, 100), Ok((b"Hello".to_vec(), vec![])));
    assert_eq!(frame(0x82, b"Hello"), binary);
}

#[test]
fn payload_is_the_same_however_frames_are_cut_and_whatever_is_between_them() {
    let long: Vec<u8> = (0..70_000u32).map(|n| n as u8).collect();
    let mut bytes = Vec::new();
    for part in [
        frame(0x82, b"first"),
        frame(0x02, b"sec"),
        frame(0x89, b"are you there"),
        frame(0x00, b""),
        frame(0x8a, b"unasked"),
        frame(0x80, b"ond"),
        frame(0x82, &long[..200]),
        frame(0x82, b""),
        frame(0x82, &long),
        frame(0x88, &[0x03, 0xe8, b'b', b'y', b'e']),
    ] {
        bytes.extend(part);
    }
    let expected: Vec<u8> = [b"firstsecond", &long[..200], &long].concat();
    let controls = vec![
        Control::Ping(Payload::new(b"are you there")),
        Control::Close(Payload::new(&[0x03, 0xe8, b'b', b'y', b'e'])),
    ];
    for step in [1, 2, 3, 7, 64, 1000, bytes.len()] {
        assert_eq!(read(&bytes, step), Ok((expected.clone(), controls.clone())), "{step} bytes at a time");
    }
}

#[test]
fn what_a_client_may_not_send_has_its_close_code() {
    let unmasked = vec![0x82, 0x05, b'H', b'e', b'l', b'l', b'o'];
    let wide = |length: u64| [&[0x82, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat();
    for (why, bytes, expected) in [
        ("not masked", unmasked, Fault::Protocol),
        ("a reserved bit", frame(0xc2, b"x"), Fault::Protocol),
        ("an unknown opcode", frame(0x83, b"x"), Fault::Protocol),
        ("a continuation of nothing", frame(0x80, b"x"), Fault::Protocol),
        ("a message within a message", [frame(0x02, b"x"), frame(0x82, b"y")].concat(), Fault::Protocol),
        ("text", frame(0x81, b"x"), Fault::Text),
        ("a ping of 126 bytes", frame(0x89, &[0; 126]), Fault::Protocol),
        ("a ping in pieces", frame(0x09, b"x"), Fault::Protocol),
        ("a close with half a code", frame(0x88, b"x"), Fault::Protocol),
        ("a length in more bytes than it takes", vec![0x82, 0xfe, 0, 5, 0, 0, 0, 0], Fault::Protocol),
        ("a wide length that is short", wide(0xffff), Fault::Protocol),
        ("too large", wide(u64::MAX), Fault::TooLarge),
        (
            "too large in the sum",
            [frame(0x02, b"x"), [&[0x80, 0xff][..], &(64u64 << 20).to_be_bytes(), &[0; 4]].concat()].concat(),
            Fault::TooLarge,
        ),
    ] {
        assert_eq!(read(&bytes, 1000), Err(expected), "{why}");
        assert_eq!(read(&bytes, 1), Err(expected), "{why}, byte by byte");
    }
    let codes = [Fault::Protocol, Fault::Text, Fault::TooLarge].map(Fault::code);
    assert_eq!(codes, [1002, 1003, 1009]);
}

#[test]
fn no_bytes_make_it_fail_otherwise() {
    let seed = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut random = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(seed);
    for _ in 0..20_000 {
        let mut bytes = vec![0; 64];
        rand::RngCore::fill_bytes(&mut random, &mut bytes);
        // Mostly frames that begin as they may.
        bytes[0] = [0x82, 0x02, 0x89, bytes[0]][usize::from(bytes[1] & 3)];
        bytes[1] |= 0x80;
        let whole = read(&bytes, 64);
        assert_eq!(whole, read(&bytes, 5), "WEIR_SEED={seed}");
    }
}
