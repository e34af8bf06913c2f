//! MQTT 5 through rumqttc.

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, Packet, Publish, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, Event as Polled, EventLoop, MqttOptions};
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
    mqtt.set_clean_start(options.session == 0);
    mqtt.set_session_expiry_interval(Some(options.session));
    mqtt.set_receive_maximum(Some(options.window));
    mqtt.set_manual_acks(true);
    mqtt.set_connection_timeout(CONNECT_TIMEOUT.as_secs());
    mqtt.set_max_packet_size(Some(most(options)));
    // Nothing is published, and it allocates a slot for each packet id there may be.
    mqtt.set_outgoing_inflight_upper_limit(1);
    let (client, event_loop) = AsyncClient::new(mqtt, REQUESTS);
    (Client::V5(client), tokio::spawn(drive(event_loop, events)))
}

pub(super) fn subscribe(client: &AsyncClient, options: &Options) -> Result<(), NotTaken> {
    let qos = if options.acknowledged { QoS::AtLeastOnce } else { QoS::AtMostOnce };
    let filters = options.filters.iter().map(|filter| Filter::new(filter.clone(), qos));
    client.try_subscribe_many(filters).map_err(|_| NotTaken)
}

pub(super) fn acknowledge(client: &AsyncClient, packet: u16) -> Result<(), NotTaken> {
    let mut publish = Publish::new("", QoS::AtLeastOnce, Vec::new(), None);
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
                let _ = events.send(Event::Closed(error.to_string())).await;
                return;
            }
        }
    }
}

fn event(polled: Polled) -> Option<Event> {
    match polled {
        Polled::Incoming(Packet::ConnAck(_)) => Some(Event::Connected),
        Polled::Incoming(Packet::SubAck(ack)) => {
            let codes = ack.return_codes.iter().enumerate();
            let refused = codes.filter(|(_, code)| !matches!(code, SubscribeReasonCode::Success(_)));
            Some(Event::Subscribed(refused.map(|(at, _)| at).collect()))
        }
        Polled::Incoming(Packet::Publish(publish)) => {
            // No alias was allowed, so a topic that needs one is the broker's mistake (MQTT 5, 3.3.2.3.4).
            let aliased = publish.properties.is_some_and(|properties| properties.topic_alias.is_some());
            if aliased {
                return Some(Event::Closed("the broker used a topic alias, and none was allowed".to_owned()));
            }
            Some(Event::Message(Message {
                packet: (publish.qos != QoS::AtMostOnce).then_some(publish.pkid),
                topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                payload: publish.payload,
                retained: publish.retain,
            }))
        }
        _ => None,
    }
}
