//! `group list`, `group describe`, `group reset`, `group delete`.

use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use weir_protocol::time::{SystemClock, WallClock};
use weir_storage::{Fs, OpenError, RealFs};

use super::Failed;
use super::client::{Client, escaped};
use super::print::{Printer, bare};
use super::source::{Source, parse_start};
use crate::config::Config;
use crate::groups::reset::{self, Filter, Move};
use crate::groups::stored::Stored;
use crate::groups::{Commit, GroupId, lags};
use crate::http::groups as answers;
use crate::http::page::Start;
use crate::keyed_log::KeyedLogError;
use crate::moment;
use crate::topics::Topics;

#[derive(Debug, Subcommand)]
pub(super) enum GroupCommand {
    /// One line for each group: its state, its members, how far it is behind.
    List,
    /// One group: its members, and where it is in each partition.
    Describe {
        /// Its name.
        group: String,
    },
    /// Set where a group goes on; it must have no members, so stop its consumers first.
    Reset(ResetArgs),
    /// Forget a group and its offsets; it must have no members.
    Delete {
        /// Its name.
        group: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct ResetArgs {
    /// Its name.
    group: String,
    /// Where to: earliest, latest, an offset, a time ago such as 10m, or a time such as 2026-11-21T08:30:00Z.
    #[arg(long, value_name = "WHERE")]
    to: String,
    /// Only this topic, all of its partitions; without it every partition that the group has an offset of.
    #[arg(long)]
    topic: Option<String>,
    /// Only this partition.
    #[arg(long, value_name = "NUMBER")]
    partition: Option<u32>,
    /// Say what would be set, and set nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(config: &Config, command: &GroupCommand, printer: &mut Printer) -> Result<(), Failed> {
    super::block_on(async {
        let groups = Groups::open(config).await?;
        match command {
            GroupCommand::List => {
                for group in groups.list().await? {
                    let text = format!(
                        "{:<24} {:<18} {} members  {} offsets  lag {}",
                        bare(&group["group"]),
                        bare(&group["state"]),
                        group["members"],
                        group["offsets"],
                        group["lag"]
                    );
                    printer.line(text, &group)?;
                }
                Ok(())
            }
            GroupCommand::Describe { group } => {
                let described = groups.describe(group).await?;
                printer.line(in_words(&described), &described)
            }
            GroupCommand::Reset(args) => reset(&groups, args, printer).await,
            GroupCommand::Delete { group } => {
                let deleted = groups.delete(group).await?;
                printer.line(format_args!("{group}: deleted"), &deleted)
            }
        }
    })
}

/// A group, its members and its offsets.
fn in_words(group: &Value) -> String {
    let list = |of: &Value, key: &str| of[key].as_array().cloned().unwrap_or_default();
    let mut text = format!("{}: {}", bare(&group["group"]), bare(&group["state"]));
    if let Some(protocol) = group["protocol"].as_str() {
        text.push_str(&format!(", {protocol}, generation {}", group["generation"]));
    }
    for member in list(group, "members") {
        let instance =
            member["instance"].as_str().map_or_else(String::new, |instance| format!(" (instance {instance})"));
        let leads = if member["leads"] == true { ", leads" } else { "" };
        let (id, host) = (bare(&member["member"]), bare(&member["host"]));
        text.push_str(&format!("\nmember {id}{instance} from {host}{leads}"));
        for topic in list(&member, "partitions") {
            text.push_str(&format!("\n  {} {}", bare(&topic["topic"]), topic["partitions"]));
        }
    }
    for offset in list(group, "offsets") {
        let place = format!("{}:{}", bare(&offset["topic"]), offset["partition"]);
        let at = moment::format(offset["committed_ms"].as_i64().unwrap_or_default());
        let (committed, end, lag) = (&offset["committed"], &offset["end"], &offset["lag"]);
        text.push_str(&match end {
            Value::Null => format!("\n{place:<24} at {committed}, committed {at}; there is no such partition any more"),
            _ if committed.as_u64() > end.as_u64() => format!(
                "\n{place:<24} at {committed}, beyond the end {end}, committed {at}; `weir-gateway group reset` puts it right"
            ),
            _ => format!("\n{place:<24} at {committed} of {end}, lag {lag}, committed {at}"),
        });
    }
    text
}

async fn reset(groups: &Groups, args: &ResetArgs, printer: &mut Printer) -> Result<(), Failed> {
    let to = parse_start(&args.to, SystemClock.now().as_millis())
        .map_err(|failed| Failed::usage(failed.message.replace("--from", "--to")))?;
    let filter = Filter { topic: args.topic.clone(), partition: args.partition };
    let done = groups.reset(&args.group, to, &filter, args.dry_run).await?;
    let mut failed = 0;
    for moved in done["partitions"].as_array().into_iter().flatten() {
        let place = format!("{}:{}", bare(&moved["topic"]), moved["partition"]);
        let from = if moved["from"].is_null() { "nowhere".to_owned() } else { moved["from"].to_string() };
        let text = match moved["error"].as_str() {
            Some(error) => format!("{place:<24} left at {from}: {error}"),
            None if args.dry_run => format!("{place:<24} would go from {from} to {}", moved["to"]),
            None => format!("{place:<24} from {from} to {}", moved["to"]),
        };
        failed += usize::from(moved["error"].is_string());
        printer.line(text, moved)?;
    }
    match failed {
        0 => Ok(()),
        many => Err(Failed::runtime(format!("{many} partitions were not set"))),
    }
}

/// Where groups are: in the gateway that runs on the data, else in its files.
pub(super) enum Groups {
    Gateway(Client),
    Files { config: Box<Config>, topics: Topics },
}

impl Groups {
    pub(super) async fn open(config: &Config) -> Result<Self, Failed> {
        Ok(match Source::open(config).await? {
            Source::Gateway(client) => Self::Gateway(client),
            Source::Files(topics) => Self::Files { config: Box::new(config.clone()), topics },
        })
    }

    async fn list(&self) -> Result<Vec<Value>, Failed> {
        match self {
            Self::Gateway(client) => match client.json("/groups").await? {
                Value::Array(groups) => Ok(groups),
                other => Err(Failed::runtime(format!("/groups: expected a list, got {other}"))),
            },
            Self::Files { config, topics } => {
                let stored = read(config)?;
                let line = |group: &GroupId| {
                    let lags = lags(topics, stored.offsets(group.as_str()));
                    answers::line(group.as_str(), "Empty", 0, &lags)
                };
                Ok(stored.groups().map(line).collect())
            }
        }
    }

    async fn describe(&self, group: &str) -> Result<Value, Failed> {
        match self {
            Self::Gateway(client) => client.json(&path(group)).await,
            Self::Files { config, topics } => {
                let stored = read(config)?;
                known(&stored, group)?;
                Ok(answers::describe(group, None, &lags(topics, stored.offsets(group))))
            }
        }
    }

    async fn reset(&self, group: &str, to: Start, filter: &Filter, dry_run: bool) -> Result<Value, Failed> {
        match self {
            Self::Gateway(client) => {
                let mut asked = json!({"topic": filter.topic, "partition": filter.partition, "dry_run": dry_run});
                match to {
                    Start::Earliest => asked["offset"] = "earliest".into(),
                    Start::Latest => asked["offset"] = "latest".into(),
                    Start::Offset(offset) => asked["offset"] = offset.into(),
                    Start::Time(millis) => asked["time"] = millis.into(),
                }
                client.change(&format!("{}/reset", path(group)), &asked).await
            }
            Self::Files { config, topics } => {
                let id = named(group)?;
                let mut stored = if dry_run { read(config)? } else { open(config)? };
                let moves = reset::plan(topics, &stored.offsets(group), filter, |partition| to.offset(partition));
                let moves = moves.map_err(Failed::runtime)?;
                if !dry_run {
                    stored.set(&id, moves.iter().map(Move::commit).collect()).map_err(Failed::runtime)?;
                }
                Ok(answers::moved(group, dry_run, &moves, &vec![Ok(()); moves.len()]))
            }
        }
    }

    async fn delete(&self, group: &str) -> Result<Value, Failed> {
        match self {
            Self::Gateway(client) => client.delete(&path(group)).await,
            Self::Files { config, .. } => {
                let (id, mut stored) = (named(group)?, open(config)?);
                known(&stored, group)?;
                stored.delete(&id).map_err(Failed::runtime)?;
                Ok(json!({"group": group, "deleted": true}))
            }
        }
    }
}

/// A consumer of `topic consume --group`: where it goes on, and where it has come to.
pub(super) enum Position {
    Gateway { client: Client, group: String },
    Files { stored: Box<Stored>, group: GroupId },
}

impl Position {
    pub(super) async fn open(config: &Config, group: &str) -> Result<Self, Failed> {
        let id = named(group)?;
        Ok(match Groups::open(config).await? {
            Groups::Gateway(client) => Self::Gateway { client, group: group.to_owned() },
            Groups::Files { .. } => Self::Files { stored: Box::new(open(config)?), group: id },
        })
    }

    /// The offsets of a topic that the group has committed, by partition.
    pub(super) async fn committed(&self, topic: &str) -> Result<Vec<(usize, u64)>, Failed> {
        let offsets = match self {
            Self::Gateway { client, group } => {
                let groups = client.json("/groups").await?;
                if !groups.as_array().into_iter().flatten().any(|known| known["group"] == **group) {
                    return Ok(Vec::new());
                }
                client.json(&path(group)).await?["offsets"].take()
            }
            Self::Files { stored, group } => stored
                .offsets(group.as_str())
                .into_iter()
                .map(|((topic, partition), committed)| {
                    json!({"topic": &*topic, "partition": partition, "committed": committed.offset})
                })
                .collect(),
        };
        let of_topic = offsets.as_array().into_iter().flatten().filter(|offset| offset["topic"] == topic);
        let place = |offset: &Value| Some((offset["partition"].as_u64()? as usize, offset["committed"].as_u64()?));
        Ok(of_topic.filter_map(place).collect())
    }

    /// Writes down where it has come to in a partition.
    pub(super) async fn commit(&mut self, topic: &str, partition: usize, offset: u64) -> Result<(), Failed> {
        match self {
            Self::Gateway { client, group } => {
                let asked = json!({"topic": topic, "offsets": {partition.to_string(): offset}});
                client.change(&format!("{}/commit", path(group)), &asked).await.map(drop)
            }
            Self::Files { stored, group } => {
                let (topic, partition) = (topic.into(), u32::try_from(partition).map_err(Failed::runtime)?);
                let commit = Commit { topic, partition, offset, leader_epoch: -1, metadata: "".into() };
                stored.set(group, vec![commit]).map_err(Failed::runtime)
            }
        }
    }
}

fn named(group: &str) -> Result<GroupId, Failed> {
    GroupId::new(group).ok_or_else(|| Failed::usage("the name of a group has 1 to 255 bytes"))
}

fn known(stored: &Stored, group: &str) -> Result<(), Failed> {
    let unknown = || Failed::runtime(format!("no group {group:?}; `weir-gateway group list` names those there are"));
    if stored.has(group) { Ok(()) } else { Err(unknown()) }
}

/// The path of a group; its name may hold anything.
fn path(group: &str) -> String {
    format!("/groups/{}", escaped(group))
}

fn read(config: &Config) -> Result<Stored, Failed> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    Stored::read(&fs, &config.data).map_err(Failed::unavailable)
}

/// For changes: not beside a gateway that is just starting.
fn open(config: &Config) -> Result<Stored, Failed> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    Stored::open(&fs, &config.data, SystemClock.now().as_millis()).map_err(|error| match error {
        KeyedLogError::Open(OpenError::Locked(_)) => {
            Failed::unavailable("a gateway has just started on this data, or another command changes it; try again")
        }
        other => Failed::runtime(other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_group_is_safe_in_a_path() {
        assert_eq!(path("lake-1"), "/groups/lake-1");
        assert_eq!(path("a/b ü?"), "/groups/a%2Fb%20%C3%BC%3F");
    }
}
