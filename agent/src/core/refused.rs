//! A change that the hub did not let in: set aside and kept, and what was said in it written again.
//!
//! The hub takes nothing that builds on such a change, so everything later in that document would be refused with it.
//! The entries go into the document once more under another actor, in their order and with their times; the case
//! says so. What is refused a second time stays aside, and only what came after it is written again. Then a case about
//! this device says it, one for each document: a word in the refused document would be refused like the rest, and the
//! two sides would answer each other for ever.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_common::{
    case::{self, CaseType},
    dispatch,
    document::{Actor, Chunk, Document, DocumentError, Entry, EntryKey},
    id::{DocumentId, DocumentKind, Hash32},
    time::Moment,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Case, Core, Dispatch,
    at_rest::AtRest,
    cases::Matter,
    decision::{Change, Effect, Record},
    dispatches::folded_whole,
    ground::GroundInput,
    input::RefusedChange,
    signals::watch::Gravity,
};

/// The number of actors that one life of a device may begin: the lower half of an epoch is that of the life, which
/// only a restored store raises, the upper half counts the actors in it.
const ACTOR_STEP: u32 = 1 << 16;
/// Most changes remembered as written for the second time.
const REWRITTEN_MAX: usize = 256;
/// What is done with a refused change, as its case says it.
const WRITE_AGAIN: &str = "write again";
/// The key of those among the state of rules.
pub(super) const REWRITTEN: &str = "rewritten";

/// The life of a device in the epoch of an actor.
pub(super) fn life_of(epoch: u32) -> u32 {
    epoch % ACTOR_STEP
}

/// Who writes from now on in place of `actor`, in the same life of the device.
pub(super) fn next_actor(actor: &Actor) -> Actor {
    Actor { epoch: actor.epoch.saturating_add(ACTOR_STEP), ..actor.clone() }
}

/// What came of writing again.
struct Again {
    document: Document,
    set_aside: Vec<Chunk>,
    written: Option<Chunk>,
    /// How many entries were written again.
    entries: usize,
}

impl Core {
    /// The hub did not let a change in.
    pub(super) fn take_refused_change(&mut self, now: &Moment, refused: &RefusedChange) {
        let held = self.document(refused.kind, refused.document);
        // One that was set aside with an earlier one is refused as well, and needs nothing more.
        let Some(held) = held.filter(|held| held.chunks().iter().any(|chunk| chunk.hash == refused.change)) else {
            return;
        };
        let actor = next_actor(&self.actor);
        let is_second = self.rewritten.contains(&refused.change);
        let is_about_it = self.is_about_this_device(refused.document);
        let again = match refused.kind {
            DocumentKind::Dispatch => {
                write_again::<dispatch::Says>(&held, &actor, &refused.change, is_second, |_| false)
            }
            DocumentKind::Case => write_again::<case::Says>(&held, &actor, &refused.change, is_second, is_word_of_it),
        };
        let again = match again {
            Ok(again) => again,
            Err(e) => {
                tracing::error!(document.id = %refused.document, "document {} cannot be written again: {e}", refused.document);
                return;
            }
        };
        self.keep(now, GroundInput::Refused(refused.clone()));
        self.actor = actor;
        self.out.records.push(Record::Actor { epoch: self.actor.epoch });
        if let Some(written) = &again.written {
            self.rewritten.insert(written.hash);
            while self.rewritten.len() > REWRITTEN_MAX {
                self.rewritten.pop_first();
            }
            self.write_rule(REWRITTEN, &self.rewritten.clone());
        }
        self.note_waits(now, refused.document, &again.document);
        // Where nothing is written again, nothing but the word of an earlier refusal was refused.
        let speaks_there = !is_second && again.written.is_some();
        self.put_again(refused, again.document, &again.set_aside, again.written);
        let what = format!(
            "the hub did not let in change {} of {}: {}; the change is kept, {} entries were written again",
            refused.change, self.profile.device, refused.reason, again.entries
        );
        if speaks_there && self.cases.get(&refused.document).is_some_and(|case| case.view.is_some()) {
            let says = case::Says::Acted { action: WRITE_AGAIN.to_owned(), outcome: what };
            self.say_case(now, refused.document, "rule", vec![says]);
        } else if is_about_it {
            // A case about that would be refused in turn.
            tracing::warn!(document.id = %refused.document, "{what}");
        } else {
            self.tell_refused(now, refused, what);
        }
    }

    /// Whether a document is a case that says of this device what it should not have done.
    fn is_about_this_device(&self, document: DocumentId) -> bool {
        let view = self.cases.get(&document).and_then(|case| case.view.as_ref());
        view.is_some_and(|v| v.case_type == CaseType::PolicyViolation && v.subject == self.profile.device.as_str())
    }

    fn put_again(&mut self, refused: &RefusedChange, document: Document, aside: &[Chunk], written: Option<Chunk>) {
        let (id, kind, reason) = (refused.document, refused.kind, refused.reason.clone());
        let after = match kind {
            DocumentKind::Dispatch => {
                let view = dispatch::fold(&document);
                let after = folded_whole(&document, view.as_ref());
                let gates = self.dispatches.get(&id).map(|d| d.gates.clone()).unwrap_or_default();
                self.dispatches.insert(id, Dispatch { document, view, gates });
                self.touched.insert(id);
                self.changed(Change::Dispatch { document: id });
                after
            }
            DocumentKind::Case => {
                let view = case::fold(&document);
                let (at_rest, after) = AtRest::whole(&document, view.as_ref());
                self.cases.insert(id, Case { document: at_rest, view });
                self.changed(Change::Case { document: id });
                after
            }
        };
        let chunks = aside.to_vec();
        self.out.records.push(Record::SetAside { document: id, kind, chunks, reason, after: after.clone() });
        if let Some(chunk) = written {
            self.out.records.push(Record::Chunk { document: id, kind, chunk, own: true, after });
        }
        self.out.effects.push(Effect::PushNow);
    }

    /// A case about this device says it; one for each document.
    fn tell_refused(&mut self, now: &Moment, refused: &RefusedChange, what: String) {
        let view = self.view(refused.document);
        let order = view.map(|v| v.order.clone());
        let matter = Matter {
            case_type: CaseType::PolicyViolation,
            subject: self.profile.device.to_string(),
            leg: format!("document {}", refused.document),
            since: now.wall,
            summary: what,
            order,
            blocks: None,
            gravity: Gravity::default(),
        };
        self.raise(now, matter);
    }
}

/// Whether an entry says no more than that a change was refused.
fn is_word_of_it(says: &case::Says) -> bool {
    matches!(says, case::Says::Acted { action, .. } if action == WRITE_AGAIN)
}

/// `held` without `refused` and what builds on it, and the entries of that written again by `actor`. Those of `refused`
/// itself are left out if it was written for the second time, and always the words of an earlier refusal.
fn write_again<T: Serialize + DeserializeOwned + Clone>(
    held: &Document,
    actor: &Actor,
    refused: &Hash32,
    is_second: bool,
    is_word_of_it: impl Fn(&T) -> bool,
) -> Result<Again, DocumentError> {
    let (mut document, set_aside) = held.without(refused)?;
    let (all, _) = held.entries::<T>();
    let (stay, _) = document.entries::<T>();
    let mut left_out: BTreeSet<EntryKey> = if is_second {
        let mut with_it = document.clone();
        if let Some(chunk) = set_aside.iter().find(|chunk| chunk.hash == *refused) {
            with_it.apply_own(&chunk.bytes)?;
        }
        with_it.entries::<T>().0.into_keys().filter(|key| !stay.contains_key(key)).collect()
    } else {
        BTreeSet::new()
    };
    left_out.extend(all.iter().filter(|(_, entry)| is_word_of_it(&entry.says)).map(|(key, _)| key.clone()));
    let gone: Vec<EntryKey> = in_order(&all, all.keys().filter(|key| !stay.contains_key(*key)));
    let mut names: BTreeMap<EntryKey, Vec<EntryKey>> = BTreeMap::new();
    let mut again: Vec<Entry<T>> = Vec::new();
    for key in gone {
        let Some(entry) = all.get(&key) else { continue };
        let after = renamed(&entry.after, &names);
        if left_out.contains(&key) {
            // What came after it comes after what it came after.
            names.insert(key, after);
            continue;
        }
        let n = u32::try_from(again.len() + 1).unwrap_or(u32::MAX);
        names.insert(key, vec![EntryKey { actor: actor.clone(), n }]);
        again.push(Entry { after, ..entry.clone() });
    }
    let entries = again.len();
    let written = if again.is_empty() { None } else { Some(document.append(actor, &again)?.1) };
    Ok(Again { document, set_aside, written, entries })
}

/// `keys`, each after those of them that it names in `after`.
fn in_order<'a, T>(all: &BTreeMap<EntryKey, Entry<T>>, keys: impl Iterator<Item = &'a EntryKey>) -> Vec<EntryKey> {
    let mut waiting: BTreeSet<EntryKey> = keys.cloned().collect();
    let mut order = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let is_free =
            |key: &&EntryKey| all.get(*key).is_none_or(|e| e.after.iter().all(|past| !waiting.contains(past)));
        let free: Vec<EntryKey> = waiting.iter().filter(is_free).cloned().collect();
        // Entries that name each other in a circle come as they are.
        let next = if free.is_empty() { waiting.iter().cloned().collect() } else { free };
        next.iter().for_each(|key| _ = waiting.remove(key));
        order.extend(next);
    }
    order
}

fn renamed(after: &[EntryKey], names: &BTreeMap<EntryKey, Vec<EntryKey>>) -> Vec<EntryKey> {
    let mut renamed = Vec::with_capacity(after.len());
    for key in after {
        let new = names.get(key).cloned().unwrap_or_else(|| vec![key.clone()]);
        renamed.extend(new);
    }
    renamed.sort();
    renamed.dedup();
    renamed
}
