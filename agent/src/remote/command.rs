//! Runs one command: no shell, nothing of this process but its user.
//!
//! Guarantees: it ends, by itself, after its time or when the agent stops, and with it whatever is still in its process
//! group; of what it prints the last [`MAX_DETAIL`] bytes are kept. It runs on a thread of its own, because the threads
//! of the runtime are few and belong to the disk.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::desk::MAX_DETAIL;

/// Time between two looks at it.
const LOOK: Duration = Duration::from_millis(20);
/// Reads of its output between two looks.
const READS: usize = 256;
/// Where programs look for others.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How a command ended, and the last of what it printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) how: String,
    pub(super) output: String,
}

/// Runs `words` until it ends, `patience` is over, or `stop` says so. Blocks.
pub(super) fn run(words: &[String], patience: Duration, stop: &Arc<AtomicBool>) -> Ended {
    match start_and_wait(words, patience, stop) {
        Ok(ended) => ended,
        Err(error) => Ended { how: "not started".to_owned(), output: error.to_string() },
    }
}

fn start_and_wait(words: &[String], patience: Duration, stop: &AtomicBool) -> io::Result<Ended> {
    let (program, args) = words.split_first().ok_or(ErrorKind::InvalidInput)?;
    let (mut reader, writer) = io::pipe()?;
    rustix::fs::fcntl_setfl(&reader, rustix::fs::OFlags::NONBLOCK)?;
    let mut command = Command::new(program);
    command.args(args).env_clear().env("PATH", PATH).current_dir("/").process_group(0);
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // It holds the ends for writing that are this process's.
    drop(command);
    let ends_at = Instant::now() + patience;
    let mut tail = Tail::default();
    let status = loop {
        tail.read(&mut reader);
        match child.try_wait()? {
            Some(status) => break Ok(status),
            None if stop.load(Ordering::Relaxed) => break Err("interrupted".to_owned()),
            None if Instant::now() >= ends_at => break Err(format!("timed-out after {} ms", patience.as_millis())),
            None => std::thread::sleep(LOOK),
        }
    };
    end(&mut child);
    tail.read(&mut reader);
    Ok(Ended { how: status.map_or_else(|why| why, exit), output: tail.into_text() })
}

/// Ends everything that is left of it.
fn end(child: &mut Child) {
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.wait();
}

fn exit(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited {code}"),
        (None, signal) => format!("killed by signal {}", signal.unwrap_or_default()),
    }
}

/// The last bytes of an output.
#[derive(Default)]
struct Tail {
    bytes: VecDeque<u8>,
}

impl Tail {
    /// Reads what is there; one that never stops printing is looked at in between.
    fn read(&mut self, reader: &mut impl Read) {
        let mut buffer = [0; MAX_DETAIL];
        for _ in 0..READS {
            let Ok(read @ 1..) = reader.read(&mut buffer) else { return };
            self.bytes.extend(&buffer[..read]);
            let beyond = self.bytes.len().saturating_sub(MAX_DETAIL);
            self.bytes.drain(..beyond);
        }
    }

    fn into_text(self) -> String {
        String::from_utf8_lossy(&Vec::from(self.bytes)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, patience: Duration) -> Ended {
        let words = ["/bin/sh", "-c", script].map(str::to_owned);
        run(&words, patience, &Arc::default())
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn how_a_command_ended_and_what_it_printed_is_told() {
        assert_eq!(
            shell("echo a; echo b >&2; exit 3", LONG),
            Ended { how: "exited 3".into(), output: "a\nb\n".into() }
        );
        assert_eq!(shell("kill -9 $$", LONG).how, "killed by signal 9");
        let missing = run(&["/does/not/exist".to_owned()], LONG, &Arc::default());
        assert_eq!(missing.how, "not started");
    }

    #[test]
    fn the_last_of_a_long_output_is_kept_and_nothing_of_this_process_is_inherited() {
        let ended = shell("seq 1 100000; env | grep -c -v -e '^PATH=' -e '^PWD=' -e '^SHLVL=' -e '^_='; pwd", LONG);
        assert!(ended.output.ends_with("99999\n100000\n0\n/\n"), "{:?}", ended.output);
        assert_eq!(ended.output.len(), MAX_DETAIL);
    }

    /// A child that is left behind holds the pipe: it goes with its parent's group.
    #[test]
    fn a_command_ends_after_its_time_and_so_do_its_children() {
        let ended = shell("sleep 1000 & echo started; sleep 1000", Duration::from_millis(200));
        assert_eq!(ended, Ended { how: "timed-out after 200 ms".into(), output: "started\n".into() });
        assert_eq!(shell("sleep 1000 & exit 0", LONG).how, "exited 0");
    }

    #[test]
    fn a_command_ends_when_the_agent_stops() {
        let stop = Arc::new(AtomicBool::new(true));
        let words = ["/bin/sleep", "1000"].map(str::to_owned);
        assert_eq!(run(&words, LONG, &stop).how, "interrupted");
    }
}
