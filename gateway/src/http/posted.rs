//! Bodies of requests: bounded in bytes and in time.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

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
