//! Connections in the hands of a simulation: the state machine and the codec of rumqttc for MQTT 5, without its event loop,
//! so that whoever holds the other end moves the bytes and owns time.
//!
//! What it guarantees: once a thread called [`enable`], every connection that is opened on it is a [`Line`] that
//! [`dialled`] gives out; nothing of it is shared with other threads. What the event loop adds is the caller's: that a
//! CONNACK comes in time, and pings.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use rumqttc::v5::mqttbytes::Error as MqttError;
use rumqttc::v5::mqttbytes::v5::{Connect, ConnectReturnCode, Packet};
use rumqttc::v5::{Event as Polled, MqttState, Request};
use tokio::sync::mpsc;

use super::{Client, Connection, EVENTS, Event, NotTaken, Options, v5};

thread_local! {
    static DIALLED: RefCell<Option<Vec<Line>>> = const { RefCell::new(None) };
}

/// From now on connections of this thread are [`dialled`].
pub fn enable() {
    DIALLED.with_borrow_mut(|dialled| {
        dialled.get_or_insert_default();
    });
}

/// The connections that were opened since this was asked.
pub fn dialled() -> Vec<Line> {
    DIALLED.with_borrow_mut(|dialled| dialled.as_mut().map(std::mem::take)).unwrap_or_default()
}

/// Whether this thread is a simulation, which has no ports of this machine.
pub(crate) fn is_enabled() -> bool {
    DIALLED.with_borrow(Option::is_some)
}

/// Opens a connection, if this thread is a simulation.
pub(super) fn open(options: &Options) -> Option<Connection> {
    DIALLED.with_borrow_mut(|dialled| {
        let dialled = dialled.as_mut()?;
        let (sender, events) = mpsc::channel(EVENTS);
        let line = Line::new(options, sender);
        dialled.push(line.clone());
        let driver = tokio::spawn(std::future::pending());
        Some(Connection { client: Client::Simulated(Owner(line)), events, driver })
    })
}

/// Both ends of one connection.
#[derive(Clone)]
pub struct Line(Arc<Mutex<End>>);

/// The agent's hold of a line: it hangs up when this goes.
pub(super) struct Owner(Line);

struct End {
    client_id: String,
    address: String,
    state: MqttState,
    max_incoming: u32,
    output: BytesMut,
    input: BytesMut,
    is_connected: bool,
    /// None once it is over.
    events: Option<mpsc::Sender<Event>>,
    /// Events for which the owner had no room.
    waiting: VecDeque<Event>,
    has_hung_up: bool,
}

impl Line {
    fn new(options: &Options, events: mpsc::Sender<Event>) -> Self {
        let mqtt = v5::settings(options);
        let connect = Connect {
            client_id: mqtt.client_id(),
            keep_alive: u16::try_from(mqtt.keep_alive().as_secs()).unwrap_or(u16::MAX),
            clean_start: mqtt.clean_start(),
            properties: mqtt.connect_properties(),
        };
        let mut output = BytesMut::new();
        let connect = Packet::Connect(connect, mqtt.last_will(), mqtt.credentials());
        // What settings allow fits.
        let _ = connect.write(&mut output, None);
        Self(Arc::new(Mutex::new(End {
            client_id: options.client_id.clone(),
            address: options.endpoint.address.to_string(),
            state: MqttState::new(options.in_flight, options.acknowledges),
            max_incoming: options.max_incoming,
            output,
            input: BytesMut::new(),
            is_connected: false,
            events: Some(events),
            waiting: VecDeque::new(),
            has_hung_up: false,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, End> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who connects.
    pub fn client_id(&self) -> String {
        self.lock().client_id.clone()
    }

    /// Where to.
    pub fn address(&self) -> String {
        self.lock().address.clone()
    }

    /// Bytes for the gateway.
    pub fn take_output(&self) -> Bytes {
        self.lock().output.split().freeze()
    }

    /// Bytes of the gateway came.
    pub fn receive(&self, bytes: &[u8]) {
        let mut end = self.lock();
        end.input.extend_from_slice(bytes);
        if let Err(reason) = end.read() {
            end.close(reason);
        }
        end.tell();
    }

    /// Its transport ended.
    pub fn close(&self, reason: &str) {
        let mut end = self.lock();
        end.close(reason.to_owned());
        end.tell();
    }

    /// Hands on what the owner had no room for.
    pub fn tell(&self) {
        self.lock().tell();
    }

    /// Whether CONNACK came.
    pub fn is_connected(&self) -> bool {
        self.lock().is_connected
    }

    /// Whether the agent closes it once its output has left.
    pub fn has_hung_up(&self) -> bool {
        self.lock().has_hung_up
    }

    /// Puts a request on the line.
    pub(super) fn request(&self, request: Request) -> Result<(), NotTaken> {
        let mut end = self.lock();
        let is_goodbye = matches!(request, Request::Disconnect);
        let written = end.write(request);
        if let Err(reason) = written {
            end.close(reason);
        } else if is_goodbye {
            end.close("said goodbye".to_owned());
            end.has_hung_up = true;
        }
        end.tell();
        if end.events.is_some() || is_goodbye { Ok(()) } else { Err(NotTaken) }
    }
}

impl Owner {
    pub(super) fn request(&self, request: Request) -> Result<(), NotTaken> {
        self.0.request(request)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let mut end = self.0.lock();
        end.has_hung_up = true;
        (end.events, end.waiting) = (None, VecDeque::new());
    }
}

impl End {
    fn write(&mut self, request: Request) -> Result<(), String> {
        let packet = self.state.handle_outgoing_packet(request).map_err(|error| error.to_string())?;
        if let Some(packet) = packet {
            packet.write(&mut self.output, None).map_err(|error| error.to_string())?;
        }
        self.note();
        Ok(())
    }

    fn read(&mut self) -> Result<(), String> {
        loop {
            let packet = match Packet::read(&mut self.input, Some(self.max_incoming)) {
                Ok(packet) => packet,
                Err(MqttError::InsufficientBytes(_)) => return Ok(()),
                Err(error) => return Err(error.to_string()),
            };
            if !self.is_connected {
                match &packet {
                    Packet::ConnAck(ack) if ack.code == ConnectReturnCode::Success => self.is_connected = true,
                    other => return Err(format!("not let in: {other:?}")),
                }
            }
            let answer = self.state.handle_incoming_packet(packet).map_err(|error| error.to_string());
            self.note();
            if let Some(answer) = answer? {
                answer.write(&mut self.output, None).map_err(|error| error.to_string())?;
            }
        }
    }

    /// What the state machine says, in the words of the owner.
    fn note(&mut self) {
        let events: Vec<Polled> = self.state.events.drain(..).collect();
        self.waiting.extend(events.into_iter().filter_map(v5::event));
    }

    fn close(&mut self, reason: String) {
        if self.events.is_some() && !matches!(self.waiting.back(), Some(Event::Closed(_))) {
            self.waiting.push_back(Event::Closed(reason));
        }
    }

    fn tell(&mut self) {
        while let (Some(events), Some(event)) = (&self.events, self.waiting.pop_front()) {
            let is_last = matches!(event, Event::Closed(_));
            match events.try_send(event) {
                Ok(()) if is_last => self.events = None,
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(event)) => return self.waiting.push_front(event),
                Err(mpsc::error::TrySendError::Closed(_)) => self.events = None,
            }
        }
    }
}
