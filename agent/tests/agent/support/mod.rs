//! What the stories are told with.

pub(crate) mod board;
pub(crate) mod books;
pub(crate) mod broker;
pub(crate) mod control_room;
pub(crate) mod desk;
pub(crate) mod device;
pub(crate) mod doors;
pub(crate) mod gateway;
pub(crate) mod kept;
pub(crate) mod local;
pub(crate) mod mosquitto;
pub(crate) mod nowhere;
pub(crate) mod office;
pub(crate) mod operator;
pub(crate) mod plc;
pub(crate) mod pty;
pub(crate) mod sensor;
pub(crate) mod shipping;
pub(crate) mod sources;
pub(crate) mod wait;

use std::sync::Arc;

use weir_agent::source::clock::Clocks;
use weir_protocol::time::WallClock;
use weir_protocol::{DeviceId, Timestamp};

/// A clock that stands still: Saturday, 21 November 2026, noon.
pub(crate) struct StoppedClock;

pub(crate) const NOON: Timestamp = Timestamp(1_795_262_400_000_000);

impl WallClock for StoppedClock {
    fn now(&self) -> Timestamp {
        NOON
    }
}

/// Stopped clocks that nobody disciplines, or somebody does.
pub(crate) fn clocks(is_synchronised: fn() -> bool) -> Clocks {
    Clocks { wall: Arc::new(StoppedClock), is_synchronised }
}

pub(crate) fn device(name: &str) -> DeviceId {
    DeviceId::new(name).expect("a good name")
}
