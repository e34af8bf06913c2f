//! A line that several units may share: requests take turns, and each answer belongs to its request.
//!
//! Guarantees: one request at a time, in the order in which they were asked for; an answer that is late, of another
//! unit, of another function or of another length is never taken for the answer to this request. Whatever goes wrong
//! closes the line, so that nothing that is still under way on it can be read later, and the next request opens it.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_modbus::client::{Client, Context, rtu, tcp};
use tokio_modbus::slave::SlaveContext;
use tokio_modbus::{Error, ExceptionCode, ProtocolError, Request, Response, Slave};
use tokio_serial::{ClearBuffer, SerialPort, SerialPortBuilderExt};

use super::address::{Address, Parity, Rtu};
use super::plan::{Place, Table};

/// How long a TCP connection may take, its name looked up and all.
const CONNECT: Duration = Duration::from_secs(5);
/// The bits of a character on a serial line: start, eight of data, parity or a second stop, stop.
const CHARACTER: u64 = 11;
/// Above this speed the silence between two frames is not counted in characters (serial line V1.02, 2.5.1.1).
const FAST: u32 = 19_200;
const SILENCE_WHEN_FAST: Duration = Duration::from_micros(1750);

/// A line.
#[derive(Debug)]
pub struct Line {
    address: Address,
    open: Mutex<State>,
}

#[derive(Default)]
struct State {
    context: Option<Context>,
    /// On a serial line nobody speaks before this.
    quiet_until: Option<Instant>,
}

/// What an answer holds: registers, or bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Of [`Table::Holding`] and [`Table::Input`].
    Registers(Vec<u16>),
    /// Of [`Table::Coil`] and [`Table::Discrete`].
    Bits(Vec<bool>),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The unit refused, and can be asked for something else.
    #[error("exception {}: {}", u8::from(*.0), meaning(*.0))]
    Refused(ExceptionCode),
    /// Nothing came.
    #[error("no answer in {} ms", .0.as_millis())]
    Silent(Duration),
    /// The line cannot be opened.
    #[error("cannot be opened: {0}")]
    Closed(io::Error),
    /// The line broke.
    #[error("{0}")]
    Broken(io::Error),
    /// What came is no answer to this request.
    #[error("the answer is wrong: {0}")]
    Wrong(String),
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("open", &self.context.is_some()).finish()
    }
}

impl Line {
    /// A line that is not open yet.
    pub fn new(address: Address) -> Self {
        Self { address, open: Mutex::default() }
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Asks `unit` for `place`, when it is this request's turn.
    ///
    /// # Errors
    /// [`ReadError`]; after [`ReadError::Refused`] the line is as good as before.
    pub async fn read(&self, unit: u8, place: &Place, patience: Duration) -> Result<Answer, ReadError> {
        let mut state = self.open.lock().await;
        // Taken out, so that whoever is stopped in the middle leaves a closed line behind.
        let mut context = match state.context.take() {
            Some(context) => context,
            None => self.connect().await?,
        };
        if let Some(until) = state.quiet_until.take() {
            sleep_until(until).await;
        }
        context.set_slave(Slave(unit));
        let answer = timeout(patience, context.call(request(place))).await;
        if let Address::Rtu(rtu) = &self.address {
            state.quiet_until = Some(Instant::now() + silence(rtu.baud));
        }
        let response = match answer {
            Err(_) => return Err(ReadError::Silent(patience)),
            Ok(Err(Error::Transport(error))) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(ReadError::Wrong(error.to_string()));
            }
            Ok(Err(Error::Transport(error))) => return Err(broken(error)),
            Ok(Err(Error::Protocol(error))) => return Err(ReadError::Wrong(short(&error))),
            Ok(Ok(Err(code))) => {
                state.context = Some(context);
                return Err(ReadError::Refused(code));
            }
            Ok(Ok(Ok(response))) => response,
        };
        let answer = take(response, place)?;
        state.context = Some(context);
        Ok(answer)
    }

    async fn connect(&self) -> Result<Context, ReadError> {
        match &self.address {
            Address::Tcp { host, port } => {
                let stream = timeout(CONNECT, TcpStream::connect(format!("{host}:{port}"))).await;
                let stream = stream.map_err(|_| ReadError::Silent(CONNECT))?.map_err(ReadError::Closed)?;
                // A request is one small packet.
                stream.set_nodelay(true).map_err(ReadError::Closed)?;
                Ok(tcp::attach(stream))
            }
            Address::Rtu(line) => {
                let port = open(line).map_err(|error| ReadError::Closed(error.into()))?;
                // What a unit said too late for the last request.
                port.clear(ClearBuffer::All).map_err(|error| ReadError::Closed(error.into()))?;
                Ok(rtu::attach(port))
            }
        }
    }
}

fn open(line: &Rtu) -> Result<tokio_serial::SerialStream, tokio_serial::Error> {
    let parity = match line.parity {
        Parity::None => tokio_serial::Parity::None,
        Parity::Even => tokio_serial::Parity::Even,
        Parity::Odd => tokio_serial::Parity::Odd,
    };
    let stop = if line.stop == 2 { tokio_serial::StopBits::Two } else { tokio_serial::StopBits::One };
    let path = line.path.to_string_lossy();
    tokio_serial::new(path, line.baud).parity(parity).stop_bits(stop).open_native_async()
}

/// Three and a half characters, between two frames.
fn silence(baud: u32) -> Duration {
    if baud > FAST {
        return SILENCE_WHEN_FAST;
    }
    Duration::from_micros(CHARACTER * 3_500_000 / u64::from(baud))
}

fn request(place: &Place) -> Request<'static> {
    match place.table {
        Table::Holding => Request::ReadHoldingRegisters(place.start, place.count),
        Table::Input => Request::ReadInputRegisters(place.start, place.count),
        Table::Coil => Request::ReadCoils(place.start, place.count),
        Table::Discrete => Request::ReadDiscreteInputs(place.start, place.count),
    }
}

/// The answer, if it is as long as was asked for.
fn take(response: Response, place: &Place) -> Result<Answer, ReadError> {
    let count = usize::from(place.count);
    match (response, place.table) {
        (Response::ReadHoldingRegisters(registers), Table::Holding)
        | (Response::ReadInputRegisters(registers), Table::Input) => match registers.len() == count {
            true => Ok(Answer::Registers(registers)),
            false => Err(ReadError::Wrong(format!("got {} registers, asked for {count}", registers.len()))),
        },
        (Response::ReadCoils(mut bits), Table::Coil) | (Response::ReadDiscreteInputs(mut bits), Table::Discrete) => {
            // They come in whole bytes.
            if bits.len() != count.next_multiple_of(8) {
                return Err(ReadError::Wrong(format!("got {} bits, asked for {count}", bits.len())));
            }
            bits.truncate(count);
            Ok(Answer::Bits(bits))
        }
        (response, _) => Err(ReadError::Wrong(format!("function {}", response.function_code()))),
    }
}

/// The library takes the last error of the system, whatever that was about, for the end of a connection.
fn broken(error: io::Error) -> ReadError {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut,
    };
    let of_a_line =
        [BrokenPipe, ConnectionAborted, ConnectionReset, HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut];
    // What a serial line answers that was pulled out.
    let is_pulled = error.raw_os_error().is_some_and(|code| [libc::EIO, libc::ENXIO, libc::ENODEV].contains(&code));
    if is_pulled || of_a_line.contains(&error.kind()) {
        return ReadError::Broken(error);
    }
    ReadError::Broken(io::Error::new(io::ErrorKind::UnexpectedEof, "the device closed the connection"))
}

/// Without the answer, which may be long.
fn short(error: &ProtocolError) -> String {
    match error {
        ProtocolError::HeaderMismatch { message, .. } => format!("it is for another request: {message}"),
        ProtocolError::FunctionCodeMismatch { request, .. } => format!("it is no answer to {request}"),
    }
}

/// What the specification calls an exception, in small letters (Modbus Application Protocol V1.1b3, 7).
fn meaning(code: ExceptionCode) -> &'static str {
    match code {
        ExceptionCode::IllegalFunction => "illegal function: the unit has no such table",
        ExceptionCode::IllegalDataAddress => "illegal data address",
        ExceptionCode::IllegalDataValue => "illegal data value",
        ExceptionCode::ServerDeviceFailure => "server device failure",
        ExceptionCode::Acknowledge => "acknowledge",
        ExceptionCode::ServerDeviceBusy => "server device busy",
        ExceptionCode::MemoryParityError => "memory parity error",
        ExceptionCode::GatewayPathUnavailable => "gateway path unavailable",
        ExceptionCode::GatewayTargetDevice => "gateway target device failed to respond",
        _ => "no code of the specification",
    }
}
