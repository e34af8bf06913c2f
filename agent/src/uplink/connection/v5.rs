//! MQTT 5 through rumqttc.

use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{LastWill, Packet, PubAckReason};
use rumqttc::v5::{AsyncClient, Event as Polled, EventLoop, MqttOptions};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{CONNECT_TIMEOUT, Client, Event, MAX_INCOMING, Options, requests, transport};

pub(super) fn start(options: &Options, events: mpsc::Sender<Event>) -> (Client, JoinHandle<()>) {
    let mut mqtt = MqttOptions::new(&options.client_id, &options.host, options.port);
    mqtt.set_keep_alive(options.keep_alive);
    mqtt.set_transport(transport(options));
    if let Some((name, password)) = &options.shown.login {
        mqtt.set_credentials(name, password);
    }
    mqtt.set_clean_start(true);
    mqtt.set_connection_timeout(CONNECT_TIMEOUT.as_secs());
    mqtt.set_max_packet_size(Some(MAX_INCOMING));
    // It allocates a slot for each packet id there may be.
    mqtt.set_outgoing_inflight_upper_limit(options.window);
    let (topic, payload) = &options.will;
    mqtt.set_last_will(LastWill::new(topic, payload.as_bytes(), QoS::AtLeastOnce, true, None));
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
            Err(error) => error.to_string(),
        };
        // What came in before the end is still in its buffer: a refusal often comes right before a close.
        while let Some(polled) = event_loop.state.events.pop_front() {
            if pass_on(polled, &events).await.is_err() {
                return;
            }
        }
        let _ = events.send(Event::Closed(failed)).await;
        return;
    }
}

async fn pass_on(polled: Polled, events: &mpsc::Sender<Event>) -> Result<(), mpsc::error::SendError<Event>> {
    let event = match polled {
        Polled::Incoming(Packet::ConnAck(ack)) => {
            // Without the property it is 65,535 (MQTT 5, 3.2.2.3.3).
            let receive_max = ack.properties.and_then(|properties| properties.receive_max).unwrap_or(u16::MAX);
            Event::Connected { receive_max }
        }
        Polled::Incoming(Packet::PubAck(ack)) => Event::Acked { packet: ack.pkid, reason: code(ack.reason) },
        Polled::Incoming(Packet::Publish(publish)) => {
            let topic = String::from_utf8_lossy(&publish.topic).into_owned();
            Event::Message { topic, payload: publish.payload }
        }
        Polled::Outgoing(Outgoing::Publish(packet)) => Event::Sent(packet),
        _ => return Ok(()),
    };
    events.send(event).await
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
