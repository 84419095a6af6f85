//! Decisions and the chain they are kept in.
//!
//! A record holds everything a decision was based on. Records of one device form a chain: each
//! names the hash of the one before it, and each is signed with the device key. A chain that is cut
//! at its end still verifies; only an anchor (a head that the hub has receipted) shows the cut.

use serde::{Deserialize, Serialize};

use crate::{
    gate::GateResult,
    id::{ActorName, DecisionId, DeviceId, DocumentId, Hash32, LeaseId, OrderId, SiteId},
    lease::LeaseUse,
    order::LineQuantity,
    seal::{PublicKey, Sealed},
    time::Moment,
};

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionKind {
    /// The dispatch may leave.
    Release,
    /// It may not.
    Hold,
    /// A person let it leave against a gate.
    Override,
    /// A release was taken back, on the hub's word or a person's.
    Recall,
    /// A lease was closed; its use stands in [`DecisionRecord::lease`]. The statement that frees the rest.
    LeaseClosed,
    /// The store was found to be older than what the hub knows of this device: a new epoch of the chain begins.
    /// What came before stands in [`DecisionRecord::begins`].
    EpochBegun,
}

/// How a release came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Every source was fresh.
    Normal,
    /// A named source was stale and the fallback rule allowed it.
    Degraded,
    /// Cut off from the hub, under a lease.
    Offline,
    /// A person decided.
    Override,
}

impl Mode {
    /// The word for it on pages and in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Degraded => "degraded",
            Self::Offline => "offline",
            Self::Override => "override",
        }
    }
}

/// Who decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DecidedBy {
    /// A rule of the bundle.
    Rule {
        /// Its name.
        rule: String,
    },
    /// A person at the depot's page.
    Person {
        /// Their login.
        name: ActorName,
        /// The role they acted in.
        role: String,
        /// Who confirmed it, where policy asks for two persons.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        second: Option<SecondPerson>,
    },
    /// The hub, through an entry that this device obeyed.
    Hub {
        /// The entry's key.
        entry: String,
    },
}

/// The second of two persons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondPerson {
    /// Their login; never that of the first.
    pub name: ActorName,
    /// The role they acted in.
    pub role: String,
}

/// The lease a decision used, and what of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseCharge {
    /// Which lease.
    pub lease: LeaseId,
    /// What this decision used; for [`DecisionKind::LeaseClosed`] the total of all decisions under it.
    pub used: LeaseUse,
}

/// What came before an epoch of a chain. The first record of every epoch but the first holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beginning {
    /// The last record that the store held when it was found to be too old; position 0 if it held none.
    pub held: ChainHead,
    /// The newest [`ChainHead`] that the hub knew of this device, signed by the hub; none if it knew none. Records
    /// between the two are at the hub only.
    pub known: Option<Sealed>,
}

/// One decision with all it was based on. It travels as [`Sealed`], signed by the device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// Version of this record's form; 1.
    pub v: u32,
    /// Its name and the key of every effect at the ERP that follows from it.
    pub id: DecisionId,
    /// Who decided: the device.
    pub device: DeviceId,
    /// At which depot.
    pub site: SiteId,
    /// The chain's epoch; a restored device begins a new one.
    pub epoch: u32,
    /// Place in the chain, from 1 without gaps.
    pub position: u64,
    /// Hash of the record before; [`Hash32::ZERO`] for the first.
    pub previous: Hash32,
    /// What was decided.
    pub kind: DecisionKind,
    /// How, for a release or an override.
    pub mode: Option<Mode>,
    /// For which dispatch; none for a closed lease.
    pub dispatch: Option<DocumentId>,
    /// For which order, and the version that was seen.
    pub order: Option<(OrderId, u64)>,
    /// What the dispatch shall carry.
    pub load: Vec<LineQuantity>,
    /// Every gate with its inputs and their ages.
    pub gates: Vec<GateResult>,
    /// Hash of the bundle in force.
    pub bundle: Hash32,
    /// The lease it used.
    pub lease: Option<LeaseCharge>,
    /// Who decided.
    pub by: DecidedBy,
    /// Why, for people.
    pub reason: String,
    /// When, with the clock's uncertainty.
    pub at: Moment,
    /// What came before the epoch that this record begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begins: Option<Beginning>,
    /// Sources that were pretended to be gone, in a drill.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drills: Vec<String>,
}

impl DecisionRecord {
    /// Whether it says what came before its epoch exactly if it has to: as the first of any epoch but the first.
    #[must_use]
    pub fn is_founded(&self) -> bool {
        let has_to = self.epoch > 1 && self.position == 1;
        has_to == self.begins.is_some() && has_to == (self.kind == DecisionKind::EpochBegun)
    }
}

/// What is wrong with a chain, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A record's signature does not match the device key.
    #[error("record {position}: {source}")]
    Seal {
        /// Which record, counted from 1.
        position: u64,
        /// What is wrong with it.
        source: crate::seal::SealError,
    },
    /// A record names another hash than that of the record before it.
    #[error("record {position} does not follow record {}", position - 1)]
    Broken {
        /// Which record.
        position: u64,
    },
    /// A record stands at another place than it says.
    #[error("record {found} stands where record {expected} belongs")]
    Misplaced {
        /// The place it stands at.
        expected: u64,
        /// The place it says.
        found: u64,
    },
    /// The first record of a later epoch does not say what came before it, or another record does.
    #[error("record {position} of epoch {epoch} does not say what came before the epoch, or says it out of place")]
    Unfounded {
        /// Which epoch.
        epoch: u32,
        /// Which record.
        position: u64,
    },
    /// A record belongs to another device or epoch.
    #[error("record {position} belongs to another chain")]
    Foreign {
        /// Which record.
        position: u64,
    },
}

/// Where a chain has got to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainHead {
    /// Whose chain.
    pub device: DeviceId,
    /// Which epoch.
    pub epoch: u32,
    /// Position of the last record; 0 before the first.
    pub position: u64,
    /// Its hash.
    pub hash: Hash32,
}

impl ChainHead {
    /// The start of a chain.
    #[must_use]
    pub fn start(device: DeviceId, epoch: u32) -> Self {
        Self { device, epoch, position: 0, hash: Hash32::ZERO }
    }

    /// Checks that `sealed` is the next record of this chain under `key`, and moves past it.
    /// # Errors
    /// [`ChainError`] names the record; the head stays where it was.
    pub fn follow(&mut self, sealed: &Sealed, key: &PublicKey) -> Result<DecisionRecord, ChainError> {
        let expected = self.position + 1;
        let record: DecisionRecord =
            sealed.open(key).map_err(|source| ChainError::Seal { position: expected, source })?;
        if record.device != self.device || record.epoch != self.epoch {
            return Err(ChainError::Foreign { position: expected });
        }
        if record.position != expected || record.id != DecisionId::of(&self.device, self.epoch, expected) {
            return Err(ChainError::Misplaced { expected, found: record.position });
        }
        if record.previous != self.hash {
            return Err(ChainError::Broken { position: expected });
        }
        if !record.is_founded() {
            return Err(ChainError::Unfounded { epoch: self.epoch, position: expected });
        }
        self.position = expected;
        self.hash = sealed.hash();
        Ok(record)
    }
}
