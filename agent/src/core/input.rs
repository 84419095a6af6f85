//! What comes in to the core, one at a time, in the order of the driver's queue.

use gatehouse_common::{
    case::{CaseState, WaitsFor},
    id::{ActorName, DocumentId, DocumentKind, Hash32},
    reading::{ProofLine, Reading},
    sync::{Cursor, FeedItem, LedgerEpoch, Rejection, Standing},
    time::UtcMs,
};
use serde::{Deserialize, Serialize};

use super::{damage::DamagedRow, past::Over};

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
    /// A message shows something beside its readings. Give it before them: a crash in between must not look like a gap.
    Shown(Shown),
    /// A message came that cannot be read.
    Unreadable(Unreadable),
    /// The intake counted something: names of counters and by how much each rises.
    Counted(Vec<(&'static str, u64)>),
    /// The hub told what is new. Items and cursor are committed together.
    Feed {
        /// What is new, in order.
        items: Vec<FeedItem>,
        /// Where this device stands once they are committed.
        cursor: Cursor,
        /// Whether more waits at the hub.
        more: bool,
    },
    /// The feed begins anew: take this cursor. In another life of the hub's ledger everything is pushed again; in the same
    /// only decisions are, and changes of documents that are forgotten here: the hub may be asking for one that is damaged.
    StartAgain {
        /// The start of the feed, in the new life or the same.
        cursor: Cursor,
    },
    /// Hub and device hold the same documents: take this cursor, which is past what was compared.
    Alike {
        /// Where the device stands.
        cursor: Cursor,
    },
    /// The hub knows more of this device than its store does: the store is an older copy.
    Outlived(Standing),
    /// The hub said how this device stands, and what follows from that is committed: records may be told from now on.
    Stands,
    /// The hub has taken the outbox this far.
    Pushed {
        /// In which life of the hub's ledger it was asked: an answer of another life says nothing in this one.
        ledger: LedgerEpoch,
        /// The last number taken or rejected.
        through: u64,
        /// Numbers that were not let in, or are damaged here and were not told, with the reason.
        rejected: Vec<Rejection>,
        /// Those not let in that are changes of documents, in the order of their numbers.
        changes: Vec<RefusedChange>,
        /// The last number that the hub's newest backup covers; rows up to here may be forgotten.
        kept_through: u64,
    },
    /// The line to the hub came up, went down or proved itself.
    Line(Line),
    /// A person did something at the page.
    Tap(Tap),
    /// This has been over for long, and the hub has all of it: see [`Core::over`](super::Core::over).
    Forget(Vec<Over>),
    /// These rows of the store are not what was written; a few at a time.
    Damaged(Vec<DamagedRow>),
    /// Time has passed.
    Tick,
}

/// A change of a document that the hub did not let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedChange {
    /// Which document.
    pub document: DocumentId,
    /// Case or dispatch.
    pub kind: DocumentKind,
    /// Hash of the change.
    pub change: Hash32,
    /// Why, for people.
    pub reason: String,
}

/// What a message shows beside its readings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// What shows gaps and wrong clocks, sender by sender.
    pub marks: Vec<Mark>,
    /// What the intake must remember to read later messages.
    pub learned: Option<Learned>,
    /// When the message came in.
    pub received: UtcMs,
    /// Whether it came as it was sent: not kept by the broker, not sent a second time.
    pub live: bool,
    /// Acknowledged after the commit; none where readings follow, which bring it.
    pub receipt: Option<Receipt>,
}

/// What a message shows of its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The sender.
    pub source: String,
    /// Its number, where it has one.
    pub sequence: Option<Sequence>,
    /// When it was sent, by the sender's clock.
    pub sent: Option<UtcMs>,
}

/// A number that rises by one from message to message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sequence {
    /// The number.
    pub number: u64,
    /// After how many it begins at 0 again; `None` if never.
    pub modulus: Option<u64>,
    /// Whether the sender says that it begins anew with this one.
    pub begins: bool,
}

/// What the intake must remember to read later messages; opaque to the core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Learned {
    /// Under which key of the rule state.
    pub key: String,
    /// What, as JSON.
    pub body: String,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tap {
    /// Their login.
    pub who: ActorName,
    /// The role they act in, such as `supervisor`.
    pub role: String,
    /// What they did.
    pub act: Act,
}

impl Act {
    /// Whether other rules are in force after it.
    #[must_use]
    pub fn changes_rules(&self) -> bool {
        matches!(self, Self::ActivateRules { .. } | Self::RollBackRules)
    }
}

/// What a person can do at the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Lets a dispatch leave against its gates or beyond the lease; where both allow it, it is an ordinary release by hand.
    Override {
        /// Which dispatch.
        dispatch: DocumentId,
        /// Why, for the record.
        reason: String,
    },
    /// Confirms, as a second person, the override that another asked for.
    Confirm {
        /// Which dispatch.
        dispatch: DocumentId,
    },
    /// Puts other rules in force.
    ActivateRules {
        /// The bundle's text.
        text: String,
    },
    /// Puts the rules in force that were before.
    RollBackRules,
    /// Pretends that a source is gone, to learn how to go on without it.
    StartDrill {
        /// Which: `erp`, `wms`, `tms`, `carrier`, `hub`, or a device by the name of its readings.
        source: String,
        /// For how long, in milliseconds: a minute to 8 hours.
        lasts_ms: u64,
        /// Why, for the record.
        reason: String,
    },
    /// Ends a drill before its time.
    StopDrill {
        /// Which source is back.
        source: String,
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
        /// Cause or reason, in words.
        reason: String,
        /// Whom it waits for; needed where it is to wait.
        waits_for: Option<WaitsFor>,
        /// How it was resolved, such as one of the recommended actions.
        code: Option<String>,
    },
    /// Asks the hub to cancel a dispatch.
    AskToCancel {
        /// Which dispatch.
        dispatch: DocumentId,
        /// Why, for the record.
        reason: String,
    },
}
