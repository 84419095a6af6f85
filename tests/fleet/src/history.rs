//! What was said before the line was cut and while it was: the same cases in the depot's store and in the hub's.
//!
//! Of every ten cases the depot has changed one meanwhile, and of every fifty the hub eight, one of them a case that the
//! depot changed too; each change is two entries. So 5,000 cases give 500, 800 and 100.

use anyhow::Context;
use gatehouse_agent::core::decision::{Folded, Record};
use gatehouse_common::{
    document::{Actor, Chunk},
    id::{DocumentId, DocumentKind},
    sync::{Cursor, Lane, Push, Upward, session::BATCH_MAX},
};
use gatehouse_hub::{
    store::{DocumentSays, Store},
    sync::handle_push,
};

use crate::{
    cases::{Case, writer},
    depot::DepotPlace,
    hub::HubPlace,
    programs::{moment, now},
    unit::Unit,
    words::Words,
};

/// Entries of a case before the line was cut.
const ENTRIES: usize = 8;
/// Changes of a case that was changed.
const CHANGES: usize = 2;
/// Cases written in one transaction.
const BATCH: usize = 50;

/// One case, and what was said of it where.
pub struct Story {
    /// As both sides know it.
    pub case: Case,
    /// How it came to be so.
    pub before: Vec<Chunk>,
    /// What the depot said meanwhile.
    pub at_depot: Vec<Chunk>,
    /// The case as the depot has it now.
    pub depots: Case,
    /// Whether the hub says something meanwhile.
    pub at_hub: bool,
}

/// Draws `count` stories of the depot of `unit`.
pub fn stories(unit: &Unit, count: usize) -> anyhow::Result<Vec<Story>> {
    let (actor, now) = (writer(unit.site(), unit.name()), now().plus(-3_600_000));
    let mut words = Words::of(count as u64);
    (0..count).map(|n| story(&actor, n, &mut words, now)).collect()
}

fn story(actor: &Actor, n: usize, words: &mut Words, now: gatehouse_common::time::UtcMs) -> anyhow::Result<Story> {
    let (mut case, opening) = Case::open(actor, n, words, now)?;
    let mut before = vec![opening];
    while before.len() < ENTRIES {
        before.push(case.acted(actor, words, now)?);
    }
    let mut depots = case.clone();
    let mut at_depot = Vec::new();
    if n.is_multiple_of(10) {
        for _ in 0..CHANGES {
            at_depot.push(depots.acted(actor, words, now.plus(60_000))?);
        }
    }
    // 0 is changed by both; the other seven by the hub alone.
    let at_hub = matches!(n % 50, 0 | 1..=7);
    Ok(Story { case, before, at_depot, depots, at_hub })
}

/// Tells the hub of all stories as they were, then lets it say its own. Nothing is left to be folded.
pub fn tell_hub(hub: &HubPlace, store: &Store, unit: &Unit, stories: &[Story]) -> anyhow::Result<Cursor> {
    let all = stories.iter().flat_map(|story| story.before.iter().map(|chunk| (story.case.id, chunk)));
    let records: Vec<(u64, Upward)> = (1..).zip(all.map(|(id, chunk)| upward(id, chunk))).collect();
    for records in records.chunks(BATCH_MAX) {
        let (key, device, push) =
            (hub.key.clone(), unit.name().clone(), Push { outbox_epoch: 1, records: records.to_vec() });
        let reply = store.write_now(move |tx| handle_push(tx, &key, &device, &push, &moment()))?;
        if let Some(refused) = reply.rejected.first() {
            anyhow::bail!("the hub did not let in what it should: {}", refused.reason);
        }
    }
    let (epoch, head) = store.read_now(|r| Ok((r.ledger_epoch()?, r.feed_head()?)))?;
    let mut cursor = Cursor::start(epoch);
    for lane in Lane::ALL {
        cursor.pass(lane, head);
    }
    store.fold_now()?;
    let changed: Vec<DocumentId> = stories.iter().filter(|s| s.at_hub).map(|s| s.case.id).collect();
    let mut words = Words::of(7);
    for changed in changed.chunks(BATCH) {
        let said: Vec<_> =
            changed.iter().map(|id| (*id, (0..CHANGES).map(|_| Case::deed(&mut words)).collect())).collect();
        store.write_now(move |tx| {
            for (id, says) in said {
                tx.write_entries(&id, DocumentSays::Case(says), "bench", Lane::Documents, now())?;
            }
            Ok(())
        })?;
    }
    store.fold_now()?;
    Ok(cursor)
}

fn upward(document: DocumentId, chunk: &Chunk) -> Upward {
    Upward::Chunk { document, kind: DocumentKind::Case, bytes: chunk.bytes.clone() }
}

/// Writes all stories into the depot's store: what was before the cut is known to the hub, the rest waits.
pub fn tell_depot(place: &DepotPlace, stories: &[Story], cursor: Cursor) -> anyhow::Result<()> {
    let mut store = place.store()?;
    let mut through = 0;
    for stories in stories.chunks(BATCH) {
        let mut records = Vec::new();
        for story in stories {
            through += story.before.len() as u64;
            records.extend(own(&story.case, &story.before)?);
        }
        store.commit(&records)?;
    }
    // It has asked the hub how it stands, as a device does before it tells anything.
    let taken = Record::OutboxTaken { through, rejected: Vec::new(), kept_through: through };
    let known = [Record::Stands, taken, Record::Cursor(cursor)];
    store.commit(&known)?;
    for stories in stories.chunks(BATCH) {
        let mut records = Vec::new();
        for story in stories.iter().filter(|story| !story.at_depot.is_empty()) {
            records.extend(own(&story.depots, &story.at_depot)?);
        }
        store.commit(&records)?;
    }
    Ok(())
}

/// The depot's own changes of a case that stands as it does after the last of them.
fn own(case: &Case, chunks: &[Chunk]) -> anyhow::Result<Vec<Record>> {
    let view = gatehouse_common::case::fold(&case.document).context("a case that cannot be folded")?;
    let view = serde_json::to_string(&view)?;
    let after = Folded { heads: case.document.heads(), view, snapshot: Some(case.document.save()) };
    let record = |chunk: &Chunk| Record::Chunk {
        document: case.id,
        kind: DocumentKind::Case,
        chunk: chunk.clone(),
        own: true,
        after: after.clone(),
    };
    Ok(chunks.iter().map(record).collect())
}

/// How many changes go up and down once the line is back.
pub fn changes(stories: &[Story]) -> (usize, usize) {
    let up = stories.iter().map(|story| story.at_depot.len()).sum();
    (up, stories.iter().filter(|story| story.at_hub).count() * CHANGES)
}
