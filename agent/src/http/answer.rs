//! Answers, whole or as a stream.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc;

/// What is answered.
#[derive(Debug)]
pub struct Answer(Response<Body>);

/// What an answer says.
#[derive(Debug)]
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// What comes out of a channel, until it closes. Whoever fills it sees that the client is gone by its end being
    /// dropped.
    Stream(mpsc::Receiver<Bytes>),
}

impl Answer {
    /// Nothing but a status.
    pub fn empty(status: StatusCode) -> Self {
        let mut response = Response::new(Body::Whole(Bytes::new()));
        *response.status_mut() = status;
        Self(response)
    }

    /// Text of some type.
    pub fn text(status: StatusCode, content_type: &'static str, text: impl Into<Bytes>) -> Self {
        let mut answer = Self::empty(status).header(CONTENT_TYPE.as_str(), content_type);
        *answer.0.body_mut() = Body::Whole(text.into());
        answer
    }

    /// A JSON document with a line end.
    pub fn json(status: StatusCode, document: &impl Serialize) -> Self {
        // Documents of ours have text as keys; nothing else fails.
        let mut text = serde_json::to_vec(document).unwrap_or_default();
        text.push(b'\n');
        Self::text(status, "application/json", text)
    }

    /// `{"error": why}`.
    pub fn error(status: StatusCode, why: impl Into<String>) -> Self {
        Self::json(status, &serde_json::json!({ "error": why.into() }))
    }

    /// What comes out of `lines`, as it comes.
    pub fn stream(content_type: &'static str, lines: mpsc::Receiver<Bytes>) -> Self {
        let mut answer = Self::empty(StatusCode::OK).header(CONTENT_TYPE.as_str(), content_type);
        *answer.0.body_mut() = Body::Stream(lines);
        answer
    }

    /// With a header more. What cannot be a header is left out.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers_mut().insert(name, value);
        }
        self
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// As hyper sends it.
    pub(super) fn into_response(self) -> Response<Body> {
        self.0
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(core::mem::take(bytes))))),
            Self::Stream(lines) => lines.poll_recv(cx).map(|line| line.map(|line| Ok(Frame::data(line)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}
