//! What is asked at the local port as a plain function over bytes, for fuzzers. Not part of the interface of this package.

use std::sync::Arc;

use tokio::sync::watch;

use super::rates::Rates;
use super::{View, router, tap};
use crate::http::fuzz::connection;

/// Takes any bytes as what a client says to the port, which shows `view`.
pub fn request(view: &View, bytes: &[u8]) {
    let (stop, stopped) = watch::channel(());
    let tap = tap::Listening::new(view.tap.clone(), stopped);
    match connection(router(view, &Arc::<Rates>::default(), tap), bytes, stop) {
        Ok(answer) => assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "an answer is one of HTTP"),
        Err(error) => panic!("a connection ends by itself: {error}"),
    }
}
