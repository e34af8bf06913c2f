//! Showing committed records to consumers: after the state has moved, before anyone is answered.

use weir_storage::Log;
use weir_storage::log::Exposer;

use crate::topics::Topics;
use crate::topics::routes::Routes;

pub(crate) struct Exposure {
    exposers: Vec<Exposer>,
    topics: Topics,
    routes: Routes,
}

impl Exposure {
    pub(crate) fn new(logs: &[Log], topics: Topics, routes: Routes) -> Self {
        Self { exposers: logs.iter().map(Log::exposer).collect(), topics, routes }
    }

    /// Shows the offsets of a log below `upto`, and wakes those who wait for them.
    pub(crate) fn expose(&self, log: usize, upto: u64) {
        let (topic, partition) = self.routes.place(log);
        if let Some(exposer) = self.exposers.get(log) {
            exposer.expose(upto);
        }
        if let Some(partition) = self.topics.get(topic).partitions().get(partition) {
            partition.announce(upto);
        }
    }
}
