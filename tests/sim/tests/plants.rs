//! Worlds that catch nothing prove nothing: each fault planted in the program shows in one of the slice.
#![cfg(feature = "plant")]

use clap::ValueEnum;
use weir_sim::{Options, Plant, run};

/// Seeds within which a fault must have shown.
const SLICE: u64 = 300;

#[test]
fn each_planted_fault_is_caught() {
    for plant in Plant::value_variants() {
        let options = Options { plant: Some(*plant), ..Options::default() };
        let is_caught = |seed: &u64| !run(*seed, &options).expect("a runtime").judgement.holds();
        let caught = (0..SLICE).find(is_caught);
        println!("{plant:?} is caught by seed {caught:?}");
        assert!(caught.is_some(), "{plant:?} went unnoticed in {SLICE} worlds");
    }
}
