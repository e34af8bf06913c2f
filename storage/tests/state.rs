//! The state file: the old payload or the new one, whatever happens, and never a guess.

mod common;

use common::dir;
use std::path::PathBuf;
use std::sync::Arc;
use weir_storage::fs::Fault;
use weir_storage::{FaultyFs, Fs, Loaded, Mode, StateFile, durable};

fn path() -> PathBuf {
    dir().join("cursor")
}

fn state(fs: &FaultyFs) -> StateFile {
    durable::create_dir_all(fs, dir()).expect("a directory");
    StateFile::new(Arc::new(fs.clone()), &path())
}

#[test]
fn missing_good_and_damaged_are_three_answers() {
    let fs = FaultyFs::new(1);
    let cursor = state(&fs);
    assert_eq!(cursor.load().unwrap(), Loaded::Missing);
    cursor.replace(b"").unwrap();
    assert_eq!(cursor.load().unwrap(), Loaded::Good(Vec::new()));
    cursor.replace(b"offset 7").unwrap();
    assert_eq!(cursor.load().unwrap(), Loaded::Good(b"offset 7".to_vec()));
    let fs = fs.power_cut();
    assert_eq!(state(&fs).load().unwrap(), Loaded::Good(b"offset 7".to_vec()));

    for byte in (0..24).filter(|byte| !(6..8).contains(byte)) {
        let fs = fs.power_cut();
        assert!(fs.flip_bit(&path(), byte, 5));
        let Loaded::Damaged { reason } = state(&fs).load().unwrap() else { panic!("byte {byte} flipped unseen") };
        assert!(reason.starts_with("got ") && reason.contains("expected"), "{reason}");
    }
    for bytes in 0..24 {
        let fs = fs.power_cut();
        fs.open(&path(), Mode::ReadWrite).unwrap().set_len(bytes).unwrap();
        assert!(matches!(state(&fs).load().unwrap(), Loaded::Damaged { .. }), "{bytes} bytes left");
    }
}

#[test]
fn power_may_fail_at_any_operation_of_a_replace() {
    for seed in 0..20 {
        for operation in 0.. {
            let fs = FaultyFs::new(seed);
            let cursor = state(&fs);
            cursor.replace(b"old").unwrap();
            fs.fail_power_after(operation);
            let replaced = cursor.replace(b"new");
            let loaded = state(&fs.power_cut()).load().unwrap();
            let new = Loaded::Good(b"new".to_vec());
            if replaced.is_ok() {
                assert_eq!(loaded, new, "seed {seed}, power failed at operation {operation}");
                break;
            }
            assert!(loaded == new || loaded == Loaded::Good(b"old".to_vec()), "seed {seed}, {operation}: {loaded:?}");
        }
    }
}

#[test]
fn a_replace_that_fails_leaves_the_old_payload_and_the_next_one_works() {
    for fault in [Fault::Name, Fault::Write, Fault::Sync, Fault::SetLen] {
        let fs = FaultyFs::new(1);
        let cursor = state(&fs);
        cursor.replace(b"old").unwrap();
        fs.fail_once(fault);
        let error = cursor.replace(b"new").unwrap_err();
        assert!(error.to_string().contains("/log/cursor"), "{error}");
        assert_eq!(cursor.load().unwrap(), Loaded::Good(b"old".to_vec()), "{fault:?}");
        cursor.replace(b"new").unwrap();
        assert_eq!(state(&fs.power_cut()).load().unwrap(), Loaded::Good(b"new".to_vec()), "{fault:?}");
    }
}

#[test]
fn a_full_disk_still_takes_the_cursor_that_makes_room() {
    let fs = FaultyFs::new(1);
    let cursor = state(&fs);
    cursor.replace(b"0").unwrap();
    // Somebody else has taken every block that is left; what the reserve gives back is all there is.
    let used = 1 << 20;
    fs.set_capacity(Some(used));
    let hog = fs.open(&dir().join("hog"), Mode::CreateNew).unwrap();
    hog.write_at(&vec![0; used as usize], 0).unwrap_err();
    assert_eq!(fs.used_bytes(), used);
    for round in 1..50u64 {
        cursor.replace(&round.to_be_bytes()).unwrap();
        assert_eq!(state(&fs).load().unwrap(), Loaded::Good(round.to_be_bytes().to_vec()));
    }
}
