//! Requests that are cut off or changed.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{example, request};
use crate::kafka::messages::{Request, RequestHeader, SUPPORTED};
use crate::kafka::wire::Input;

fn read(frame: &[u8]) {
    let mut input = Input::new(frame);
    let Ok(header) = RequestHeader::decode(&mut input) else { return };
    let Some(api) = header.supported() else { return };
    // It returns; that is what is tested. What it may allocate is tested by the fuzz target, which counts.
    let _ = Request::decode(api.key, &mut input, header.api_version);
}

/// A request lacks nothing that the version asks for: cut anywhere, it is refused.
#[test]
fn every_prefix_of_every_request_is_refused() {
    for api in SUPPORTED {
        for version in api.min..=api.max {
            let body = example(api.key, version);
            for length in 0..body.len() {
                let refused = Request::decode(api.key, &mut Input::new(&body[..length]), version);
                assert!(refused.is_err(), "{:?} {version}: {length} of {} bytes", api.key, body.len());
            }
        }
    }
}

#[test]
fn changed_bytes_do_no_harm() {
    let number =
        |name: &str, default: u64| std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default);
    let (seed, rounds) = (number("WEIR_SEED", 1), number("WEIR_SEEDS", 200));
    println!("WEIR_SEED={seed} WEIR_SEEDS={rounds}");
    let mut random = StdRng::seed_from_u64(seed);
    for api in SUPPORTED {
        for version in api.min..=api.max {
            let frame = request(api.key, version, &example(api.key, version));
            for _ in 0..rounds {
                let mut changed = frame.to_vec();
                for _ in 0..random.random_range(1..4) {
                    let at = random.random_range(0..changed.len());
                    changed[at] = [0, 1, 0x7f, 0x80, 0xff, random.random()][random.random_range(0..6)];
                }
                read(&changed);
            }
        }
    }
}
