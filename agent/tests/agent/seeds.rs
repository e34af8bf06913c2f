//! Seeded stories: `WEIR_SEED=7` tells one again, `WEIR_SEEDS=200` tells so many.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Tells the story once for each seed; a failure says how to replay it.
pub(crate) fn for_each_seed(test: &str, default: u64, story: impl Fn(u64)) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seeds: Vec<u64> = match number("WEIR_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("WEIR_SEEDS").unwrap_or(default)).collect(),
    };
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| story(seed))) {
            eprintln!("replay with: WEIR_SEED={seed} cargo test -p weir-agent {test}");
            resume_unwind(panic);
        }
    }
}
