//! Who may read: SASL/PLAIN and SASL/SCRAM-SHA-256 against the users of the settings, and tokens by SASL/PLAIN ([`Tokens`]).
//!
//! What it guarantees: with users, nothing but asking for versions and proving who one is is answered before the proof;
//! neither answer nor time tells an unknown user from a wrong password; secrets are compared in constant time and are
//! never printed; a message has a bound; deriving a key from a password, which costs milliseconds on purpose, happens
//! off the threads that serve, [`MOST_DERIVATIONS`] at a time, and a wrong password rests for as long as it took, so that
//! a flood of logins waits for itself and not ingest for it.
//!
//! Format: a user is a line `name = "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>"` ([`Secret`]), from
//! which a password can be verified but not learned. `weir-gateway user add NAME` prints it.
//!
//! Operations, for each connection: [`Session::admits`] a request or not; [`Session::handshake`] chooses a mechanism;
//! [`Session::authenticate`] takes its messages until there is a user or the connection has to be closed.

mod plain;
mod scram;
mod secret;
mod session;
mod tokens;
mod users;

use crate::access::Unproven;

pub use secret::{ITERATIONS, MOST_PASSWORD, Secret};
pub use session::{Session, Step};
pub use tokens::Tokens;
pub use users::{MOST_DERIVATIONS, MOST_USER_NAME, Users};

#[cfg(test)]
mod tests;

/// The most bytes of one message of a mechanism.
pub const MOST_MESSAGE: usize = 4096;

/// Why somebody is not let in. Clients are told no more than that they are not; the log is told this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The name or the password.
    #[error("an unknown user or a wrong password")]
    Credentials,
    /// The message is not one of the mechanism.
    #[error("a message that {0} does not have")]
    Message(Mechanism),
    /// The system gave no randomness.
    #[error("no randomness from the system")]
    Randomness,
    /// The token.
    #[error("{0}")]
    Token(#[from] Unproven),
    /// A token that others could have read along.
    #[error("a token over a connection without TLS from another machine")]
    Exposed,
    /// A token of one tenant: topics hold the records of all.
    #[error("a token of one tenant, and topics hold the records of all")]
    Tenant,
    /// The gateway is stopping.
    #[error("the gateway stops")]
    Stopping,
}

/// A way to prove who one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// The password itself: RFC 4616. Only TLS hides it.
    Plain,
    /// A proof that one knows the password: RFC 5802 and RFC 7677.
    ScramSha256,
}

impl Mechanism {
    /// All, in the order in which they are offered.
    pub const ALL: [Self; 2] = [Self::Plain, Self::ScramSha256];

    /// Its name in SASL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
        }
    }
}

impl std::fmt::Display for Mechanism {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Takes any bytes as what a client says in each mechanism: for SCRAM two messages, one after the first NUL. For fuzzers.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let _ = plain::Message::read(bytes);
    let mut messages = bytes.splitn(2, |byte| *byte == 0);
    let (first, last) = (messages.next().unwrap_or_default(), messages.next().unwrap_or_default());
    let secret = Secret {
        iterations: std::num::NonZeroU32::MIN,
        salt: vec![0; 16],
        stored_key: [0; secret::KEY_BYTES],
        server_key: [0; secret::KEY_BYTES],
    };
    if let Ok(first) = scram::ClientFirst::read(first) {
        assert!(first.user.len() <= MOST_USER_NAME, "a name has a bound");
        let (exchange, answer) = scram::Exchange::begin(&first, secret, [0; scram::NONCE_BYTES]);
        assert!(answer.len() < MOST_MESSAGE, "an answer has a bound");
        assert!(exchange.end(last).is_err(), "nobody guesses a proof");
    }
}
