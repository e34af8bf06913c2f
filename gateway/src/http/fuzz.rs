//! What HTTP reads of a query as a plain function over bytes, for fuzzers and for tests with random input.
//!
//! [`query`] returns or panics: a panic is a finding. Not part of the interface of this package.

use axum::extract::Query;
use axum::http::Uri;

use super::page::MAX_RECORDS;
use super::routes::{RecordsQuery, TailQuery};
use super::tail::Position;
use crate::topics::Topics;

/// Takes any bytes as path and query of a request, and as the id of an event that a tail goes on from.
pub fn query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(uri) = text.parse::<Uri>() {
        if let Ok(Query(query)) = Query::<RecordsQuery>::try_from_uri(&uri)
            && let Ok(limit) = query.limit()
        {
            assert!((1..=MAX_RECORDS).contains(&limit));
            // What is wrong is said to the client.
            let _ = query.start();
        }
        let _ = Query::<TailQuery>::try_from_uri(&uri);
    }
    for topic in Topics::new([], []).all() {
        let _ = Position::parse(topic, None, text);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn queries_good_and_bad_do_no_harm() {
        for text in
            ["", "?", "/?offset=&limit=", "/?offset=18446744073709551616", "/?limit=0&time=9e99d", "1,2,-", "\0,%,"]
        {
            super::query(text.as_bytes());
        }
    }
}
