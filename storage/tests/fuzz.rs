//! Bytes that nobody wrote, as files of a log: sound ones with a few bytes changed, and noise.

mod common;

use common::{batch, dir, for_each_seed, open};
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use weir_storage::{FaultyFs, Fs, LogOptions, Mode, fuzz};

/// A segment of a few commits, its sidecar, and a state file.
fn sound(random: &mut SmallRng) -> [Vec<u8>; 3] {
    let fs = FaultyFs::new(1);
    let options = LogOptions { index_interval_bytes: 64, ..LogOptions::default() };
    let (mut log, _) = open(&fs, options);
    for _ in 0..random.random_range(1..12) {
        let values: Vec<String> = (0..random.random_range(1..4)).map(|_| random.next_u32().to_string()).collect();
        log.commit(&mut batch(&values.iter().map(String::as_str).collect::<Vec<_>>())).expect("commits");
    }
    log.mark_end();
    let state = weir_storage::StateFile::new(std::sync::Arc::new(fs.clone()), &dir().join("state"));
    state.replace(b"a payload").expect("replaced");
    ["00000000000000000000.log", "00000000000000000000.index", "state"].map(|name| {
        let file = fs.open(&dir().join(name), Mode::Read).expect("there");
        let mut bytes = vec![0; file.size().expect("measured") as usize];
        file.read_at(&mut bytes, 0).expect("read");
        bytes
    })
}

/// Flips, overwrites, cuts, doubles, or makes noise of it.
fn change(bytes: &mut Vec<u8>, random: &mut SmallRng) {
    for _ in 0..random.random_range(0..4) {
        let at = random.random_range(0..bytes.len().max(1));
        match random.random_range(0..6) {
            0 => bytes.truncate(at),
            1 => bytes.extend_from_within(at.min(bytes.len())..),
            2 => random.fill_bytes(bytes),
            3 => bytes.splice(at.min(bytes.len()).., vec![0xff; 8]).for_each(drop),
            _ => bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << random.random_range(0..8)),
        }
    }
}

#[test]
fn no_bytes_make_a_log_panic_or_serve_what_is_not_there() {
    for_each_seed("no_bytes_make_a_log_panic", 1_000, |seed| {
        let mut random = SmallRng::seed_from_u64(seed);
        let [mut segment, mut sidecar, mut state] = sound(&mut random);
        change(&mut segment, &mut random);
        change(&mut sidecar, &mut random);
        change(&mut state, &mut random);
        fuzz::segment(&segment);
        fuzz::state(&sidecar);
        fuzz::state(&state);
    });
}
