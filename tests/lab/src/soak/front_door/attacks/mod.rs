//! The attacks, each with what the gateway counts of it.

mod certificates;
mod claim;
mod oversized;
mod probing;
mod silent;
mod storm;
mod tokens;
mod wildcards;

pub(super) use storm::CLIENTS as STORM;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::horde::Horde;
use super::stage::Stage;
use crate::clients::mqtt::Link;

/// A kind of attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attack {
    /// 5,000 clients come back at once, again and again.
    Storm,
    /// Subscriptions as wide, as many and as deep as can be.
    Wildcards,
    /// Somebody tries what it may not.
    Probing,
    /// Certificates that are good no more, or never were.
    Certificates,
    /// A token that was stolen, revoked or used up, and passwords that are guessed.
    Tokens,
    /// Whatever can be too large.
    Oversized,
    /// Clients that send, or subscribe, and never read.
    Silent,
    /// Agents that write another's device.
    Claim,
}

impl Attack {
    /// All of them, in turn.
    pub(super) const ALL: [Self; 8] = [
        Self::Wildcards,
        Self::Probing,
        Self::Certificates,
        Self::Tokens,
        Self::Oversized,
        Self::Silent,
        Self::Claim,
        Self::Storm,
    ];

    /// What people call it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Storm => "reconnect storm",
            Self::Wildcards => "wildcard bombs",
            Self::Probing => "ACL probing",
            Self::Certificates => "expired and revoked certificates",
            Self::Tokens => "stolen tokens",
            Self::Oversized => "oversized everything",
            Self::Silent => "clients that never read",
            Self::Claim => "another's device",
        }
    }

    /// What its members count.
    pub(super) const fn unit(self) -> &'static str {
        match self {
            Self::Storm => "sessions",
            Self::Wildcards => "filters",
            Self::Certificates => "handshakes",
            Self::Silent => "packets",
            Self::Claim => "batches",
            Self::Probing | Self::Tokens | Self::Oversized => "tries",
        }
    }

    /// The counters that have to grow.
    pub(super) fn counters(self, is_slice: bool) -> &'static [&'static str] {
        match self {
            Self::Storm => &["mqtt_connects_total"],
            Self::Wildcards => wildcards::COUNTERS,
            Self::Probing => probing::COUNTERS,
            Self::Certificates => certificates::COUNTERS,
            // An address may guess 30 times before it is held back.
            Self::Tokens if is_slice => &tokens::COUNTERS[1..],
            Self::Tokens => tokens::COUNTERS,
            Self::Oversized => oversized::COUNTERS,
            Self::Silent if is_slice => &[],
            Self::Silent => silent::COUNTERS,
            Self::Claim => claim::COUNTERS,
        }
    }

    /// Begins it with one of `scale` attackers.
    pub(super) async fn begin(self, stage: &Stage, scale: usize) -> Result<Horde> {
        match self {
            Self::Storm => storm::begin(stage, scale),
            Self::Wildcards => wildcards::begin(stage, scale),
            Self::Probing => probing::begin(stage, scale),
            Self::Certificates => certificates::begin(stage, scale).await,
            Self::Tokens => tokens::begin(stage, scale).await,
            Self::Oversized => oversized::begin(stage, scale),
            Self::Silent => silent::begin(stage, scale),
            Self::Claim => claim::begin(stage, scale).await,
        }
    }
}

/// Sends a request over HTTP and reads no more of the answer than its status.
async fn status(link: &mut Link, request: &[u8]) -> Result<u16> {
    link.write_all(request).await?;
    link.flush().await?;
    let mut line = [0; 12];
    link.read_exact(&mut line).await.context("no answer over HTTP")?;
    let status = std::str::from_utf8(&line).ok().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.parse().ok());
    match status {
        Some(status) => Ok(status),
        None => bail!("got {line:02x?}, expected an answer over HTTP"),
    }
}

/// Sends whatever it is, as far as the gateway takes it, and waits until the gateway hangs up; what it answered.
async fn until_closed(link: &mut Link, parts: &[&[u8]]) -> Vec<u8> {
    for part in parts {
        if link.write_all(part).await.is_err() {
            break;
        }
    }
    // Whoever is closed while it still sends gets no answer at all.
    let _ = link.flush().await;
    let mut answer = Vec::new();
    let _ = link.take(MAX_ANSWER).read_to_end(&mut answer).await;
    answer
}

/// More than any answer to something oversized, in bytes.
const MAX_ANSWER: u64 = 64 * 1024;
