//! The MQTT front and the program around it, seen from outside.
//!
//! `session`, `limits` and `hostile` talk to the front over a transport in memory and decide the verdicts
//! themselves, with time under control; `whole`, `kills`, `http`, `routes`, `registry`, `redrive`, `schemas`, `live`, `starting`, `websocket` and `commands` run everything, on real files and sockets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod commands;
mod conformance;
mod devices;
mod hostile;
mod http;
mod kills;
mod limits;
mod live;
mod orders;
mod quality;
mod redrive;
mod registry;
mod rights;
mod routes;
mod schemas;
mod script;
mod session;
mod starting;
mod websocket;
mod whole;
mod world;
