//! What devices may make of a document: how long it may be, whose it stays, and which version of the fold it may ask for.

use gatehouse_common::{
    case, dispatch,
    document::{Applied, Document, Folds, gate::Inspected},
    id::DocumentKind,
};
use serde::de::DeserializeOwned;

use super::ForeignChunks;
use crate::core::projections::Brief;

/// Most entries of a document that a device may write into. A case goes on in another document after a tenth of them,
/// and a dispatch that is held and ready again every half hour for three weeks has as many. To fold a document takes a
/// bit for each pair of its entries, 500 kB for these, and time by the square at least.
const ENTRIES_MAX: usize = 10 * case::lifecycle::ENTRIES_MAX;

/// Most bytes of such a document as it is saved, with its notes and what waits for its past: thirty entries of the
/// largest size. In memory it takes two to three times as much, and twice that while a change is tried on it.
const SAVED_MAX_BYTES: usize = 2 * 1024 * 1024;

/// Most bytes of a document that is nobody's yet: all of it waits for its past, and whoever knows the id may bring that.
/// Once it is somebody's, most of its room is left to those who may write into it.
const NOBODYS_MAX_BYTES: usize = SAVED_MAX_BYTES / 8;

/// Whether a document could be too long after some changes. Operations are counted, of which there are no fewer than
/// entries: what many changes at once would bring is not to be tried first.
pub(super) fn may_outgrow(document: &Document, chunks: &[&Inspected]) -> bool {
    let operations = chunks.iter().map(|chunk| chunk.operations());
    operations.fold(document.operations(), usize::saturating_add) > ENTRIES_MAX
}

/// Whether a document, `saved_bytes` long, is one that a device may have brought so far.
pub(super) fn is_within_bounds(document: &Document, saved_bytes: usize) -> Result<(), String> {
    if saved_bytes > SAVED_MAX_BYTES {
        return Err(format!("the document would have {saved_bytes} bytes; {SAVED_MAX_BYTES} is the most"));
    }
    // Entries are only counted where there can be so many.
    if document.operations() > ENTRIES_MAX && document.entry_count() > ENTRIES_MAX {
        return Err(format!("the document would have more than {ENTRIES_MAX} entries"));
    }
    Ok(())
}

/// Whether a device's changes leave a document with the depot that it is of, and in the reach of this hub.
pub(super) fn leaves_as_it_was(
    foreign: &ForeignChunks<'_>,
    applied: &[Applied],
    before: Option<&Brief>,
    after: Option<&Brief>,
) -> Result<(), String> {
    if let (Some(before), Some(after)) = (before, after)
        && before.whose.site != after.whose.site
    {
        // All that was said in it would count for nothing. No join and no successor does that.
        return Err("a document stays with the depot that it is of".to_owned());
    }
    let newest = newest_fold(foreign.kind);
    // A newer hub beside this one may have let in what asks for more; what comes after that asks for nothing.
    let known = before.map_or(newest, |before| before.fold.max(newest));
    let mut asked = after.map_or(0, |after| after.fold);
    for (inspected, _) in foreign.chunks.iter().zip(applied).filter(|(_, applied)| **applied == Applied::Waiting) {
        // It is in no fold yet, and whoever brings its past could do nothing about it.
        asked = asked.max(fold_asked(foreign.kind, inspected)?);
    }
    if asked > known {
        // No program could read it, and none would decide anything on it any more.
        return Err(format!("it asks for version {asked} of the fold; this hub knows {newest} and is upgraded first"));
    }
    Ok(())
}

/// The newest fold of a kind of document that this hub knows.
fn newest_fold(kind: DocumentKind) -> u32 {
    match kind {
        DocumentKind::Case => case::Says::NEWEST,
        DocumentKind::Dispatch => dispatch::Says::NEWEST,
    }
}

/// The highest version of the fold that a change asks for, with or without authority; 0 if it asks for none.
fn fold_asked(kind: DocumentKind, inspected: &Inspected) -> Result<u32, String> {
    fn highest<T: Folds + DeserializeOwned>(inspected: &Inspected) -> Result<u32, String> {
        let entries = inspected.entries::<T>().map_err(|why| why.to_string())?;
        Ok(entries.iter().filter_map(|entry| entry.says.fold_named()).max().unwrap_or(0))
    }
    match kind {
        DocumentKind::Case => highest::<case::Says>(inspected),
        DocumentKind::Dispatch => highest::<dispatch::Says>(inspected),
    }
}

/// Whether a document, `saved_bytes` long, may wait for whoever opens it.
pub(super) fn may_be_nobodys(after: Option<&Brief>, saved_bytes: usize) -> Result<(), String> {
    if after.is_none() && saved_bytes > NOBODYS_MAX_BYTES {
        return Err("too much waits in a document that nobody has opened".to_owned());
    }
    Ok(())
}
