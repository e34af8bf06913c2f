//! One target of `weir-fuzz` under libFuzzer: the one that `WEIR_FUZZ_TARGET` names. `run` beside this package starts it.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use weir_fuzz::{ALL, Target, find};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("WEIR_FUZZ_TARGET").unwrap_or_default();
    find(&name).unwrap_or_else(|| {
        let known: Vec<_> = ALL.iter().map(|target| target.name).collect();
        eprintln!("WEIR_FUZZ_TARGET={name:?}: expected one of {}", known.join(", "));
        std::process::exit(2)
    })
});

fuzz_target!(|bytes: &[u8]| {
    if bytes.len() <= TARGET.max_len {
        (TARGET.run)(bytes);
    }
});
