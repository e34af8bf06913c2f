//! MQTT 5 through rumqttc.

use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::v5::{
    ConnAckProperties, ConnectReturnCode, Filter, LastWill, Packet, PubAckReason, Publish, SubscribeReasonCode,
};
use rumqttc::v5::mqttbytes::{Error as MqttError, QoS};
use rumqttc::v5::{AsyncClient, ConnectionError, Event as Polled, EventLoop, MqttOptions, StateError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::drive::{Loop, drive, last};
use super::transport::{host, tell};
use super::{Broker, CONNECT_TIMEOUT, Client, Event, Greeting, Message, NotTaken, Options, Receipt, Stuck};

pub(super) fn start(options: &Options, events: mpsc::Sender<Event>) -> (Client, JoinHandle<()>) {
    let (client, event_loop) = AsyncClient::new(settings(options), options.requests);
    (Client::V5(client), tokio::spawn(drive(event_loop, events)))
}

/// What rumqttc is told of a connection.
pub(super) fn settings(options: &Options) -> MqttOptions {
    let address = &options.endpoint.address;
    let mut mqtt = MqttOptions::new(&options.client_id, host(address), address.port);
    tell!(mqtt, options);
    mqtt.set_clean_start(options.session == 0);
    mqtt.set_connection_timeout(CONNECT_TIMEOUT.as_secs());
    if options.session > 0 {
        mqtt.set_session_expiry_interval(Some(options.session));
    }
    if options.receive_max.is_some() {
        mqtt.set_receive_maximum(options.receive_max);
    }
    mqtt.set_max_packet_size(Some(options.max_incoming));
    // It allocates a slot for each packet id there may be.
    mqtt.set_outgoing_inflight_upper_limit(options.in_flight);
    if let Some(will) = &options.will {
        let (topic, message) = (&will.topic, will.message.as_bytes());
        mqtt.set_last_will(LastWill::new(topic, message, QoS::AtLeastOnce, will.retain, None));
    }
    mqtt
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
    let filters = filters.into_iter().map(|filter| Filter::new(filter.to_owned(), qos));
    client.try_subscribe_many(filters).map_err(|_| NotTaken)
}

/// A publish with QoS 1, as [`publish`] hands it in.
#[cfg(feature = "sim")]
pub(super) fn to_publish(topic: &str, retain: bool, payload: Vec<u8>) -> rumqttc::v5::Request {
    let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload, None);
    publish.retain = retain;
    rumqttc::v5::Request::Publish(publish)
}

/// A subscription, as [`subscribe`] hands it in.
#[cfg(feature = "sim")]
pub(super) fn to_subscribe<'a>(
    filters: impl IntoIterator<Item = &'a str>,
    at_least_once: bool,
) -> rumqttc::v5::Request {
    let qos = if at_least_once { QoS::AtLeastOnce } else { QoS::AtMostOnce };
    let filters = filters.into_iter().map(|filter| Filter::new(filter.to_owned(), qos));
    rumqttc::v5::Request::Subscribe(rumqttc::v5::mqttbytes::v5::Subscribe::new_many(filters, None))
}

pub(super) fn acknowledge(client: &AsyncClient, receipt: Receipt) -> Result<(), NotTaken> {
    let qos = if receipt.exactly_once { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
    let mut publish = Publish::new("", qos, Vec::new(), None);
    publish.pkid = receipt.packet;
    client.try_ack(&publish).map_err(|_| NotTaken)
}

impl Loop for EventLoop {
    async fn next(&mut self) -> Result<Option<Event>, Vec<Event>> {
        match self.poll().await {
            Ok(polled) => Ok(event(polled)),
            Err(error) => {
                let acknowledges = self.state.manual_acks;
                Err(last(self.state.events.drain(..).filter_map(event), acknowledges, why(&error), &error))
            }
        }
    }
}

/// What the owner does something about.
fn why(error: &ConnectionError) -> Option<Event> {
    let stuck = match error {
        ConnectionError::ConnectionRefused(ConnectReturnCode::RetainNotSupported) => return Some(Event::RetainRefused),
        ConnectionError::MqttState(StateError::Deserialization(MqttError::PayloadSizeLimitExceeded {
            pkt_size,
            ..
        })) => Stuck::TooLarge(u32::try_from(*pkt_size).unwrap_or(u32::MAX)),
        ConnectionError::MqttState(StateError::Unsolicited(packet)) => Stuck::Release(*packet),
        _ => return None,
    };
    Some(Event::Stuck(stuck))
}

pub(super) fn event(polled: Polled) -> Option<Event> {
    Some(match polled {
        Polled::Incoming(Packet::ConnAck(ack)) => Event::Connected(greeting(ack.properties.as_ref())),
        Polled::Incoming(Packet::SubAck(ack)) => Event::Subscribed(ack.return_codes.iter().map(refused).collect()),
        Polled::Outgoing(Outgoing::PingReq) => Event::Pinged,
        Polled::Outgoing(Outgoing::Publish(packet)) => Event::Sent(packet),
        Polled::Incoming(Packet::PubAck(ack)) => Event::Acked { packet: ack.pkid, reason: code(ack.reason) },
        Polled::Incoming(Packet::Publish(publish)) => message(publish),
        _ => return None,
    })
}

fn message(publish: Publish) -> Event {
    // No alias was allowed, so a topic that needs one is the broker's mistake (3.3.2.3.4).
    if publish.properties.is_some_and(|properties| properties.topic_alias.is_some()) {
        return Event::Closed("the broker used a topic alias, and none was allowed".to_owned());
    }
    Event::Message(Message {
        receipt: (publish.qos != QoS::AtMostOnce)
            .then_some(Receipt { packet: publish.pkid, exactly_once: publish.qos == QoS::ExactlyOnce }),
        topic: String::from_utf8_lossy(&publish.topic).into_owned(),
        payload: publish.payload,
        retained: publish.retain,
    })
}

/// MQTT 5, 3.2.2.3: what is not said has the value that is meant here.
fn greeting(properties: Option<&ConnAckProperties>) -> Greeting {
    Greeting {
        receive_max: properties.and_then(|said| said.receive_max).unwrap_or(u16::MAX),
        max_packet: properties.and_then(|said| said.max_packet_size),
        retain: properties.and_then(|said| said.retain_available) != Some(0),
        at_least_once: properties.and_then(|said| said.max_qos) != Some(0),
        broker: Broker::of(properties.map_or(&[], |said| &said.user_properties)),
    }
}

/// MQTT 5, 3.9.3; None: the filter is taken.
fn refused(code: &SubscribeReasonCode) -> Option<u8> {
    Some(match code {
        SubscribeReasonCode::Success(_) => return None,
        SubscribeReasonCode::Failure | SubscribeReasonCode::Unspecified => 0x80,
        SubscribeReasonCode::ImplementationSpecific => 0x83,
        SubscribeReasonCode::NotAuthorized => 0x87,
        SubscribeReasonCode::TopicFilterInvalid => 0x8f,
        SubscribeReasonCode::PkidInUse => 0x91,
        SubscribeReasonCode::QuotaExceeded => 0x97,
        SubscribeReasonCode::SharedSubscriptionsNotSupported => 0x9e,
        SubscribeReasonCode::SubscriptionIdNotSupported => 0xa1,
        SubscribeReasonCode::WildcardSubscriptionsNotSupported => 0xa2,
    })
}

/// MQTT 5, 3.4.2.1.
fn code(reason: PubAckReason) -> u8 {
    match reason {
        PubAckReason::Success => 0x00,
        PubAckReason::NoMatchingSubscribers => 0x10,
        PubAckReason::UnspecifiedError => 0x80,
        PubAckReason::ImplementationSpecificError => 0x83,
        PubAckReason::NotAuthorized => 0x87,
        PubAckReason::TopicNameInvalid => 0x90,
        PubAckReason::PacketIdentifierInUse => 0x91,
        PubAckReason::QuotaExceeded => 0x97,
        PubAckReason::PayloadFormatInvalid => 0x99,
    }
}
