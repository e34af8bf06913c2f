//! A gate in a filesystem: the first operation that comes waits at it while the test goes on.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use weir_storage::fs::{Operation, WatchedFs, Watcher};
use weir_storage::{FaultyFs, Fs};

/// Which operation waits: its kind, and how the file name ends.
type Where = (Operation, &'static str);

#[derive(Default)]
struct State {
    closed: Option<Where>,
    is_waiting: bool,
}

/// Holds operations back; open until it is closed.
#[derive(Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

impl Gate {
    pub fn before(disk: &FaultyFs) -> (Arc<Gate>, Arc<dyn Fs>) {
        let gate = Arc::new(Gate::default());
        let watched = WatchedFs::new(Arc::new(disk.clone()), Arc::clone(&gate) as Arc<dyn Watcher>);
        (gate, Arc::new(watched))
    }

    /// The next such operation waits; those behind it do not.
    pub fn close(&self, operation: Operation, ending: &'static str) {
        *self.state.lock().expect("not poisoned") = State { closed: Some((operation, ending)), is_waiting: false };
    }

    /// Waits until one waits.
    pub fn wait_for_one(&self) {
        let state = self.state.lock().expect("not poisoned");
        let waited = self.changed.wait_timeout_while(state, Duration::from_secs(60), |state| !state.is_waiting);
        assert!(!waited.expect("not poisoned").1.timed_out(), "nobody came");
    }

    pub fn open(&self) {
        self.state.lock().expect("not poisoned").closed = None;
        self.changed.notify_all();
    }
}

impl Watcher for Gate {
    fn before(&self, operation: Operation, path: &Path) {
        let mut state = self.state.lock().expect("not poisoned");
        let stops = |(kind, ending): (Operation, &str)| kind == operation && path.to_string_lossy().ends_with(ending);
        if state.is_waiting || !state.closed.is_some_and(stops) {
            return;
        }
        state.is_waiting = true;
        self.changed.notify_all();
        while state.closed.is_some() {
            state = self.changed.wait(state).expect("not poisoned");
        }
    }
}
