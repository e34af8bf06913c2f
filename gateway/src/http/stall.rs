//! A transport whose writes may not stall for ever.
//!
//! A client that opens a tail and never reads it would hold its connection until it dies; here its writes fail
//! after [`LIMIT`] without progress, which ends the connection as any broken transport does.

use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_io_timeout::TimeoutStream;

/// How long a write may wait for the client.
const LIMIT: Duration = Duration::from_secs(30);

/// A transport with impatient writes.
pub(crate) type Impatient<S> = Pin<Box<TimeoutStream<S>>>;

/// Makes the writes of a transport impatient.
pub(crate) fn impatient<S: AsyncRead + AsyncWrite>(transport: S) -> Impatient<S> {
    let mut stream = TimeoutStream::new(transport);
    stream.set_write_timeout(Some(LIMIT));
    Box::pin(stream)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_given_up_and_one_that_does_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(4);
        let mut ours = impatient(ours);
        let reader = tokio::spawn(async move {
            let mut bytes = [0; 8];
            tokio::time::sleep(LIMIT / 2).await;
            theirs.read_exact(&mut bytes).await.unwrap();
            theirs
        });
        ours.write_all(b"12345678").await.unwrap();
        let _unread = reader.await.unwrap();
        assert_eq!(ours.write_all(b"12345678").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
