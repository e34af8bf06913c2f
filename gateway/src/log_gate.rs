//! A gate for log lines that others can cause: a flood of them must not fill a disk.
//!
//! What it guarantees: at most [`LINES`] lines in [`WINDOW`]; the first line of the next window says how many
//! were left out, so nothing goes unnoticed.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The most lines of one window.
const LINES: u32 = 20;
/// How long a window lasts.
const WINDOW: Duration = Duration::from_secs(10);

/// Decides which lines are written.
#[derive(Debug)]
pub struct LogGate {
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    lines: u32,
    left_out: u64,
}

impl LogGate {
    /// A gate whose first window begins at `now`, on the monotonic clock.
    pub fn new(now: Instant) -> Self {
        Self { window: Mutex::new(Window { began: now, lines: 0, left_out: 0 }) }
    }

    /// Whether to write a line at `now`, and how many were left out before it.
    pub fn pass(&self, now: Instant) -> Option<u64> {
        // Every change is complete in itself: a panic elsewhere leaves nothing half done.
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left_out = 0;
        if now.duration_since(window.began) >= WINDOW {
            left_out = window.left_out;
            *window = Window { began: now, lines: 0, left_out: 0 };
        }
        if window.lines == LINES {
            window.left_out += 1;
            return None;
        }
        window.lines += 1;
        Some(left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_off_and_counted() {
        let start = Instant::now();
        let gate = LogGate::new(start);
        let written = (0..1000).filter(|_| gate.pass(start).is_some()).count();
        assert_eq!(written, LINES as usize);
        assert_eq!(gate.pass(start + WINDOW), Some(1000 - u64::from(LINES)));
        assert_eq!(gate.pass(start + WINDOW), Some(0));
    }
}
