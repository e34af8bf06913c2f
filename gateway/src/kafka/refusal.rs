//! Why a connection of the Kafka port is closed. Most of what is wrong with a request has an answer of its own; what is
//! here has none: the client sees its connection end, the log and `/metrics` say why.

/// A reason to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No place in the lobby for a socket that says nothing.
    Crowded,
    /// No place among the connections.
    Full,
    /// A length of a request that cannot be.
    Oversized,
    /// A request that did not arrive in time.
    SlowRequest,
    /// Bytes that are not the request that they claim to be.
    Malformed,
    /// An API or a version that is not advertised.
    Unsupported,
    /// A response that was not taken in time.
    NotReading,
    /// No request for too long.
    Idle,
    /// A TLS handshake that failed.
    Handshake,
    /// Authentication failed, or was left out.
    Unauthenticated,
    /// The gateway stops.
    Stopping,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 11] = [
        Self::Crowded,
        Self::Full,
        Self::Oversized,
        Self::SlowRequest,
        Self::Malformed,
        Self::Unsupported,
        Self::NotReading,
        Self::Idle,
        Self::Handshake,
        Self::Unauthenticated,
        Self::Stopping,
    ];

    /// Its name in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Crowded => "crowded",
            Self::Full => "full",
            Self::Oversized => "oversized",
            Self::SlowRequest => "slow-request",
            Self::Malformed => "malformed",
            Self::Unsupported => "unsupported",
            Self::NotReading => "not-reading",
            Self::Idle => "idle",
            Self::Handshake => "handshake",
            Self::Unauthenticated => "unauthenticated",
            Self::Stopping => "stopping",
        }
    }
}
