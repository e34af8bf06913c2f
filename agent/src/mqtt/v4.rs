//! MQTT 3.1.1 through rumqttc.

use rumqttc::mqttbytes::Error as MqttError;
use rumqttc::{
    AsyncClient, ConnectionError, Event as Polled, EventLoop, LastWill, MqttOptions, NetworkOptions, Outgoing, Packet,
    Publish, QoS, StateError, SubscribeFilter, SubscribeReasonCode,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::drive::{Loop, drive, last};
use super::transport::{host, tell};
use super::{Broker, CONNECT_TIMEOUT, Client, Event, Greeting, Message, NotTaken, Options, Receipt, Stuck};

/// What 3.1.1 has no way to announce.
const DEFAULT_RECEIVE_MAX: u16 = 100;
/// What 3.1.1 says of every filter that is not taken (3.9.3).
const FAILURE: u8 = 0x80;

pub(super) fn start(options: &Options, events: mpsc::Sender<Event>) -> (Client, JoinHandle<()>) {
    let address = &options.endpoint.address;
    let mut mqtt = MqttOptions::new(&options.client_id, host(address), address.port);
    tell!(mqtt, options);
    mqtt.set_clean_session(options.session == 0);
    mqtt.set_max_packet_size(options.max_incoming as usize, options.max_outgoing as usize);
    mqtt.set_inflight(options.in_flight);
    if let Some(will) = &options.will {
        mqtt.set_last_will(LastWill::new(&will.topic, will.message.as_bytes(), QoS::AtLeastOnce, will.retain));
    }
    let (client, mut event_loop) = AsyncClient::new(mqtt, options.requests);
    let mut network = NetworkOptions::new();
    network.set_connection_timeout(CONNECT_TIMEOUT.as_secs());
    event_loop.set_network_options(network);
    (Client::V4(client), tokio::spawn(drive(event_loop, events)))
}

pub(super) fn publish(client: &AsyncClient, topic: &str, retain: bool, payload: Vec<u8>) -> Result<(), NotTaken> {
    client.try_publish(topic, QoS::AtLeastOnce, retain, payload).map_err(|_| NotTaken)
}

pub(super) fn subscribe<'a>(
    client: &AsyncClient,
    filters: impl IntoIterator<Item = &'a str>,
    at_least_once: bool,
) -> Result<(), NotTaken> {
    let qos = if at_least_once { QoS::AtLeastOnce } else { QoS::AtMostOnce };
    let filters = filters.into_iter().map(|filter| SubscribeFilter::new(filter.to_owned(), qos));
    client.try_subscribe_many(filters).map_err(|_| NotTaken)
}

pub(super) fn acknowledge(client: &AsyncClient, receipt: Receipt) -> Result<(), NotTaken> {
    let qos = if receipt.exactly_once { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
    let mut publish = Publish::new("", qos, Vec::new());
    publish.pkid = receipt.packet;
    client.try_ack(&publish).map_err(|_| NotTaken)
}

impl Loop for EventLoop {
    async fn next(&mut self) -> Result<Option<Event>, Vec<Event>> {
        match self.poll().await {
            Ok(polled) => Ok(event(polled)),
            Err(error) => {
                let acknowledges = self.state.manual_acks;
                Err(last(self.state.events.drain(..).filter_map(event), acknowledges, stuck(&error), &error))
            }
        }
    }
}

fn stuck(error: &ConnectionError) -> Option<Event> {
    let ConnectionError::MqttState(error) = error else { return None };
    Some(Event::Stuck(match error {
        StateError::Deserialization(MqttError::PayloadSizeLimitExceeded(size)) => {
            Stuck::TooLarge(u32::try_from(*size).unwrap_or(u32::MAX))
        }
        StateError::Unsolicited(packet) => Stuck::Release(*packet),
        _ => return None,
    }))
}

fn event(polled: Polled) -> Option<Event> {
    Some(match polled {
        Polled::Incoming(Packet::ConnAck(_)) => Event::Connected(Greeting {
            receive_max: DEFAULT_RECEIVE_MAX,
            max_packet: None,
            retain: true,
            at_least_once: true,
            broker: Broker::Unknown,
        }),
        Polled::Incoming(Packet::SubAck(ack)) => {
            let refused = |code: &SubscribeReasonCode| (*code == SubscribeReasonCode::Failure).then_some(FAILURE);
            Event::Subscribed(ack.return_codes.iter().map(refused).collect())
        }
        Polled::Outgoing(Outgoing::PingReq) => Event::Pinged,
        Polled::Outgoing(Outgoing::Publish(packet)) => Event::Sent(packet),
        Polled::Incoming(Packet::PubAck(ack)) => Event::Acked { packet: ack.pkid, reason: 0 },
        Polled::Incoming(Packet::Publish(publish)) => Event::Message(Message {
            receipt: (publish.qos != QoS::AtMostOnce)
                .then_some(Receipt { packet: publish.pkid, exactly_once: publish.qos == QoS::ExactlyOnce }),
            topic: publish.topic,
            payload: publish.payload,
            retained: publish.retain,
        }),
        _ => return None,
    })
}
