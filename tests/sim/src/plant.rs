//! Faults in the program, one at a time and at one side, which worlds must show: what does not show is not judged.

use weir_agent::plant::Plant as OfAgent;
use weir_gateway::ingest::plant::Plant as OfGateway;

/// A fault in the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// The agent acknowledges devices before their readings are on disk.
    AgentAckBeforeSync,
    /// The agent syncs no directory.
    AgentSkipDirectorySync,
    /// The agent takes a sync that failed for one that did not.
    AgentSwallowEio,
    /// The gateway acknowledges batches before they are on disk.
    GatewayAckBeforeSync,
    /// The gateway syncs no directory.
    GatewaySkipDirectorySync,
    /// The gateway takes a sync that failed for one that did not.
    GatewaySwallowEio,
    /// The gateway forgets after a restart that a range is stored already.
    ForgetRange,
    /// The gateway counts what is lost in memory, and writes no record of it.
    LoseLossRecord,
}

impl Plant {
    /// What is planted in agents.
    pub(crate) fn of_agent(self) -> Option<OfAgent> {
        match self {
            Self::AgentAckBeforeSync => Some(OfAgent::AckBeforeSync),
            Self::AgentSkipDirectorySync => Some(OfAgent::SkipDirectorySync),
            Self::AgentSwallowEio => Some(OfAgent::SwallowEio),
            _ => None,
        }
    }

    /// What is planted in the gateway.
    pub(crate) fn of_gateway(self) -> Option<OfGateway> {
        match self {
            Self::GatewayAckBeforeSync => Some(OfGateway::AckBeforeSync),
            Self::GatewaySkipDirectorySync => Some(OfGateway::SkipDirectorySync),
            Self::GatewaySwallowEio => Some(OfGateway::SwallowEio),
            Self::ForgetRange => Some(OfGateway::ForgetRange),
            Self::LoseLossRecord => Some(OfGateway::LoseLossRecord),
            _ => None,
        }
    }
}
