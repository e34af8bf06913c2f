//! From a path and a method to a handler.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use super::Answer;

/// A request, its body read.
#[derive(Debug)]
pub struct Request {
    /// Method, path and headers.
    pub head: Parts,
    /// The body, within the bound of its route.
    pub body: Bytes,
}

impl Request {
    /// A header, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    /// A parameter behind the `?`, decoded; the first of its name.
    pub fn query(&self, name: &str) -> Option<String> {
        let pairs = self.head.uri.query()?.split('&');
        let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.find_map(|(key, value)| (decode(key) == name).then(|| decode(value)))
    }
}

/// `%41` is `A`, and `+` a space; what is neither stays as it is.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        let escaped = hex.filter(|_| *byte == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push(escaped.unwrap_or(if *byte == b'+' { b' ' } else { *byte }));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;
type Handler = Arc<dyn Fn(Request) -> Answering + Send + Sync>;

/// Paths, and what answers them.
#[derive(Clone, Default)]
pub struct Router {
    routes: BTreeMap<&'static str, BTreeMap<&'static str, Route>>,
}

#[derive(Clone)]
struct Route {
    handler: Handler,
    /// The largest body in bytes.
    body: usize,
}

impl Router {
    /// Answers GET and HEAD at `path`; a body is refused.
    pub fn get<R>(self, path: &'static str, handler: impl Fn(Request) -> R + Send + Sync + 'static) -> Self
    where
        R: Future<Output = Answer> + Send + 'static,
    {
        self.route("GET", path, 0, handler)
    }

    /// Answers POST at `path`, with bodies of at most `body` bytes.
    pub fn post<R>(
        self,
        path: &'static str,
        body: usize,
        handler: impl Fn(Request) -> R + Send + Sync + 'static,
    ) -> Self
    where
        R: Future<Output = Answer> + Send + 'static,
    {
        self.route("POST", path, body, handler)
    }

    fn route<R>(
        mut self,
        method: &'static str,
        path: &'static str,
        body: usize,
        handler: impl Fn(Request) -> R + Send + Sync + 'static,
    ) -> Self
    where
        R: Future<Output = Answer> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |request| Box::pin(handler(request)));
        self.routes.entry(path).or_default().insert(method, Route { handler, body });
        self
    }

    /// Reads the body, which may take `patience`, and answers.
    pub(super) async fn answer(&self, request: hyper::Request<Incoming>, patience: Duration) -> Answer {
        let (head, body) = request.into_parts();
        let Some(methods) = self.routes.get(head.uri.path()) else {
            let paths: Vec<&str> = self.routes.keys().copied().collect();
            let why = format!("{}: nothing here; there are {}", head.uri.path(), paths.join(", "));
            return Answer::error(StatusCode::NOT_FOUND, why);
        };
        let method = if head.method == Method::HEAD { "GET" } else { head.method.as_str() };
        let Some(route) = methods.get(method) else {
            let allowed: Vec<&str> = methods.keys().copied().collect();
            let why = format!("got {}, expected {}", head.method, allowed.join(" or "));
            return Answer::error(StatusCode::METHOD_NOT_ALLOWED, why).header("allow", &allowed.join(", "));
        };
        let announced = head.headers.get("content-length").and_then(|text| text.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > route.body as u64) {
            return too_large(route.body);
        }
        let collected = tokio::time::timeout(patience, Limited::new(body, route.body).collect()).await;
        let body = match collected {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return too_large(route.body),
            Ok(Err(error)) => return Answer::error(StatusCode::BAD_REQUEST, format!("the body broke off: {error}")),
            Err(_) => {
                let why = format!("the body took longer than {} s", patience.as_secs());
                return Answer::error(StatusCode::REQUEST_TIMEOUT, why).header("connection", "close");
            }
        };
        (route.handler)(Request { head, body }).await
    }
}

fn too_large(most: usize) -> Answer {
    let why = format!("the body is too large: at most {most} bytes are taken");
    Answer::error(StatusCode::PAYLOAD_TOO_LARGE, why).header("connection", "close")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_the_first_of_a_name_counts() {
        let (head, ()) =
            hyper::Request::get("/tap?device=a%20b+c%2&count=3&count=4&flag").body(()).unwrap().into_parts();
        let request = Request { head, body: Bytes::new() };
        assert_eq!(request.query("device").as_deref(), Some("a b c%2"));
        assert_eq!(request.query("count").as_deref(), Some("3"));
        assert_eq!(request.query("flag").as_deref(), Some(""));
        assert_eq!(request.query("channel"), None);
    }
}
