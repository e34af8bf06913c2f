//! Keyed state: a commit is durable and whole, and whatever is damaged is rebuilt, never served.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod common;

use common::for_each_seed;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use weir_storage::OpenError;
use weir_storage::keyed::{Changes, Keyed, MAX_CHANGES, MAX_KEY_BYTES, MAX_VALUE_BYTES, Opened};

fn changes(puts: &[(&str, &str, &str)]) -> Changes {
    let mut changes = Changes::new();
    for (space, key, value) in puts {
        changes.put(space, key.as_bytes(), value.as_bytes()).unwrap();
    }
    changes
}

fn text(keyed: &Keyed, space: &str, key: &str) -> Option<String> {
    keyed.get(space, key.as_bytes()).unwrap().map(|value| String::from_utf8(value).unwrap())
}

fn keys(keyed: &Keyed, space: &str, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    let entries = keyed.range(space, prefix.as_bytes(), after.map(str::as_bytes), limit).unwrap();
    entries.into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect()
}

#[test]
fn what_was_committed_is_there_after_a_restart_and_so_is_how_far_it_covers_the_log() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("deep/model");
    let (keyed, opened) = Keyed::open(&dir).unwrap();
    assert_eq!(opened, Opened::Fresh);
    assert_eq!((keyed.stamp("readings/0").unwrap(), text(&keyed, "latest", "pump")), (None, None));
    let mut first = changes(&[("latest", "pump", "21.5"), ("registry", "pump", "board 7"), ("latest", "fan", "3")]);
    first.stamp("readings/0", 7).unwrap();
    keyed.commit(&first).unwrap();
    let mut second = changes(&[("latest", "pump", "22"), ("latest", "fan", "4")]);
    second.delete("latest", b"fan").unwrap();
    second.stamp("readings/0", 9).unwrap();
    keyed.commit(&second).unwrap();
    drop(keyed);

    let (keyed, opened) = Keyed::open(&dir).unwrap();
    assert_eq!(opened, Opened::Existing);
    assert_eq!(text(&keyed, "latest", "pump").as_deref(), Some("22"));
    assert_eq!(text(&keyed, "registry", "pump").as_deref(), Some("board 7"));
    assert_eq!(text(&keyed, "latest", "fan"), None);
    assert_eq!((keyed.stamp("readings/0").unwrap(), keyed.stamp("readings/1").unwrap()), (Some(9), None));
}

#[test]
fn a_range_stays_in_its_space_and_goes_on_where_the_last_one_stopped() {
    let temporary = tempfile::tempdir().unwrap();
    let (keyed, _) = Keyed::open(temporary.path()).unwrap();
    let spaces = [("a", "x"), ("a", "x1"), ("a", "x2"), ("a", "x3"), ("a", "y"), ("aa", "x4"), ("b", "x5")];
    keyed.commit(&changes(&spaces.map(|(space, key)| (space, key, "value")))).unwrap();
    assert_eq!(keys(&keyed, "a", "x", None, 99), ["x", "x1", "x2", "x3"]);
    assert_eq!(keys(&keyed, "a", "x", None, 2), ["x", "x1"]);
    assert_eq!(keys(&keyed, "a", "x", Some("x1"), 2), ["x2", "x3"]);
    assert_eq!(keys(&keyed, "a", "x", Some("a"), 1), ["x"]);
    assert_eq!(keys(&keyed, "a", "", Some("x3"), 9), ["y"]);
    assert_eq!(keys(&keyed, "aa", "", None, 9), ["x4"]);
    assert_eq!(keys(&keyed, "c", "", None, 9), Vec::<String>::new());
}

#[test]
fn what_is_too_large_is_refused_with_its_bound_and_changes_nothing() {
    let mut changes = Changes::new();
    let error = changes.put("space", b"key", &vec![0; MAX_VALUE_BYTES + 1]).unwrap_err();
    assert_eq!(error.to_string(), "bytes of value: got 4097, expected at most 4096");
    assert_eq!(changes.put("space", &vec![0; MAX_KEY_BYTES + 1], b"").unwrap_err().most, MAX_KEY_BYTES);
    assert_eq!(changes.delete("a space with a name that is too long", b"").unwrap_err().got, 36);
    assert_eq!(changes.delete("\0stamp", b"").unwrap_err().what, "zero bytes in the name of a space");
    assert!(changes.is_empty());
    for number in 0..MAX_CHANGES {
        changes.put("space", &number.to_be_bytes(), &[]).unwrap();
    }
    changes.put("space", &0usize.to_be_bytes(), b"again").unwrap();
    assert_eq!(changes.put("space", b"one more", &[]).unwrap_err().most, MAX_CHANGES);
    assert_eq!(changes.len(), MAX_CHANGES);
}

#[test]
fn clearing_is_durable_and_a_second_process_is_told_who_has_it() {
    let temporary = tempfile::tempdir().unwrap();
    let (keyed, _) = Keyed::open(temporary.path()).unwrap();
    keyed.commit(&changes(&[("latest", "pump", "1")])).unwrap();
    let second = Keyed::open(temporary.path()).err().unwrap();
    assert!(matches!(second, OpenError::Locked(_)), "{second}");
    keyed.clear().unwrap();
    assert_eq!(text(&keyed, "latest", "pump"), None);
    keyed.commit(&changes(&[("latest", "fan", "2")])).unwrap();
    drop(keyed);
    let (keyed, opened) = Keyed::open(temporary.path()).unwrap();
    assert_eq!((opened, keys(&keyed, "latest", "", None, 9)), (Opened::Existing, vec!["fan".to_owned()]));
}

/// Thirty devices, each with its latest value of round after round.
fn populate(keyed: &Keyed, rounds: u64) -> BTreeMap<String, String> {
    let mut content = BTreeMap::new();
    for round in 0..rounds {
        let mut changes = Changes::new();
        for device in 0..30 {
            let (key, value) = (format!("device {device}"), format!("{round}.{device} {}", "-".repeat(100)));
            changes.put("latest", key.as_bytes(), value.as_bytes()).unwrap();
            content.insert(key, value);
        }
        changes.stamp("readings", round + 1).unwrap();
        keyed.commit(&changes).unwrap();
    }
    content
}

fn content(keyed: &Keyed) -> BTreeMap<String, String> {
    let entries = keyed.range("latest", b"", None, usize::MAX).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    entries.into_iter().map(|(key, value)| (text(key), text(value))).collect()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target)
        } else {
            drop(std::fs::copy(entry.path(), target))
        }
    }
}

#[test]
fn entries_that_no_commit_left_are_not_served() {
    let original = tempfile::tempdir().unwrap();
    let (keyed, _) = Keyed::open(original.path()).unwrap();
    populate(&keyed, 3);
    drop(keyed);
    // Nothing but these tests writes past the digest; what a database that mixed up its pages comes up with looks
    // the same.
    let tamper = |story: &str, change: &dyn Fn(&sled::Db)| {
        let opened = open_damaged(original.path(), story, |dir| {
            let database = sled::open(database(dir)).unwrap();
            change(&database);
            database.flush().unwrap();
        });
        let Opened::Rebuild(reason) = opened else { panic!("{story}: {opened:?}") };
        assert!(reason.starts_with("got digest "), "{story}: {reason}");
    };
    tamper("an entry is lost", &|database| drop(database.remove(b"latest\0device 7").unwrap().unwrap()));
    tamper("a value is old", &|database| drop(database.insert(b"latest\0device 7", "1.7").unwrap().unwrap()));
    tamper("an entry came back", &|database| drop(database.insert(b"latest\0device 70", "1.70").unwrap()));
    tamper("two values changed places", &|database| {
        let seven = database.get(b"latest\0device 7").unwrap().unwrap();
        let eight = database.insert(b"latest\0device 8", seven).unwrap().unwrap();
        database.insert(b"latest\0device 7", eight).unwrap();
    });
    tamper("the stamp is old", &|database| {
        database.insert(b"\0stamp\0readings", &2u64.to_be_bytes()).unwrap();
    });
}

/// Opens what a story did to a copy of `original`: either as some commit left it, or empty to be rebuilt; and it works.
fn open_damaged(original: &Path, story: &str, damage: impl FnOnce(&Path)) -> Opened {
    let temporary = tempfile::tempdir().unwrap();
    copy(original, temporary.path());
    damage(temporary.path());
    let (keyed, opened) = Keyed::open(temporary.path()).unwrap();
    let stamp = keyed.stamp("readings").unwrap();
    let found = content(&keyed);
    match &opened {
        Opened::Existing => {
            let expected = stamp.map_or(0, |_| 30);
            assert_eq!(found.len(), expected, "{story}");
            let round = stamp.unwrap_or(1) - 1;
            for (device, value) in &found {
                assert!(value.starts_with(&format!("{round}.")), "{story}: {device} has {value} of round {round}");
            }
        }
        Opened::Fresh | Opened::Rebuild(_) => assert_eq!((found.len(), stamp), (0, None), "{story}"),
    }
    let rebuilt = populate(&keyed, 2);
    drop(keyed);
    let (keyed, reopened) = Keyed::open(temporary.path()).unwrap();
    assert_eq!((reopened, content(&keyed)), (Opened::Existing, rebuilt), "{story}");
    opened
}

/// The directory of the one database.
fn database(dir: &Path) -> PathBuf {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut databases = paths.filter(|path| path.to_string_lossy().contains("/sled."));
    let (one, other) = (databases.next().unwrap(), databases.next());
    assert_eq!(other, None, "the one before is gone");
    one
}

#[test]
fn a_database_that_is_flipped_anywhere_is_as_a_commit_left_it_or_rebuilt() {
    let original = tempfile::tempdir().unwrap();
    let (keyed, _) = Keyed::open(original.path()).unwrap();
    populate(&keyed, 8);
    drop(keyed);
    let bytes = std::fs::metadata(database(original.path()).join("db")).unwrap().len();
    let rebuilt = Cell::new(0);
    for_each_seed("a_database_that_is_flipped", 40, |number| {
        let position = (number * 7919 * 31) % bytes.min(64 * 1024);
        let opened = open_damaged(original.path(), &format!("bit {} of byte {position}", number % 8), |dir| {
            let file = std::fs::File::options().read(true).write(true).open(database(dir).join("db")).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, position).unwrap();
            file.write_all_at(&[byte[0] ^ 1 << (number % 8)], position).unwrap();
        });
        rebuilt.set(rebuilt.get() + u64::from(matches!(opened, Opened::Rebuild(_))));
    });
    assert!(rebuilt.get() > 0 || std::env::var("WEIR_SEED").is_ok());
}

#[test]
fn a_database_that_is_cut_emptied_or_gone_is_as_a_commit_left_it_or_rebuilt() {
    let original = tempfile::tempdir().unwrap();
    let (keyed, _) = Keyed::open(original.path()).unwrap();
    populate(&keyed, 8);
    drop(keyed);
    let cut = |bytes| {
        move |dir: &Path| {
            std::fs::File::options().write(true).open(database(dir).join("db")).unwrap().set_len(bytes).unwrap()
        }
    };
    for bytes in [1, 511, 4_096, 20_000, 50_000] {
        open_damaged(original.path(), &format!("cut to {bytes} bytes"), cut(bytes));
    }
    let is_rebuilt = |story: &str, damage: &dyn Fn(&Path)| {
        let opened = open_damaged(original.path(), story, damage);
        assert!(matches!(opened, Opened::Rebuild(_)), "{story}: {opened:?}");
    };
    is_rebuilt("cut to nothing", &cut(0));
    is_rebuilt("no database", &|dir| std::fs::remove_dir_all(database(dir)).unwrap());
    is_rebuilt("an empty directory", &|dir| {
        let database = database(dir);
        std::fs::remove_dir_all(&database).unwrap();
        std::fs::create_dir(&database).unwrap();
    });
    is_rebuilt("no generation", &|dir| std::fs::remove_file(dir.join("generation")).unwrap());
    is_rebuilt("a damaged generation", &|dir| std::fs::write(dir.join("generation"), b"WEIR").unwrap());
    is_rebuilt("an older database", &|dir| {
        let (keyed, _) = Keyed::open(dir).unwrap();
        copy(&database(dir), &dir.join("older"));
        keyed.clear().unwrap();
        drop(keyed);
        let current = database(dir);
        std::fs::remove_dir_all(&current).unwrap();
        std::fs::rename(dir.join("older"), current).unwrap();
    });
    is_rebuilt("a directory where its file was", &|dir| {
        std::fs::remove_file(database(dir).join("db")).unwrap();
        std::fs::create_dir(database(dir).join("db")).unwrap();
    });
}

#[test]
fn a_database_that_fails_while_it_is_used_serves_nothing_more_until_it_is_cleared() {
    let temporary = tempfile::tempdir().unwrap();
    let (keyed, _) = Keyed::open(temporary.path()).unwrap();
    // More than the cache holds, so that some of it must be read again.
    for round in 0..10u64 {
        let mut changes = Changes::new();
        for number in 0..500u64 {
            changes.put("large", &[round.to_be_bytes(), number.to_be_bytes()].concat(), &[7; MAX_VALUE_BYTES]).unwrap();
        }
        keyed.commit(&changes).unwrap();
    }
    let bytes = std::fs::metadata(database(temporary.path()).join("db")).unwrap().len();
    let file = std::fs::File::options().write(true).open(database(temporary.path()).join("db")).unwrap();
    file.write_all_at(&vec![0; bytes as usize], 0).unwrap();

    let failed = keyed.range("large", b"", None, usize::MAX).unwrap_err();
    assert!(failed.to_string().ends_with("open it again"), "{failed}");
    assert!(keyed.get("large", b"").is_err() && keyed.commit(&changes(&[("small", "key", "value")])).is_err());
    assert_eq!(keyed.bytes_on_disk(), None);
    keyed.clear().unwrap();
    let rebuilt = populate(&keyed, 2);
    drop(keyed);
    let (keyed, opened) = Keyed::open(temporary.path()).unwrap();
    assert_eq!((opened, content(&keyed)), (Opened::Existing, rebuilt));
}
