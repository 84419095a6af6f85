//! What came in beside readings, as it is kept.
//!
//! In: inputs as they are handled. Out: a record of each that something may follow from, so that a replay can give
//! them to another core in the same order. Readings are kept in blocks, see `store/readings`. Chunks and bundles are
//! kept elsewhere and named here by their hashes. Not kept: an exchange with the hub that says nothing new, receipts,
//! what counters count, and a look at the clock that nothing follows from.

use gatehouse_common::{
    bundle::Bundle,
    case::CaseView,
    document::{ActorKind, Document},
    gate::GateResult,
    geo::Geofence,
    id::{DocumentId, DocumentKind, Hash32, VehicleId},
    seal::Sealed,
    sync::Standing,
    time::Moment,
};
use serde::{Deserialize, Serialize};

use super::{
    Core,
    decision::Record,
    input::{Line, RefusedChange, Tap},
    past::Over,
    state::LineSeen,
};

/// An input as it is kept. Stores are for ever: a variant may be added, never changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroundInput {
    /// The program started; [`Line::Starting`] with it.
    Started {
        /// How it was configured.
        as_configured: Configured,
        /// The last contact with the hub before.
        heard: Option<Moment>,
    },
    /// The line to the hub changed.
    Line {
        /// How.
        line: Line,
        /// The last contact before; contacts that change nothing else are not kept.
        heard: Option<Moment>,
    },
    /// The hub told something that was taken.
    Feed(Vec<Told>),
    /// The hub's ledger began another life.
    StartAgain,
    /// The store was found to be an older copy.
    Outlived(Standing),
    /// A person did something, or tried to. What changes rules is [`GroundInput::Rules`].
    Tap(Tap),
    /// Other rules came into force.
    Rules {
        /// Hash of their text.
        bundle: Hash32,
    },
    /// The hub did not let a change of a document in.
    Refused(RefusedChange),
    /// Time passed and something followed from it: the program ran then.
    Looked,
    /// What was over was forgotten.
    Forgot(Vec<Over>),
}

/// What the configuration says of the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Configured {
    /// The vehicle it rides in.
    pub vehicle: Option<VehicleId>,
    /// The depot's yard.
    pub yard: Option<Geofence>,
    /// Hash of the rules in force.
    pub bundle: Hash32,
}

/// One thing that the hub told and that was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// An order, as JSON.
    Order(String),
    /// A report, as JSON.
    Fact(String),
    /// A lease whose signature held.
    Lease(Sealed),
    /// A change of a document; its bytes are among the chunks.
    Chunk {
        /// Which document.
        document: DocumentId,
        /// Case or dispatch.
        kind: DocumentKind,
        /// Hash of the change.
        hash: Hash32,
    },
    /// When each source was heard, as JSON.
    Sources(String),
}

impl Core {
    pub(super) fn keep(&mut self, now: &Moment, input: GroundInput) {
        self.out.records.push(Record::Input { at: now.clone(), input });
    }

    /// Keeps what the line did, unless it only proved itself once more.
    pub(super) fn keep_line(&mut self, now: &Moment, line: Line) {
        let heard = self.line.heard.clone();
        if line == Line::Starting {
            let profile = &self.profile;
            let as_configured =
                Configured { vehicle: profile.vehicle.clone(), yard: profile.yard, bundle: profile.bundle.hash };
            return self.keep(now, GroundInput::Started { as_configured, heard });
        }
        let LineSeen { up, recalls_known, starting, .. } = self.line;
        let same = match line {
            Line::Starting => false,
            Line::Up { recalls_known: known } => up && recalls_known == known,
            Line::Lost => !up,
        };
        if starting || !same {
            self.keep(now, GroundInput::Line { line, heard });
        }
    }

    /// Keeps a look at the clock that `was_set_right`, or from which something followed that others see.
    pub(super) fn keep_look(&mut self, now: &Moment, was_set_right: bool) {
        let told = |record: &Record| {
            matches!(
                record,
                Record::Chunk { .. }
                    | Record::Whole { .. }
                    | Record::Decision { .. }
                    | Record::Status { .. }
                    | Record::Tracks { .. }
            )
        };
        if was_set_right || self.out.records.iter().any(told) {
            self.keep(now, GroundInput::Looked);
        }
    }
}

/// For a replay, which gives kept inputs to a core of its own.
impl Core {
    /// Takes over what the configuration said at a start.
    pub fn configure(&mut self, as_configured: &Configured) {
        self.profile.vehicle.clone_from(&as_configured.vehicle);
        self.profile.yard = as_configured.yard;
        self.actor.kind = if self.profile.is_gateway() { ActorKind::Site } else { ActorKind::Vehicle };
    }

    /// Puts rules in force without asking anybody. Whatever follows comes with the next look at the clock.
    pub fn obey_rules(&mut self, bundle: Bundle) {
        self.profile.bundle = bundle;
        (self.look_at_all, self.watch_anew) = (true, true);
    }

    /// Takes note of the last contact with the hub.
    pub fn heard_hub(&mut self, heard: Option<Moment>) {
        self.line.heard = heard;
    }

    /// A document as it stands.
    #[must_use]
    pub fn document(&self, kind: DocumentKind, id: DocumentId) -> Option<Document> {
        match kind {
            DocumentKind::Dispatch => self.dispatches.get(&id).map(|d| d.document.clone()),
            DocumentKind::Case => self.cases.get(&id).and_then(|c| c.document.open().ok()),
        }
    }

    /// A case as it stands; none while nobody has opened it.
    #[must_use]
    pub fn case(&self, id: DocumentId) -> Option<&CaseView> {
        self.cases.get(&id)?.view.as_ref()
    }

    /// The gates of a dispatch as last weighed.
    #[must_use]
    pub fn gates(&self, dispatch: DocumentId) -> &[GateResult] {
        self.dispatches.get(&dispatch).map_or(&[], |d| d.gates.as_slice())
    }
}
