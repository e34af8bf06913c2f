//! What a client is asked to do: the command line of `tests/kafka/README.md`.

use std::ffi::OsString;
use std::path::PathBuf;

/// The session timeout of every member: the shortest that Kafka's own brokers allow.
pub(crate) const SESSION_MILLIS: u64 = 6000;

/// An order, to be completed field by field.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order {
    /// The topic; `readings` if it is empty.
    pub(crate) topic: String,
    /// The consumer group. Without one the client assigns itself every partition.
    pub(crate) group: Option<String>,
    /// The name of a static member.
    pub(crate) member: Option<String>,
    /// `earliest` (the default), `latest`, `time:MILLISECONDS` or `offset:NUMBER`.
    pub(crate) at: Option<String>,
    /// The program ends after so many records.
    pub(crate) records: Option<u64>,
    /// Commits whenever so many more records were taken.
    pub commit_every: Option<u64>,
    /// Takes no more after so many records, stays in the group and waits to be killed.
    pub hold_at: Option<u64>,
    /// Decodes values by the registry's own client at this URL.
    pub(crate) registry: Option<String>,
    /// Mechanism, user and password.
    pub(crate) login: Option<(&'static str, String, String)>,
    /// Speaks TLS and trusts this certificate.
    pub(crate) ca: Option<PathBuf>,
}

impl Order {
    /// Everything in `readings`, without a group.
    pub(crate) fn records(records: u64) -> Self {
        Self { records: Some(records), ..Self::default() }
    }

    /// As a member of `group`.
    pub(crate) fn of_group(group: &str) -> Self {
        Self { group: Some(group.to_owned()), ..Self::default() }
    }

    /// The topic.
    pub(crate) fn topic(&self) -> &str {
        if self.topic.is_empty() { "readings" } else { &self.topic }
    }

    /// The arguments for a client of this repository.
    pub(crate) fn arguments(&self, bootstrap: &str) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut say = |name: &str, value: Option<OsString>| {
            arguments.extend(value.into_iter().flat_map(|value| [format!("--{name}").into(), value]));
        };
        let number = |value: Option<u64>| value.map(|value| value.to_string().into());
        let text = |value: &Option<String>| value.as_ref().map(OsString::from);
        say("bootstrap", Some(bootstrap.into()));
        say("topic", Some(self.topic().into()));
        say("group", text(&self.group));
        say("session-timeout", self.group.as_ref().map(|_| SESSION_MILLIS.to_string().into()));
        say("member", text(&self.member));
        say("at", text(&self.at));
        say("records", number(self.records));
        say("commit-every", number(self.commit_every));
        say("hold-at", number(self.hold_at));
        say("registry", text(&self.registry));
        if let Some((mechanism, user, password)) = &self.login {
            say("mechanism", Some(mechanism.into()));
            say("user", Some(user.into()));
            say("password", Some(password.into()));
        }
        say("ca", self.ca.as_ref().map(OsString::from));
        arguments
    }
}
