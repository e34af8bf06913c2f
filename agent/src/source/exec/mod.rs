//! Programs of the owner that print readings, one a line ([`line`] has the format): run again and again, or once for as
//! long as they print.
//!
//! Guarantees: a program gets no shell, no input and no environment but `PATH`; it ends after its time or with the
//! agent, and with it whatever it started; a line is bounded, and so is what is logged of its errors. Of a program that
//! prints faster than [`MAX_RATE`], or than the queue takes, the rest waits in its pipe, and then it waits itself.

pub mod fuzz;
mod line;
mod program;
pub(crate) mod settings;

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::feed::Feed;
use super::{Context, LifeError};
use crate::counters::Event;
use line::{Lines, MAX_LINE};
use program::{Program, told};
pub use settings::ExecConfig;

/// The most lines of a program that are looked at in a second.
pub const MAX_RATE: u32 = 10_000;
/// The most lines of its errors that are logged in a minute.
const MAX_ERRORS: u32 = 10;
/// Bytes read at once.
const READ: usize = 4096;
/// A name, a space, a digit and the end of the line.
const SHORTEST_LINE: usize = 4;
/// Time between two looks at a program that prints nothing: it may have ended while its pipe is held open.
const LOOK: Duration = Duration::from_secs(1);

/// Runs the program until it must stop.
pub async fn run(settings: ExecConfig, context: Context) -> Result<(), LifeError> {
    let feed = context.feed(settings.device)?;
    if settings.stream {
        let mut run = Run::start(&settings, &context, &feed)?;
        return tokio::select! {
            () = context.stopped() => Ok(()),
            ended = run.read() => Err(format!("it {}{}; it is to go on printing", told(ended?), run.last_words()).into()),
        };
    }
    let mut polls = context.polls(Duration::ZERO, settings.interval().0);
    while polls.next().await {
        let ended = tokio::select! {
            () = context.stopped() => return Ok(()),
            ended = once(&settings, &context, &feed) => ended,
        };
        if let Err(why) = ended {
            // It is not run more often because it fails.
            context.report.error(why.to_string());
            return if polls.next().await { Err(why) } else { Ok(()) };
        }
    }
    Ok(())
}

/// One run, from its start to its end or the end of its time.
async fn once(settings: &ExecConfig, context: &Context, feed: &Feed) -> Result<(), LifeError> {
    let mut run = Run::start(settings, context, feed)?;
    let patience = settings.timeout();
    match timeout(patience.0, run.read()).await {
        Ok(ended) => match ended? {
            status if status.success() => Ok(()),
            status => Err(format!("it {}{}", told(status), run.last_words()).into()),
        },
        Err(_) => Err(format!("it ran for more than {patience}; raise timeout{}", run.last_words()).into()),
    }
}

/// One running program.
struct Run<'a> {
    program: Program,
    context: &'a Context,
    feed: &'a Feed,
    /// Whether to wait for room instead of evicting: a program that goes on printing can wait.
    waits: bool,
    pace: Pace,
    errors: Pace,
    last_error: String,
}

impl<'a> Run<'a> {
    fn start(settings: &ExecConfig, context: &'a Context, feed: &'a Feed) -> Result<Self, LifeError> {
        let words = settings.command.get_ref();
        let program = Program::start(words).map_err(|error| format!("cannot start {}: {error}", words[0]))?;
        let pace = Pace::new(MAX_RATE, Duration::from_secs(1));
        let errors = Pace::new(MAX_ERRORS, Duration::from_secs(60));
        Ok(Self { program, context, feed, waits: settings.stream, pace, errors, last_error: String::new() })
    }

    /// Takes what it prints until it ends; how it ended.
    async fn read(&mut self) -> io::Result<ExitStatus> {
        let (mut lines, mut errors) = (Lines::default(), Lines::default());
        let (mut printed, mut complained) = (vec![0; READ], vec![0; MAX_LINE]);
        let (mut prints, mut complains) = (true, true);
        while prints || complains {
            self.wait_for_room().await;
            // What has ended prints no more: what is in its pipes is the last.
            let ended = self.program.ended()?.is_some();
            tokio::select! {
                biased;
                read = self.program.stdout.read(&mut printed), if prints => match read? {
                    0 => prints = false,
                    length => {
                        lines.feed(&printed[..length], |line| take(self.context, self.feed, &mut self.pace, line));
                        // What ends no line is paced as well.
                        self.pace.spend((length / MAX_LINE) as u32);
                        self.pace.wait().await;
                    }
                },
                read = self.program.stderr.read(&mut complained), if complains => match read? {
                    0 => complains = false,
                    length => errors.feed(&complained[..length], |line| {
                        self.last_error = complain(self.context, &mut self.errors, line.unwrap_or_else(|begin| begin));
                    }),
                },
                () = sleep(if ended { Duration::ZERO } else { LOOK }) => if ended { break },
            }
        }
        lines.finish(|line| take(self.context, self.feed, &mut self.pace, Ok(line)));
        self.program.end().await
    }

    /// Waits until all lines of a read find room.
    async fn wait_for_room(&self) {
        if self.waits {
            self.feed.has_room(READ / SHORTEST_LINE + 1).await;
        }
    }

    /// The last line of its errors, behind a colon.
    fn last_words(&self) -> String {
        if self.last_error.is_empty() { String::new() } else { format!(": {}", self.last_error) }
    }
}

/// Puts the reading of a line; one that is none is counted and named.
fn take(context: &Context, feed: &Feed, pace: &mut Pace, line: Result<&[u8], &[u8]>) {
    pace.allows();
    let parsed = match line {
        Ok(line) => line::parse(line),
        Err(begin) => Err(format!("got {:?}, expected at most {MAX_LINE} bytes a line", line::shown(begin))),
    };
    match parsed {
        // What a channel cannot carry is counted and named by the feed.
        Ok(Some(line)) => drop(feed.put(&line.sample(context.now()))),
        Ok(None) => {}
        Err(why) => {
            context.counters.warn(Event::ProgramLinesRefused, || format!("{}: {why}", context.report.id()));
            context.report.error(why);
        }
    }
}

/// Logs a line of its errors, as long as there are few; the line, short.
fn complain(context: &Context, pace: &mut Pace, line: &[u8]) -> String {
    let text = line::shown(line);
    context.counters.add(Event::ProgramErrors, 1);
    if pace.allows() {
        tracing::warn!(source = context.report.id(), "{text}");
    }
    text
}

/// So many things in a time.
struct Pace {
    most: u32,
    each: Duration,
    count: u32,
    began: Instant,
}

impl Pace {
    fn new(most: u32, each: Duration) -> Self {
        Self { most, each, count: 0, began: Instant::now() }
    }

    /// Counts one; whether it is within the bound.
    fn allows(&mut self) -> bool {
        if self.began.elapsed() >= self.each {
            (self.count, self.began) = (0, Instant::now());
        }
        self.spend(1);
        self.count <= self.most
    }

    /// Counts several.
    fn spend(&mut self, things: u32) {
        self.count = self.count.saturating_add(things);
    }

    /// Waits until the next thing is within the bound.
    async fn wait(&self) {
        if self.count >= self.most {
            sleep_until(self.began + self.each).await;
        }
    }
}
