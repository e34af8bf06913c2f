//! What happened, counted: one number for each kind of event, and log lines that cannot flood.
//!
//! An event is counted always and logged at most once in [`QUIET`], with the number of those that were not.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use weir_protocol::frame::FrameError;

/// The least time between two log lines about the same kind of event.
const QUIET: Duration = Duration::from_secs(10);

macro_rules! events {
    ($($(#[$doc:meta])* $event:ident = $name:literal),* $(,)?) => {
        /// A kind of event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Event { $($(#[$doc])* $event),* }

        impl Event {
            /// All kinds, in order.
            pub const ALL: &[Self] = &[$(Self::$event),*];

            /// The name in the status message and in logs.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$event => $name),* }
            }
        }
    };
}

events! {
    /// A frame longer than any of ours.
    FrameTooLong = "frame_too_long",
    /// A frame that is not COBS.
    FrameBadStuffing = "frame_bad_stuffing",
    /// A frame too short to be one.
    FrameTooShort = "frame_too_short",
    /// A frame whose checksum does not match.
    FrameBadChecksum = "frame_bad_checksum",
    /// A frame of another version.
    FrameBadVersion = "frame_bad_version",
    /// A frame that holds no message of ours.
    FrameBadMessage = "frame_bad_message",
    /// A message whose numbers contradict each other.
    Inconsistent = "inconsistent_message",
    /// A message before the device said who it is.
    UnknownDevice = "unknown_device",
    /// A reading that cannot be decoded, claimed as lost.
    ReadingUndecodable = "reading_undecodable",
    /// A description that contradicts itself.
    BadDescription = "bad_description",
    /// Two restarts of one device alternate: two devices have the same name.
    CloneAlarm = "clone_alarm",
    /// A device counts fewer samples than it had acknowledged.
    SequenceWentBack = "sequence_went_back",
    /// Readings accepted and durable.
    ReadingsAccepted = "readings_accepted",
    /// Readings that rules left out or put into windows: decisions, not losses.
    ReadingsReduced = "readings_reduced",
    /// Readings that rules refuse, set aside with the reason.
    ReadingsRefused = "readings_refused",
    /// Summaries made of windows.
    WindowsSummarised = "windows_summarised",
    /// Windows whose channels were not known any more: their readings are counted, without a summary.
    SummaryLost = "summary_lost",
    /// Rules that could not be applied: the readings pass as they are.
    RuleNotApplied = "rule_not_applied",
    /// Readings that were here already.
    ReadingsRepeated = "readings_repeated",
    /// Sequences claimed as lost.
    SequencesClaimed = "sequences_claimed",
    /// Frames that did not follow on.
    Resends = "resends",
    /// Frames not taken because the queue is full.
    QueueFull = "queue_full",
    /// Segments dropped to make room.
    SegmentsDropped = "segments_dropped",
    /// Readings dropped with them that the gateway was not known to have, claimed as lost.
    ReadingsDroppedOldest = "readings_dropped_oldest",
    /// Readings dropped as they came, claimed as lost.
    ReadingsDroppedNewest = "readings_dropped_newest",
    /// Segments that were older than their class keeps them.
    SegmentsExpired = "segments_expired",
    /// Readings dropped with them that the gateway was not known to have, claimed as lost.
    ReadingsExpired = "readings_expired",
    /// Times that claims were joined to fit into their room, and now cover more than was lost.
    ClaimsCoarsened = "claims_coarsened",
    /// Times that the queue could not make room.
    DropFailed = "drop_failed",
    /// Commits that failed.
    CommitsFailed = "commits_failed",
    /// Records of the queue that cannot be read any more.
    QueueDamaged = "queue_damaged",
    /// State or segments that could not be written or removed.
    TrimFailed = "trim_failed",
    /// Answers to a device that its line could not take.
    RepliesDropped = "replies_dropped",
    /// Values of sources that could not be read.
    SourceFailed = "source_failed",
    /// Sources that ended with an error and were started again.
    SourcesFailed = "sources_failed",
    /// Samples of sources that a device cannot carry: too many channels, another unit or kind than before.
    SamplesRefused = "samples_refused",
    /// Lines of programs that are no readings.
    ProgramLinesRefused = "program_lines_refused",
    /// Lines that programs printed about what went wrong.
    ProgramErrors = "program_errors",
    /// Readings that made room for newer ones in the memory of a source, claimed as lost.
    ReadingsEvicted = "readings_evicted",
    /// Values that a device on Modbus refused, or that are no measurement.
    RegistersFailed = "registers_failed",
    /// Messages of a local broker that say nothing, or whose device is one too many.
    MessagesRefused = "messages_refused",
    /// Sessions at local brokers that could not be taken up again, thrown away with what the broker kept.
    SessionsGivenUp = "sessions_given_up",
    /// Lines that were pushed and not taken, or not whole.
    LinesRefused = "lines_refused",
    /// Pushes that were refused as a whole.
    PushesRefused = "pushes_refused",
    /// Connections to the gateway.
    Connections = "connections",
    /// Connections that ended with an error.
    ConnectionsLost = "connections_lost",
    /// Connections that stood and acknowledged nothing, although something was to be sent.
    UplinkStalled = "uplink_stalled",
    /// Changes from one gateway to another.
    GatewayChanges = "gateway_changes",
    /// Preferred gateways that were tried and did not answer while another was in use.
    ReturnsFailed = "returns_failed",
    /// Batches that a broker acknowledged although nobody is subscribed to them there.
    NoSubscribers = "no_subscribers",
    /// Batches, descriptions and statuses that are larger than the gateway takes.
    TooLarge = "too_large",
    /// Times that the bytes used of the day could not be written down.
    BudgetNotSaved = "budget_not_saved",
    /// Batches that the gateway has.
    BatchesShipped = "batches_shipped",
    /// Readings and claims that the gateway has.
    UnitsShipped = "units_shipped",
    /// Batches of which the gateway dead-lettered something.
    BatchesDeadLettered = "batches_dead_lettered",
    /// Batches that the gateway could not read.
    BatchesUnreadable = "batches_unreadable",
    /// Batches that the gateway refused.
    BatchesRefused = "batches_refused",
    /// Descriptions and statuses that the gateway did not take.
    NotesRefused = "notes_refused",
    /// Readings that the gateway could not read even alone, claimed as rejected.
    ReadingsRejected = "readings_rejected",
    /// Claims and ends that waited beside the log and that the gateway has.
    ClaimsShipped = "claims_shipped",
    /// Claims and ends that the gateway could not read even alone; what they name is unaccounted.
    ClaimsRefused = "claims_refused",
    /// Restarts of which the gateway was told where they stand.
    PositionsSent = "positions_sent",
    /// Positions that the gateway could not read.
    PositionsRefused = "positions_refused",
    /// Commands of the gateway that could not be read or answered.
    BadCommands = "bad_commands",
    /// Certificates of this agent that were renewed.
    CertificatesRenewed = "certificates_renewed",
    /// Renewals that failed.
    RenewalsFailed = "renewals_failed",
    /// HTTP connections refused because too many were open.
    HttpRefused = "http_refused",
    /// Documents of an operator that came.
    Orders = "orders",
    /// Documents that were not obeyed.
    OrdersRefused = "orders_refused",
    /// Commands that were delivered again, and not begun again.
    OrdersRepeated = "orders_repeated",
    /// Commands that were begun.
    CommandsRun = "commands_run",
    /// Remote settings that did not show that they work.
    RemoteRolledBack = "remote_rolled_back",
    /// Results of documents that the queue did not take for so long that they were dropped.
    ResultsDropped = "results_dropped",
    /// Messages of an operator that could not be taken.
    OrdersDropped = "orders_dropped",
    /// Times that the agent went on with new settings.
    Reloads = "reloads",
    /// Times that new settings were refused, and those before stayed.
    ReloadsRefused = "reloads_refused",
}

impl From<FrameError> for Event {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::TooLong => Self::FrameTooLong,
            FrameError::BadStuffing => Self::FrameBadStuffing,
            FrameError::TooShort => Self::FrameTooShort,
            FrameError::BadChecksum => Self::FrameBadChecksum,
            FrameError::BadVersion(_) => Self::FrameBadVersion,
            FrameError::BadMessage => Self::FrameBadMessage,
        }
    }
}

/// The numbers.
#[derive(Debug)]
pub struct Counters {
    counts: Vec<AtomicU64>,
    /// When each kind was last logged, and how many were kept quiet since.
    logged: Mutex<Vec<Option<(Instant, u64)>>>,
}

impl Default for Counters {
    fn default() -> Self {
        let kinds = Event::ALL.len();
        Self { counts: (0..kinds).map(|_| AtomicU64::new(0)).collect(), logged: Mutex::new(vec![None; kinds]) }
    }
}

impl Counters {
    /// Counts `number` events.
    pub fn add(&self, event: Event, number: u64) {
        self.counts[event as usize].fetch_add(number, Ordering::Relaxed);
    }

    /// Counts one event that a person should know of; `what` says more.
    pub fn warn(&self, event: Event, what: impl FnOnce() -> String) {
        self.add(event, 1);
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let last = &mut logged[event as usize];
        match last {
            Some((at, quiet)) if at.elapsed() < QUIET => *quiet += 1,
            _ => {
                let unsaid = last.replace((Instant::now(), 0)).map_or(0, |(_, quiet)| quiet);
                tracing::warn!(event = event.name(), unsaid, "{}", what());
            }
        }
    }

    /// How many there were.
    pub fn get(&self, event: Event) -> u64 {
        self.counts[event as usize].load(Ordering::Relaxed)
    }

    /// Every kind that happened, with its number.
    pub fn iter(&self) -> impl Iterator<Item = (Event, u64)> {
        Event::ALL.iter().map(|event| (*event, self.get(*event))).filter(|(_, count)| *count > 0)
    }
}
