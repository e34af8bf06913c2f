//! Pushes line protocol over HTTP, one request after the other on one connection, as collectors do.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::payload::{FIELDS, POINTS, Payload};

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the writer waits when it is told to come again.
const AGAIN: Duration = Duration::from_millis(20);
/// The most bytes of an answer.
const ANSWER: usize = 8192;

pub(super) struct Writer {
    socket: TcpStream,
    payload: Payload,
    /// Readings that were accepted.
    pub(super) written: u64,
    /// Bytes of line protocol that were accepted.
    pub(super) bytes: u64,
}

impl Writer {
    pub(super) fn new(input: SocketAddr, seed: u64) -> Result<Self> {
        let socket = TcpStream::connect(input).with_context(|| format!("cannot connect to {input}"))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket, payload: Payload::new(seed), written: 0, bytes: 0 })
    }

    /// Writes so many readings as fast as they are accepted.
    pub(super) fn write(&mut self, readings: u64) -> Result<()> {
        let upto = self.written + readings;
        while self.written < upto {
            self.request(POINTS.min((upto - self.written).div_ceil(FIELDS)))?;
        }
        Ok(())
    }

    /// Writes `points` at a time, `rate` readings a second, for so long.
    pub(super) fn drip(&mut self, points: u64, rate: u64, lasting: Duration) -> Result<()> {
        let begun = Instant::now();
        let apart = Duration::from_secs(1).mul_f64((points * FIELDS) as f64 / rate as f64);
        for number in 0.. {
            let due = apart * number;
            if due >= lasting {
                break;
            }
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            self.request(points)?;
        }
        Ok(())
    }

    fn request(&mut self, points: u64) -> Result<()> {
        let body = self.payload.body(points);
        let head = format!(
            "POST /write?db=plant&precision=ns HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: text/plain\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        loop {
            self.socket.write_all(&[head.as_bytes(), body.as_bytes()].concat()).context("the agent hung up")?;
            let answer = self.answer()?;
            match answer.split(' ').nth(1) {
                Some("204") => break,
                Some("429" | "503") => std::thread::sleep(AGAIN),
                _ => bail!("the agent answered {answer}"),
            }
        }
        self.written += points * FIELDS;
        self.bytes += body.len() as u64;
        Ok(())
    }

    /// The head of an answer; its body is read and forgotten.
    fn answer(&mut self) -> Result<String> {
        let mut answer = Vec::new();
        let mut chunk = [0; ANSWER];
        loop {
            let length = self.socket.read(&mut chunk).context("no answer")?;
            if length == 0 || answer.len() > ANSWER {
                bail!("the agent closed the connection or says too much");
            }
            answer.extend_from_slice(&chunk[..length]);
            let text = String::from_utf8_lossy(&answer);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let of_body = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
            if body.len() >= of_body.unwrap_or(0) {
                return Ok(head.to_owned());
            }
        }
    }
}
