//! The envelope of a batch.
//!
//! ```text
//! magic "WB" | version u8 | flags u8 (bit 0: body is one zstd frame)
//! manifest length u32 | body length u32, before compression | CRC-32 of the body as sent u32
//! manifest: postcard spans, back to back | CRC-32 of everything so far u32
//! body: postcard sections, back to back
//! ```
//!
//! Integers are little endian. The manifest names every identity in the body and is never compressed, so a
//! receiver that cannot read the body still knows what it was told about.

use serde::{Deserialize, Serialize};

use super::section::{Held, ReadingRun, Section};
use crate::checksum::crc32;
use crate::identity::{DeviceId, Restart, Sequence};
use crate::items::{self, Items};
use crate::version::{ENVELOPE_CURRENT, ENVELOPE_MIN};

const MAGIC: [u8; 2] = *b"WB";
const HEADER: usize = 16;
const FLAG_ZSTD: u8 = 1;
/// Bodies below this are not worth a zstd header.
const COMPRESS_FROM: usize = 512;
const ZSTD_LEVEL: i32 = 1;

/// The largest envelope that a gateway takes, in bytes.
pub const MAX_PAYLOAD: usize = 1 << 20;
/// The largest body before compression, in bytes; what a decoder may allocate.
pub const MAX_BODY: usize = 4 << 20;

/// The most readings that a gateway takes in one envelope, so that one envelope stages a bounded amount.
pub const MAX_READINGS: u64 = 1 << 16;

/// Sequences `[start, end)` of one restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    /// The device that sampled.
    pub device: DeviceId,
    /// Its restart.
    pub restart: Restart,
    /// The first sequence.
    pub start: Sequence,
    /// The first sequence after those.
    pub end: Sequence,
}

impl Section<'_> {
    /// The identities that it names, in its order: of a run that leaves the range of sequences, those up to its end.
    pub fn spans(&self) -> impl Iterator<Item = Span> + use<'_> {
        let (first, ranges) = match self {
            Self::Readings(run) => (Some(run.span()), None),
            Self::Claim(c) => (Some(Span { device: c.device, restart: c.restart, start: c.start, end: c.end }), None),
            Self::Summary(summary) => ((summary.run.count > 0).then(|| summary.run.span()), Some(summary)),
            Self::SetAside(aside) => (Some(aside.run.span()), None),
            Self::End(_) | Self::Position(_) => (None, None),
        };
        let stands_for = ranges.into_iter().flat_map(|summary| {
            let (device, restart) = (summary.run.device, summary.of);
            let span = move |held: Held| Span { device, restart, start: held.start, end: held.end };
            summary.ranges.iter().map_while(Result::ok).map(span)
        });
        first.into_iter().chain(stands_for)
    }
}

impl ReadingRun<'_> {
    /// Its sequences.
    pub fn span(&self) -> Span {
        let end = self.end().unwrap_or(Sequence(u64::MAX));
        Span { device: self.device, restart: self.restart, start: self.first, end }
    }
}

/// Why an envelope was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvelopeError {
    /// Not an envelope: wrong magic, cut short, or its manifest is damaged. Nothing is known about it.
    Unreadable(&'static str),
    /// A version that this build does not read.
    Version(u8),
    /// The manifest is good but the body is not.
    Body(&'static str),
}

impl core::fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unreadable(why) => write!(f, "unreadable envelope: {why}"),
            Self::Version(got) => {
                write!(f, "envelope version {got}; this build reads {ENVELOPE_MIN} to {ENVELOPE_CURRENT}")
            }
            Self::Body(why) => write!(f, "unreadable body: {why}"),
        }
    }
}

impl core::error::Error for EnvelopeError {}

/// An envelope whose header and manifest are good.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    manifest: Items<'a, Span>,
    compressed: bool,
    body_len: usize,
    body_crc: u32,
    body: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Reads header and manifest.
    pub fn open(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        let (header, rest) = bytes.split_first_chunk::<HEADER>().ok_or(EnvelopeError::Unreadable("cut short"))?;
        if header[..2] != MAGIC {
            return Err(EnvelopeError::Unreadable("wrong magic"));
        }
        let [version, flags] = [header[2], header[3]];
        let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if !(ENVELOPE_MIN..=ENVELOPE_CURRENT).contains(&version) {
            return Err(EnvelopeError::Version(version));
        }
        let (manifest_len, body_len, body_crc) = (word(4) as usize, word(8) as usize, word(12));
        let (manifest, rest) = rest.split_at_checked(manifest_len).ok_or(EnvelopeError::Unreadable("cut short"))?;
        let (crc, body) = rest.split_first_chunk::<4>().ok_or(EnvelopeError::Unreadable("cut short"))?;
        if crc32(&bytes[..HEADER + manifest_len]) != u32::from_le_bytes(*crc) {
            return Err(EnvelopeError::Unreadable("manifest checksum"));
        }
        let manifest = Items::<Span>::new(manifest);
        if !manifest.iter().all(|span| span.is_ok_and(|s| s.start < s.end)) {
            return Err(EnvelopeError::Unreadable("manifest encoding"));
        }
        Ok(Self { manifest, compressed: flags & FLAG_ZSTD != 0, body_len, body_crc, body })
    }

    /// Every identity that the body carries.
    pub fn manifest(&self) -> impl Iterator<Item = Span> + use<'a> {
        // `open` decoded all of it once.
        self.manifest.iter().filter_map(Result::ok)
    }

    /// The sections, decompressed into `buffer` if need be. Every identity in them is in the manifest.
    pub fn sections<'b>(&self, buffer: &'b mut Vec<u8>) -> Result<Items<'b, Section<'b>>, EnvelopeError>
    where
        'a: 'b,
    {
        if crc32(self.body) != self.body_crc {
            return Err(EnvelopeError::Body("checksum"));
        }
        if self.body_len > MAX_BODY {
            return Err(EnvelopeError::Body("larger than 4 MiB"));
        }
        if !self.compressed {
            return Ok(Items::new(self.body));
        }
        buffer.clear();
        buffer.resize(self.body_len, 0);
        match zstd::bulk::decompress_to_buffer(self.body, buffer.as_mut_slice()) {
            Ok(length) if length == self.body_len => Ok(Items::new(buffer)),
            Ok(_) => Err(EnvelopeError::Body("shorter than it says")),
            Err(_) => Err(EnvelopeError::Body("zstd")),
        }
    }
}

/// Collects sections into an envelope.
#[derive(Debug, Default)]
pub struct EnvelopeBuilder {
    manifest: Vec<u8>,
    last: Option<Span>,
    body: Vec<u8>,
}

impl EnvelopeBuilder {
    /// An empty envelope.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it holds no section.
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// Bytes of body so far, before compression.
    pub fn body_len(&self) -> usize {
        self.body.len()
    }

    /// Bytes so far, before compression: body and manifest, which names each stretch of a summary.
    pub fn len(&self) -> usize {
        self.body.len() + self.manifest.len()
    }

    /// Appends a section.
    pub fn push(&mut self, section: &Section<'_>) {
        self.note(section);
        items::push(&mut self.body, section);
    }

    /// Appends a section that is already encoded, as the queue holds it. `section` is its decoded form.
    pub fn push_encoded(&mut self, section: &Section<'_>, encoded: &[u8]) {
        self.note(section);
        self.body.extend_from_slice(encoded);
    }

    /// Adds the section's identities to the manifest, joining neighbours.
    fn note(&mut self, section: &Section<'_>) {
        section.spans().for_each(|span| self.name(span));
    }

    fn name(&mut self, span: Span) {
        match &mut self.last {
            Some(last) if last.device == span.device && last.restart == span.restart && last.end == span.start => {
                last.end = span.end;
            }
            last => {
                if let Some(full) = last.replace(span) {
                    items::push(&mut self.manifest, &full);
                }
            }
        }
    }

    /// The envelope; `compress` if it pays. Empties the builder for the next batch and keeps its memory.
    pub fn finish(&mut self, compress: bool) -> Vec<u8> {
        if let Some(span) = self.last.take() {
            items::push(&mut self.manifest, &span);
        }
        let smaller = (compress && self.body.len() >= COMPRESS_FROM)
            .then(|| zstd::bulk::compress(&self.body, ZSTD_LEVEL).ok())
            .flatten()
            .filter(|packed| packed.len() < self.body.len());
        let body = smaller.as_deref().unwrap_or(&self.body);
        let flags = if smaller.is_some() { FLAG_ZSTD } else { 0 };
        let mut out = Vec::with_capacity(HEADER + self.manifest.len() + 4 + body.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[ENVELOPE_CURRENT, flags]);
        out.extend_from_slice(&(self.manifest.len() as u32).to_le_bytes());
        out.extend_from_slice(&(self.body.len() as u32).to_le_bytes());
        out.extend_from_slice(&crc32(body).to_le_bytes());
        out.extend_from_slice(&self.manifest);
        out.extend_from_slice(&crc32(&out).to_le_bytes());
        out.extend_from_slice(body);
        self.manifest.clear();
        self.body.clear();
        out
    }
}
