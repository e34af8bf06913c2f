//! Small nouns: names, topics, restarts.
#![cfg(feature = "std")]

use weir_protocol::mqtt::{Purpose, Topic};
use weir_protocol::name::{MAX_NAME, Name, NameError};
use weir_protocol::{AgentId, Restart, Tenant};

#[test]
fn a_name_that_is_refused_says_which_byte() {
    assert_eq!(Name::new(""), Err(NameError::Empty));
    assert_eq!(Name::new("a/b"), Err(NameError::BadByte { position: 1, byte: b'/' }));
    assert_eq!(Name::new(".hidden"), Err(NameError::BadByte { position: 0, byte: b'.' }));
    assert_eq!(Name::new(&"x".repeat(MAX_NAME + 1)), Err(NameError::TooLong(MAX_NAME + 1)));
    for wild in ["+", "#", "$share", "a b", "ä"] {
        assert!(Name::new(wild).is_err(), "{wild}");
    }
    assert_eq!(Name::new("aa:bb-1_x.y").expect("good").as_str(), "aa:bb-1_x.y");
}

#[test]
fn a_topic_is_ours_only_whole() {
    let topic =
        Topic { tenant: Tenant::DEFAULT, agent: AgentId::new("box-7").expect("a name"), purpose: Purpose::Batch };
    assert_eq!(topic.to_string(), "weir/1/default/box-7/batch");
    assert_eq!(Topic::parse(&topic.to_string()), Some(topic));
    for other in
        ["weir/1/default/box-7", "weir/1/default/box-7/batch/x", "weir/2/default/box-7/batch", "weir/1/+/a/batch", ""]
    {
        assert_eq!(Topic::parse(other), None, "{other}");
    }
}

#[test]
fn device_and_agent_number_restarts_apart() {
    assert_eq!(Restart::from_boot(3, 0xffff_ffff).boot(), Some(3));
    assert!(!Restart::from_boot(u32::MAX, u32::MAX).is_from_agent());
    assert!(Restart::from_agent(3).is_from_agent());
    assert_ne!(Restart::from_boot(1, 0), Restart::UNBOUND);
}
