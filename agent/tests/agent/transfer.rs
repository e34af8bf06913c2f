//! Readings that leave a queue in a file, and come back in another.
#![allow(clippy::single_range_in_vec_init)] // a list of ranges may well have one

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use weir_agent::queue::records::Found;
use weir_agent::queue::{ClassId, ClassLog, Entries, Key, Policy, Queue};
use weir_agent::transfer::{Form, Selection, TransferError, export, import};
use weir_protocol::batch::describe::Description;
use weir_protocol::batch::{LossKind, RunBuilder, Section};
use weir_protocol::serial::device_to_agent::Ring;
use weir_protocol::{
    Channel, ChannelId, Clock, DeviceId, Items, Reading, Restart, SchemaHash, Sequence, Timestamp, Value, ValueKind,
    items,
};
use weir_storage::{Batch, FaultyFs, Fs, Mode, ReadError};

use crate::seeds::for_each_seed;
use crate::support::books::Books;
use crate::support::desk::Desk;
use crate::support::device::Talker;
use crate::support::kept::Kept;

const R: Restart = Restart::from_boot(1, 1);
const TARGET: &str = "/out";

fn board(name: &str) -> DeviceId {
    DeviceId::new(name).expect("a name")
}

/// What a queue says, in full: each reading of it, and claims and ends as they are.
fn contents(queue: &Queue) -> Vec<String> {
    let mut found = Vec::new();
    queue
        .log(ClassId::DEFAULT)
        .walk(0..u64::MAX, |next| -> Result<(), ReadError> {
            let Found::Entry(entry) = next else { panic!("an unreadable record") };
            match entry.section {
                Section::Readings(run) => found.extend(run.iter().map(|item| {
                    let (sequence, reading) = item.expect("a good reading");
                    // The bits of a number, where `NaN` would be like any other.
                    let bits = match reading.value {
                        Value::Float(value) => u64::from(value.to_bits()),
                        Value::Double(value) => value.to_bits(),
                        _ => 0,
                    };
                    format!("{} {} {} {sequence} {reading:?} {bits:x}", run.device, run.restart, run.schema)
                })),
                other => found.push(format!("{other:?}")),
            }
            Ok(())
        })
        .expect("a readable queue");
    found
}

fn logs(queue: &Queue) -> Vec<ClassLog> {
    queue.ids().map(|class| queue.log(class).clone()).collect()
}

/// A queue with readings of every kind, by chance.
fn by_chance(disk: &FaultyFs, random: &mut StdRng) -> Desk {
    let desk = Desk::open(disk);
    let mut channels = Vec::new();
    let kinds = [ValueKind::Float, ValueKind::Double, ValueKind::Integer, ValueKind::Boolean, ValueKind::Text];
    for (id, kind) in (0..).zip(kinds) {
        let name = format!("c{id}");
        items::push(&mut channels, &Channel { id: ChannelId(id), name: &name, unit: "1", kind, resolution: 0.1 });
    }
    let schema = SchemaHash::of(Items::new(&channels));
    let mut batch = Batch::new();
    let mut encoded = Vec::new();
    for device in ["one", "two"].map(board) {
        let description = Description { device, schema, channels: Items::new(&channels) };
        desk.queue.state().lock().descriptions.insert(&description).expect("a good description");
        let mut next = 0;
        for _ in 0..random.random_range(0..6) {
            next += random.random_range(0..2);
            let mut run = RunBuilder::new(device, Restart(u64::MAX - 1), schema, Sequence(next));
            for _ in 0..random.random_range(1..40) {
                let text = format!("\"\\\u{e9}\n{}", random.next_u32());
                let value = match random.random_range(0..5) {
                    0 => Value::Float(f32::from_bits(random.random())),
                    1 => Value::Double(f64::from_bits(random.random())),
                    2 => Value::Integer(random.random()),
                    3 => Value::Boolean(random.random()),
                    _ => Value::Text(&text),
                };
                let channel = ChannelId(random.random_range(0..5));
                let clock = if random.random() { Clock::Synchronised } else { Clock::Uptime };
                let time = Timestamp(random.random_range(i64::MIN / 4..i64::MAX / 4));
                run.push(&Reading { channel, time, clock, value });
                next += 1;
            }
            encoded.clear();
            items::push(&mut encoded, &run.section());
            batch.push(1, None, Some(&encoded), &[]).expect("a small record");
        }
    }
    let (sender, done) = std::sync::mpsc::channel();
    let entries = Entries::of(batch);
    desk.queue.submit(entries, move |done| sender.send(done).expect("somebody waits")).expect("a committer");
    assert!(done.recv().expect("an answer").failure().is_none());
    desk
}

fn read(disk: &FaultyFs, path: &str) -> Vec<u8> {
    let file = disk.open(path.as_ref(), Mode::Read).expect("a file");
    let mut bytes = vec![0; file.size().expect("a size") as usize];
    assert_eq!(file.read_at(&mut bytes, 0).expect("bytes"), bytes.len());
    bytes
}

fn take_out(desk: &Desk, disk: &FaultyFs, form: Form, device: Option<DeviceId>) -> export::Exported {
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let state = desk.queue.state().lock().clone();
    let selection = Selection { device };
    export::write(&fs, (&logs(&desk.queue), &state), selection, form, TARGET.as_ref()).expect("a good disk")
}

/// Puts an export that lies on `from` into the queue of another box.
fn put_in(desk: &Desk, from: &FaultyFs, form: Form) -> Result<(), TransferError> {
    let totals = match form {
        Form::Ndjson => import::lines(&desk.queue, || Ok(Cursor::new(read(from, TARGET)))),
        Form::Segments => {
            let fs: Arc<dyn Fs> = Arc::new(from.clone());
            import::directory(&desk.queue, &fs, Path::new(TARGET))
        }
    };
    totals.map(|_| ())
}

#[test]
fn what_is_exported_is_imported_as_it_was_bit_for_bit() {
    for_each_seed("what_is_exported_is_imported", 30, |seed| {
        let mut random = StdRng::seed_from_u64(seed);
        let form = if random.random() { Form::Ndjson } else { Form::Segments };
        let disk = FaultyFs::new(seed);
        let desk = by_chance(&disk, &mut random);
        let device = random.random_bool(0.3).then(|| board("one"));
        let mut expected = contents(&desk.queue);
        expected.retain(|line| device.is_none_or(|device| line.starts_with(device.as_str())));
        take_out(&desk, &disk, form, device);
        // The file is durable before anything leaves the queue.
        let disk = disk.power_cut();
        let elsewhere = FaultyFs::new(1000 + seed);
        let other = Desk::open(&elsewhere);
        put_in(&other, &disk, form).expect("a good export");
        assert_eq!(contents(&other.queue), expected);
        let described = other.queue.state().lock().descriptions.payloads().count();
        assert!(described >= usize::from(device.is_some()), "what it measures came along");
        // Read from its records alone, too.
        drop(other);
        elsewhere.remove("/agent/state".as_ref()).expect("a state");
        let other = Desk::open(&elsewhere);
        assert_eq!(other.recovered.replayed, other.queue.reader(ClassId::DEFAULT).end_offset());
        assert_eq!(other.queue.state().lock().restarts.iter().count(), 0, "no device was accepted here");
    });
}

/// A queue with ten readings of the talker and a claim.
fn small(disk: &FaultyFs) -> (Desk, Talker) {
    let mut desk = Desk::open(disk);
    let mut talker = Talker::new("board-1", Ring::Durable);
    desk.hears(&talker.hello(&[(R, 5, 15)]));
    desk.hears(&talker.describe());
    desk.hears(&talker.readings(R, (5, 15), 5, 15));
    assert!(desk.commits());
    (desk, talker)
}

#[test]
fn what_leaves_is_counted_as_exported_and_heals_when_it_is_imported() {
    for form in [Form::Ndjson, Form::Segments] {
        let disk = FaultyFs::new(1);
        let (desk, talker) = small(&disk);
        let key: Key = (talker.device, R);
        let exported = take_out(&desk, &disk, form, None);
        assert_eq!((exported.totals.readings, exported.totals.claims), (10, 1));
        export::give_away(&desk.queue, exported).expect("a good disk");
        drop(desk);
        // Nobody shipped it yet, and the power goes.
        let disk = disk.power_cut();
        let desk = Desk::open(&disk);
        let mut books = Books::default();
        books.ship(&desk.queue);
        assert_eq!(books.lost(key, LossKind::Exported), [5..15]);
        assert_eq!(books.lost(key, LossKind::UnknownHistory), [0..5]);
        assert!(books.lost(key, LossKind::Unaccounted).is_empty());
        let other = Desk::open(&FaultyFs::new(2));
        put_in(&other, &disk, form).expect("a good export");
        books.ship(&other.queue);
        assert_eq!(books.stored(key), [5..15]);
        assert!(books.balances(key, 0..15) && books.healed[&key].len() == 10);
        // Twice is harmless.
        put_in(&other, &disk, form).expect("a good export");
        books.ship(&other.queue);
        assert!(books.balances(key, 0..15));
    }
}

#[test]
fn a_power_cut_while_readings_leave_loses_none() {
    for_each_seed("a_power_cut_while_readings_leave", 40, |seed| {
        let disk = FaultyFs::new(seed);
        let (desk, talker) = small(&disk);
        let key: Key = (talker.device, R);
        disk.fail_power_after(StdRng::seed_from_u64(seed).random_range(0..30));
        let fs: Arc<dyn Fs> = Arc::new(disk.clone());
        let state = desk.queue.state().lock().clone();
        let written =
            export::write(&fs, (&logs(&desk.queue), &state), Selection::default(), Form::Ndjson, TARGET.as_ref());
        if let Ok(exported) = written {
            let _ = export::give_away(&desk.queue, exported);
        }
        drop(desk);
        let disk = disk.power_cut();
        let desk = Desk::open(&disk);
        let mut books = Books::default();
        books.ship(&desk.queue);
        if books.stored(key).is_empty() {
            let other = Desk::open(&FaultyFs::new(2));
            put_in(&other, &disk, Form::Ndjson).expect("a complete export");
            books.ship(&other.queue);
        }
        assert_eq!(books.stored(key), [5..15]);
        assert!(books.balances(key, 0..15));
    });
}

#[test]
fn a_wrong_line_is_named_and_nothing_is_imported() {
    let disk = FaultyFs::new(3);
    let (desk, _) = small(&disk);
    take_out(&desk, &disk, Form::Ndjson, None);
    let text = String::from_utf8(read(&disk, TARGET)).expect("text");
    let refused = |text: String| {
        let other = Desk::open(&FaultyFs::new(4));
        let error =
            import::lines(&other.queue, || Ok(Cursor::new(text.clone()))).expect_err("a wrong line").to_string();
        assert_eq!(other.kept(), [], "{error}");
        error
    };
    let cut: String = text.lines().take(9).map(|line| format!("{line}\n")).collect();
    assert!(refused(cut).contains("cut short"));
    let error = refused(text.replacen("\"value\":9", "\"value\":\"nine\"", 1));
    assert!(error.contains("line ") && error.contains("got value \"nine\", expected a whole number"), "{error}");
    let error = refused(text.replacen("\"tenant\":\"default\"", "\"tenant\":\"other\"", 1));
    assert!(error.contains("got tenant \"other\", expected \"default\""), "{error}");
    assert!(refused(text.replacen("\"sequence\":7", "\"sequence\":-7", 1)).contains("line "));
    assert!(refused(text.replacen("\"version\":1", "\"version\":9", 1)).contains("got version 9, expected 1"));
    assert!(refused(text.replacen("\"clock\"", "\"clocks\"", 1)).contains("clocks"));
    assert!(refused(format!("{text}{{}}\n")).contains("line "));
    assert!(refused(String::new()).contains("cut short"));
}

#[test]
fn an_import_that_does_not_fit_is_refused_before_it_begins() {
    let disk = FaultyFs::new(5);
    let mut random = StdRng::seed_from_u64(5);
    let mut desk = by_chance(&disk, &mut random);
    while contents(&desk.queue).is_empty() {
        desk = by_chance(&disk, &mut random);
    }
    take_out(&desk, &disk, Form::Ndjson, None);
    let other = Desk::with_cap(&FaultyFs::new(6), Policy::Block, 8 << 10);
    let error = put_in(&other, &disk, Form::Ndjson).expect_err("no room");
    assert!(matches!(error, TransferError::NoRoom { .. }), "{error}");
    assert_eq!(other.kept(), Vec::<Kept>::new());
}
