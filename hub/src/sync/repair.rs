//! Makes a device and the hub alike again, question by question.
//!
//! In: a [`Repair`]. Out: a [`Repaired`], after the commit. What a device writes itself passes the same gate as a push;
//! what others wrote is taken where the hub's own signature shows that it sent it to this device. Nothing is kept
//! between two questions but whether a gateway begins.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_common::{
    document::{
        Chunk,
        gate::{change_hash, inspect},
    },
    id::{DeviceId, DocumentId, Hash32},
    lease::Lease,
    seal::{PrivateKey, Sealed},
    sync::{
        Attested, Downward, FeedItem, PageDigest, Repair, Repaired, page,
        repair::{Differs, GIVE_MAX, Given, HEADS_MAX, Heads, LEASES_MAX, PAGES_MAX},
        session::{BATCH_MAX_BYTES, marks},
        version::FRAME_MAX_BYTES,
    },
    time::{Moment, UtcMs},
};
use tracing::warn;

use super::{
    gate::{self, Sent, Standing},
    pull::Attest,
};
use crate::{
    core::leases::{LeaseRow, LeaseState},
    store::{AuditEntry, Device, DeviceKind, Reader, Store, StoreError, Tx, documents::NotLetIn},
};

/// What is over and has not changed for so long is not sent to a device that had it and has forgotten it, in milliseconds.
const OVER_MS: i64 = 7 * 24 * 3_600_000;
/// Documents looked at for one answer.
const SCAN_MAX: usize = 4_000;
/// Documents that differ in one answer.
const DIFFER_MAX: usize = 500;
/// Most bytes of one document in one answer, which as a whole has to fit into a frame. A longer one comes in parts.
const PART_MAX_BYTES: usize = FRAME_MAX_BYTES / 2;

/// A gateway compares everything, and may hold nothing: it is new, or has a depot more, or was away for long. Orders come
/// to it however old they are, and matters come up again; without the dispatches and cases of before it would send goods
/// once more that have left, and count cases from the first.
const ANEW: &str = "anew";
/// It compares everything since this store was restored, for the first time.
const AGAIN: &str = "again";
/// It had everything, and makes sure.
const CHECKS: &str = "checks";

/// Where it stands which of these a gateway does.
fn compares(gateway: &DeviceId) -> String {
    format!("alike.compares/{gateway}")
}

/// Whether a question is within its bounds.
/// # Errors
/// What is too much.
pub fn fits(asked: &Repair) -> Result<(), String> {
    let within = |what: &str, has: usize, most: usize| {
        if has > most { Err(format!("{has} {what}; {most} is the most")) } else { Ok(()) }
    };
    match asked {
        Repair::Leases(leases) => within("leases", leases.len(), LEASES_MAX),
        Repair::Heads { documents, .. } => within("documents", documents.len(), HEADS_MAX),
        Repair::Give { pages, changes } => {
            within("changes", changes.len(), GIVE_MAX)?;
            within("pages", pages.len(), PAGES_MAX)
        }
        Repair::Prove { .. } | Repair::Digest { .. } => Ok(()),
    }
}

/// Answers a question of `device`. It blocks. `key` is the hub's.
/// # Errors
/// [`StoreError::Refused`] if the device is not on the list; else the store's own errors.
pub fn handle_repair(
    store: &Store,
    key: &PrivateKey,
    device: &DeviceId,
    asked: Repair,
    now: &Moment,
) -> Result<Repaired, StoreError> {
    let of = device.clone();
    let known = store.read_now(move |r| r.device(&of))?;
    let device = known.ok_or_else(|| StoreError::Refused(format!("device {device} is not on the list")))?;
    let (key, now) = (key.clone(), now.wall);
    match asked {
        Repair::Prove { page, outbox_epoch, taken_through } => {
            let claimed = (outbox_epoch, taken_through);
            store.write_now(move |tx| prove(tx, &key, &device, &page, claimed, now))
        }
        Repair::Leases(leases) => store.write_now(move |tx| take_leases(tx, &key, &device, &leases, now)),
        Repair::Digest { documents, heads } => {
            if let Err(error) = only_checks(store, &device.device) {
                // Then it gets more than it needs; a full disk must not keep it from its recalls.
                warn!(device.id = %device.device, %error, "that {} only makes sure is not noted: {error}", device.device);
            }
            store.read_now(|r| {
                let ours = r.digest_of_open(&device.scopes())?;
                Ok(Repaired::Alike(ours.map(|ours| ours == (documents, heads))))
            })
        }
        Repair::Heads { after, through, documents } => {
            let attest = Attest { key, run: store.actor().epoch, now };
            store.read_now(|r| compare(r, &device, (after, through), documents, &attest))
        }
        Repair::Give { pages, changes } => store.write_now(move |tx| take(tx, &key, &device, &pages, &changes, now)),
    }
}

/// A page that this store cannot have sent shows that it is an older copy: another life of the ledger begins.
///
/// What was taken of an outbox after the last page is signed by nobody. That a device says so is believed once in a run:
/// a store is put back only between two runs, and a device that lies makes no more than one new life of each.
fn prove(
    tx: &mut Tx<'_>,
    key: &PrivateKey,
    device: &Device,
    sealed: &Sealed,
    (outbox_epoch, taken_through): (u64, u64),
    now: UtcMs,
) -> Result<Repaired, StoreError> {
    let shown = sealed.open::<PageDigest>(&key.public()).ok().filter(|page| page.device == device.device);
    let why = match shown {
        Some(shown) if !tx.knows(&shown)? => {
            format!("a page of run {} at position {} is not known here", shown.run, shown.head)
        }
        Some(shown) if shown.ledger == tx.ledger_epoch()? => {
            let taken = tx.taken_through(&device.device, outbox_epoch)?;
            if taken >= taken_through || !tx.believes_once_in_a_run()? {
                return Ok(Repaired::Ledger(tx.ledger_epoch()?));
            }
            format!("of its outbox {taken_through} records were taken, of which {taken} are known here")
        }
        Some(_) => return Ok(Repaired::Ledger(tx.ledger_epoch()?)),
        None => {
            warn!(device.id = %device.device, "{} shows a page that this hub did not sign for it", device.device);
            return Ok(Repaired::Ledger(tx.ledger_epoch()?));
        }
    };
    let epoch = tx.begin_ledger_epoch(now)?;
    warn!(device.id = %device.device, %epoch, "this store is older than what it once said: another life of the ledger begins");
    tx.audit(&AuditEntry {
        at: now,
        actor: device.device.to_string(),
        action: "store found to be an older copy".to_owned(),
        subject: epoch.to_string(),
        detail: why,
    })?;
    Ok(Repaired::Ledger(epoch))
}

/// Leases that the hub granted and has forgotten weigh again, and last as long as was granted.
fn take_leases(
    tx: &mut Tx<'_>,
    key: &PrivateKey,
    device: &Device,
    leases: &[Sealed],
    now: UtcMs,
) -> Result<Repaired, StoreError> {
    if device.kind != DeviceKind::Gateway {
        return Ok(Repaired::Noted);
    }
    for sealed in leases {
        let lease = match sealed.open::<Lease>(&key.public()) {
            Ok(lease) if device.sites.contains(&lease.site) && lease.is_for(&device.device) => lease,
            _ => {
                warn!(device.id = %device.device, "{} names a lease that this hub did not grant it", device.device);
                continue;
            }
        };
        let sealed = sealed.clone();
        let row = match tx.lease(&lease.id)? {
            Some(known) if known.lease.expires_at >= lease.expires_at => continue,
            // It got more time, which is forgotten.
            Some(known) => LeaseRow { lease, sealed, ..known },
            // Its use may have been told before it: the outbox is told beside this.
            None => match tx.statement_of(&device.device, &lease.id)? {
                Some(used) => LeaseRow {
                    state: LeaseState::Closed,
                    used,
                    closed_at: Some(now),
                    ..LeaseRow::granted(lease, sealed)
                },
                None => LeaseRow::granted(lease, sealed),
            },
        };
        tx.put_lease(&row, now)?;
    }
    // With this question a gateway begins to compare everything.
    let how = if tx.has_told_leases(&device.device)? { ANEW } else { AGAIN };
    tx.set_cursor(&compares(&device.device), how)?;
    tx.leases_are_told(&device.device)?;
    Ok(Repaired::Noted)
}

/// With this question a gateway that has begun makes sure.
fn only_checks(store: &Store, gateway: &DeviceId) -> Result<(), StoreError> {
    let name = compares(gateway);
    if store.read_now(|r| r.cursor(&name))?.is_none_or(|how| how == CHECKS) {
        return Ok(());
    }
    store.write_now(move |tx| tx.set_cursor(&name, CHECKS))
}

/// What differs between two places, as far as one answer goes.
fn compare(
    reader: &Reader<'_>,
    device: &Device,
    (after, through): (Option<DocumentId>, Option<DocumentId>),
    documents: Vec<Heads>,
    attest: &Attest,
) -> Result<Repaired, StoreError> {
    let now = attest.now;
    let asked: BTreeMap<DocumentId, Vec<Hash32>> = documents.into_iter().collect();
    let damaged = reader.damaged_documents()?;
    let mut held = reader.held(&device.scopes(), after, through, SCAN_MAX + 1)?;
    let is_all = held.len() <= SCAN_MAX;
    held.truncate(SCAN_MAX);
    let through = if is_all { through } else { held.last().map(|held| held.document) };
    let within = |id: &DocumentId| Some(*id) > after && through.is_none_or(|last| *id <= last);
    let mut held: BTreeMap<DocumentId, _> = held.into_iter().map(|held| (held.document, held)).collect();
    let ids: BTreeSet<DocumentId> = asked.keys().chain(held.keys()).copied().filter(within).collect();
    let is_long_over = |over: bool, changed_at: UtcMs| over && now.since(changed_at) > OVER_MS;
    let forgets = match reader.cursor(&compares(&device.device))?.as_deref() {
        Some(ANEW) => false,
        // One that holds what is long over stood at the hub that was lost, and forgot the rest by itself. To give all of
        // it to every depot at once would take the restored hub days.
        Some(AGAIN) => asked.keys().filter_map(|id| held.get(id)).any(|held| is_long_over(held.over, held.changed_at)),
        _ => true,
    };
    let (mut differ, mut weight, mut reached) = (Vec::new(), 0, through);
    let mut before = after;
    for document in ids {
        if weight > BATCH_MAX_BYTES || differ.len() >= DIFFER_MAX {
            reached = before;
            break;
        }
        before = Some(document);
        let (theirs, ours) = (asked.get(&document), held.remove(&document));
        let Some(ours) = ours else {
            differ.push(Differs { document, heads: Vec::new(), lacks: Vec::new() });
            weight += 64;
            continue;
        };
        if damaged.contains(&document) {
            // Who has it gives all that comes after what can be read here, and with that what cannot.
            if theirs.is_some() {
                differ.push(Differs { document, heads: reader.heads_of_the_rest(&document)?, lacks: Vec::new() });
                weight += 64;
            }
            continue;
        }
        let is_forgotten = forgets && theirs.is_none() && is_long_over(ours.over, ours.changed_at);
        if is_forgotten || (ours.heads.is_some() && ours.heads.as_ref() == theirs) {
            continue;
        }
        let Some((found, is_all)) = differs(reader, document, theirs)? else { continue };
        weight += 64 + found.lacks.iter().map(weight_of).sum::<usize>();
        differ.push(found);
        if !is_all {
            warn!(device.id = %device.device, "document {document} is too long for one answer, and comes in parts");
            // The device asks on from just before it, by what it has got of it then.
            reached = Some(document.just_before());
            break;
        }
    }
    let lacks = differ.iter().flat_map(|found: &Differs| &found.lacks);
    let items: Vec<FeedItem> =
        lacks.map(|says| FeedItem { lane: says.usual_lane(), position: 0, says: says.clone() }).collect();
    if let (false, Some(last)) = (items.is_empty(), differ.last_mut()) {
        // What comes this way may have to be given back one day as well.
        last.lacks.push(Downward::Page(attest.digest(reader, &device.device, &marks(&items))?));
    }
    Ok(Repaired::Heads { differ, through: reached, head: reader.feed_head()? })
}

fn weight_of(says: &Downward) -> usize {
    match says {
        Downward::Chunk { bytes, .. } | Downward::Snapshot { bytes, .. } => bytes.len() + 48,
        _ => 0,
    }
}

/// In what a document differs, and whether the device then has all of it.
fn differs(
    reader: &Reader<'_>,
    document: DocumentId,
    theirs: Option<&Vec<Hash32>>,
) -> Result<Option<(Differs, bool)>, StoreError> {
    // One that is damaged here is not compared: giving it all again would change nothing.
    let Some((kind, whole)) = reader.readable(&document)? else { return Ok(None) };
    let heads = whole.heads();
    if theirs == Some(&heads) {
        return Ok(None);
    }
    if theirs.is_none() {
        let bytes = whole.save();
        if bytes.len() <= PART_MAX_BYTES {
            let lacks = vec![Downward::Snapshot { document, kind, bytes }];
            return Ok(Some((Differs { document, heads, lacks }, true)));
        }
    }
    let mut chunks = whole.chunks_beyond(theirs.map(Vec::as_slice).unwrap_or_default())?;
    let (all, fit) = (chunks.len(), that_fit(&chunks));
    chunks.truncate(fit);
    // Of a part its own end is told: by an end that it does not know the device would give all of it back.
    let heads = if fit == all { heads } else { ends_of(&chunks) };
    let lacks = chunks.into_iter().map(|chunk| Downward::Chunk { document, kind, bytes: chunk.bytes }).collect();
    Ok(Some((Differs { document, heads, lacks }, fit == all)))
}

/// How many of these changes, from the first on, go into one answer; at least one.
fn that_fit(chunks: &[Chunk]) -> usize {
    let mut weight = 0;
    let fits = |chunk: &&Chunk| {
        weight += chunk.bytes.len() + 48;
        weight <= PART_MAX_BYTES
    };
    chunks.iter().take_while(fits).count().max(1).min(chunks.len())
}

/// Those of these changes on which none of the others builds.
fn ends_of(chunks: &[Chunk]) -> Vec<Hash32> {
    let built_on: BTreeSet<Hash32> =
        chunks.iter().filter_map(|chunk| inspect(&chunk.bytes).ok()).flat_map(|seen| seen.deps).collect();
    chunks.iter().map(|chunk| chunk.hash).filter(|hash| !built_on.contains(hash)).collect()
}

/// Takes changes back.
fn take(
    tx: &mut Tx<'_>,
    key: &PrivateKey,
    device: &Device,
    pages: &[Attested],
    changes: &[Given],
    now: UtcMs,
) -> Result<Repaired, StoreError> {
    let proved: Vec<BTreeSet<Hash32>> = pages
        .iter()
        .map(|page| match page.open(&key.public(), &device.device) {
            Ok(_) => page.marks.iter().copied().collect(),
            Err(error) => {
                warn!(device.id = %device.device, %error, "{} shows a page that proves nothing: {error}", device.device);
                BTreeSet::new()
            }
        })
        .collect();
    let (mut refused, mut not_now) = (Vec::new(), BTreeSet::new());
    for (place, given) in (0..).zip(changes) {
        let change = change_hash(&given.bytes).ok();
        if let Some(change) = &change
            && tx.has_chunk(&given.document, change)?
        {
            // It was let in once, whoever wrote it. If it is damaged here, these are its bytes.
            tx.mend_chunk(&given.document, &given.bytes, now)?;
            continue;
        }
        let mark = change.map(|change| page::mark(&given.document, &change));
        let page = given.page.and_then(|page| proved.get(page as usize));
        let is_proved = page.zip(mark).is_some_and(|(page, mark)| page.contains(&mark));
        let standing = if is_proved { Standing::Proved } else { Standing::Own };
        let writer = inspect(&given.bytes).ok().and_then(|inspected| inspected.actor());
        if !is_proved && writer.as_ref().is_some_and(|writer| writer.device != device.device) {
            // Not put into quarantine: another may show the page, and what builds on it would be refused for good.
            refused.push((place, "written by another, and no page shows that this hub sent it".to_owned()));
            continue;
        }
        if not_now.contains(&given.document) {
            // It builds on what was not let in, and would be refused for good.
            refused.push((place, NotLetIn::NotNow.to_string()));
            continue;
        }
        let sent = Sent { device, document: &given.document, kind: given.kind, standing, now };
        for outcome in gate::chunks(tx, &sent, &[&given.bytes])? {
            let Err(why) = outcome else { continue };
            if why == NotLetIn::NotNow {
                not_now.insert(given.document);
            }
            refused.push((place, why.to_string()));
        }
    }
    Ok(Repaired::Given(refused))
}
