//! Stories about the agent, from one rule to the whole process.

mod accounts;
mod commands;
mod damage;
mod doctor;
mod feeds;
mod format_1;
mod intake;
mod line_protocol;
mod local;
mod modbus;
mod mqtt_source;
mod policies;
mod power_cuts;
mod process;
mod queue_commands;
mod reload;
mod reopening;
mod seeds;
mod state_file;
mod supervision;
mod support;
mod system;
mod task;
mod transfer;
mod uplink;
mod uplink_limits;
