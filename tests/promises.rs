//! The promises of the README, one test each, of the same name. Most of them look at one rough run (see
//! [`weir_tests::rough`]); the others need something special to happen.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

#[path = "promises/binding.rs"]
mod binding;
#[path = "promises/block.rs"]
mod block;
#[path = "promises/bounds.rs"]
mod bounds;
#[path = "promises/commit.rs"]
mod commit;
#[path = "promises/consumers.rs"]
mod consumers;
#[path = "promises/damage.rs"]
mod damage;
#[path = "promises/identity.rs"]
mod identity;
#[path = "promises/messages.rs"]
mod messages;
#[path = "promises/order.rs"]
mod order;
#[path = "promises/time.rs"]
mod time;
#[path = "promises/topics.rs"]
mod topics;
#[path = "promises/trust.rs"]
mod trust;
