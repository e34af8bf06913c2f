//! Why a client is not let in.

use std::fmt;

/// Why a client is not let in; what it is told is a code, the log and the audit get the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denied {
    /// Its client id is none, or not the name of its certificate, or none that its user may take.
    ClientId,
    /// An unknown user or a wrong password.
    Credentials,
    /// It proved nothing, and has to.
    NothingProven,
    /// What it proved itself with was revoked.
    Revoked,
    /// As many passwords as allowed are being checked.
    Busy,
    /// Too many logins of its address failed.
    TooOften,
}

impl Denied {
    /// The reason code of MQTT 5, section 3.2.2.2.
    pub const fn reason(self) -> u8 {
        match self {
            Self::ClientId => 0x85,
            Self::Credentials => 0x86,
            Self::NothingProven | Self::Revoked => 0x87,
            Self::Busy => 0x89,
            Self::TooOften => 0x9f,
        }
    }

    /// The return code of MQTT 3.1.1, section 3.2.2.3.
    pub const fn return_code(self) -> u8 {
        match self {
            Self::ClientId => 2,
            Self::Credentials => 4,
            Self::NothingProven | Self::Revoked => 5,
            Self::Busy | Self::TooOften => 3,
        }
    }

    /// The text of the audit.
    pub const fn why(self) -> &'static str {
        match self {
            Self::ClientId => "the client id is not the one that its certificate or user may take",
            Self::Credentials => "an unknown user or a wrong password",
            Self::NothingProven => "neither a certificate nor a user name and a password",
            Self::Revoked => "what it proves itself with was revoked",
            Self::Busy => "too many passwords are being checked",
            Self::TooOften => "too many failed logins",
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why())
    }
}

impl std::error::Error for Denied {}
