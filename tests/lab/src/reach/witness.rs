//! The log of a gateway that others use too, from a moment on.
//!
//! It is read while it grows, so that retention is not there first, and whose restarts are nobody's of ours is forgotten. What
//! was removed unread is known: then a reading that is not there says nothing.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::census::{Census, LogReader, Refused};
use crate::kafka::client::Broker;
use crate::kafka::compare::{AUDIT, Offsets, compare_from};
use crate::kafka::log::Log;
use crate::ledger::Ledger;
use crate::reconcile::{Report, reconcile};
use crate::truth::Truths;

/// How long a gateway may take to start: it reads its logs first.
const START: Duration = Duration::from_secs(600);
/// Between two looks at what waits for something.
const LOOK: Duration = Duration::from_millis(100);
/// Between two looks at what came.
const KEEP_UP: Duration = Duration::from_secs(1);
/// HTTP: it is starting; it wants a token; the token may not read.
const STARTING: u16 = 503;
const UNPROVEN: u16 = 401;
const FORBIDDEN: u16 = 403;

/// Whoever stands at the end of the log, before anything of ours is in it.
pub(crate) struct Witness {
    log: LogReader,
    kafka: Option<Broker>,
    before: Offsets,
    census: Census,
    /// Records that were removed before they were read.
    unread: u64,
}

/// Reads what comes, in the background.
pub(crate) struct Attending {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Witness>,
}

impl Witness {
    /// Stands at the end of the log. A gateway that is starting is waited for, and `say` is told once.
    ///
    /// # Errors
    /// The log cannot be read, over HTTP or over Kafka, with what to type.
    pub(crate) async fn begin(log: LogReader, kafka: Option<Broker>, say: impl Fn(&str)) -> Result<Self> {
        let before = ends(&log, say).await?;
        if let Some(broker) = &kafka {
            let listed = async { Log::connect(broker.clone()).await?.partitions().await };
            listed.await.context(
                "--kafka: the log cannot be read; the port is kafka.listen of the gateway (9092), with TLS ssl://HOST:PORT, \
                 and --token is shown where one is needed",
            )?;
        }
        let census = Census::reading_from(&before);
        Ok(Self { log, kafka, before, census, unread: 0 })
    }

    /// Reads what comes from now on; `truths` knows what it is to be.
    pub(crate) fn attend(mut self, truths: &Truths) -> Attending {
        let (stop, mut stopped) = oneshot::channel();
        let truths = truths.clone();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = &mut stopped => return self,
                    // A gateway that is away now is read later.
                    _ = self.catch_up(&truths) => {}
                }
                tokio::select! {
                    _ = &mut stopped => return self,
                    () = sleep(KEEP_UP) => {}
                }
            }
        });
        Attending { stop, task }
    }

    async fn catch_up(&mut self, truths: &Truths) -> Result<()> {
        for ((topic, partition), start) in self.log.starts().await? {
            self.unread += start.saturating_sub(self.census.position(&topic, partition));
        }
        // Admins alone may read the audit, and no reading is in it.
        self.census.catch_up_in(&self.log, truths, |topic| topic != AUDIT).await
    }
}

impl Attending {
    /// Compares the ledger with what came into the log, as far as it is of its devices. With `patience` what is acknowledged
    /// may still be on its way, through an agent: as long as more comes, it is waited for.
    ///
    /// # Errors
    /// The log cannot be read, or was not before retention removed some of it.
    pub(crate) async fn judge(self, ledger: &Ledger, truths: &Truths, patience: Duration) -> Result<Report> {
        // A reader that ended by itself says why at once.
        let _ = self.stop.send(());
        let mut witness = self.task.await.context("the reader of the log")?;
        let pages = ledger.pages();
        let (mut last, mut progress) = (0, Instant::now());
        loop {
            witness.catch_up(truths).await?;
            // Devices of others go on meanwhile, and are not what is judged here.
            witness.census.retain(|key| pages.contains_key(key));
            let restarts = &witness.census.restarts;
            let covered: u64 = restarts.values().map(|stored| stored.covered().len()).sum();
            if covered > last {
                (last, progress) = (covered, Instant::now());
            }
            let is_complete = pages.iter().all(|(key, facts)| {
                let promised = facts.promised();
                promised.is_empty()
                    || restarts.get(key).is_some_and(|stored| {
                        let covered = stored.covered();
                        promised.iter().all(|range| covered.contains_all(range))
                    })
            });
            if is_complete || progress.elapsed() >= patience {
                break;
            }
            sleep(LOOK).await;
        }
        let Witness { log, kafka, before, census, unread } = witness;
        let mut report = reconcile(ledger, &census);
        if let Some(kafka) = kafka {
            report.compared(compare_from(&log, kafka, &before).await?);
        }
        if unread > 0 && !report.holds() {
            bail!(
                "{unread} records were removed before they could be read, so that nobody can tell what became of them; type a \
                 lower --rate, or let the gateway keep more: topics.retention_bytes, topics.retention_age\n{report}"
            );
        }
        Ok(report)
    }
}

/// The end of each partition, once the gateway has one.
async fn ends(log: &LogReader, say: impl Fn(&str)) -> Result<Offsets> {
    let (begun, mut is_said) = (Instant::now(), false);
    loop {
        let error = match log.ends().await {
            Ok(ends) => return Ok(ends),
            Err(error) => error,
        };
        let status = error.downcast_ref::<Refused>().map(|refused| refused.status);
        if status != Some(STARTING) || begun.elapsed() > START {
            let help = match status {
                Some(UNPROVEN | FORBIDDEN) => "; type --token TOKEN, or set WEIR_TOKEN",
                Some(_) => "; type --http with the port of http.listen (8080)",
                None => "; type --http with the port of http.listen (8080), as https://HOST:PORT if it has TLS",
            };
            return Err(anyhow!("--http: the log cannot be read: {error:#}{help}"));
        }
        if !is_said {
            say(&format!("the gateway is starting, and is waited for ({error:#})"));
            is_said = true;
        }
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Mutex;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Gives these answers, a connection each.
    async fn gateway(answers: Vec<&'static str>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for answer in answers {
                let (mut socket, _) = listener.accept().await.unwrap();
                // The request is short, and comes whole.
                let _ = socket.read(&mut [0; 4096]).await;
                let (status, body) = answer.split_once(' ').unwrap();
                let head =
                    format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn a_gateway_that_is_starting_is_waited_for_and_that_is_said_once() {
        let topics = r#"200 [{"topic":"readings","partitions":[{"partition":0,"start":"3","end":"7"}]}]"#;
        let address = gateway(vec!["503 the logs are read", "503 the logs are read", topics]).await;
        let said = Mutex::new(Vec::new());
        let log = LogReader::new(address).unwrap();
        let found = ends(&log, |line| said.lock().unwrap().push(line.to_owned())).await.unwrap();
        assert_eq!(found, Offsets::from([(("readings".to_owned(), 0), 7)]));
        let said = said.into_inner().unwrap();
        assert!(said.len() == 1 && said[0].contains("the logs are read"), "{said:?}");
    }

    #[tokio::test]
    async fn whoever_lacks_a_token_is_told_to_type_one() {
        let address = gateway(vec!["401 a token is needed"]).await;
        let error = ends(&LogReader::new(address).unwrap(), |_| ()).await.unwrap_err().to_string();
        assert!(error.contains("a token is needed") && error.contains("type --token"), "{error}");
    }
}
