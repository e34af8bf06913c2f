//! Groups: a member that is killed and comes back, and one whose partitions another takes over.

use std::time::Instant;

use crate::client::Client;
use crate::event::{Positions, Taken};
use crate::order::{Order, SESSION_MILLIS};
use crate::stage::{PARTITIONS, READINGS, Stage};

/// Records of the first life that are committed, and those that it takes behind them.
const COMMITTED: u64 = READINGS / 2;
const UNCOMMITTED: u64 = 1234;

/// What of `taken` the group will not get again.
fn kept(taken: &[Taken], committed: &Positions) -> Vec<Taken> {
    let is_kept = |record: &&Taken| committed.get(&record.partition).is_some_and(|next| record.offset < *next);
    taken.iter().filter(is_kept).cloned().collect()
}

async fn goes_on_where_it_had_committed_when_it_was_killed(client: Client) {
    let stage = Stage::full().await;
    let order =
        Order { commit_every: Some(COMMITTED), hold_at: Some(COMMITTED + UNCOMMITTED), ..Order::of_group("restarted") };
    let Some(mut first) = client.start(stage.kafka, &order) else { return };
    first.until_it_holds().await;
    first.kill().await;
    let kept = kept(&first.taken, &first.committed);
    assert_eq!(kept.len() as u64, COMMITTED, "what was committed is what was taken until then");

    // Exactly what is missing: nothing is lost, and no more than the uncommitted comes again.
    let rest = READINGS - COMMITTED;
    let order = Order { records: Some(rest), commit_every: Some(rest), ..Order::of_group("restarted") };
    let second = client.start(stage.kafka, &order).unwrap().finish().await;
    stage.expect(&[kept, second].concat(), READINGS);
}

async fn takes_over_the_partitions_of_a_killed_member(client: Client) {
    let stage = Stage::empty("", "").await;
    let (commit_every, taken_by_first) = (1000, 5500);
    let order = Order { commit_every: Some(commit_every), ..Order::of_group("shared") };
    let holding = Order { hold_at: Some(taken_by_first), ..order.clone() };
    let Some(mut first) = client.start(stage.kafka, &holding) else { return };
    first.until_it_has(PARTITIONS).await;
    let mut second = client.start(stage.kafka, &order).unwrap();
    second.until_it_has(PARTITIONS / 2).await;
    first.until_it_has(PARTITIONS / 2).await;

    stage.store(0, READINGS).await;
    first.until_it_holds().await;
    first.kill().await;
    let killed = Instant::now();
    second.until_it_has(PARTITIONS).await;
    println!("{client:?}: partitions moved {:?} after the kill; the session is {SESSION_MILLIS} ms", killed.elapsed());

    let kept = kept(&first.taken, &first.committed);
    assert_eq!(kept.len() as u64, taken_by_first / commit_every * commit_every);
    second.until_it_took(READINGS as usize - kept.len()).await;
    stage.expect(&[kept, second.taken].concat(), READINGS);
}

for_each_client!(goes_on_where_it_had_committed_when_it_was_killed, takes_over_the_partitions_of_a_killed_member);
