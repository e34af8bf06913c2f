//! Frames of a client (RFC 6455, section 5), taken apart where they were read: what is left is a stream of payload.
//!
//! What it guarantees: whatever comes, and however it is cut, takes no memory beyond one header and one control frame;
//! a frame that a client may not send ends the connection with the close code that the standard names.
//!
//! MQTT asks for binary messages and nothing else, and lets a packet lie in them as it likes (\[MQTT-6.0.0-1\],
//! \[MQTT-6.0.0-2\]), so where a message ends matters to nobody here.

/// The largest payload of a control frame, in bytes (section 5.5).
pub(super) const MAX_CONTROL: usize = 125;
/// The largest message, in bytes. It takes no memory; it only bounds for how long a client may be in one message.
const MAX_MESSAGE: u64 = 64 << 20;
/// The longest header: two bytes, a length of eight, a mask of four.
const MAX_HEADER: usize = 14;

/// Why a connection ends: a close code (section 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No frame that a client may send here and now.
    Protocol,
    /// A text message.
    Text,
    /// A message larger than [`MAX_MESSAGE`].
    TooLarge,
}

impl Fault {
    /// The code of the Close frame.
    pub(super) const fn code(self) -> u16 {
        match self {
            Self::Protocol => 1002,
            Self::Text => 1003,
            Self::TooLarge => 1009,
        }
    }
}

/// A whole control frame of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    /// To be answered with the same payload.
    Ping(Payload),
    /// The client says goodbye; the answer carries the same code.
    Close(Payload),
}

/// The payload of a control frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Payload {
    bytes: [u8; MAX_CONTROL],
    length: u8,
}

impl Payload {
    /// Of these bytes, as far as they have room.
    pub(super) fn new(bytes: &[u8]) -> Self {
        let mut payload = Self { bytes: [0; MAX_CONTROL], length: 0 };
        bytes.iter().for_each(|byte| payload.push(*byte));
        payload
    }

    /// The bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(usize::from(self.length)) {
            *place = byte;
            self.length += 1;
        }
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.bytes())
    }
}

/// What was read so far.
#[derive(Debug)]
pub(super) struct Incoming {
    header: [u8; MAX_HEADER],
    /// Bytes of the header that are there.
    have: usize,
    /// The frame whose payload comes, once its header is whole.
    frame: Option<Frame>,
    /// Bytes of the message so far, while one is not finished.
    message: Option<u64>,
    control: Payload,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    kind: Kind,
    is_last: bool,
    left: u64,
    mask: [u8; 4],
    /// Which byte of the mask is next.
    turn: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Data,
    Close,
    Ping,
    Pong,
}

/// What one pass over bytes ended with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Payload at the front of the bytes.
    pub(super) payload: usize,
    /// Bytes that were looked at; what is behind belongs to what comes after `control`.
    pub(super) seen: usize,
    /// A control frame that was completed there.
    pub(super) control: Option<Control>,
}

impl Incoming {
    /// At the beginning of a connection.
    pub(super) fn new() -> Self {
        Self { header: [0; MAX_HEADER], have: 0, frame: None, message: None, control: Payload::new(&[]) }
    }

    /// Takes frames apart in place: `bytes` from `at` on are looked at, and their payload moves behind the first
    /// `payload` bytes.
    pub(super) fn take(&mut self, bytes: &mut [u8], mut payload: usize, mut at: usize) -> Result<Taken, Fault> {
        while at < bytes.len() {
            let Some(frame) = &mut self.frame else {
                self.header[self.have] = bytes[at];
                self.have += 1;
                at += 1;
                self.frame = parse(&self.header[..self.have], &mut self.message)?;
                if self.frame.is_some() {
                    self.have = 0;
                    self.control = Payload::new(&[]);
                }
                if let Some(control) = self.finish() {
                    return Ok(Taken { payload, seen: at, control: Some(control) });
                }
                continue;
            };
            let count = usize::try_from(frame.left).unwrap_or(usize::MAX).min(bytes.len() - at);
            let unmasked = &mut bytes[at..at + count];
            for byte in &mut *unmasked {
                *byte ^= frame.mask[frame.turn];
                frame.turn = (frame.turn + 1) % 4;
            }
            frame.left -= count as u64;
            if frame.kind == Kind::Data {
                bytes.copy_within(at..at + count, payload);
                payload += count;
            } else {
                unmasked.iter().for_each(|byte| self.control.push(*byte));
            }
            at += count;
            if let Some(control) = self.finish() {
                return Ok(Taken { payload, seen: at, control: Some(control) });
            }
        }
        Ok(Taken { payload, seen: at, control: None })
    }

    /// Leaves a frame that is complete; what it was, if it wants an answer.
    fn finish(&mut self) -> Option<Control> {
        let frame = self.frame.take_if(|frame| frame.left == 0)?;
        match frame.kind {
            Kind::Data => {
                if frame.is_last {
                    self.message = None;
                }
                None
            }
            Kind::Ping => Some(Control::Ping(self.control)),
            Kind::Close => Some(Control::Close(self.control)),
            Kind::Pong => None,
        }
    }
}

/// Reads a header (section 5.2); `None` if it goes on. `message` says how large a message that is not finished is.
fn parse(header: &[u8], message: &mut Option<u64>) -> Result<Option<Frame>, Fault> {
    let (&first, Some(&second)) = (&header[0], header.get(1)) else { return Ok(None) };
    let (is_last, opcode, short) = (first & 0x80 != 0, first & 0x0f, second & 0x7f);
    // No extension was agreed on, and a client masks.
    if first & 0x70 != 0 || second & 0x80 == 0 {
        return Err(Fault::Protocol);
    }
    let wide = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let Some((length, mask)) = header[2..].split_at_checked(wide).filter(|(_, mask)| mask.len() == 4) else {
        return Ok(None);
    };
    let left = match wide {
        0 => u64::from(short),
        _ => length.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
    };
    // In as few bytes as it takes.
    if (wide == 2 && left < 126) || (wide == 8 && left <= u64::from(u16::MAX)) {
        return Err(Fault::Protocol);
    }
    let kind = match (opcode, message.is_some()) {
        (0, true) | (2, false) => Kind::Data,
        (1, false) => return Err(Fault::Text),
        (8, _) => Kind::Close,
        (9, _) => Kind::Ping,
        (10, _) => Kind::Pong,
        _ => return Err(Fault::Protocol),
    };
    if kind == Kind::Data {
        let whole = message.unwrap_or(0).saturating_add(left);
        if whole > MAX_MESSAGE {
            return Err(Fault::TooLarge);
        }
        *message = Some(whole);
    } else if !is_last || left > MAX_CONTROL as u64 || (kind == Kind::Close && left == 1) {
        return Err(Fault::Protocol);
    }
    let mask = [mask[0], mask[1], mask[2], mask[3]];
    Ok(Some(Frame { kind, is_last, left, mask, turn: 0 }))
}

#[cfg(test)]
mod tests;
