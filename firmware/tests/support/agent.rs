//! A small agent that follows the intake rules of `weir-agent` to the letter, and checks what a device must not do.

use std::collections::BTreeMap;
use std::ops::Range;

use weir_protocol::frame::{self, Decoder, MAX_FRAME};
use weir_protocol::serial::device_to_agent::{Hello, Readings, Ring};
use weir_protocol::serial::{Down, Held, Up};
use weir_protocol::{RangeSet, Restart, Sequence, Timestamp, Value};

/// What is known of one restart.
#[derive(Default)]
pub struct Intake {
    pub accepted: u64,
    pub readings: BTreeMap<u64, (i64, Timestamp)>,
    pub claimed: RangeSet,
    /// The furthest credit ever given.
    pub credit: u64,
    pub next: u64,
}

pub struct Agent {
    pub restarts: BTreeMap<Restart, Intake>,
    /// The order in which restarts first had a reading accepted.
    pub order: Vec<Restart>,
    /// How far past `accepted` it gives credit.
    pub ahead: u64,
    /// Wall time minus the uptime of the test.
    pub wall: i64,
    pub assign: u64,
    pub last_hello: Vec<Held>,
    pub ring: Option<Ring>,
    pub results: Vec<weir_protocol::serial::device_to_agent::CommandResult>,
    pub described: usize,
    pub bad_frames: u64,
    pub resends: u64,
    decoder: Decoder<MAX_FRAME>,
}

impl Agent {
    pub fn new() -> Self {
        Self {
            restarts: BTreeMap::new(),
            order: Vec::new(),
            ahead: 1000,
            wall: 1_700_000_000_000_000,
            assign: 1,
            last_hello: Vec::new(),
            ring: None,
            results: Vec::new(),
            described: 0,
            bad_frames: 0,
            resends: 0,
            decoder: Decoder::new(),
        }
    }

    /// Takes bytes from the line at `now` and returns what it answers.
    pub fn receive(&mut self, now: u64, mut bytes: &[u8]) -> Vec<Down> {
        let mut messages = Vec::new();
        while !bytes.is_empty() {
            match self.decoder.feed(&mut bytes) {
                Some(Ok(message)) => messages.push(message.to_vec()),
                Some(Err(_)) => self.bad_frames += 1,
                None => {}
            }
        }
        let mut answers = Vec::new();
        for message in messages {
            match frame::message::<Up<'_>>(&message).expect("a frame with a right checksum holds a message") {
                Up::Hello(hello) => self.hello(&hello, &mut answers),
                Up::Readings(readings) => self.readings(&readings, &mut answers),
                Up::Describe(_) => self.described += 1,
                Up::CommandResult(result) => self.results.push(result),
                Up::TimeRequest { sent } => {
                    answers.push(Down::TimeSync { sent, time: Timestamp(now as i64 + self.wall) });
                }
            }
        }
        answers
    }

    fn hello(&mut self, hello: &Hello<'_>, answers: &mut Vec<Down>) {
        self.ring = Some(hello.ring);
        self.last_hello = hello.held.iter().map(|held| held.expect("Hello lists restarts")).collect();
        for held in self.last_hello.clone() {
            if held.restart == Restart::UNBOUND {
                answers.push(Down::AssignRestart { restart: Restart::from_agent(self.assign) });
            } else {
                self.catch_up(held.restart, held.base, held.next);
                self.answer(held.restart, answers);
            }
        }
    }

    fn readings(&mut self, frame: &Readings<'_>, answers: &mut Vec<Down>) {
        assert_ne!(frame.restart, Restart::UNBOUND, "readings need an identity");
        assert!(frame.base <= frame.first && frame.first <= frame.next);
        self.catch_up(frame.restart, frame.base, frame.next);
        let intake = self.restarts.entry(frame.restart).or_default();
        let readings: Vec<_> = frame.readings.iter().map(|reading| reading.expect("a reading")).collect();
        let end = frame.first.0 + readings.len() as u64;
        assert!(end <= frame.next.0);
        assert!(end <= intake.credit || readings.is_empty(), "sent up to {end} with credit up to {}", intake.credit);
        if frame.first.0 > intake.accepted {
            self.resends += 1;
            answers.push(Down::Resend { restart: frame.restart, from: Sequence(intake.accepted) });
        } else {
            for (sequence, reading) in (frame.first.0..).zip(readings) {
                let Value::Integer(value) = reading.value else { panic!("the sensor counts") };
                let known = intake.readings.entry(sequence).or_insert((value, reading.time));
                assert_eq!(known.0, value, "sequence {sequence} of restart {} was used twice", frame.restart);
                intake.accepted = intake.accepted.max(sequence + 1);
            }
            if !self.order.contains(&frame.restart) && intake.accepted > 0 {
                self.order.push(frame.restart);
            }
        }
        self.answer(frame.restart, answers);
    }

    fn catch_up(&mut self, restart: Restart, base: Sequence, next: Sequence) {
        let intake = self.restarts.entry(restart).or_default();
        assert!(base <= next);
        intake.next = intake.next.max(next.0);
        if base.0 > intake.accepted {
            intake.claimed.insert(intake.accepted..base.0);
            intake.accepted = base.0;
        }
    }

    fn answer(&mut self, restart: Restart, answers: &mut Vec<Down>) {
        let ahead = self.ahead;
        let intake = self.restarts.entry(restart).or_default();
        if intake.accepted > 0 {
            answers.push(Down::Ack { restart, accepted: Sequence(intake.accepted) });
        }
        let upto = intake.accepted + ahead;
        intake.credit = intake.credit.max(upto);
        answers.push(Down::Credit { restart, upto: Sequence(upto) });
    }

    /// What was claimed of a restart.
    pub fn claims(&self, restart: Restart) -> Vec<Range<u64>> {
        self.restarts.get(&restart).map_or(Vec::new(), |intake| intake.claimed.iter().collect())
    }
}
