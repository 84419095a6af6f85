//! Bugs that are planted to see whether the checks find them.
//!
//! Each stands at a seam of the pretend world, where it does what a wrong product would do: the
//! product itself has no switch for any of them.

/// A bug, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bug {
    /// The world as it is.
    #[default]
    None,
    /// The intake numbers what is delivered instead of reading the sender's own id, so that a message
    /// that comes again is taken for another one.
    DedupeDropped,
    /// The intake acknowledges a message when it is handed over, before it is committed.
    CommitAfterAcknowledgement,
    /// The state of a dispatch is a register that the last writer sets, not the fold of all that was said.
    RegisterInsteadOfFold,
    /// A device's cursor passes a change that its page should have brought and that it does not commit.
    CursorPastUncommitted,
    /// A hub that was restored holds what it forgot to be unsent, and sends it without asking.
    PostedUnasked,
    /// Devices keep no proof of what the hub sent them.
    PagesForgotten,
    /// A hub takes out of its feeds what devices have not read, and does not tell those to begin again.
    PrunedUntold,
    /// A replica of the hub that takes postings over sends what another had under way without asking.
    TakenOverUnasked,
    /// A hub that lets a device write for depots that are not its own.
    GateOpen,
    /// A machine counts the time since its start at half its speed, so that what it heard seems younger than it is.
    CountsSlowly,
    /// An agent whose disk was put back to an older copy goes on under the numbers of that copy.
    EpochKept,
    /// A hub lets a dispatch go that it has cancelled, or that people hold.
    ReleasedAfterAll,
    /// A hub loses an entry of a document that it has shown.
    EntryLost,
    /// A hub forgets whom it has revoked.
    RevocationForgotten,
}
