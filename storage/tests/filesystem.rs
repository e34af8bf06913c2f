//! The filesystem seam: the real and the faulty one agree as long as nothing fails, and the faulty one fails
//! the way it says.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

use std::io::ErrorKind;
use std::path::Path;
use weir_storage::fs::Fault;
use weir_storage::{FaultyFs, File, Fs, Mode, RealFs};

fn content(fs: &dyn Fs, path: &Path) -> Vec<u8> {
    let file = fs.open(path, Mode::Read).unwrap();
    let mut bytes = vec![0; file.size().unwrap() as usize];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

/// What every implementation does while nothing fails.
fn contract(fs: &dyn Fs, root: &Path) {
    let (dir, name, other) = (root.join("dir"), root.join("dir/name"), root.join("dir/other"));
    assert_eq!(fs.open(&name, Mode::Create).err().unwrap().kind(), ErrorKind::NotFound);
    fs.create_dir(&dir).unwrap();
    assert_eq!(fs.create_dir(&dir).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs.open(&name, Mode::Read).err().unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(fs.open(&name, Mode::ReadWrite).err().unwrap().kind(), ErrorKind::NotFound);

    let file = fs.open(&name, Mode::CreateNew).unwrap();
    assert_eq!(fs.open(&name, Mode::CreateNew).err().unwrap().kind(), ErrorKind::AlreadyExists);
    file.write_at(b"behind", 5).unwrap();
    file.write_at(b"front", 0).unwrap();
    assert_eq!(content(fs, &name), b"frontbehind");
    file.sync_data().unwrap();
    fs.sync_dir(&dir).unwrap();
    file.set_len(3).unwrap();
    file.set_len(5).unwrap();
    assert_eq!(content(fs, &name), b"fro\0\0");
    assert_eq!(file.read_at(&mut [0; 9], 5).unwrap(), 0);
    file.sync_data().unwrap();
    assert!(file.allocated().unwrap() >= 512);
    file.forget_cache().unwrap();
    assert_eq!(content(fs, &name), b"fro\0\0");

    let second = fs.open(&name, Mode::ReadWrite).unwrap();
    assert!(file.try_lock().unwrap());
    assert!(!second.try_lock().unwrap());
    drop(file);
    assert!(second.try_lock().unwrap());

    fs.open(&other, Mode::Create).unwrap();
    let mut names = fs.list(&dir).unwrap();
    names.sort();
    assert_eq!(names, ["name", "other"]);
    fs.rename(&name, &other).unwrap();
    assert_eq!(content(fs, &other), b"fro\0\0");
    assert!(!fs.exists(&name).unwrap() && fs.exists(&other).unwrap());
    fs.remove(&other).unwrap();
    assert_eq!(fs.remove(&other).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(second.size().unwrap(), 5, "still open");
    assert!(fs.list(&dir).unwrap().is_empty());
}

#[test]
fn the_real_and_the_faulty_filesystem_agree_while_nothing_fails() {
    let temporary = tempfile::tempdir().unwrap();
    contract(&RealFs, temporary.path());
    contract(&FaultyFs::new(1), Path::new("/"));
}

/// Runs a story per seed and returns which outcomes occurred.
fn outcomes<T: Ord>(story: impl Fn(FaultyFs) -> T) -> std::collections::BTreeSet<T> {
    (0..64).map(|seed| story(FaultyFs::new(seed))).collect()
}

fn created(fs: &FaultyFs, synced: bool) -> Box<dyn File> {
    let file = fs.open(Path::new("/f"), Mode::CreateNew).unwrap();
    if synced {
        file.sync_data().unwrap();
        fs.sync_dir(Path::new("/")).unwrap();
    }
    file
}

#[test]
fn a_power_cut_keeps_or_takes_what_was_not_synced_and_never_what_was() {
    let bytes = outcomes(|fs| {
        let file = created(&fs, true);
        file.write_at(&[1; 2000], 0).unwrap();
        file.sync_data().unwrap();
        file.write_at(&[2; 2000], 2000).unwrap();
        let survived = content(&fs.power_cut(), Path::new("/f"));
        assert_eq!(survived[..2000], [1; 2000]);
        let kept = survived[2000..].iter().filter(|byte| **byte == 2).count();
        (survived.len() > 2000, kept == 0, kept == 2000)
    });
    assert!(bytes.contains(&(false, true, false)), "lost whole");
    assert!(bytes.contains(&(true, false, true)), "kept whole");
    assert!(bytes.contains(&(true, false, false)), "torn");

    let names = outcomes(|fs| {
        created(&fs, false).sync_data().unwrap();
        fs.power_cut().exists(Path::new("/f")).unwrap()
    });
    assert_eq!(names.len(), 2, "a name is durable with its directory only");

    let removed = outcomes(|fs| {
        created(&fs, true);
        fs.remove(Path::new("/f")).unwrap();
        fs.power_cut().exists(Path::new("/f")).unwrap()
    });
    assert_eq!(removed.len(), 2);
}

#[test]
fn after_a_failed_sync_the_cache_lies_and_the_next_sync_proves_nothing() {
    let lied = outcomes(|fs| {
        let file = created(&fs, true);
        file.write_at(&[7; 4000], 0).unwrap();
        fs.fail_once(Fault::Sync);
        file.sync_data().unwrap_err();
        file.sync_data().unwrap();
        assert_eq!(content(&fs, Path::new("/f")), [7; 4000]);
        file.forget_cache().unwrap();
        let known = content(&fs, Path::new("/f"));
        assert_eq!(content(&fs.power_cut(), Path::new("/f")), known, "without the cache the disk is seen");
        known == [7; 4000]
    });
    assert_eq!(lied.len(), 2);
}

#[test]
fn a_full_disk_takes_whole_blocks_and_gives_them_back() {
    let fs = FaultyFs::new(1);
    fs.set_capacity(Some(3 * 4096));
    let file = created(&fs, true);
    assert_eq!(file.write_at(&[1; 20_000], 0).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!((file.size().unwrap(), fs.used_bytes()), (3 * 4096, 3 * 4096));
    file.write_at(&[2; 100], 50).unwrap();
    fs.remove(Path::new("/f")).unwrap();
    assert_eq!(fs.used_bytes(), 3 * 4096, "open files keep their blocks");
    drop(file);
    assert_eq!(fs.used_bytes(), 0);
}

#[test]
fn a_write_that_fails_wrote_a_part_and_power_stays_off() {
    let parts = outcomes(|fs| {
        let file = created(&fs, true);
        fs.fail_once(Fault::Write);
        file.write_at(&[1; 1000], 0).unwrap_err();
        assert!(file.size().unwrap() < 1000);
        file.size().unwrap()
    });
    assert!(parts.len() > 10);

    let fs = FaultyFs::new(1);
    let file = created(&fs, true);
    fs.fail_power_after(2);
    file.write_at(b"a", 0).unwrap();
    file.write_at(b"b", 1).unwrap_err();
    file.read_at(&mut [0], 0).unwrap_err();
    fs.exists(Path::new("/f")).unwrap_err();
    assert!(fs.power_cut().exists(Path::new("/f")).unwrap());
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let story = |seed| {
        let fs = FaultyFs::new(seed);
        let file = created(&fs, true);
        for at in 0..50 {
            file.write_at(&[at as u8; 700], at * 600).unwrap();
        }
        content(&fs.power_cut(), Path::new("/f"))
    };
    assert_eq!(story(5), story(5));
    assert_ne!(story(5), story(6));
}
