//! MQTT 3.1.1 through rumqttc.

use rumqttc::{
    AsyncClient, Event as Polled, EventLoop, LastWill, MqttOptions, NetworkOptions, Outgoing, Packet, QoS,
    SubscribeReasonCode,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use weir_protocol::batch::MAX_PAYLOAD;

use super::{
    Broker, CONNECT_TIMEOUT, Client, DEFAULT_RECEIVE_MAX, Endpoint, Event, Greeting, MAX_INCOMING, Options, host,
    proxy, requests, transport,
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
    mqtt.set_clean_session(true);
    // Beside the payload there is the topic.
    mqtt.set_max_packet_size(MAX_INCOMING as usize, MAX_PAYLOAD + 1024);
    mqtt.set_inflight(options.window);
    let (topic, payload) = &options.will;
    mqtt.set_last_will(LastWill::new(topic, payload.as_bytes(), QoS::AtLeastOnce, retain));
    let (client, mut event_loop) = AsyncClient::new(mqtt, requests(options));
    let mut network = NetworkOptions::new();
    network.set_connection_timeout(CONNECT_TIMEOUT.as_secs());
    event_loop.set_network_options(network);
    (Client::V4(client), tokio::spawn(drive(event_loop, events)))
}

async fn drive(mut event_loop: EventLoop, events: mpsc::Sender<Event>) {
    loop {
        match event_loop.poll().await {
            Ok(polled) => {
                if pass_on(polled, &events).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                while let Some(polled) = event_loop.state.events.pop_front() {
                    if pass_on(polled, &events).await.is_err() {
                        return;
                    }
                }
                let _ = events.send(Event::Closed(error.to_string())).await;
                return;
            }
        }
    }
}

async fn pass_on(polled: Polled, events: &mpsc::Sender<Event>) -> Result<(), mpsc::error::SendError<Event>> {
    let event = match polled {
        Polled::Incoming(Packet::ConnAck(_)) => Event::Connected(Greeting {
            receive_max: DEFAULT_RECEIVE_MAX,
            max_packet: None,
            retain: true,
            at_least_once: true,
            broker: Broker::Unknown,
        }),
        Polled::Incoming(Packet::SubAck(ack)) if ack.return_codes.contains(&SubscribeReasonCode::Failure) => {
            Event::NotSubscribed(0x80)
        }
        Polled::Outgoing(Outgoing::PingReq) => Event::Pinged,
        Polled::Incoming(Packet::PubAck(ack)) => Event::Acked { packet: ack.pkid, reason: 0 },
        Polled::Incoming(Packet::Publish(publish)) => {
            Event::Message { topic: publish.topic, payload: publish.payload, retained: publish.retain }
        }
        Polled::Outgoing(Outgoing::Publish(packet)) => Event::Sent(packet),
        _ => return Ok(()),
    };
    events.send(event).await
}
