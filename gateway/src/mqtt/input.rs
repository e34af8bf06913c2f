//! The bytes of one packet behind its fixed header, taken from the front (section 1.5).
//!
//! What it guarantees: nothing is read beyond the end, and no length is believed before the bytes are there. What is kept
//! is a slice of the packet; nothing is copied.

use bytes::Bytes;

use super::malformed::Malformed;

/// What is left of a packet, or of a part of it.
#[derive(Debug)]
pub(super) struct Input<'p> {
    packet: &'p Bytes,
    at: usize,
    end: usize,
}

impl<'p> Input<'p> {
    /// All of `packet`.
    pub(super) fn new(packet: &'p Bytes) -> Self {
        Self { packet, at: 0, end: packet.len() }
    }

    /// Where it stands in the packet.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The bytes of the packet from `start` to `end`, which were taken already.
    pub(super) fn slice(&self, start: usize, end: usize) -> &'p [u8] {
        &self.packet[start..end]
    }

    /// The same without a copy, for as long as they are wanted.
    pub(super) fn shared(&self, start: usize, end: usize) -> Bytes {
        self.packet.slice(start..end)
    }

    /// Whether all has been taken.
    pub(super) fn is_empty(&self) -> bool {
        self.at == self.end
    }

    /// Checks that all has been taken.
    pub(super) fn finish(&self) -> Result<(), Malformed> {
        if self.is_empty() { Ok(()) } else { Err(Malformed::new("bytes behind the end of the packet")) }
    }

    fn take(&mut self, length: usize) -> Result<&'p [u8], Malformed> {
        let taken = self.packet[self.at..self.end].get(..length).ok_or(ENDS)?;
        self.at += length;
        Ok(taken)
    }

    /// One byte.
    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// A byte that is 0 or 1.
    pub(super) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed::protocol("a property that may only be 0 or 1")),
        }
    }

    /// Two bytes.
    pub(super) fn two(&mut self) -> Result<u16, Malformed> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Four bytes.
    pub(super) fn four(&mut self) -> Result<u32, Malformed> {
        self.take(4).map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A packet id, which is never 0 ([MQTT-2.2.1-3]).
    pub(super) fn packet_id(&mut self) -> Result<u16, Malformed> {
        match self.two()? {
            0 => Err(Malformed::protocol("a packet id of 0")),
            id => Ok(id),
        }
    }

    /// A variable byte integer in its shortest form ([MQTT-1.5.5-1]).
    pub(super) fn variable(&mut self) -> Result<u32, Malformed> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 {
                    Err(Malformed::new("a variable byte integer that is not in its shortest form"))
                } else {
                    Ok(value)
                };
            }
        }
        Err(Malformed::new("a variable byte integer of more than four bytes"))
    }

    /// Binary data with its length in front.
    pub(super) fn binary(&mut self) -> Result<Bytes, Malformed> {
        let (start, _) = self.counted()?;
        Ok(self.shared(start, self.at))
    }

    /// UTF-8 without U+0000, with its length in front ([MQTT-1.5.4-1], [MQTT-1.5.4-2]).
    pub(super) fn text(&mut self) -> Result<&'p str, Malformed> {
        let (_, bytes) = self.counted()?;
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed::new("a text that is not UTF-8"))?;
        if bytes.contains(&0) { Err(Malformed::new("a text with U+0000")) } else { Ok(text) }
    }

    /// Everything that is left.
    pub(super) fn rest(&mut self) -> Bytes {
        let start = self.at;
        self.at = self.end;
        self.shared(start, self.end)
    }

    /// The next `length` bytes, to be read by themselves.
    pub(super) fn part(&mut self, length: usize) -> Result<Self, Malformed> {
        let at = self.at;
        self.take(length)?;
        Ok(Self { packet: self.packet, at, end: self.at })
    }

    /// A length of two bytes and as many bytes; where they begin, and they.
    fn counted(&mut self) -> Result<(usize, &'p [u8]), Malformed> {
        let length = usize::from(self.two()?);
        let start = self.at;
        self.take(length).map(|bytes| (start, bytes))
    }
}

const ENDS: Malformed = Malformed::new("the packet ends in the middle of a field");
