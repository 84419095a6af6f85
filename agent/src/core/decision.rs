//! What goes out of the core: records to be written in one transaction, then effects.

use gatehouse_common::{
    decision::ChainHead,
    document::Chunk,
    fact::{Fact, FactKey},
    gate::GateResult,
    geo::Point,
    id::{DecisionId, DocumentId, DocumentKind, Hash32, LeaseId, OrderId},
    lease::LeaseUse,
    order::Order,
    reading::Reading,
    seal::Sealed,
    sync::{Cursor, PageDigest, Rejection},
    telemetry::Track,
    time::{Moment, UtcMs},
};

use super::{damage::DamagedRow, drills::DrillTurn, ground::GroundInput, input::Receipt};

/// What follows from one input.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// To be written, all or none.
    pub records: Vec<Record>,
    /// To be done once the records are on disk.
    pub effects: Vec<Effect>,
    /// The answer to a tap, to be given once the records are on disk.
    pub answer: Option<Result<TapDone, TapRefused>>,
}

/// One thing to be written.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A reading: ground.
    Reading {
        /// What was sent.
        reading: Reading,
        /// When it came in.
        received: Moment,
    },
    /// Something else came in: ground.
    Input {
        /// When.
        at: Moment,
        /// What.
        input: GroundInput,
    },
    /// A reading came again, byte for byte. Counted, not kept.
    Duplicate,
    /// Something that only counts.
    Counted {
        /// The counter.
        name: &'static str,
        /// By how much it rises.
        by: u64,
    },
    /// Something that could not be used: ground.
    Quarantine {
        /// Where it came from: a topic, or `hub/...` for items of the feed.
        topic: String,
        /// Why, for people.
        reason: String,
        /// SHA-256 of the whole payload.
        payload_hash: Hash32,
        /// Bytes of the whole payload.
        size: u64,
        /// Its first bytes.
        head: Vec<u8>,
        /// When it came in.
        at: UtcMs,
        /// Whether it is another payload under an id already used.
        conflict: bool,
    },
    /// The newest fact under its key.
    Fact(Fact),
    /// No fact stands under this key any more.
    FactGone(FactKey),
    /// The newest version of an order.
    Order(Order),
    /// A change of a document: the chunk is ground, the rest is derived from it.
    Chunk {
        /// Which document.
        document: DocumentId,
        /// Case or dispatch.
        kind: DocumentKind,
        /// The change.
        chunk: Chunk,
        /// Whether this device wrote it; its own chunks go to the hub.
        own: bool,
        /// The document after it.
        after: Folded,
    },
    /// What is over is forgotten: documents, and the order that they are about. Their changes go later, in the
    /// background.
    Forgotten {
        /// Which documents.
        documents: Vec<DocumentId>,
        /// Which order.
        order: Option<OrderId>,
        /// When.
        at: UtcMs,
    },
    /// A signed decision: ground. It goes to the hub.
    Decision {
        /// Its place in the chain.
        position: u64,
        /// Epoch of the chain.
        epoch: u32,
        /// Its name.
        id: DecisionId,
        /// Its text and signature.
        sealed: Sealed,
    },
    /// A lease came in: ground.
    LeaseReceived {
        /// Its name.
        id: LeaseId,
        /// Its text and the hub's signature.
        sealed: Sealed,
        /// When.
        received: Moment,
    },
    /// What was used of a lease so far, and whether it was closed.
    LeaseUsed {
        /// Which lease.
        id: LeaseId,
        /// The total.
        used: LeaseUse,
        /// Whether nothing more is released under it.
        closed: bool,
    },
    /// State of a rule; it must never be newer or older than the readings it came from.
    Rule {
        /// Which rule and subject.
        key: String,
        /// The state as JSON.
        body: String,
    },
    /// A rule's state is no longer needed.
    RuleGone {
        /// Which rule and subject.
        key: String,
    },
    /// The gates of a dispatch as last weighed, for the page.
    Gates {
        /// Which dispatch.
        dispatch: DocumentId,
        /// All of them.
        gates: Vec<GateResult>,
    },
    /// Other rules are in force: ground.
    Bundle {
        /// Their text.
        text: String,
        /// The number that their writer gave them.
        version: u64,
        /// From when.
        at: UtcMs,
        /// Who put them in force.
        by: String,
        /// How: `start`, `activate` or `rollback`.
        how: &'static str,
    },
    /// A drill was started or has ended: ground.
    Drill {
        /// Which source was pretended to be gone.
        source: String,
        /// What became of it.
        turn: DrillTurn,
        /// When.
        at: UtcMs,
        /// Who did it.
        by: String,
        /// Why, where it was started.
        reason: String,
    },
    /// How far the hub's feed is taken.
    Cursor(Cursor),
    /// A receipt of the hub for a head of the decision chain, checked against the chain: ground.
    Anchor {
        /// The head that it receipts.
        head: ChainHead,
        /// Its text and the hub's signature.
        sealed: Sealed,
        /// When it came in.
        received: Moment,
    },
    /// The store is older than what the hub knows: chain, changes and outbox begin a new life under this number.
    Epoch {
        /// The number of chain and changes, and of the outbox.
        epoch: u32,
    },
    /// The hub has taken the outbox this far.
    OutboxTaken {
        /// The last number taken or rejected.
        through: u64,
        /// Not let in, or damaged here and not told.
        rejected: Vec<Rejection>,
        /// Rows through here may be forgotten.
        kept_through: u64,
    },
    /// The outbox may be told: the hub was asked how this device stands.
    Stands,
    /// What is kept in the outbox is to be pushed again.
    OutboxAgain {
        /// Whether all of it: else only what the hub may be asking for because it is damaged there, and could not get
        /// otherwise.
        whole: bool,
    },
    /// A page of the hub's feed, as the hub signed it: proof that it sent these changes, should it forget them.
    Page {
        /// What it signed.
        digest: PageDigest,
        /// Its text and the hub's signature.
        sealed: Sealed,
        /// The marks of the changes in it.
        marks: Vec<Hash32>,
    },
    /// The hub is alike again: pages of an earlier life of its ledger are kept until its backups hold what it has now.
    PagesOutlive {
        /// The life of the ledger, and the position up to which it is alike.
        cursor: Cursor,
    },
    /// A whole document that was not known here.
    Whole {
        /// Which.
        document: DocumentId,
        /// Case or dispatch.
        kind: DocumentKind,
        /// Its changes, each after those it builds on.
        chunks: Vec<Chunk>,
        /// The document.
        after: Folded,
    },
    /// Changes that are no longer part of their document, since the hub did not let the first of them in: they are kept.
    SetAside {
        /// Which document.
        document: DocumentId,
        /// Case or dispatch.
        kind: DocumentKind,
        /// The changes.
        chunks: Vec<Chunk>,
        /// Why, for people.
        reason: String,
        /// The document without them.
        after: Folded,
    },
    /// A row that is not what was written goes where nothing is read from, and is kept there as it was found.
    PutAside {
        /// Which.
        row: DamagedRow,
        /// Whether what it said is written anew in this commit.
        is_held: bool,
        /// When.
        at: UtcMs,
    },
    /// A change that was put aside, as it was before it was damaged.
    ChangeAgain {
        /// Where it lay.
        place: i64,
        /// Of which document.
        document: DocumentId,
        /// Case or dispatch.
        kind: DocumentKind,
        /// The change.
        chunk: Chunk,
    },
    /// What is derived of a document that lacks a part of its changes.
    Refolded {
        /// Which.
        document: DocumentId,
        /// Case or dispatch.
        kind: DocumentKind,
        /// The document without them.
        after: Folded,
    },
    /// What is new of a document that cannot be folded: how it was folded last stays.
    Unfolded {
        /// Which.
        document: DocumentId,
        /// Case or dispatch.
        kind: DocumentKind,
        /// A change that came; none where only its heads are to be written as they are.
        chunk: Option<Chunk>,
        /// Hashes of its latest changes, sorted.
        heads: Vec<Hash32>,
    },
    /// This device writes under another actor from now on.
    Actor {
        /// The actor's epoch.
        epoch: u32,
    },
    /// Where the own vehicle was, to be told to the hub with how this device is. Once written, every one is told.
    Tracks {
        /// When.
        at: UtcMs,
        /// Where its vehicle was last.
        position: Option<Point>,
        /// The tracks, newest first.
        tracks: Vec<Track>,
    },
    /// How this device is, to be told to the hub; the store fills in its counters. Replaces one not yet pushed.
    Status {
        /// When.
        at: UtcMs,
        /// Where its vehicle was last, for vehicles.
        position: Option<Point>,
    },
}

/// A document as it stands after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folded {
    /// Hashes of its latest changes, sorted.
    pub heads: Vec<Hash32>,
    /// Its view as JSON; `null` while nobody has opened it.
    pub view: String,
    /// The whole document; none where the changes since it was last written whole make it again at a start.
    pub snapshot: Option<Vec<u8>>,
}

/// Something to be done after the commit. Each may be repeated without harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// These messages are on disk: tell the broker.
    Acknowledge(Vec<Receipt>),
    /// Pages that show this are out of date.
    Changed(Change),
    /// Something waits in the outbox.
    PushNow,
    /// A fix of the own vehicle shows the time that the wall clock shows.
    ClockConfirmed,
}

/// What changed, for live pages.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Change {
    /// A dispatch: its state, its gates or its alarms.
    Dispatch {
        /// Which.
        document: DocumentId,
    },
    /// A case.
    Case {
        /// Which.
        document: DocumentId,
    },
    /// What doors and vehicles say.
    Facts,
    /// The line to the hub, the lease or the age of a source.
    Status,
    /// Something went to quarantine.
    Quarantine,
}

/// A tap was done and is on disk.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TapDone {
    /// The decision made, if the tap made one.
    pub decision: Option<DecisionId>,
    /// One sentence for the person.
    pub message: String,
}

/// A tap was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TapRefused {
    /// There is no such dispatch or case here.
    #[error("nothing is known here under {0}")]
    NotFound(DocumentId),
    /// The role may not do this.
    #[error("role {role} may not do this; ask {allowed}")]
    Role {
        /// The role they acted in.
        role: String,
        /// Who may.
        allowed: String,
    },
    /// The reason is too short.
    #[error("a reason of at least {min_chars} characters is needed")]
    Reason {
        /// The least length.
        min_chars: usize,
    },
    /// It makes no sense as things stand.
    #[error("{0}")]
    State(String),
    /// The agent could not write it down; nothing was done. Try again.
    #[error("could not be written down; try again")]
    NotCommitted,
}
