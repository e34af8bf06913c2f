//! A Modbus device, written from the specification and not with the library that the agent uses: an honest one, and
//! some that are not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// What a device is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) unit: u8,
    pub(crate) function: u8,
    pub(crate) start: u16,
    pub(crate) count: u16,
}

/// How a device answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Manner {
    #[default]
    Honest,
    /// Says nothing.
    Silent,
    /// Answers with this exception whatever it is asked.
    Refusing(u8),
    /// Answers with this exception so many times.
    Busy(u8, u32),
    /// Says nothing to this function.
    Ignoring(u8),
    /// Says the first half of an answer, and the rest of it in front of the next.
    Halving,
    /// Answers another transaction, or as another unit on a serial line.
    Mistaken,
    /// Answers with a register less than it was asked for.
    Short,
    /// Answers with bytes that mean nothing, without end.
    Flooding,
    /// Answers with bytes that chance made of the right ones, by this seed.
    Garbling(u64),
    /// Hangs up.
    Rude,
}

#[derive(Debug, Default)]
struct State {
    registers: BTreeMap<(u8, u16), u16>,
    bits: BTreeMap<(u8, u16), bool>,
    manner: Manner,
    asked: Vec<Asked>,
    connections: u32,
    /// The rest of an answer.
    unsaid: Vec<u8>,
    chance: Option<StdRng>,
}

/// A device. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plc {
    state: Arc<Mutex<State>>,
    was_asked: Arc<Notify>,
}

pub(crate) const COILS: u8 = 1;
pub(crate) const DISCRETE: u8 = 2;
pub(crate) const HOLDING: u8 = 3;
pub(crate) const INPUT: u8 = 4;

impl Plc {
    pub(crate) fn holds(self, function: u8, start: u16, registers: &[u16]) -> Self {
        let places = (start..).map(|at| (function, at));
        self.state().registers.extend(places.zip(registers.iter().copied()));
        self
    }

    pub(crate) fn has_bits(self, function: u8, start: u16, bits: &[bool]) -> Self {
        let places = (start..).map(|at| (function, at));
        self.state().bits.extend(places.zip(bits.iter().copied()));
        self
    }

    pub(crate) fn becomes(&self, manner: Manner) {
        self.state().manner = manner;
    }

    /// What it was asked since the last look.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state().asked)
    }

    /// Waits until it is asked something, or was since this was waited for last.
    pub(crate) async fn is_asked(&self) {
        self.was_asked.notified().await;
    }

    /// How often somebody connected.
    pub(crate) fn connections(&self) -> u32 {
        self.state().connections
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("a device that did not panic")
    }

    /// Serves Modbus TCP for as long as the set lives; the address.
    pub(crate) async fn serve(&self, tasks: &mut JoinSet<()>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let plc = self.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                plc.state().connections += 1;
                connections.spawn(plc.clone().tcp(stream));
            }
        });
        format!("tcp://{address}")
    }

    /// MBAP: transaction, protocol 0, length, unit, then function and data.
    async fn tcp(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut head = [0; 7];
        while stream.read_exact(&mut head).await.is_ok() {
            let mut pdu = vec![0; usize::from(u16::from_be_bytes([head[4], head[5]])) - 1];
            if stream.read_exact(&mut pdu).await.is_err() {
                return;
            }
            let Some(answer) = self.answer(head[6], &pdu) else { continue };
            match self.manner() {
                Manner::Rude => return,
                Manner::Flooding => loop {
                    if stream.write_all(&[0xff; 1024]).await.is_err() {
                        return;
                    }
                },
                Manner::Mistaken => head[1] = head[1].wrapping_add(1),
                _ => {}
            }
            let length = (answer.len() as u16 + 1).to_be_bytes();
            head[4..6].copy_from_slice(&length);
            let sent = self.garbled([&head[..], &answer[..]].concat());
            if stream.write_all(&sent).await.is_err() {
                return;
            }
        }
    }

    /// RTU: unit, function, data, CRC. Every request that is served here has eight bytes.
    pub(crate) async fn rtu(self, mut stream: impl AsyncRead + AsyncWrite + Unpin, units: &[u8]) {
        let mut frame = [0; 8];
        while stream.read_exact(&mut frame).await.is_ok() {
            assert_eq!(crc(&frame[..6]), [frame[6], frame[7]], "the agent's checksum");
            let Some(answer) = self.answer(frame[0], &frame[1..6]).filter(|_| units.contains(&frame[0])) else {
                continue;
            };
            let unit = if self.manner() == Manner::Mistaken { frame[0] + 1 } else { frame[0] };
            let mut sent = [&[unit], &answer[..]].concat();
            sent.extend(crc(&sent));
            let sent = self.halved(self.garbled(sent));
            if stream.write_all(&sent).await.is_err() {
                return;
            }
        }
    }

    fn halved(&self, answer: Vec<u8>) -> Vec<u8> {
        let mut state = self.state();
        let mut sent = std::mem::take(&mut state.unsaid);
        let half = if state.manner == Manner::Halving { answer.len() / 2 } else { answer.len() };
        sent.extend(&answer[..half]);
        state.unsaid = answer[half..].to_vec();
        sent
    }

    /// What chance makes of an answer: other bytes at its beginning, where it says what it is, and perhaps fewer or more.
    fn garbled(&self, mut answer: Vec<u8>) -> Vec<u8> {
        let mut state = self.state();
        let Manner::Garbling(seed) = state.manner else { return answer };
        let chance = state.chance.get_or_insert_with(|| StdRng::seed_from_u64(seed));
        // The transaction of TCP and the unit of RTU are always wrong, so that no luck makes an answer of it.
        answer[0] ^= chance.random_range(1..=255);
        for byte in answer.iter_mut().skip(1) {
            if chance.random_bool(0.3) {
                *byte = chance.random();
            }
        }
        let length = chance.random_range(1..=answer.len() + 8);
        answer.resize_with(length, || chance.random());
        answer
    }

    fn manner(&self) -> Manner {
        self.state().manner
    }

    fn answer(&self, unit: u8, pdu: &[u8]) -> Option<Vec<u8>> {
        let mut state = self.state();
        let (function, start, count) =
            (pdu[0], u16::from_be_bytes([pdu[1], pdu[2]]), u16::from_be_bytes([pdu[3], pdu[4]]));
        state.asked.push(Asked { unit, function, start, count });
        self.was_asked.notify_one();
        let exception = |code| Some(vec![function | 0x80, code]);
        let places = (0..count).map(|at| (function, start.wrapping_add(at)));
        match state.manner {
            Manner::Silent => return None,
            Manner::Refusing(code) | Manner::Busy(code, 1..) => {
                if let Manner::Busy(_, times) = &mut state.manner {
                    *times -= 1;
                }
                return exception(code);
            }
            Manner::Ignoring(ignored) if ignored == function => return None,
            _ => {}
        }
        let data: Option<Vec<u8>> = match function {
            COILS | DISCRETE => {
                let bits: Option<Vec<bool>> = places.map(|place| state.bits.get(&place).copied()).collect();
                let byte = |bits: &[bool]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
                bits.map(|bits| bits.chunks(8).map(byte).collect())
            }
            HOLDING | INPUT => {
                let less = usize::from(state.manner == Manner::Short);
                let registers: Option<Vec<u16>> =
                    places.skip(less).map(|place| state.registers.get(&place).copied()).collect();
                registers.map(|registers| registers.iter().flat_map(|register| register.to_be_bytes()).collect())
            }
            _ => return exception(1),
        };
        // A device without such an address says so (exception 2).
        match data {
            Some(data) => Some([&[function, data.len() as u8], &data[..]].concat()),
            None => exception(2),
        }
    }
}

/// CRC-16 of Modbus over a serial line, V1.02, appendix B: bit by bit, low byte first.
pub(crate) fn crc(bytes: &[u8]) -> [u8; 2] {
    let bit = |crc: u16, _| if crc & 1 == 1 { crc >> 1 ^ 0xa001 } else { crc >> 1 };
    bytes.iter().fold(0xffff_u16, |crc, byte| (0..8).fold(crc ^ u16::from(*byte), bit)).to_le_bytes()
}
