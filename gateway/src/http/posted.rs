//! Bodies of requests that change something: bounded in bytes and in time, and never sent by a foreign web page.
//!
//! What it guarantees: a page that an operator looks at in a browser cannot make that browser change anything here,
//! although there is no authentication: a foreign page cannot send `application/json` without asking first, which
//! nobody answers, and says where it comes from. A name that its site gave to this address makes it no less foreign: of
//! pages, those alone are ours that were asked for by an address or as `localhost`.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::routes::Refused;

/// The largest body, in bytes.
pub(super) const MAX_BODY: usize = 256 << 10;
/// How long a body may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a body was not read.
pub(super) enum Unread {
    TooLarge,
    TooSlow,
}

/// Reads a body whole.
pub(super) async fn read(body: Body) -> Result<Bytes, Unread> {
    let whole = timeout(PATIENCE, Limited::new(body, MAX_BODY).collect()).await.map_err(|_| Unread::TooSlow)?;
    let too_large = |error: &(dyn std::error::Error + 'static)| error.is::<LengthLimitError>();
    match whole {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if too_large(&*error) => Err(Unread::TooLarge),
        // A client that went away is told nothing.
        Err(_) => Err(Unread::TooSlow),
    }
}

/// Reads the JSON that a command of ours or an operator's tool sent.
///
/// # Errors
/// [`Refused`] for a foreign page, and for what is not the JSON that is expected.
pub(super) async fn json<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, Refused> {
    own(headers)?;
    let body = read(body).await.map_err(|unread| match unread {
        Unread::TooLarge => Refused::bad(format!("expected a body of at most {MAX_BODY} bytes")),
        Unread::TooSlow => Refused::bad("the body did not come within 10 seconds"),
    })?;
    serde_json::from_slice(&body).map_err(|error| Refused::bad(format!("body: {error}")))
}

/// Refuses what a browser sends for a foreign page.
///
/// # Errors
/// [`Refused`], with what to send instead.
pub(super) fn own(headers: &HeaderMap) -> Result<(), Refused> {
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let kind = text(header::CONTENT_TYPE).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(Refused::new(
            StatusCode::FORBIDDEN,
            format!("content-type: got {kind:?}, expected application/json"),
        ));
    }
    if let Some(origin) = text(header::ORIGIN)
        && !is_own_page(headers)
    {
        return Err(Refused::new(
            StatusCode::FORBIDDEN,
            format!("origin: got {origin:?}, and pages of other sites change nothing here"),
        ));
    }
    Ok(())
}

/// Whether a page that says where it comes from comes from here.
pub(super) fn is_own_page(headers: &HeaderMap) -> bool {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (origin, host) = (text(header::ORIGIN), text(header::HOST));
    let own = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    own == Some(host) && is_address(host)
}

/// Whether a host is one that no site can give to this machine: an address, or `localhost`.
fn is_address(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_own(headers: &[(header::HeaderName, &str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        own(&headers).is_ok()
    }

    #[test]
    fn a_foreign_page_changes_nothing() {
        let json = (header::CONTENT_TYPE, "application/json");
        let host = (header::HOST, "127.0.0.1:8080");
        let origin = |from| (header::ORIGIN, from);
        assert!(is_own(&[json.clone(), host.clone()]), "a command sends no origin");
        assert!(is_own(&[(header::CONTENT_TYPE, "Application/JSON; charset=utf-8"), host.clone()]));
        assert!(is_own(&[json.clone(), host.clone(), origin("http://127.0.0.1:8080")]));
        assert!(!is_own(&[json.clone(), host.clone(), origin("http://example.org")]));
        assert!(!is_own(&[json.clone(), host.clone(), origin("http://127.0.0.1:8081")]));
        assert!(!is_own(&[json.clone(), host.clone(), origin("null")]));
        assert!(!is_own(&[json.clone(), origin("http://")]));
        for name in ["localhost:8080", "[::1]:8080", "192.0.2.1"] {
            let own = format!("http://{name}");
            assert!(is_own(&[json.clone(), (header::HOST, name), (header::ORIGIN, &own)]), "{name}");
        }
        let rebound = [json, (header::HOST, "evil.example:8080"), origin("http://evil.example:8080")];
        assert!(!is_own(&rebound), "a name that its site has given to this address");
        assert!(!is_own(&[(header::CONTENT_TYPE, "text/plain"), host.clone()]), "a form can be sent by any page");
        assert!(!is_own(&[host]));
    }
}
