//! Messages on the serial line, by direction; [`crate::frame`] carries them.

pub mod agent_to_device;
pub mod device_to_agent;

pub use agent_to_device::Down;
pub use device_to_agent::{Held, Up};
