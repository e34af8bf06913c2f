//! A load by the clock: every millisecond each publisher owes the broker what the rate says, whether or not it answered,
//! and a publish that could only be sent late is late (no coordinated omission).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::load::{self, PUBACK, PUBACK_LENGTH};
use super::payload::Packets;

/// The step of the schedule.
const STEP: Duration = Duration::from_millis(1);
/// Between the start of the publishers and their first step.
const AHEAD: Duration = Duration::from_millis(50);

/// Publishers that are connected, each with its own publishes.
pub(super) struct OpenLoop {
    publishers: Vec<(Packets, TcpStream)>,
    steps: usize,
}

/// When the publishes of one publisher are due: what step `n` owes ends at `all * (n + 1) / steps`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    begin: Instant,
    steps: usize,
    all: usize,
}

/// A load that was answered.
pub(super) struct Answered(Vec<(Schedule, Vec<Instant>)>);

impl Schedule {
    fn due(&self, index: usize) -> Instant {
        self.begin + STEP * (index * self.steps / self.all) as u32
    }

    /// Milliseconds from due to each of these moments, which are those of the publishes in their order.
    pub(super) fn milliseconds(&self, moments: &[Instant]) -> impl Iterator<Item = f64> {
        let late = |(index, moment): (usize, &Instant)| moment.saturating_duration_since(self.due(index));
        moments.iter().enumerate().map(move |moment| late(moment).as_secs_f64() * 1000.0)
    }
}

impl Answered {
    /// From due to PUBACK, of all publishes.
    pub(super) fn milliseconds(&self) -> impl Iterator<Item = f64> {
        self.0.iter().flat_map(|(schedule, answers)| schedule.milliseconds(answers))
    }

    /// The schedule of each publisher, in the order in which they were given.
    pub(super) fn schedules(&self) -> impl Iterator<Item = Schedule> {
        self.0.iter().map(|(schedule, _)| *schedule)
    }
}

impl OpenLoop {
    /// Connects a publisher for each of these, and has its devices described. They are sent within `lasting`.
    pub(super) fn connect(broker: SocketAddr, prepared: Vec<Packets>, lasting: Duration) -> Result<Self> {
        let publishers = prepared.into_iter().map(|packets| {
            let socket = load::connect(broker, &packets)?;
            Ok((packets, socket))
        });
        let steps = (lasting.as_micros() / STEP.as_micros()).max(1) as usize;
        Ok(Self { publishers: publishers.collect::<Result<_>>()?, steps })
    }

    /// Sends everything on schedule, and waits for the last answer.
    pub(super) fn run(self) -> Result<Answered> {
        let (begin, steps) = (Instant::now() + AHEAD, self.steps);
        let threads = self.publishers.into_iter().map(|(packets, socket)| {
            let schedule = Schedule { begin, steps, all: packets.ends.len() };
            (schedule, std::thread::spawn(move || publisher(&packets, &socket, schedule)))
        });
        let threads: Vec<_> = threads.collect();
        let answered = threads.into_iter().map(|(schedule, thread)| {
            let answers = thread.join().map_err(|_| anyhow!("a publisher panicked"))??;
            Ok((schedule, answers))
        });
        answered.collect::<Result<_>>().map(Answered)
    }
}

/// Sends on schedule while a second thread takes the answers; when each came.
fn publisher(packets: &Packets, socket: &TcpStream, schedule: Schedule) -> Result<Vec<Instant>> {
    let Schedule { begin, steps, all } = schedule;
    let mut writer = socket.try_clone().context("cannot share a socket")?;
    std::thread::scope(|scope| {
        let answers = scope.spawn(move || answers(socket, all));
        let mut sent = 0;
        for step in 0..steps {
            let upto = all * (step + 1) / steps;
            std::thread::sleep((begin + STEP * step as u32).saturating_duration_since(Instant::now()));
            if upto > sent {
                let from = if sent == 0 { 0 } else { packets.ends[sent - 1] };
                writer.write_all(&packets.bytes[from..packets.ends[upto - 1]]).context("the broker hung up")?;
                sent = upto;
            }
        }
        answers.join().map_err(|_| anyhow!("a reader panicked"))?
    })
}

fn answers(mut socket: &TcpStream, all: usize) -> Result<Vec<Instant>> {
    let mut answers = Vec::with_capacity(all);
    let (mut bytes, mut held) = (vec![0; 1 << 16], 0);
    while answers.len() < all {
        let length = socket.read(&mut bytes[held..]).context("no answer")?;
        if length == 0 {
            bail!("the broker closed the connection after {} of {all} answers", answers.len());
        }
        let now = Instant::now();
        let whole = (held + length) / PUBACK_LENGTH * PUBACK_LENGTH;
        for answer in bytes[..whole].chunks(PUBACK_LENGTH) {
            if answer[..PUBACK.len()] != PUBACK {
                bail!("got {answer:02x?}, expected a PUBACK");
            }
            answers.push(now);
        }
        bytes.copy_within(whole..held + length, 0);
        held = held + length - whole;
    }
    Ok(answers)
}
