//! Other ways to a gateway than plain TCP: WebSocket and HTTP proxies, over real sockets.
#![allow(clippy::single_range_in_vec_init)] // a list of ranges may well have one

use std::sync::Arc;

use rumqttc::v5::mqttbytes::v5::PubAckReason;
use weir_agent::config::{Address, Config, Proxy};
use weir_agent::counters::Event;
use weir_agent::uplink::UplinkOptions;
use weir_agent::uplink::gateways::Gateway as To;
use weir_protocol::settings::Source;

use crate::support::doors::Door;
use crate::support::gateway::Gateway;
use crate::support::shipping::{Shipping, options, readings};

fn to(address: &str, proxy: Option<String>) -> UplinkOptions {
    let mut options = options(1);
    options.gateways[0].endpoint.address = Address::parse(address).expect("an address");
    options.gateways[0].endpoint.proxy = proxy.map(|proxy| Proxy::parse(&proxy).expect("a proxy"));
    options
}

/// Ships records of some size over connections that break once.
async fn ships(gateway: &Gateway, options: UplinkOptions) {
    // Larger than the frames of the door, and than what needs no longer length.
    let shipping = Shipping::start(UplinkOptions { compress: false, ..options }, &[0..2000, 2000..2003]);
    let mut peer = gateway.accept(100).await;
    let came = peer.batch().await;
    assert_eq!(came.sections, readings(0..2000));
    peer.answer(came.packet, PubAckReason::Success).await;
    let lost = peer.batch().await;
    assert_eq!(lost.sections, readings(2000..2003));
    drop(peer);
    let mut peer = gateway.accept(100).await;
    let again = peer.batch().await;
    assert_eq!(again.sections, readings(2000..2003));
    peer.answer(again.packet, PubAckReason::Success).await;
    shipping.drains().await;
}

#[tokio::test]
async fn over_websocket() {
    let gateway = Gateway::open().await;
    let door = Door::websocket(gateway.port()).await;
    ships(&gateway, to(&format!("ws://127.0.0.1:{}/mqtt", door.port), None)).await;
    assert_eq!(door.passed(), 2);
}

#[tokio::test]
async fn through_a_proxy_that_wants_a_password() {
    let gateway = Gateway::open().await;
    let proxy = Door::proxy(Some("edge:p@ss:word")).await;
    let login = format!("http://edge:p%40ss%3Aword@127.0.0.1:{}", proxy.port);
    ships(&gateway, to(&format!("127.0.0.1:{}", gateway.port()), Some(login))).await;
    assert_eq!(proxy.passed(), 2);
}

#[tokio::test]
async fn over_websocket_through_a_proxy() {
    let gateway = Gateway::open().await;
    let door = Door::websocket(gateway.port()).await;
    let proxy = Door::proxy(None).await;
    let through = format!("http://127.0.0.1:{}", proxy.port);
    ships(&gateway, to(&format!("ws://127.0.0.1:{}/mqtt", door.port), Some(through))).await;
    assert_eq!((proxy.passed(), door.passed()), (2, 2));
}

/// What an agent with these settings ships with, in records of the test.
fn with(settings: &str) -> UplinkOptions {
    let config = Config::of(&Source::new("agent.toml", settings)).unwrap_or_else(|error| panic!("{error}"));
    UplinkOptions { gateways: To::all(&config), ..options(1) }
}

#[tokio::test]
async fn with_tls_over_tcp_and_websocket_and_through_a_proxy() {
    let (gateway, place) = (Gateway::open().await, tempfile::tempdir().expect("a directory"));
    let (plain, plain_ca) = Door::tls(gateway.port()).await;
    let inner = Door::websocket(gateway.port()).await;
    let (web, web_ca) = Door::tls(inner.port).await;
    let proxy = Door::proxy(None).await;
    let ca = place.path().join("ca.pem");
    std::fs::write(&ca, plain_ca + &web_ca).expect("a file");
    for (at, address) in
        [format!("mqtts://127.0.0.1:{}", plain.port), format!("wss://127.0.0.1:{}/mqtt", web.port)].iter().enumerate()
    {
        let settings = format!("[uplink]\naddress = \"{address}\"\nca = {ca:?}\n");
        ships(&gateway, with(&settings)).await;
        ships(&gateway, with(&format!("{settings}proxy = \"http://127.0.0.1:{}\"\n", proxy.port))).await;
        assert_eq!(proxy.passed(), 2 * (at + 1));
    }
    assert_eq!((plain.passed(), web.passed(), inner.passed()), (4, 4, 4));
}

/// A certificate of somebody else is not taken, over WebSocket neither.
#[tokio::test]
async fn a_gateway_that_is_not_the_right_one_gets_nothing() {
    let (gateway, place) = (Gateway::open().await, tempfile::tempdir().expect("a directory"));
    let inner = Door::websocket(gateway.port()).await;
    let (plain, _) = Door::tls(gateway.port()).await;
    let (web, _) = Door::tls(inner.port).await;
    let (_, other) = Door::tls(1).await;
    let ca = place.path().join("ca.pem");
    std::fs::write(&ca, other).expect("a file");
    for address in [format!("mqtts://127.0.0.1:{}", plain.port), format!("wss://127.0.0.1:{}/mqtt", web.port)] {
        let said = error(with(&format!("[uplink]\naddress = \"{address}\"\nca = {ca:?}\n"))).await;
        assert!(said.contains("not of the authority that this agent trusts"), "{said}");
    }
    assert_eq!(inner.passed(), 0);
}

/// The error that is shown, once a connection failed.
async fn error(options: UplinkOptions) -> String {
    let shipping = Shipping::start(options, &[0..1]);
    let seen = shipping.is_seen(|view| view.last_error.is_some()).await;
    assert!(shipping.counters.get(Event::ConnectionsLost) > 0);
    seen.last_error.unwrap_or_default()
}

#[tokio::test]
async fn what_is_in_the_way_is_said() {
    let gateway = Arc::new(Gateway::open().await);
    let door = Door::websocket(gateway.port()).await;
    let said = error(to(&format!("ws://127.0.0.1:{}/elsewhere", door.port), None)).await;
    assert!(said.contains("404") && said.contains("/mqtt"), "{said}");
    let proxy = Door::proxy(Some("edge:right")).await;
    let wrong = format!("http://edge:wrong@127.0.0.1:{}", proxy.port);
    let said = error(to("127.0.0.1:1", Some(wrong))).await;
    assert!(said.contains("407") && said.contains("uplink.proxy") && !said.contains("wrong@"), "{said}");
    assert_eq!((door.passed(), proxy.passed()), (0, 0));
}
