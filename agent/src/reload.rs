//! Settings that change while the agent runs: SIGHUP, and `--watch-config`.
//!
//! Guarantees: what is wrong changes nothing and says so, with file, line, column and caret; what is right is handed to
//! [`crate::run`] whole, checked by the same code as at the start. A name or a data directory that changes is refused:
//! the queue belongs to both.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, mpsc, oneshot};
use weir_protocol::AgentId;

use crate::config::Config;
use crate::counters::{Counters, Event};
use crate::remote::ledger::Overlay;
use crate::service;

/// Reloads that wait.
const WAITING: usize = 4;
/// Time between two looks at the file; what changed must be the same twice.
const LOOK: Duration = Duration::from_secs(2);

/// Settings to go on with.
#[derive(Debug)]
pub struct Reload {
    /// The settings, checked.
    pub config: Box<Config>,
    /// Told how it ended: the agent runs with them, or with those before and why.
    pub answer: oneshot::Sender<Result<(), String>>,
}

/// Reads and checks the settings file, with settings of an operator over it; an error is the whole message for a person.
pub type Read = dyn Fn(Option<&Overlay>) -> Result<Config, String> + Send + Sync;

/// The way in for reloads, and the way out of it.
pub fn channel() -> (mpsc::Sender<Reload>, mpsc::Receiver<Reload>) {
    mpsc::channel(WAITING)
}

/// Hands settings to the agent that runs, and waits until it runs with them.
///
/// # Errors
/// Why it runs with those before.
pub async fn apply(reloads: &mpsc::Sender<Reload>, config: Config) -> Result<(), String> {
    let (answer, answered) = oneshot::channel();
    let stopping = || "the agent is stopping".to_owned();
    reloads.send(Reload { config: Box::new(config), answer }).await.map_err(|_| stopping())?;
    answered.await.map_err(|_| stopping())?
}

/// Refuses settings of another agent than the one that runs, whose name and data directory these are.
///
/// # Errors
/// Got and expected, and what to do.
pub fn check_same_agent((name, data_dir): (AgentId, &Path), new: &Config) -> Result<(), String> {
    if new.name != name {
        let new = new.name;
        return Err(format!("name: got {new}, and {name} is running: restart the agent to change its name"));
    }
    if new.data_dir != data_dir {
        let (new, old) = (new.data_dir.display(), data_dir.display());
        return Err(format!(
            "data_dir: got {new}, and {old} is in use: stop the agent, move the directory, and start it again"
        ));
    }
    Ok(())
}

/// Reads the settings again when asked to.
pub struct Reloader {
    /// Reads and checks all settings; an error is the whole message for a person.
    pub read: Box<dyn Fn() -> Result<Config, String> + Send + Sync>,
    /// Told for each SIGHUP.
    pub hangup: Arc<Notify>,
    /// The file to watch, if it is to be watched.
    pub watched: Option<PathBuf>,
    /// Where settings go.
    pub reloads: mpsc::Sender<Reload>,
    /// What happened.
    pub counters: Arc<Counters>,
}

impl Reloader {
    /// Runs until the agent takes no reloads any more.
    pub async fn run(self) {
        let mut file = self.watched.as_deref().map(FileWatch::new);
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.hangup.notified() => {
                    if let Some(file) = &mut file {
                        // What is read now needs not be found again.
                        file.forget();
                    }
                }
                _ = looks.tick(), if file.is_some() => {
                    if !file.as_mut().is_some_and(FileWatch::has_changed) {
                        continue;
                    }
                }
                () = self.reloads.closed() => return,
            }
            self.reload().await;
        }
    }

    async fn reload(&self) {
        service::reloading();
        let reloaded = match (self.read)() {
            Ok(config) => apply(&self.reloads, config).await,
            Err(why) => Err(why),
        };
        match reloaded {
            Ok(()) => {
                self.counters.add(Event::Reloads, 1);
                tracing::info!("running with the new settings");
                service::ready("running with new settings");
            }
            Err(why) => {
                self.counters.add(Event::ReloadsRefused, 1);
                tracing::error!("the settings stay as they were:\n{why}");
                service::ready(&format!("running with the settings as they were: {}", first_line(&why)));
            }
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Looks at one file, whatever replaces it.
#[derive(Debug)]
struct FileWatch {
    path: PathBuf,
    /// What was read last.
    known: Content,
    stamp: Stamp,
    /// Seen once; the same a second time means that whoever writes it is done.
    unsettled: Option<Stamp>,
}

/// When it was written, and its length; none if it is not there.
type Stamp = Option<(SystemTime, u64)>;
/// The SHA-256 of what is in it; none if it cannot be read.
type Content = Option<Vec<u8>>;

impl FileWatch {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), known: content(path), stamp: stamp(path), unsettled: None }
    }

    /// Takes what is there now as known.
    fn forget(&mut self) {
        *self = Self::new(&self.path);
    }

    /// Whether the file has another content than when this was last true, and has stopped changing.
    fn has_changed(&mut self) -> bool {
        let now = stamp(&self.path);
        if now == self.stamp {
            self.unsettled = None;
            return false;
        }
        if self.unsettled.replace(now) != Some(now) {
            return false;
        }
        (self.stamp, self.unsettled) = (now, None);
        let content = content(&self.path);
        // A file that went away is about to be replaced, or a mistake: what runs goes on.
        if content.is_none() || content == self.known {
            return false;
        }
        self.known = content;
        true
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn content(path: &Path) -> Content {
    let bytes = std::fs::read(path).ok()?;
    Some(ring::digest::digest(&ring::digest::SHA256, &bytes).as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes with a time of writing of its own, however coarse the clock of the filesystem is.
    fn write(path: &Path, text: &str, second: u64) {
        std::fs::write(path, text).unwrap();
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(second)).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_changes_is_read_and_what_is_wrong_goes_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.toml");
        write(&path, "", 1);
        let (reloads, mut asked) = channel();
        let counters = Arc::new(Counters::default());
        let read = path.clone();
        let reloader = Reloader {
            read: Box::new(move || Config::load(&read).map_err(|error| error.to_string())),
            hangup: Arc::default(),
            watched: Some(path.clone()),
            reloads,
            counters: Arc::clone(&counters),
        };
        tokio::spawn(reloader.run());
        tokio::time::sleep(LOOK).await;
        write(&path, "drain = \"soon\"", 2);
        while counters.get(Event::ReloadsRefused) == 0 {
            tokio::time::sleep(LOOK).await;
        }
        write(&path, "drain = \"3s\"", 3);
        let Reload { config, answer } = asked.recv().await.unwrap();
        assert_eq!(config.drain.0, Duration::from_secs(3));
        answer.send(Ok(())).unwrap();
        tokio::time::sleep(LOOK).await;
        assert_eq!((counters.get(Event::Reloads), counters.get(Event::ReloadsRefused)), (1, 1));
    }

    #[test]
    fn a_file_has_changed_once_its_new_content_has_settled() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.toml");
        write(&path, "a", 1);
        let mut watch = FileWatch::new(&path);
        assert!(!watch.has_changed());
        write(&path, "ab", 2);
        assert!(!watch.has_changed(), "whoever writes may not be done");
        write(&path, "abc", 3);
        assert!(!watch.has_changed());
        assert!(watch.has_changed());
        assert!(!watch.has_changed(), "once");
    }

    #[test]
    fn a_file_that_is_touched_or_goes_away_has_not_changed_and_one_renamed_over_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.toml");
        write(&path, "a", 1);
        let mut watch = FileWatch::new(&path);
        write(&path, "a", 2);
        assert!(!watch.has_changed() && !watch.has_changed(), "touched");
        std::fs::remove_file(&path).unwrap();
        assert!(!watch.has_changed() && !watch.has_changed(), "gone");
        let other = dir.path().join("agent.toml.new");
        write(&other, "b", 1);
        std::fs::rename(&other, &path).unwrap();
        assert!(!watch.has_changed());
        assert!(watch.has_changed(), "renamed over it, with an older time");
    }
}
