//! The rules, each as the fault that breaks it: a property that no broken rule violates proves nothing.

/// A rule that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rule {
    /// The agent acknowledges the device before its queue is on disk.
    AckBeforeSync,
    /// The agent moves over what the ring evicted without claiming it.
    JumpWithoutClaim,
    /// Drop-oldest: a reading is unlinked before its claim is on disk.
    UnlinkBeforeClaim,
    /// Drop-newest: the reading is neither kept nor claimed.
    DropWithoutClaim,
    /// A claim is coarsened over sequences that were never accepted.
    CoarsenBeyondAccepted,
    /// The agent forgets what was in flight when the connection breaks.
    ForgetInFlight,
    /// A position leaves out whatever was sent once, on a connection that broke too.
    PositionFromCursor,
    /// A position counts readings as accepted that are not durable yet, and does not hold them.
    PositionBeforeSync,
    /// No positions are sent or heard.
    NoPositions,
    /// A position begins where the readings began, not at 0: the agent's own claims below are left out.
    PositionFromReadings,
    /// The agent gives up waiting before the gateway gives up on a description.
    ImpatientAgent,
    /// PUBACK before the commit of every log that the batch touched.
    PubackBeforeCommit,
    /// A batch that repeats what is pending is answered without waiting for it.
    RepeatOfPending,
    /// A claim is decided while a reading of the same sequence is pending.
    ClaimAgainstPending,
    /// A claim is appended although the sequence is stored, dead-lettered or lost.
    ClaimNotDeduplicated,
    /// A reading that was counted lost before is dropped.
    LostStaysLost,
    /// A reading that has an earlier verdict does not say that it heals.
    NoHeals,
    /// After a failed commit the log goes on behind the bytes that were written.
    KeepAfterFailedCommit,
    /// What recovery finds is served before it is synced.
    ServeBeforeSync,
    /// After a start the sets hold what the remaining records say, and no checkpoint.
    SetsFromLogAlone,
    /// A checkpoint holds what is not committed.
    CheckpointOfPending,
    /// Retention deletes what the newest checkpoint covers.
    DeleteByNewest,
    /// Retention trusts the older checkpoint without reading it back.
    DeleteUnverified,
    /// Both checkpoints are bad, and a reading that may be a repeat is appended.
    AppendUnknownHistory,
    /// A checkpoint does not say below which sequence the history is unknown.
    ForgetUnknownHistory,
    /// Damage that is found is not accounted for.
    DamageUncounted,
    /// Damage is accounted for each time it is found.
    DamageCountedAgain,
}

impl Rule {
    pub(crate) const ALL: [Self; 27] = [
        Self::AckBeforeSync,
        Self::JumpWithoutClaim,
        Self::UnlinkBeforeClaim,
        Self::DropWithoutClaim,
        Self::CoarsenBeyondAccepted,
        Self::ForgetInFlight,
        Self::PositionFromCursor,
        Self::PositionBeforeSync,
        Self::NoPositions,
        Self::PositionFromReadings,
        Self::ImpatientAgent,
        Self::PubackBeforeCommit,
        Self::RepeatOfPending,
        Self::ClaimAgainstPending,
        Self::ClaimNotDeduplicated,
        Self::LostStaysLost,
        Self::NoHeals,
        Self::KeepAfterFailedCommit,
        Self::ServeBeforeSync,
        Self::SetsFromLogAlone,
        Self::CheckpointOfPending,
        Self::DeleteByNewest,
        Self::DeleteUnverified,
        Self::AppendUnknownHistory,
        Self::ForgetUnknownHistory,
        Self::DamageUncounted,
        Self::DamageCountedAgain,
    ];
}
