//! Who may have a session: what a CONNECT says, checked.

use bytes::Bytes;
use weir_protocol::mqtt::{Purpose, Topic};
use weir_protocol::{AgentId, Tenant};

use super::refusal::Refusal;
use super::wire::{Connect, Will};

/// The longest status, in bytes; it is for people.
pub const MAX_STATUS: usize = 4096;

/// Checks a CONNECT; the agent that it names, and its will as a status.
pub fn admit(connect: &Connect) -> Result<(AgentId, Option<Bytes>), Refusal> {
    if connect.enhanced_authentication {
        return Err(Refusal::AuthMethod);
    }
    let agent = AgentId::new(&connect.client_id).map_err(|_| Refusal::ClientId)?;
    let status = Topic { tenant: Tenant::DEFAULT, agent, purpose: Purpose::Status }.to_string();
    match &connect.will {
        None => Ok((agent, None)),
        Some(Will { topic, payload, qos: 0 | 1 }) if topic[..] == *status.as_bytes() && payload.len() <= MAX_STATUS => {
            Ok((agent, Some(Bytes::copy_from_slice(payload))))
        }
        Some(_) => Err(Refusal::Will),
    }
}
