//! The way to a broker, as rumqttc wants to hear it.

use std::sync::Arc;

use rumqttc::{ProxyAuth, ProxyType, TlsConfiguration, Transport};

use super::Endpoint;
use crate::config::Address;
use crate::uplink::credentials::Shown;

/// Tells the options of either MQTT what both have: they are two types with the same methods.
macro_rules! tell {
    ($mqtt:ident, $options:expr) => {
        $mqtt.set_keep_alive($options.keep_alive);
        $mqtt.set_transport(super::transport::transport(&$options.endpoint.address, &$options.shown));
        if let Some(proxy) = super::transport::proxy(&$options.endpoint) {
            $mqtt.set_proxy(proxy);
        }
        if let Some((name, password)) = &$options.shown.login {
            $mqtt.set_credentials(name, password);
        }
        $mqtt.set_manual_acks($options.acknowledges);
    };
}
pub(super) use tell;

/// What rumqttc takes for the host: all of a WebSocket's address, and one of IPv6 in brackets only where it goes on as
/// text.
pub(super) fn host(address: &Address) -> String {
    match (&address.websocket, address.tls) {
        (Some(_), _) => address.to_string(),
        (None, true) => address.host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        (None, false) => address.host.clone(),
    }
}

pub(super) fn transport(address: &Address, shown: &Shown) -> Transport {
    let tls = shown.tls.as_ref().map(|tls| TlsConfiguration::Rustls(Arc::clone(tls)));
    match (tls, &address.websocket) {
        (None, None) => Transport::tcp(),
        (Some(tls), None) => Transport::tls_with_config(tls),
        (None, Some(_)) => Transport::ws(),
        (Some(tls), Some(_)) => Transport::wss_with_config(tls),
    }
}

pub(super) fn proxy(endpoint: &Endpoint) -> Option<rumqttc::Proxy> {
    let proxy = endpoint.proxy.as_ref()?;
    let auth = match proxy.login.clone() {
        Some((username, password)) => ProxyAuth::Basic { username, password },
        None => ProxyAuth::None,
    };
    Some(rumqttc::Proxy { ty: ProxyType::Http, auth, addr: proxy.host.clone(), port: proxy.port })
}
