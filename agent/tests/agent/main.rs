//! Stories about the agent, from one rule to the whole process.

mod intake;
mod power_cuts;
mod process;
mod seeds;
mod state_file;
mod support;
mod system;
mod task;
mod uplink;
mod uplink_limits;
