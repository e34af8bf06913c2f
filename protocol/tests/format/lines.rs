//! Texts that other programs see: topics, and numbers that are part of identities.

use weir_protocol::mqtt::{Purpose, Topic};
use weir_protocol::{AgentId, Restart, Tenant};

use crate::Message;

pub(crate) fn messages() -> Vec<Message> {
    let topic = |purpose| Topic { tenant: Tenant::DEFAULT, agent: AgentId::new("edge-1").expect("a name"), purpose };
    let mut all: Vec<Message> = [
        ("topic.batch", topic(Purpose::Batch)),
        ("topic.describe", topic(Purpose::Describe)),
        ("topic.status", topic(Purpose::Status)),
        ("topic.command", topic(Purpose::Command)),
    ]
    .map(|(name, topic)| Message {
        name,
        encoded: topic.to_string().into_bytes(),
        exact: true,
        said: format!("{topic:?}"),
        read: |bytes| {
            let text = std::str::from_utf8(bytes).expect("text");
            format!("{:?}", Topic::parse(text).expect("a topic"))
        },
    })
    .into();
    all.extend(
        [
            ("restart.boot", Restart::from_boot(0xffff_ffff, 0x0102_0304)),
            ("restart.agent", Restart::from_agent(0x0102_0304_0506_0708)),
        ]
        .map(|(name, restart)| Message {
            name,
            encoded: restart.to_string().into_bytes(),
            exact: true,
            said: format!("{:?} {:?}", restart.boot(), restart.is_from_agent()),
            read: |bytes| {
                let number = std::str::from_utf8(bytes).expect("text").parse().expect("a number");
                format!("{:?} {:?}", Restart(number).boot(), Restart(number).is_from_agent())
            },
        }),
    );
    all
}
