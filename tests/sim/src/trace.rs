//! What happened in a world: a hash of all of it, and, when somebody wants to read it, its story.

use std::hash::{DefaultHasher, Hasher};

/// The trace of one world.
pub struct Trace {
    hash: DefaultHasher,
    now: u64,
    /// None: nobody reads it.
    story: Option<Vec<String>>,
}

impl Trace {
    /// An empty one; `told`: with its story.
    pub(crate) fn new(told: bool) -> Self {
        Self { hash: DefaultHasher::new(), now: 0, story: told.then(Vec::new) }
    }

    /// What follows happens then, in microseconds since the world began.
    pub(crate) fn at(&mut self, now: u64) {
        self.now = now;
    }

    /// Something happened to `which`; `detail` is for readers, and for the hash through `bytes`.
    pub(crate) fn note(&mut self, what: &'static str, which: u64, bytes: &[u8], detail: impl FnOnce() -> String) {
        self.hash.write_u64(self.now);
        self.hash.write(what.as_bytes());
        self.hash.write_u64(which);
        self.hash.write(bytes);
        if let Some(story) = &mut self.story {
            let seconds = self.now as f64 / 1e6;
            story.push(format!("{seconds:>9.3} s  {what} {which} {}", detail()));
        }
    }

    /// The same hash means that the same happened.
    pub fn hash(&self) -> u64 {
        self.hash.finish()
    }

    /// The story, if it was told.
    pub fn story(&self) -> &[String] {
        self.story.as_deref().unwrap_or_default()
    }
}
