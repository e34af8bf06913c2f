//! The bytes of version 1, and files that are not to be believed.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_protocol::{Channel, ChannelId, DeviceId, Restart, SchemaHash, Tenant, ValueKind};

use super::super::buried::Remains;
use super::super::channels::Channels;
use super::super::log_state::{LogState, Sequences};
use super::super::settled::Settled;
use super::*;

/// A file of version 1, which every later build reads: change nothing here.
const VERSION_1: &str = "\
    57524e4700010000000000020000000000000040000000000000000700000199c82cc0000000000000000079\
    010080ecc7e49833014080a3d7bf9c33\
    020764656661756c740570726f626502000000000000000100020010100880000000000000000305010001\
    030764656661756c740570726f62650100c0ffee010007003f0000000b74656d70657261747572650343656c\
    0402000000000000000000000000deadbeef\
    b1931367";

fn state() -> LogState {
    let device = (Tenant::DEFAULT, DeviceId::new("probe").unwrap());
    let mut state = LogState::default();
    for range in [0..16, 32..40] {
        state.insert(device, Restart(1), range);
    }
    let ended = Sequences { ended: true, floor: 5, ranges: std::iter::once(0..1).collect(), ..Sequences::default() };
    *state.sequences(device, Restart(1 << 63)) = ended;
    let channel =
        Channel { id: ChannelId(7), name: "temperature", unit: "Cel", kind: ValueKind::Float, resolution: 0.5 };
    let schemas = &mut state.devices.get_mut(&device).unwrap().schemas;
    schemas.insert(SchemaHash(0x00c0_ffee), Channels::new(&[channel]).into());
    state.buried.insert(Remains::from_hash(0));
    state.buried.insert(Remains::from_hash(0xdead_beef));
    state
}

fn head_of_readings() -> Head {
    Head { schema_id: 1, partition: 2, offset: 64, losses: vec![(2, 7)], ends: None, written_ms: 1_760_000_000_000 }
}

fn file() -> Vec<u8> {
    encode(&head_of_readings(), [(0, 1_759_000_000_000), (64, 1_759_996_400_000)], &Body::of(&state()).finish())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_bytes_of_version_1_never_change() {
    assert_eq!(hex(&file()), VERSION_1);
}

/// A file of version 2, which every later build reads: change nothing here.
const VERSION_2: &str = "\
    57524e47000200000000006400000002000000000000004000000199c82cc000000000000000001c\
    000200000000000000000000000700000001000000000000\
    00090002000000010000000000000000000000050000006400000002000000000000\
    0040020764656661756c740570726f6265010000000000000001\
    04010028\
    37cb97b8";

#[test]
fn the_bytes_of_version_2_never_change() {
    let device = (Tenant::DEFAULT, DeviceId::new("probe").unwrap());
    let mut state = LogState::default();
    let ranges = std::iter::once(0..40).collect();
    *state.sequences(device, Restart(1)) = Sequences { ranges, is_coarse: true, ..Sequences::default() };
    let ends = Some(vec![(1, 0, 5), (100, 2, 64)]);
    let losses = vec![(0, 7), (1, 9)];
    let head = Head { schema_id: 100, partition: 2, offset: 64, losses, ends, written_ms: 1_760_000_000_000 };
    let file = encode(&head, [], &Body::of(&state).finish());
    assert_eq!(hex(&file), VERSION_2);
    let (found, body) = verified(&file).unwrap();
    assert_eq!(found, head);
    assert!(decode_state(body).unwrap().1.of(device, Restart(1)).unwrap().is_coarse);
    for position in 0..file.len() {
        let mut flipped = file.clone();
        flipped[position] ^= 1;
        assert!(verified(&flipped).is_err() && verified(&file[..position]).is_err(), "byte {position}");
    }
}

#[test]
fn what_was_written_is_read_back() {
    let file = file();
    let (head, body) = verified(&file).unwrap();
    assert_eq!((head.schema_id, head.partition, head.offset), (1, 2, 64));
    assert_eq!((&head.losses[..], head.written_ms), (&[(2, 7)][..], 1_760_000_000_000));
    let (closed, found) = decode_state(body).unwrap();
    assert_eq!(closed, [(0, 1_759_000_000_000), (64, 1_759_996_400_000)]);
    let said = state();
    for (device, records) in &said.devices {
        assert_eq!(found.devices[device].restarts, records.restarts);
        let channels = |state: &LogState| {
            let schema = &state.devices[device].schemas.get(SchemaHash(0x00c0_ffee)).unwrap();
            schema.iter().map(|channel| format!("{channel:?}")).collect::<Vec<_>>()
        };
        assert_eq!(channels(&found), channels(&said));
    }
    assert_eq!(found.buried.iter().collect::<Vec<_>>(), [0, 0xdead_beef]);
}

#[test]
fn no_flipped_bit_is_believed() {
    let file = file();
    for position in 0..file.len() {
        for bit in 0..8 {
            let mut flipped = file.clone();
            flipped[position] ^= 1 << bit;
            assert!(verified(&flipped).is_err(), "bit {bit} of byte {position}");
        }
        assert!(verified(&file[..position]).is_err(), "cut at {position}");
    }
}

#[test]
fn a_body_that_contradicts_itself_is_refused_and_asks_for_no_memory_in_advance() {
    let good = Body::of(&state()).finish();
    let mut random = StdRng::seed_from_u64(1);
    for length in 1..good.len() {
        // A cut between two entries is a shorter list.
        let _ = decode_state(&good[..length]);
    }
    for _ in 0..20_000 {
        let mut flipped = good.clone();
        let at = random.random_range(0..flipped.len());
        flipped[at] = random.random();
        let _ = decode_state(&flipped);
    }
    // 2^63 ranges, and none there.
    let mut many = Body::default();
    many.restart_of(Restart(1), &std::iter::once(0..1).collect(), false, (0, false));
    many.end_device((Tenant::DEFAULT, DeviceId::new("probe").unwrap()));
    let mut many = many.finish();
    many.truncate(many.len() - 3);
    many.extend_from_slice(&[0xff; 9]);
    many.push(0x7f);
    assert!(decode_state(&many).is_err());
    assert!(decode_state(&[9]).is_err());
}

/// A file of version 2, which every later build reads: change nothing here.
const DESCRIPTIONS_2: &str = "\
    57524e47000200000000000400000001000000000000000200000199c82cc000000000000000003200000000\
    050764656661756c740570726f6265\
    0200000009010007003f00000001740343656c00000004010007013f0000000174014bb1fbccca";

/// The schemas of a device in an order that is not that of their hashes.
fn descriptions() -> LogState {
    let device = (Tenant::DEFAULT, DeviceId::new("probe").unwrap());
    let mut state = LogState::default();
    let schemas = &mut state.devices.entry(device).or_default().schemas;
    for (hash, unit, kind) in [(9, "Cel", ValueKind::Float), (4, "K", ValueKind::Double)] {
        let channel = Channel { id: ChannelId(7), name: "t", unit, kind, resolution: 0.5 };
        schemas.insert(SchemaHash(hash), Channels::new(&[channel]).into());
    }
    state
}

#[test]
fn the_order_of_descriptions_has_the_bytes_of_version_2() {
    let head =
        Head { schema_id: 4, partition: 1, offset: 2, losses: Vec::new(), ends: None, written_ms: 1_760_000_000_000 };
    let file = encode(&head, [], &Body::of(&descriptions()).finish());
    assert_eq!(hex(&file), DESCRIPTIONS_2);
    let (found, body) = verified(&file).unwrap();
    assert_eq!(found, head);
    let (_, state) = decode_state(body).unwrap();
    assert!(!state.is_unordered);
    let order: Vec<_> =
        state.devices.values().flat_map(|records| records.schemas.iter()).map(|(hash, _)| hash.0).collect();
    assert_eq!(order, [9, 4]);
}

/// What was left out, exactly and roughly; change nothing here.
const LEFT_OUT_2: &str = "\
    57524e47000200000000000200000001000000000000004000000199c82cc000000000000000004c0000\
    0002000000010000000000000000000000050000000200000001000000000000004002\
    0764656661756c740570726f6265010000000000000001000103010707\
    64656661756c740570726f626502000000000000000100040200030201\
    000000000000000204ac020200d804640217e3fe0a";

/// Behind the sequences of a device stands what was left out of them, exactly or roughly.
#[test]
fn what_was_left_out_has_the_bytes_of_version_2() {
    let device = (Tenant::DEFAULT, DeviceId::new("probe").unwrap());
    let mut state = LogState::default();
    state.insert(device, Restart(1), 3..4);
    for (restart, count, is_coarse) in [(1, 4, false), (2, 300, true)] {
        let ranges = if is_coarse { [0..600, 700..702] } else { [0..3, 5..6] };
        let settled = Settled::said(ranges.into_iter().collect(), count, is_coarse).unwrap();
        state.sequences(device, Restart(restart)).settled = settled;
    }
    let body = Body::of(&state);
    assert!(body.names_ends());
    let ends = Some(vec![(1, 0, 5), (2, 1, 64)]);
    let head = Head { schema_id: 2, partition: 1, offset: 64, losses: Vec::new(), ends, written_ms: 1_760_000_000_000 };
    let file = encode(&head, [], &body.finish());
    assert_eq!(hex(&file), LEFT_OUT_2);
    let (found, body) = verified(&file).unwrap();
    assert_eq!(found, head);
    let (_, read) = decode_state(body).unwrap();
    assert_eq!(read.devices[&device].restarts, state.devices[&device].restarts);
}

/// Sequences that take turns, in three blocks of which two look the same; change nothing here.
#[test]
fn pages_have_the_bytes_of_version_2() {
    let device = (Tenant::DEFAULT, DeviceId::new("probe").unwrap());
    let mut state = LogState::default();
    let turns = |range: std::ops::Range<u64>| range.step_by(2).map(|at| at..at + 1);
    let ranges = std::iter::once(0..4000).chain(turns(4096..12288)).chain(turns(16385..20480)).collect();
    state.sequences(device, Restart(1)).ranges = ranges;
    let body = Body::of(&state);
    let head = Head { ends: body.beside(None), ..head_of_readings() };
    let body = body.finish();
    let pages = [format!("0100{}", "55".repeat(512)), "0001".to_owned(), format!("0100{}", "aa".repeat(512))];
    let said = "020764656661756c740570726f62650100000000000000010801".to_owned() + "00a01f" + "03";
    assert_eq!(hex(&body), said + &pages.concat());
    let file = encode(&head, [], &body);
    assert_eq!(file[4..6], [0, 2], "version 1 has no words for it");
    let (_, read) = decode_state(verified(&file).unwrap().1).unwrap();
    assert_eq!(read.devices[&device].restarts, state.devices[&device].restarts);
    // A page that is not there, and one behind the last number.
    let (mut back, mut far) = (body.clone(), body[..body.len() - 1031].to_vec());
    back[body.len() - 515] = 2;
    far.extend([&[1][..], &[0xff; 9], &[1, 0], &[0x55; 512]].concat());
    for (wrong, expected) in [(back, "got page 2 back, expected one of 1"), (far, "a page beyond 2^64")] {
        assert_eq!(decode_state(&wrong).unwrap_err(), expected);
    }
}

/// Behind the schemas of a device stands whose it is; change nothing here.
#[test]
fn an_owner_has_the_bytes_of_version_2() {
    let mut state = descriptions();
    let owner = weir_protocol::AgentId::new("edge-1").unwrap();
    state.devices.values_mut().for_each(|records| records.owner = Some(owner));
    let body = Body::of(&state).finish();
    let behind = Body::of(&descriptions()).finish().len();
    assert_eq!(hex(&body[behind..]), "060764656661756c740570726f626506656467652d31");
    let read = |state: &LogState| decode_state(&Body::of(state).finish()).unwrap().1;
    assert!(read(&state).devices.values().all(|records| records.owner == Some(owner)));
    assert!(!read(&state).is_unowned && read(&descriptions()).is_unowned, "an earlier build's is read from the log");
}
