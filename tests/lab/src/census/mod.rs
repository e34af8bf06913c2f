//! The census: what is in the log, read by anyone's means, over the gateway's HTTP port.
//!
//! It counts by identity and keeps ranges, not readings. It can be brought up to date while the log grows, or
//! taken whole; the reconciliation takes it whole.

mod lanes;
mod page;
mod stored;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::Value as Json;

use crate::clients::peer::Peer;
use crate::ledger::RestartKey;
use crate::load::values;
use crate::truth::Truths;

pub use lanes::{Lanes, Place};
pub use page::{Gap, Page};
pub use stored::Stored;

/// Records asked for at once.
const LIMIT: usize = 1000;
/// The longest answer that is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where a partition was read to, by topic and number.
type Cursors = BTreeMap<(String, u32), u64>;

/// A client of the gateway's HTTP port, or of its socket for commands.
#[derive(Clone, Debug)]
pub struct LogReader {
    /// Scheme, host and port.
    base: String,
    http: reqwest::Client,
}

impl LogReader {
    /// Reads from the HTTP port of a gateway.
    pub fn new(gateway: impl Into<Peer>) -> Result<Self> {
        Self::of(&gateway.into(), reqwest::Client::builder())
    }

    /// The same with a token, where one is needed.
    pub fn with_token(gateway: impl Into<Peer>, token: &str) -> Result<Self> {
        let bearer = HeaderValue::try_from(format!("Bearer {token}")).context("a token that no header can hold")?;
        let headers = HeaderMap::from_iter([(AUTHORIZATION, bearer)]);
        Self::of(&gateway.into(), reqwest::Client::builder().default_headers(headers))
    }

    /// Reads from the gateway at `address` through the socket of its operator, whatever its ports ask for.
    pub fn through(socket: &Path, address: SocketAddr) -> Result<Self> {
        Self::of(&address.into(), reqwest::Client::builder().unix_socket(socket))
    }

    fn of(gateway: &Peer, builder: reqwest::ClientBuilder) -> Result<Self> {
        // The library wants to know with what it could do TLS, also where there is none. Again is no error.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let address = gateway.address();
        let (base, builder) = match (gateway.name(), gateway.anonymous()) {
            (Some(name), Some(tls)) => {
                let builder = builder.resolve(name, address).tls_backend_preconfigured(tls);
                (format!("https://{name}:{}", address.port()), builder)
            }
            _ => (format!("http://{address}"), builder),
        };
        let http = builder.timeout(PATIENCE).no_proxy().build().context("cannot make an HTTP client")?;
        Ok(Self { base, http })
    }

    /// A path as text; any status but 200 is an error that holds the answer.
    pub async fn text(&self, path: &str) -> Result<String> {
        let url = format!("{}{path}", self.base);
        Self::body(&url, self.http.get(&url)).await
    }

    async fn body(url: &str, request: reqwest::RequestBuilder) -> Result<String> {
        let answer = request.send().await.with_context(|| format!("no answer from {url}"))?;
        let status = answer.status();
        let body = answer.text().await.with_context(|| format!("{url} stopped in the middle"))?;
        if !status.is_success() {
            let (url, body) = (url.to_owned(), body.trim().to_owned());
            return Err(Refused { url, status: status.as_u16(), body }.into());
        }
        Ok(body)
    }

    /// Posts JSON to a path; the answer as text. Any status but 200 is an error that holds the answer.
    pub async fn post(&self, path: &str, body: &Json) -> Result<String> {
        let url = format!("{}{path}", self.base);
        let request = self.http.post(&url).header("content-type", "application/json").body(body.to_string());
        Self::body(&url, request).await
    }

    /// A path as JSON.
    pub async fn json(&self, path: &str) -> Result<Json> {
        let body = self.text(path).await?;
        serde_json::from_str(&body)
            .with_context(|| format!("{path} is not JSON: {}", body.chars().take(200).collect::<String>()))
    }

    /// Every partition of every topic.
    pub async fn partitions(&self) -> Result<Vec<(String, u32)>> {
        Ok(self.starts().await?.into_keys().collect())
    }

    /// The first offset that each partition still has; what is below was removed.
    pub async fn starts(&self) -> Result<BTreeMap<(String, u32), u64>> {
        page::bounds(&self.json("/topics").await?, "start")
    }

    /// The offset that the next record of each partition takes.
    pub async fn ends(&self) -> Result<BTreeMap<(String, u32), u64>> {
        page::bounds(&self.json("/topics").await?, "end")
    }

    /// A page of records from `offset` on.
    pub async fn page(&self, topic: &str, partition: u32, offset: u64) -> Result<Page> {
        let path = format!("/topics/{topic}/partitions/{partition}/records?offset={offset}&limit={LIMIT}");
        Page::parse(&self.json(&path).await?).with_context(|| format!("cannot understand the answer of {path}"))
    }
}

/// An answer of the gateway that is none to what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What was asked.
    pub url: String,
    /// The status of HTTP.
    pub status: u16,
    /// What it says.
    pub body: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answered {}: {}", self.url, self.status, self.body)
    }
}

impl std::error::Error for Refused {}

/// What the log holds, by restart.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// Per device and restart.
    pub restarts: BTreeMap<RestartKey, Stored>,
    /// Damaged places, by partition.
    pub gaps: Vec<Gap>,
    cursors: Cursors,
}

impl Census {
    /// Reads the whole log.
    pub async fn take(log: &LogReader, truths: &Truths) -> Result<Self> {
        let mut census = Self::default();
        census.catch_up(log, truths).await?;
        Ok(census)
    }

    /// Nothing counted, and to be read from these offsets on, by topic and partition; of those that are not named, all.
    pub fn reading_from(offsets: &BTreeMap<(String, u32), u64>) -> Self {
        Self { cursors: offsets.clone(), ..Self::default() }
    }

    /// Forgets restarts that are not wanted.
    pub fn retain(&mut self, is_wanted: impl Fn(&RestartKey) -> bool) {
        self.restarts.retain(|key, _| is_wanted(key));
    }

    /// Reads what came since the last time. Readings are compared with what their sensor handed out.
    pub async fn catch_up(&mut self, log: &LogReader, truths: &Truths) -> Result<()> {
        self.catch_up_in(log, truths, |_| true).await
    }

    /// The same of the topics that are wanted.
    pub async fn catch_up_in(
        &mut self,
        log: &LogReader,
        truths: &Truths,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<()> {
        for (topic, partition) in log.partitions().await?.into_iter().filter(|(topic, _)| is_wanted(topic)) {
            loop {
                let from = self.position(&topic, partition);
                let page = log.page(&topic, partition, from).await?;
                self.take_page(&topic, partition, &page, truths)?;
                if page.records.is_empty() && page.gaps.is_empty() || page.next <= from {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The offset up to which a partition was read.
    pub fn position(&self, topic: &str, partition: u32) -> u64 {
        self.cursors.get(&(topic.to_owned(), partition)).copied().unwrap_or(0)
    }

    /// Counts what was read of a partition from [`Census::position`] on.
    pub fn take_page(&mut self, topic: &str, partition: u32, page: &Page, truths: &Truths) -> Result<()> {
        for record in &page.records {
            self.count(topic, record, truths).with_context(|| format!("record of {topic}/{partition}: {record}"))?;
        }
        let gap = |offsets: &Range<u64>| Gap { topic: topic.to_owned(), partition, offsets: offsets.clone() };
        self.gaps.extend(page.gaps.iter().map(gap));
        let next = page.next.max(self.position(topic, partition));
        self.cursors.insert((topic.to_owned(), partition), next);
        Ok(())
    }

    fn count(&mut self, topic: &str, record: &Json, truths: &Truths) -> Result<()> {
        let value = &record["value"];
        match topic {
            // Nothing of readings.
            "weir.describe" | "weir.offsets" | "weir.audit" => Ok(()),
            "weir.loss" => {
                let key = page::key(value)?;
                self.restarts.entry(key).or_default().loss(value)
            }
            // What an agent sent of another's device is no verdict on its sequences.
            "weir.deadletter" if value["reason"] == "not-bound" => Ok(()),
            "weir.deadletter" => {
                for (key, span, heals) in page::dead(value)? {
                    self.restarts.entry(key).or_default().dead_letter(span, heals);
                }
                Ok(())
            }
            // A message of an MQTT client: those of driven devices say whose they are.
            _ if value.get("client").is_some() => {
                let said = value["payload"].as_str().and_then(values::parse);
                said.map_or(Ok(()), |(key, said)| self.restarts.entry(key).or_default().message(&key, &said, truths))
            }
            _ => {
                let key = page::key(value)?;
                self.restarts.entry(key).or_default().reading(&key, value, truths)
            }
        }
    }

    /// How many readings it counted.
    pub fn readings(&self) -> u64 {
        self.restarts.values().map(|s| s.readings.len()).sum()
    }
}
