//! What other rules would have decided: the recorded past of a store, given once more to the code that decides.
//!
//! In: a store, read only, and a bundle. Out: a [`Report`] of the dispatches and cases that come out otherwise, and of
//! how true the replay is to what the store recorded. Two cores are run side by side on the same inputs at the same
//! moments: one under the rules that were in force then, one under the new ones. Between two inputs the timers of both
//! ring as the driver's would. What sensors saw and people did is taken as it was, also where other rules would have
//! moved them to do something else. Writes nothing, signs with a key of its own, and never talks to anybody.

mod compare;
mod foreign;
mod run;
mod stream;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use gatehouse_common::{
    bundle::Bundle,
    document::Document,
    id::{Hash32, SiteId},
    sync::Cursor,
    time::{Moment, UtcMs},
};

pub use compare::{CasesOfType, Difference, Faith, Report, Step};

use crate::{
    core::{
        Core, Profile,
        ground::{Configured, GroundInput},
        rules::Texts,
        start::{ChainTail, Snapshot, StoredDocument},
    },
    store::{Beginning, Reader, StoreError},
};
use foreign::Mirror;
use gatehouse_common::{decision::ChainHead, id::DeviceId, seal::PrivateKey};
use run::Pair;
use stream::{Event, Stream, What};

/// Events between two words on how far it is.
const TOLD_EVERY: u64 = 256;

/// What is asked.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// From when on the new rules are tried; from the first recorded input on if not given.
    pub from: Option<UtcMs>,
    /// Until when; to the end of the record if not given.
    pub to: Option<UtcMs>,
}

/// Why nothing could be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The store cannot be read. Look at the path, or at what is told of the file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing is recorded in that span. Ask for another.
    #[error("nothing is recorded between these times; the record begins {0}")]
    Nothing(String),
    /// The store is not whole enough to begin with. `docs/runbook.md#damaged-store` says what then.
    #[error("the store cannot be replayed: {0}")]
    Broken(String),
}

/// How far a replay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The recorded time that it has got to.
    pub at: UtcMs,
    /// Readings and other inputs given so far.
    pub given: u64,
    /// How many there are to give, from its beginning on.
    pub of: u64,
}

/// Runs `new` over what the store recorded; tells now and then how far it is.
/// # Errors
/// [`ReplayError`].
pub fn replay(
    store: &Reader,
    new: &Bundle,
    asked: &Asked,
    mut told: impl FnMut(Progress),
) -> Result<Report, ReplayError> {
    let end = store.inputs_end()?;
    let rules = Rules::of(store)?;
    let beginning = store.beginning(asked.from)?.unwrap_or(Beginning { epoch: 1, ..Beginning::default() });
    let mut stream = Stream::behind(store, &beginning, end);
    let of = stream.left();
    let core = core_at(store, &beginning, &rules)?;
    let mut pair = Pair::new(core, Mirror::behind(beginning.chunk));
    let mut given = 0;
    while let Some(event) = stream.next()? {
        let at = event.at.wall;
        if asked.to.is_some_and(|to| at > to) {
            break;
        }
        if !pair.is_forked() && asked.from.is_none_or(|from| at >= from) {
            pair.advance(&event, asked.from);
            pair.fork(new, asked.from.unwrap_or(at).max(pair.now().map_or(at, |now| now.wall.min(at))));
        }
        pair.advance(&event, None);
        give(&mut pair, store, &rules, event)?;
        given += 1;
        if given % TOLD_EVERY == 0 {
            told(Progress { at, given, of });
        }
    }
    pair.rest(asked.to);
    let Some(span) = pair.span() else {
        let first = store.inputs_behind(beginning.input, 1)?.first().map(|input| input.at.wall.to_string());
        return Err(ReplayError::Nothing(first.unwrap_or_else(|| "nowhere yet: start the agent once".to_owned())));
    };
    let missing = stream.missing();
    compare::report(store, new, pair, span, missing, rules.asked_in_vain())
}

fn give(pair: &mut Pair, store: &Reader, rules: &Rules, event: Event) -> Result<(), ReplayError> {
    let Event { at, what } = event;
    match what {
        What::Reading(reading) => pair.reading(&at, reading),
        What::Input(GroundInput::Started { as_configured, heard }) => {
            let bundle = rules.named(&as_configured.bundle);
            pair.started(&at, &as_configured, heard, bundle);
        }
        What::Input(GroundInput::Rules { bundle }) => pair.rules_change(&at, rules.named(&bundle)),
        What::Input(GroundInput::Feed(told)) => pair.told(&at, store, told)?,
        What::Input(other) => pair.other(&at, other),
    }
    Ok(())
}

/// The rules that the store keeps, by hash.
struct Rules {
    texts: BTreeMap<String, String>,
    oldest: Option<String>,
    in_vain: std::cell::Cell<u64>,
}

impl Rules {
    fn of(store: &Reader) -> Result<Self, StoreError> {
        let rows = store.bundles()?;
        let oldest = rows.last().map(|row| row.text.clone());
        let texts = rows.into_iter().map(|row| (row.hash, row.text)).collect();
        Ok(Self { texts, oldest, in_vain: std::cell::Cell::new(0) })
    }

    /// The rules with this hash, if they are kept and read by this program.
    fn named(&self, hash: &Hash32) -> Option<Bundle> {
        let found = self.texts.get(&hash.to_string()).and_then(|text| Bundle::parse(text).ok());
        if found.is_none() {
            self.in_vain.set(self.in_vain.get() + 1);
        }
        found
    }

    fn asked_in_vain(&self) -> u64 {
        self.in_vain.get()
    }
}

/// A core that stands where the recorded one stood.
fn core_at(store: &Reader, beginning: &Beginning, rules: &Rules) -> Result<Core, ReplayError> {
    let broken = |what: &str| ReplayError::Broken(format!("it does not say {what}"));
    let identity = store.identity()?;
    let device = identity.get("device").and_then(|text| DeviceId::new(text.as_str()).ok());
    let site = identity.get("site").and_then(|text| SiteId::new(text.as_str()).ok());
    let (device, site) = (device.ok_or_else(|| broken("which device"))?, site.ok_or_else(|| broken("which depot"))?);
    let bundle = match &beginning.bundle {
        Some(hash) => rules.named(hash),
        None => rules.oldest.as_ref().and_then(|text| Bundle::parse(text).ok()),
    };
    let configured = beginning.configured.clone();
    let (vehicle, yard) = configured.map_or((None, None), |Configured { vehicle, yard, .. }| (vehicle, yard));
    let profile = Profile {
        device: device.clone(),
        site,
        vehicle,
        yard,
        // Decisions of a replay are nobody's.
        key: PrivateKey::from_seed([0; 32]),
        // Only leases whose signature held were kept.
        hub_key: None,
        bundle: bundle.unwrap_or_else(Bundle::usual),
    };
    let head = ChainHead::start(device, beginning.epoch);
    let snapshot = Snapshot {
        actor_epoch: beginning.epoch,
        chain: ChainTail { head, anchored: None, unanchored: Vec::new() },
        rules: beginning.rules.clone(),
        facts: beginning.facts.clone(),
        orders: beginning.orders.clone(),
        documents: documents_at(store, beginning.chunk)?,
        leases: beginning.leases.clone(),
        gates: Vec::new(),
        texts: Texts::default(),
        cursor: Cursor::default(),
    };
    Ok(Core::load(profile, snapshot))
}

/// Every document as its chunks up to this position make it.
fn documents_at(store: &Reader, chunk: u64) -> Result<Vec<StoredDocument>, ReplayError> {
    let mut documents = Vec::new();
    if chunk == 0 {
        return Ok(documents);
    }
    for (document, kind) in store.documents_with_chunks()? {
        let chunks = store.chunks_of(document)?;
        let mut made = new_document()?;
        let mut any = false;
        for (_, before) in chunks.iter().filter(|(position, _)| *position <= chunk) {
            any = true;
            made.apply_own(&before.bytes).map_err(|e| ReplayError::Broken(format!("document {document}: {e}")))?;
        }
        if any {
            let (snapshot, chunks) = (made.save(), Vec::new());
            documents.push(StoredDocument { document, kind, snapshot, chunks, heads: None });
        }
    }
    Ok(documents)
}

fn new_document() -> Result<Document, ReplayError> {
    Document::new().map_err(|e| ReplayError::Broken(e.to_string()))
}

/// So much later, within the same boot.
fn later(now: &Moment, ms: u64) -> Moment {
    let wall = now.wall.plus(i64::try_from(ms).unwrap_or(i64::MAX));
    Moment { wall, boottime_ms: now.boottime_ms.saturating_add(ms), ..now.clone() }
}
