//! The records of `weir.sessions`, version 1.
//!
//! ```text
//! key    version u8 = 1, kind u8; but for the clock: tenant, client id (each length u16, UTF-8)
//!        of a subscription also its filter (the same), of an open packet id also the id (u16)
//! kind   1 session   2 subscription   3 positions   4 history   5 open packet id   6 will   7 clock
//! value  version u8 = 1, then what the file of its kind says; none: it is no more
//! ```
//!
//! Numbers are big endian; the record's timestamp is the wall clock; the checksum is that of the batch. Nothing follows the
//! last field; a reader leaves alone what is of another version or kind. What belongs to a session begins with the number
//! of that session ([`session`]): what has another one is of a session that has ended.

pub mod clock;
pub mod history;
pub mod open_id;
pub mod positions;
pub mod session;
pub mod subscription;
#[cfg(test)]
mod tests;
pub mod will;

use weir_protocol::Tenant;

use super::Key;
use crate::access::ClientId;
use crate::delivery::{Positions, Subscription};
use crate::keyed_log::fields::{Input, Malformed, put_text};
use crate::mqtt::packet::Will;

pub use history::History;
pub use session::SessionRecord;

const VERSION: u8 = 1;
const SESSION: u8 = 1;
const SUBSCRIPTION: u8 = 2;
const POSITIONS: u8 = 3;
const HISTORY: u8 = 4;
const OPEN_ID: u8 = 5;
const WILL: u8 = 6;
const CLOCK: u8 = 7;

/// What of a client a record is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The session itself.
    Session,
    /// The subscription to this filter.
    Subscription(Box<str>),
    /// Its positions in the log.
    Positions,
    /// The numbers that its messages at QoS 2 have had.
    History,
    /// A packet id that is open at QoS 2.
    OpenId(u16),
    /// Its will.
    Will,
}

/// What a record says; `None` where the value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A session.
    Session(Option<SessionRecord>),
    /// A subscription of session number so and so.
    Subscription(Box<str>, Option<(u64, Subscription)>),
    /// The positions of that session.
    Positions(Option<(u64, Positions)>),
    /// A history.
    History(Option<History>),
    /// A packet id, the number of the session, and the sequence of its message.
    OpenId(u16, Option<(u64, u64)>),
    /// The will of that session.
    Will(Option<(u64, Will)>),
}

/// What a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Of a client.
    Of(Key, Said),
    /// What the clock showed ([`crate::keyed_log::clock`]), in milliseconds.
    Clock(Option<i64>),
}

/// Replaces `out` by the key of a part of a client.
pub fn encode_key(key: &Key, part: &Part, out: &mut Vec<u8>) {
    let kind = match part {
        Part::Session => SESSION,
        Part::Subscription(_) => SUBSCRIPTION,
        Part::Positions => POSITIONS,
        Part::History => HISTORY,
        Part::OpenId(_) => OPEN_ID,
        Part::Will => WILL,
    };
    out.clear();
    out.extend([VERSION, kind]);
    put_text(out, key.tenant.as_str());
    put_text(out, key.client.as_str());
    match part {
        Part::Subscription(filter) => put_text(out, filter),
        Part::OpenId(id) => out.extend(id.to_be_bytes()),
        Part::Session | Part::Positions | Part::History | Part::Will => (),
    }
}

/// Reads a record.
///
/// # Errors
/// [`Malformed`].
pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Entry, Malformed> {
    let mut input = Input(key);
    input.version(VERSION)?;
    let kind = input.byte("kind")?;
    if kind == CLOCK {
        input.end()?;
        return Ok(Entry::Clock(value.map(clock::decode).transpose()?));
    }
    if !(SESSION..=WILL).contains(&kind) {
        return Err(Malformed::Kind { got: kind });
    }
    let tenant = Tenant::new(input.text("tenant")?).map_err(|_| Malformed::Field { field: "tenant" })?;
    let client = ClientId::new(input.text("client")?).map_err(|_| Malformed::Field { field: "client" })?;
    let said = match kind {
        SESSION => Said::Session(value.map(session::decode).transpose()?),
        SUBSCRIPTION => {
            let filter = input.text("filter")?;
            Said::Subscription(filter.into(), value.map(|value| subscription::decode(filter, value)).transpose()?)
        }
        POSITIONS => Said::Positions(value.map(positions::decode).transpose()?),
        HISTORY => Said::History(value.map(history::decode).transpose()?),
        OPEN_ID => {
            let id = u16::from_be_bytes(input.take("packet id")?);
            Said::OpenId(id, value.map(open_id::decode).transpose()?)
        }
        _ => Said::Will(value.map(will::decode).transpose()?),
    };
    input.end()?;
    Ok(Entry::Of(Key { tenant, client }, said))
}

/// Begins a value.
fn begin(out: &mut Vec<u8>) {
    out.clear();
    out.push(VERSION);
}

/// Begins a value that belongs to session `number`.
fn begin_of(out: &mut Vec<u8>, number: u64) {
    begin(out);
    out.extend(number.to_be_bytes());
}

/// Reads what [`begin`] wrote.
fn begun(value: &[u8]) -> Result<Input<'_>, Malformed> {
    let mut input = Input(value);
    input.version(VERSION)?;
    Ok(input)
}

/// Reads what [`begin_of`] wrote.
fn begun_of(value: &[u8]) -> Result<(u64, Input<'_>), Malformed> {
    let mut input = begun(value)?;
    Ok((u64::from_be_bytes(input.take("number")?), input))
}
