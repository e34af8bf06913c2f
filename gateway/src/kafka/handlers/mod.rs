//! What each request does, one file for each kind of them.

pub mod groups;
