//! A WebSocket as a transport: bytes in, bytes out.
//!
//! What it guarantees: what is read is the payload of the client's binary frames and nothing else, and it is taken
//! apart in the reader's own buffer; each write is a frame, written from the writer's own buffer; so a WebSocket takes
//! no more memory than its socket. Pings are answered, the last one of a flood; a Close is answered and is the
//! end of the stream; a frame that may not be is an error of the reader, and the Close at the end carries its code.
//!
//! A frame announces as many bytes as the write that begins it brings. Whoever writes again after `Pending` brings the
//! same bytes first, as every writer does that has no other place for them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::{Control, Fault, Incoming, Payload};

/// A binary frame, complete.
const BINARY: u8 = 0x82;
/// A Close frame.
const CLOSE: u8 = 0x88;
/// A Pong frame.
const PONG: u8 = 0x8a;
/// Close code: normal closure.
const NORMAL: u16 = 1000;
/// The longest header of a frame of ours: no mask.
const MAX_HEADER: usize = 10;

/// The server's side of a WebSocket on a transport.
#[derive(Debug)]
pub struct WebSocket<S> {
    inner: S,
    incoming: Incoming,
    /// Nothing more is read: the client said so, or broke a rule.
    is_over: bool,
    /// The header of the frame that is being written, and how much of it is out.
    header: Header,
    /// Payload of that frame that is not out.
    frame_left: usize,
    /// A control frame that waits, or is being written.
    control: Option<Outgoing>,
    /// The payload of the Close that ends this.
    closing: Payload,
    /// A Close is out or on its way.
    is_closed: bool,
}

#[derive(Debug, Default)]
struct Header {
    bytes: [u8; MAX_HEADER],
    from: usize,
    length: usize,
}

/// A control frame and how much of it is out.
#[derive(Debug)]
struct Outgoing {
    opcode: u8,
    payload: Payload,
    sent: usize,
}

impl Header {
    /// Of a frame with so much payload (section 5.2).
    fn new(opcode: u8, length: usize) -> Self {
        let mut bytes = [0; MAX_HEADER];
        bytes[0] = opcode;
        let end = match length {
            0..=125 => {
                bytes[1] = length as u8;
                2
            }
            126..=0xffff => {
                bytes[1] = 126;
                bytes[2..4].copy_from_slice(&(length as u16).to_be_bytes());
                4
            }
            _ => {
                bytes[1] = 127;
                bytes[2..].copy_from_slice(&(length as u64).to_be_bytes());
                MAX_HEADER
            }
        };
        Self { bytes, from: 0, length: end }
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.from..self.length]
    }
}

impl<S> WebSocket<S> {
    /// On a transport whose opening handshake is done.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            incoming: Incoming::new(),
            is_over: false,
            header: Header::default(),
            frame_left: 0,
            control: None,
            closing: Payload::new(&NORMAL.to_be_bytes()),
            is_closed: false,
        }
    }

    fn answer(&mut self, control: Control) {
        match control {
            // One that is being written is finished first; then only the last ping counts (section 5.5.3).
            Control::Ping(payload) if self.control.as_ref().is_none_or(|waiting| waiting.sent == 0) => {
                self.control = Some(Outgoing { opcode: PONG, payload, sent: 0 });
            }
            Control::Ping(_) => (),
            Control::Close(payload) => {
                // Its code alone; there may be none.
                let code = payload.bytes().first_chunk::<2>().copied();
                self.closing = Payload::new(code.as_ref().map_or(&[], |code| &code[..]));
                self.is_over = true;
            }
        }
    }

    fn break_off(&mut self, fault: Fault) -> io::Error {
        self.closing = Payload::new(&fault.code().to_be_bytes());
        self.is_over = true;
        io::Error::new(io::ErrorKind::InvalidData, format!("WebSocket frame: {fault:?}"))
    }

    /// Whether a data frame is begun and not whole.
    fn is_within_a_frame(&self) -> bool {
        self.frame_left > 0 || !self.header.rest().is_empty()
    }
}

impl<S: AsyncWrite + Unpin> WebSocket<S> {
    /// Writes the control frame that waits; ready when there is none.
    fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(control) = &mut self.control {
            let mut frame = [0; 2 + super::frames::MAX_CONTROL];
            let payload = control.payload.bytes();
            frame[0] = control.opcode;
            // At most 125.
            frame[1] = payload.len() as u8;
            frame[2..2 + payload.len()].copy_from_slice(payload);
            let rest = &frame[control.sent..2 + payload.len()];
            let whole = rest.len();
            let sent = ready!(Pin::new(&mut self.inner).poll_write(cx, rest))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            control.sent += sent;
            if sent == whole {
                self.control = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.is_within_a_frame() && this.control.is_some() {
                // Goes out when it can; reading does not wait for it.
                if let Poll::Ready(Err(error)) = this.poll_control(cx) {
                    return Poll::Ready(Err(error));
                }
            }
            if this.is_over || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let begin = buf.filled().len();
            ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
            if buf.filled().len() == begin {
                return Poll::Ready(Ok(()));
            }
            let payload = match this.take(&mut buf.filled_mut()[begin..]) {
                Ok(payload) => payload,
                Err(fault) => {
                    buf.set_filled(begin);
                    return Poll::Ready(Err(this.break_off(fault)));
                }
            };
            buf.set_filled(begin + payload);
            if payload > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S> WebSocket<S> {
    /// Takes what was read apart; how much payload is at the front of it then.
    fn take(&mut self, bytes: &mut [u8]) -> Result<usize, Fault> {
        let (mut payload, mut seen) = (0, 0);
        while seen < bytes.len() && !self.is_over {
            let taken = self.incoming.take(bytes, payload, seen)?;
            (payload, seen) = (taken.payload, taken.seen);
            taken.control.into_iter().for_each(|control| self.answer(control));
        }
        Ok(payload)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if !this.is_within_a_frame() {
            ready!(this.poll_control(cx))?;
            if this.is_closed {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            this.header = Header::new(BINARY, buf.len());
            this.frame_left = buf.len();
        }
        loop {
            let payload = &buf[..this.frame_left.min(buf.len())];
            let header = this.header.rest();
            let written = if header.is_empty() {
                ready!(Pin::new(&mut this.inner).poll_write(cx, payload))?
            } else {
                let both = [IoSlice::new(header), IoSlice::new(payload)];
                ready!(Pin::new(&mut this.inner).poll_write_vectored(cx, &both))?
            };
            if written == 0 {
                return Poll::Ready(Ok(0));
            }
            let of_header = written.min(header.len());
            this.header.from += of_header;
            this.frame_left -= written - of_header;
            if written > of_header {
                return Poll::Ready(Ok(written - of_header));
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_within_a_frame() {
            ready!(self.poll_control(cx))?;
        }
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Within a frame a Close would be read as payload.
        if !self.is_within_a_frame() {
            ready!(self.poll_control(cx))?;
            if !self.is_closed {
                self.is_closed = true;
                self.control = Some(Outgoing { opcode: CLOSE, payload: self.closing, sent: 0 });
                ready!(self.poll_control(cx))?;
            }
        }
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
