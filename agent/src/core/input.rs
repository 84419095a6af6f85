//! What comes in to the core, one at a time, in the order of the driver's queue.

use gatehouse_common::{
    case::CaseState,
    id::{ActorName, DocumentId, Hash32},
    reading::{ProofLine, Reading},
    sync::{Cursor, FeedItem, Rejection, Standing},
};

/// A message that waits for its acknowledgement, as the intake numbers it. Opaque to the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receipt(pub u64);

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A device sent a reading.
    Reading {
        /// What it sent.
        reading: Reading,
        /// Acknowledged after the commit.
        receipt: Option<Receipt>,
    },
    /// A message came that cannot be read.
    Unreadable(Unreadable),
    /// The hub told what is new. Items and cursor are committed together.
    Feed {
        /// What is new, in order.
        items: Vec<FeedItem>,
        /// Where this device stands once they are committed.
        cursor: Cursor,
        /// Whether more waits at the hub.
        more: bool,
    },
    /// The hub's ledger began another life: take this cursor and push everything again.
    StartAgain {
        /// The start of the new life.
        cursor: Cursor,
    },
    /// The hub knows more of this device than its store does: the store is an older copy.
    Outlived(Standing),
    /// The hub has taken the outbox this far.
    Pushed {
        /// The last number taken or rejected.
        through: u64,
        /// Numbers that were not let in, with the reason.
        rejected: Vec<Rejection>,
        /// The last number that the hub's newest backup covers; rows up to here may be forgotten.
        kept_through: u64,
    },
    /// The line to the hub came up, went down or proved itself.
    Line(Line),
    /// A person did something at the page.
    Tap(Tap),
    /// Time has passed.
    Tick,
}

/// A message that cannot be read: kept by its hash, size and head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// On which topic it came.
    pub topic: String,
    /// Why it cannot be read, for people.
    pub reason: String,
    /// SHA-256 of the whole payload.
    pub payload_hash: Hash32,
    /// Bytes of the whole payload.
    pub size: u64,
    /// Its first bytes, 256 at most.
    pub head: Vec<u8>,
    /// Acknowledged after the commit.
    pub receipt: Option<Receipt>,
}

/// What is known of the line to the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// The agent has just started and knows nothing yet: until [`Line::Up`] with every recall known or [`Line::Lost`],
    /// no release leaves. The driver sends it.
    Starting,
    /// The hub answered. Send it after every answered exchange: it is what keeps this depot connected.
    Up {
        /// Whether every recall up to this contact is committed here. No release leaves before.
        recalls_known: bool,
    },
    /// An exchange failed.
    Lost,
}

/// Something a person did at the page. Login and PIN are checked before it gets here; policy is checked by the core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tap {
    /// Their login.
    pub who: ActorName,
    /// The role they act in, such as `supervisor`.
    pub role: String,
    /// What they did.
    pub act: Act,
}

/// What a person can do at the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Lets a dispatch leave against its gates or beyond the lease; where both allow it, it is an ordinary release by hand.
    Override {
        /// Which dispatch.
        dispatch: DocumentId,
        /// Why, for the record.
        reason: String,
    },
    /// Holds a dispatch.
    Hold {
        /// Which dispatch.
        dispatch: DocumentId,
        /// Why, for the record.
        reason: String,
    },
    /// Has seen that a release was taken back; ends the alarm.
    RecallSeen {
        /// Which dispatch.
        dispatch: DocumentId,
    },
    /// Hands goods over at their destination; at the vehicle's own page.
    Prove {
        /// Which dispatch.
        dispatch: DocumentId,
        /// What became of each line.
        lines: Vec<ProofLine>,
        /// Who signed; `None` when nobody did.
        signed_by: Option<String>,
        /// Hash of the photo or signature picture.
        photo: Option<Hash32>,
    },
    /// Moves a case.
    MoveCase {
        /// Which case.
        case: DocumentId,
        /// Where to.
        to: CaseState,
        /// Resolution or reason, in words.
        reason: String,
    },
}
