//! DescribeCluster: the brokers, for tools of administrators.

use super::metadata::{Broker, NO_OPERATIONS};
use super::{ApiKey, ErrorCode, Supported};
use crate::kafka::wire::{Input, Malformed, Output};

/// The versions that are served.
pub const API: Supported = Supported { key: ApiKey::DescribeCluster, min: 0, max: 1, flexible_from: 0 };

/// The endpoints that are brokers; 2 are controllers.
pub const BROKERS: i8 = 1;

/// What is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Also what this client may do.
    pub include_cluster_authorized_operations: bool,
    /// [`BROKERS`], or in version 1 something else.
    pub endpoint_type: i8,
}

/// The cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Why there is no answer.
    pub error: ErrorCode,
    /// The same for people.
    pub error_message: Option<String>,
    /// As in the request.
    pub endpoint_type: i8,
    /// The cluster's id.
    pub cluster_id: String,
    /// The broker that is the controller.
    pub controller_id: i32,
    /// Where to connect.
    pub brokers: Vec<Broker>,
}

impl Request {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are not one.
    pub fn decode(input: &mut Input<'_>, version: i16) -> Result<Self, Malformed> {
        input.set_flexible(API.is_flexible(version));
        let request = Self {
            include_cluster_authorized_operations: input.boolean()?,
            endpoint_type: if version >= 1 { input.i8()? } else { BROKERS },
        };
        input.tags()?;
        Ok(request)
    }
}

impl Response {
    /// Writes the body of a response.
    pub fn encode(&self, out: &mut Output, version: i16) {
        out.set_flexible(API.is_flexible(version));
        out.i32(0);
        out.i16(self.error.number());
        out.nullable_string(self.error_message.as_deref());
        if version >= 1 {
            out.i8(self.endpoint_type);
        }
        out.string(&self.cluster_id);
        out.i32(self.controller_id);
        out.array(&self.brokers, |out, broker| {
            out.i32(broker.node_id);
            out.string(&broker.host);
            out.i32(broker.port);
            // No rack.
            out.nullable_string(None);
            out.tags();
        });
        out.i32(NO_OPERATIONS);
        out.tags();
    }
}
