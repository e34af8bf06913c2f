//! The HAL-free core of a Weir device: no allocator, no hardware, no panic in normal operation.
//!
//! ```text
//! sensor -> sample -> ring [base, next) -> frame -> serial line
//!                       ^--- base moves on Ack ---------'
//! ```
//!
//! Guarantees:
//! - A sample takes its sequences when the ring holds it, and never otherwise; no sequence is used twice.
//! - The ring gives up a reading only when the agent acknowledged it, or, when full, the oldest first, so a
//!   loss is always a prefix of what was held. The agent learns of it from `base`.
//! - Nothing waits: a missing sensor, a silent agent or a failing flash is a counted [`Event`], then tried again.
//! - Only monotonic time decides anything. Wall time is an annotation on readings.
//!
//! Budget: 1 KiB of RAM for its state with a flash ring (`tests/budget.rs` enforces it);
//! 30 to 40 KB of flash with everything it needs, by chip; `firmware/sizes.toml` has the figures and the budgets that
//! `firmware/build` enforces.
//!
//! A board's shell owns the hardware and calls [`Device::poll`] with the time and the bytes that arrived; it
//! gets back bytes to send, when to call again, and now and then something to do. Read in this order:
//! [`sensor`] and [`sampler`], [`ring`], [`sender`], [`clock`], [`device`]; [`pump`] is the rest of a main loop.
#![no_std]

pub mod clock;
pub mod device;
pub mod event;
pub mod identity;
pub mod light;
pub mod pump;
pub mod restart;
pub mod ring;
pub mod sampler;
pub mod sender;
pub mod sensor;
pub mod uptime;

pub use device::{Config, Device, FRAME, Request, Turn, schema_of};
pub use event::{Counters, Event};
pub use pump::Pump;
pub use ring::{AnyRing, FlashRing, RamRing, Ring};
pub use sensor::{Lm75, Sensor, Sht4x};
pub use uptime::Uptime;
