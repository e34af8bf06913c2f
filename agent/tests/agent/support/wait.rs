//! Waiting for what tells nobody that it happened: a counter, a file or a process of somebody else. What has an event is
//! awaited by that.

use std::time::{Duration, Instant};

/// Longer than anything here takes, by the clock of the machine, wherever that of the test stands; only a failing test
/// waits for it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(1);
/// The same where a look starts a program.
const LONG_PAUSE: Duration = Duration::from_millis(20);

/// What `look` finds, once it finds something; `what` is waited for.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not in {} s", PATIENCE.as_secs());
        tokio::time::sleep(PAUSE).await;
    }
}

/// The same where nothing is awaited. `Err` is what it found instead.
pub(crate) fn until_found<T, E: std::fmt::Display>(what: &str, mut look: impl FnMut() -> Result<T, E>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(instead) => assert!(Instant::now() < end, "{what}: not in {} s, but\n{instead}", PATIENCE.as_secs()),
        }
        std::thread::sleep(LONG_PAUSE);
    }
}
