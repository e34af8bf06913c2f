//! MQTT 5 through rumqttc.

use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAckProperties, ConnectReturnCode, LastWill, Packet, PubAckReason, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event as Polled, EventLoop, MqttOptions};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{
    Broker, CONNECT_TIMEOUT, Client, Endpoint, Event, Greeting, MAX_INCOMING, Options, host, proxy, requests, transport,
};
use crate::uplink::credentials::Shown;

pub(super) fn start(
    endpoint: &Endpoint,
    shown: &Shown,
    retain: bool,
    options: &Options,
    events: mpsc::Sender<Event>,
) -> (Client, JoinHandle<()>) {
    let mut mqtt = MqttOptions::new(&options.client_id, host(&endpoint.address), endpoint.address.port);
    mqtt.set_keep_alive(options.keep_alive);
    mqtt.set_transport(transport(&endpoint.address, shown));
    if let Some(proxy) = proxy(endpoint) {
        mqtt.set_proxy(proxy);
    }
    if let Some((name, password)) = &shown.login {
        mqtt.set_credentials(name, password);
    }
    mqtt.set_clean_start(true);
    mqtt.set_connection_timeout(CONNECT_TIMEOUT.as_secs());
    mqtt.set_max_packet_size(Some(MAX_INCOMING));
    // It allocates a slot for each packet id there may be.
    mqtt.set_outgoing_inflight_upper_limit(options.window);
    let (topic, payload) = &options.will;
    mqtt.set_last_will(LastWill::new(topic, payload.as_bytes(), QoS::AtLeastOnce, retain, None));
    let (client, event_loop) = AsyncClient::new(mqtt, requests(options));
    (Client::V5(client), tokio::spawn(drive(event_loop, events)))
}

async fn drive(mut event_loop: EventLoop, events: mpsc::Sender<Event>) {
    loop {
        let polled = event_loop.poll().await;
        let failed = match polled {
            Ok(polled) => {
                if pass_on(polled, &events).await.is_err() {
                    return;
                }
                continue;
            }
            Err(error) => error,
        };
        let refused = ConnectReturnCode::RetainNotSupported;
        if matches!(&failed, ConnectionError::ConnectionRefused(code) if *code == refused)
            && events.send(Event::RetainRefused).await.is_err()
        {
            return;
        }
        // What came in before the end is still in its buffer: a refusal often comes right before a close.
        while let Some(polled) = event_loop.state.events.pop_front() {
            if pass_on(polled, &events).await.is_err() {
                return;
            }
        }
        let _ = events.send(Event::Closed(failed.to_string())).await;
        return;
    }
}

async fn pass_on(polled: Polled, events: &mpsc::Sender<Event>) -> Result<(), mpsc::error::SendError<Event>> {
    let event = match polled {
        Polled::Incoming(Packet::ConnAck(ack)) => Event::Connected(greeting(ack.properties.as_ref())),
        Polled::Incoming(Packet::SubAck(ack)) => {
            let refused = ack.return_codes.iter().find(|code| !matches!(code, SubscribeReasonCode::Success(_)));
            let Some(refused) = refused else { return Ok(()) };
            Event::NotSubscribed(if *refused == SubscribeReasonCode::NotAuthorized { 0x87 } else { 0x80 })
        }
        Polled::Outgoing(Outgoing::PingReq) => Event::Pinged,
        Polled::Incoming(Packet::PubAck(ack)) => Event::Acked { packet: ack.pkid, reason: code(ack.reason) },
        Polled::Incoming(Packet::Publish(publish)) => {
            let topic = String::from_utf8_lossy(&publish.topic).into_owned();
            Event::Message { topic, payload: publish.payload, retained: publish.retain }
        }
        Polled::Outgoing(Outgoing::Publish(packet)) => Event::Sent(packet),
        _ => return Ok(()),
    };
    events.send(event).await
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
