//! Consumers as people write them, and a book of what they were promised.
//!
//! A consumer reads from where its group stands, hands every record over before it commits, and joins again whenever
//! it must. The book is kept outside of the gateway: what was delivered, what a commit was asked for, and what was
//! acknowledged. It finds out by itself when a group goes back behind an acknowledged commit, stands where nobody ever
//! committed, or skips a record.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use weir_protocol::RangeSet;

use super::log::{Log, Reach};
use super::member::{Group, Member, Standing};

/// Between two attempts to join while the gateway is away.
const AGAIN: Duration = Duration::from_millis(30);
/// Faults that are kept; what comes behind them follows from them.
const FAULTS: usize = 20;
/// What a consumer takes at once: little, so that it commits often.
const REACH: Reach = Reach { bytes: 16 << 10, wait_ms: 20 };

/// What a group was promised, by partition. Clones are one book.
#[derive(Clone, Debug, Default)]
pub struct Book(Arc<Mutex<BookPages>>);

#[derive(Debug, Default)]
struct BookPages {
    partitions: BTreeMap<i32, Page>,
    commits: u64,
    joins: u64,
    redelivered: u64,
    faults: Vec<String>,
}

/// One partition.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Offsets that some member has handed over.
    pub delivered: RangeSet,
    /// The furthest commit that anybody asked for.
    pub asked: u64,
    /// The furthest commit that was acknowledged.
    pub acknowledged: u64,
    /// Below this nothing can be read any more: retention was there first.
    pub removed: u64,
}

/// The sums of a [`Book`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Commits that were acknowledged.
    pub commits: u64,
    /// Times that a member joined.
    pub joins: u64,
    /// Records delivered for the first time.
    pub delivered: u64,
    /// Records delivered again.
    pub redelivered: u64,
}

impl Book {
    fn pages(&self) -> MutexGuard<'_, BookPages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a partition stands.
    pub fn page(&self, partition: i32) -> Page {
        self.pages().partitions.get(&partition).cloned().unwrap_or_default()
    }

    /// What must not be and was seen.
    pub fn faults(&self) -> Vec<String> {
        self.pages().faults.clone()
    }

    /// How much happened.
    pub fn sums(&self) -> Sums {
        let pages = self.pages();
        let delivered = pages.partitions.values().map(|page| page.delivered.len()).sum();
        Sums { commits: pages.commits, joins: pages.joins, delivered, redelivered: pages.redelivered }
    }

    /// What was acknowledged so far; whoever asks the group from now on must be told that, or more.
    pub fn acknowledged(&self) -> BTreeMap<i32, u64> {
        self.pages().partitions.iter().map(|(number, page)| (*number, page.acknowledged)).collect()
    }

    /// The group says that it stands at `committed` in these partitions; `floor` was acknowledged before it was asked.
    pub fn stands(&self, partitions: &[i32], committed: &BTreeMap<i32, u64>, floor: &BTreeMap<i32, u64>) {
        let mut pages = self.pages();
        pages.joins += 1;
        for number in partitions {
            let got = committed.get(number).copied().unwrap_or(0);
            let least = floor.get(number).copied().unwrap_or(0);
            let most = pages.partitions.get(number).map_or(0, |page| page.asked);
            if got < least {
                pages.fault(format!("partition {number}: committed is {got}, and {least} was acknowledged"));
            }
            if got > most {
                pages.fault(format!("partition {number}: committed is {got}, and nobody asked for more than {most}"));
            }
        }
    }

    /// A member hands these offsets over.
    pub(crate) fn delivers(&self, partition: i32, from: u64, offsets: &[u64], next: u64) {
        let mut pages = self.pages();
        // A topic that is not compacted has a record at each offset.
        let expected = from..next;
        if !offsets.iter().copied().eq(expected.clone()) {
            let (first, last) = (offsets.first(), offsets.last());
            pages.fault(format!(
                "partition {partition}: {} records from {first:?} to {last:?}, expected those of {expected:?}",
                offsets.len()
            ));
        }
        let page = pages.partitions.entry(partition).or_default();
        let known = page.delivered.len();
        page.delivered.insert(expected);
        let new = page.delivered.len() - known;
        pages.redelivered += (offsets.len() as u64).saturating_sub(new);
    }

    fn asks(&self, offsets: &BTreeMap<i32, u64>) {
        let mut pages = self.pages();
        for (number, offset) in offsets {
            let page = pages.partitions.entry(*number).or_default();
            page.asked = page.asked.max(*offset);
        }
    }

    fn is_acknowledged(&self, offsets: &BTreeMap<i32, u64>) {
        let mut pages = self.pages();
        pages.commits += 1;
        for (number, offset) in offsets {
            let page = pages.partitions.entry(*number).or_default();
            page.acknowledged = page.acknowledged.max(*offset);
        }
    }

    /// A member was told that `at` is out of range; the log now begins at `start`.
    pub(crate) fn is_out_of_range(&self, partition: i32, at: u64, start: u64) {
        let mut pages = self.pages();
        if at >= start {
            pages.fault(format!("partition {partition}: {at} is out of range, although the log begins at {start}"));
        }
        let page = pages.partitions.entry(partition).or_default();
        page.removed = page.removed.max(start);
    }

    /// Notes what is wrong, as seen by somebody else.
    pub fn note(&self, fault: String) {
        self.pages().fault(fault);
    }
}

impl BookPages {
    fn fault(&mut self, fault: String) {
        if self.faults.len() < FAULTS {
            self.faults.push(fault);
        }
    }
}

/// One consumer: joins, reads, commits after every fetch, and joins again, for ever. A gateway that is away is waited for.
/// Dropping it is a `kill -9`.
pub async fn consume(gateway: SocketAddr, group: Group, book: Book) {
    loop {
        // A connection that is lost, or refused, is the gateway being killed. Whatever else is wrong with it shows in the
        // book: what is not delivered in the end, was not.
        let _ = generation(gateway, &group, &book).await;
        tokio::time::sleep(AGAIN).await;
    }
}

/// From one join to what ends it.
async fn generation(gateway: SocketAddr, group: &Group, book: &Book) -> Result<()> {
    let mut member = Member::join(gateway, group).await?;
    let floor = book.acknowledged();
    let committed = member.committed().await?;
    book.stands(&member.partitions, &committed, &floor);
    let mut at: BTreeMap<i32, u64> =
        member.partitions.iter().map(|number| (*number, committed.get(number).copied().unwrap_or(0))).collect();
    let mut log = Log::connect(gateway).await?;
    loop {
        let mut moved = BTreeMap::new();
        for (number, at) in &mut at {
            let place = (group.topic.clone(), *number);
            match log.fetch(&place, *at, REACH).await? {
                Some(fetched) if fetched.next > *at => {
                    let offsets: Vec<u64> = fetched.records.iter().map(|record| record.offset as u64).collect();
                    book.delivers(*number, *at, &offsets, fetched.next);
                    *at = fetched.next;
                    moved.insert(*number, *at);
                }
                Some(_) => {}
                None => {
                    let start = log.bounds(&place).await?.start;
                    book.is_out_of_range(*number, *at, start);
                    *at = start;
                }
            }
        }
        let standing = if moved.is_empty() {
            member.beat().await?
        } else {
            book.asks(&moved);
            let standing = member.commit(&moved).await?;
            if standing == Standing::Good {
                book.is_acknowledged(&moved);
                // A commit is no heartbeat to the group's plans: whether others came is asked apart.
                member.beat().await?
            } else {
                standing
            }
        };
        if standing == Standing::Rejoin {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Book;

    fn at(offset: u64) -> BTreeMap<i32, u64> {
        BTreeMap::from([(0, offset)])
    }

    /// A book of partition 0: 30 was asked for and acknowledged, 40 was asked for.
    fn book() -> Book {
        let book = Book::default();
        book.asks(&at(30));
        book.is_acknowledged(&at(30));
        book.asks(&at(40));
        book
    }

    #[test]
    fn a_group_stands_at_what_was_acknowledged_or_at_what_was_asked_for_behind_it() {
        for committed in [30, 40] {
            let book = book();
            book.stands(&[0], &at(committed), &book.acknowledged());
            assert!(book.faults().is_empty(), "{:?}", book.faults());
        }
        for committed in [0, 29, 41] {
            let book = book();
            book.stands(&[0], &at(committed), &book.acknowledged());
            assert_eq!(book.faults().len(), 1, "{committed}");
        }
    }

    #[test]
    fn a_hole_and_a_record_out_of_place_are_noticed() {
        let book = book();
        book.delivers(0, 5, &[5, 6, 7], 8);
        assert!(book.faults().is_empty() && book.page(0).delivered.contains_all(5..8));
        for offsets in [&[8, 10][..], &[9, 10, 11], &[8, 8, 9, 10], &[]] {
            let before = book.faults().len();
            book.delivers(0, 8, offsets, 11);
            assert_eq!(book.faults().len(), before + 1, "{offsets:?}");
        }
    }

    #[test]
    fn out_of_range_is_right_below_the_start_alone() {
        let book = book();
        book.is_out_of_range(0, 9, 10);
        assert!(book.faults().is_empty() && book.page(0).removed == 10);
        book.is_out_of_range(0, 10, 10);
        assert_eq!(book.faults().len(), 1);
    }
}
