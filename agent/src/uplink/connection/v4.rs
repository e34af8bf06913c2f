//! MQTT 3.1.1 through rumqttc.

use rumqttc::{AsyncClient, Event as Polled, EventLoop, LastWill, MqttOptions, NetworkOptions, Outgoing, Packet, QoS};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use weir_protocol::batch::MAX_PAYLOAD;

use super::{CONNECT_TIMEOUT, Client, DEFAULT_RECEIVE_MAX, Event, MAX_INCOMING, Options, requests, transport};

pub(super) fn start(options: &Options, events: mpsc::Sender<Event>) -> (Client, JoinHandle<()>) {
    let mut mqtt = MqttOptions::new(&options.client_id, &options.host, options.port);
    mqtt.set_keep_alive(options.keep_alive);
    mqtt.set_transport(transport(options));
    if let Some((name, password)) = &options.shown.login {
        mqtt.set_credentials(name, password);
    }
    mqtt.set_clean_session(true);
    // Beside the payload there is the topic.
    mqtt.set_max_packet_size(MAX_INCOMING as usize, MAX_PAYLOAD + 1024);
    mqtt.set_inflight(options.window);
    let (topic, payload) = &options.will;
    mqtt.set_last_will(LastWill::new(topic, payload.as_bytes(), QoS::AtLeastOnce, true));
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
        Polled::Incoming(Packet::ConnAck(_)) => Event::Connected { receive_max: DEFAULT_RECEIVE_MAX },
        Polled::Incoming(Packet::PubAck(ack)) => Event::Acked { packet: ack.pkid, reason: 0 },
        Polled::Incoming(Packet::Publish(publish)) => Event::Message { topic: publish.topic, payload: publish.payload },
        Polled::Outgoing(Outgoing::Publish(packet)) => Event::Sent(packet),
        _ => return Ok(()),
    };
    events.send(event).await
}
