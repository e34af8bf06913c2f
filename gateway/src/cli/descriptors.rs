//! Open files: every connection takes one, and the usual soft limit of 1,024 is for programs that know no better.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// What the logs, HTTP answers and the system take besides.
const BESIDES: u64 = 500;

/// Takes as many open files as the system allows, and says so if the settings allow more connections than that.
pub(super) fn take(config: &Config) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let most = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let (mqtt, http, kafka) = (&config.mqtt, &config.http, &config.kafka);
    let keys = [&mqtt.connections, &mqtt.lobby, &http.connections, &http.lobby, &kafka.connections, &kafka.lobby];
    let needed = BESIDES + keys.iter().map(|key| u64::from(*key.get_ref())).sum::<u64>();
    if let Some(most) = most.filter(|most| *most < needed) {
        tracing::warn!(
            most,
            needed,
            "fewer open files are allowed than `connections` and `lobby` of mqtt, http and kafka together may need: set \
             LimitNOFILE={needed} in the unit, or lower them"
        );
    }
}
