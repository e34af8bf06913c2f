//! Moving a device to another agent, through the same rules as everything else.

use thiserror::Error;
use tokio::sync::mpsc::unbounded_channel;
use weir_protocol::{AgentId, DeviceId, Tenant};

use super::super::decode::Work;
use super::super::{Event, Sender, Verdict};
use super::{Ingest, Parcel};
use crate::topics::Stores;

/// Why a device was not moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MoveError {
    /// There is nothing to move.
    #[error("{0}; `weir-gateway device list` names those there are")]
    Unknown(&'static str),
    /// It could not be made durable, or the gateway stops.
    #[error("it could not be made durable; the log of the gateway says why: try again")]
    Failed,
}

/// A device that is to be the sender's.
struct Transfer(DeviceId);

impl Parcel for Transfer {
    fn ticket(&self) -> u64 {
        0
    }

    fn bytes(&self) -> usize {
        0
    }

    fn open(self, _: &Sender, _: &Stores) -> Work {
        Work::Move(self.0)
    }
}

impl Ingest {
    /// Binds a device to `agent`; when this returns it is durable and in effect.
    ///
    /// # Errors
    /// [`MoveError`]; the device is whose it was.
    pub async fn move_device(&self, tenant: Tenant, device: DeviceId, agent: AgentId) -> Result<(), MoveError> {
        let (events, mut told) = unbounded_channel();
        let connection = self.connect_retry(Sender::from((tenant, agent)), events);
        connection.hand_in(vec![Transfer(device)]).await;
        while let Some(event) = told.recv().await {
            let Event::Outcomes(outcomes) = event else { continue };
            return match outcomes.first().map(|outcome| outcome.verdict) {
                Some(Verdict::Stored) => Ok(()),
                Some(Verdict::Unreadable(why)) => Err(MoveError::Unknown(why)),
                _ => Err(MoveError::Failed),
            };
        }
        Err(MoveError::Failed)
    }
}
