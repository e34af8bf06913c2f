//! MQTT 3.1.1 through rumqttc.

use rumqttc::mqttbytes::Error as MqttError;
use rumqttc::{
    AsyncClient, ConnectionError, Event as Polled, EventLoop, MqttOptions, NetworkOptions, Packet, Publish, QoS,
    StateError, SubscribeFilter, SubscribeReasonCode,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{CONNECT_TIMEOUT, Client, Event, Message, NotTaken, Options, REQUESTS, host, most, transport};

pub(super) fn start(options: &Options, events: mpsc::Sender<Event>) -> (Client, JoinHandle<()>) {
    let mut mqtt = MqttOptions::new(&options.client_id, host(&options.address), options.address.port);
    mqtt.set_keep_alive(options.keep_alive);
    mqtt.set_transport(transport(&options.address, &options.shown));
    if let Some((name, password)) = &options.shown.login {
        mqtt.set_credentials(name, password);
    }
    mqtt.set_clean_session(options.session == 0);
    mqtt.set_manual_acks(true);
    mqtt.set_max_packet_size(most(options) as usize, most(options) as usize);
    let (client, mut event_loop) = AsyncClient::new(mqtt, REQUESTS);
    let mut network = NetworkOptions::new();
    network.set_connection_timeout(CONNECT_TIMEOUT.as_secs());
    event_loop.set_network_options(network);
    (Client::V4(client), tokio::spawn(drive(event_loop, events)))
}

pub(super) fn subscribe(client: &AsyncClient, options: &Options) -> Result<(), NotTaken> {
    let qos = if options.acknowledged { QoS::AtLeastOnce } else { QoS::AtMostOnce };
    let filters = options.filters.iter().map(|filter| SubscribeFilter::new(filter.clone(), qos));
    client.try_subscribe_many(filters).map_err(|_| NotTaken)
}

pub(super) fn acknowledge(client: &AsyncClient, packet: u16) -> Result<(), NotTaken> {
    let mut publish = Publish::new("", QoS::AtLeastOnce, Vec::new());
    publish.pkid = packet;
    client.try_ack(&publish).map_err(|_| NotTaken)
}

async fn drive(mut event_loop: EventLoop, events: mpsc::Sender<Event>) {
    loop {
        match event_loop.poll().await {
            Ok(polled) => {
                let Some(event) = event(polled) else { continue };
                if events.send(event).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                let _ = events.send(Event::Closed(said(&error))).await;
                return;
            }
        }
    }
}

/// With what to do where a kept session would have it happen again and again.
fn said(error: &ConnectionError) -> String {
    match error {
        ConnectionError::MqttState(StateError::Deserialization(MqttError::PayloadSizeLimitExceeded(size))) => {
            format!("the broker sent a packet of {size} bytes: raise max_payload, or delete the session on the broker")
        }
        other => other.to_string(),
    }
}

fn event(polled: Polled) -> Option<Event> {
    match polled {
        Polled::Incoming(Packet::ConnAck(_)) => Some(Event::Connected),
        Polled::Incoming(Packet::SubAck(ack)) => {
            let codes = ack.return_codes.iter().enumerate();
            Some(Event::Subscribed(
                codes.filter(|(_, code)| **code == SubscribeReasonCode::Failure).map(|(at, _)| at).collect(),
            ))
        }
        Polled::Incoming(Packet::Publish(publish)) => Some(Event::Message(Message {
            packet: (publish.qos != QoS::AtMostOnce).then_some(publish.pkid),
            topic: publish.topic,
            payload: publish.payload,
            retained: publish.retain,
        })),
        _ => None,
    }
}
