//! The ways in which a handshake fails, each with a name for the counters.

use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};
use thiserror::Error;

use super::peer::Nameless;

/// Why a client was not let in.
#[derive(Debug, Error)]
pub enum HandshakeError {
    /// It took too long.
    #[error("no TLS handshake within {} s", .0.as_secs_f32())]
    Slow(Duration),
    /// It does not speak TLS, does not trust the certificate, has no version or cipher in common, or went away.
    #[error("{0}")]
    Failed(#[from] io::Error),
    /// Its certificate says nobody's name.
    #[error("{0}")]
    Nameless(#[from] Nameless),
    /// It came back with a session whose certificate was revoked since.
    #[error("the client certificate with serial number {0} is revoked")]
    Revoked(super::Serial),
    /// It came back with a session whose certificate has ended since.
    #[error("the client certificate with serial number {0} has expired")]
    Expired(super::Serial),
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident = $name:literal),* $(,)?) => {
        /// What a failed handshake is counted as.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason { $($(#[$doc])* $reason),* }

        impl Reason {
            /// All of them, in order.
            pub const ALL: &[Self] = &[$(Self::$reason),*];

            /// The name in the metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$reason => $name),* }
            }
        }
    };
}

reasons! {
    /// It took too long.
    Slow = "slow",
    /// The client went away.
    Gone = "gone",
    /// What came is not TLS.
    NotTls = "not_tls",
    /// No version, cipher or signature in common.
    NothingInCommon = "nothing_in_common",
    /// The client does not trust the gateway's certificate.
    Distrusted = "distrusted",
    /// The client's certificate is of no authority that is trusted here, or not what it says.
    Untrusted = "untrusted",
    /// The client's certificate has ended, or has not begun.
    Expired = "expired",
    /// The client's certificate was revoked.
    Revoked = "revoked",
    /// The client's certificate does not say who it is.
    Nameless = "nameless",
    /// Anything else.
    Other = "other",
}

impl HandshakeError {
    /// What it is counted as.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Slow(_) => Reason::Slow,
            Self::Nameless(_) => Reason::Nameless,
            Self::Revoked(_) => Reason::Revoked,
            Self::Expired(_) => Reason::Expired,
            Self::Failed(error) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
                Some(error) => of(error),
                None => Reason::Gone,
            },
        }
    }
}

fn of(error: &rustls::Error) -> Reason {
    match error {
        rustls::Error::InvalidMessage(_) => Reason::NotTls,
        rustls::Error::PeerIncompatible(_) => Reason::NothingInCommon,
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Reason::Expired,
            CertificateError::Revoked => Reason::Revoked,
            _ => Reason::Untrusted,
        },
        rustls::Error::AlertReceived(alert) => match alert {
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate => Reason::Distrusted,
            AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion => Reason::NothingInCommon,
            _ => Reason::Other,
        },
        _ => Reason::Other,
    }
}
