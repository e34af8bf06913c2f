//! What the standards demand of a server, statement by statement, on real sockets, byte by byte.
//!
//! Chapter and number of each statement stand beside the test that shows it in `tests/mqtt/CONFORMANCE.md`; [`table`]
//! checks that none is missing there.

mod connect;
mod operation;
pub(crate) mod peer;
mod publish;
mod session;
mod subscribe;
mod table;
mod will;

use crate::world::Gateway;

/// A gateway that takes messages below `t/`, as any client may send them.
async fn gateway() -> Gateway {
    gateway_on(tempfile::tempdir().unwrap()).await
}

async fn gateway_on(data: tempfile::TempDir) -> Gateway {
    Gateway::start_by(data, "[[mqtt.store]]\nfilter = \"t/#\"\n\n[[mqtt.store]]\nfilter = \"$t/#\"\n").await
}
