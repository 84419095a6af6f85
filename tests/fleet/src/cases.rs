//! The documents that are carried about: cases whose entries say something different each.

use gatehouse_common::{
    case::{Axes, CaseType, Says, dedup_key, document_id},
    document::{Actor, ActorKind, Chunk, Document, Entry, EntryKey, with_fold},
    id::{DeviceId, DocumentId, Hash32, SiteId},
    time::{Hlc, UtcMs},
};

use crate::words::Words;

/// Cases of this type are left alone by the rules of a depot: only people say something in them.
const TYPE: CaseType = CaseType::MasterData;
/// A case is due in so long: nobody is reminded of it while it is measured.
const DUE_MS: i64 = 30 * 86_400_000;

/// A case in the hands of one writer, who knows the last entry.
#[derive(Debug, Clone)]
pub struct Case {
    /// Which.
    pub id: DocumentId,
    /// As it stands.
    pub document: Document,
    last: Option<EntryKey>,
    clock: Hlc,
}

/// The writer of a depot's gateway.
pub fn writer(site: &SiteId, device: &DeviceId) -> Actor {
    Actor { kind: ActorKind::Site, site: site.clone(), device: device.clone(), epoch: 1 }
}

impl Case {
    /// Opens the `n`-th case of a depot; gives the change that does so.
    pub fn open(actor: &Actor, n: usize, words: &mut Words, now: UtcMs) -> anyhow::Result<(Self, Chunk)> {
        let (subject, leg) = (format!("product {n} of {}", actor.site), "-".to_owned());
        let id = document_id(&dedup_key(TYPE, &subject, &leg), 1);
        let axes = Axes::default();
        let opened = Says::Opened {
            case_type: TYPE,
            subject,
            leg,
            occurrence: 1,
            site: actor.site.clone(),
            since: now,
            summary: words.sentence(),
            order: None,
            blocks: None,
            follows: None,
        };
        let classified = Says::Classified {
            severity: axes.severity(TYPE),
            axes,
            owner: TYPE.owner(),
            actions: TYPE.actions().iter().map(|action| (*action).to_owned()).collect(),
            acknowledge_by: now.plus(DUE_MS),
            resolve_by: now.plus(DUE_MS),
            bundle: Hash32::ZERO,
        };
        let mut case = Self { id, document: Document::new()?, last: None, clock: Hlc { ms: now.0, n: 0 } };
        let says = with_fold(&case.document.entries::<Says>().0, vec![opened, classified]);
        let chunk = case.say(actor, says, now)?;
        Ok((case, chunk))
    }

    /// Says what was done about it, in words of its own.
    pub fn acted(&mut self, actor: &Actor, words: &mut Words, now: UtcMs) -> anyhow::Result<Chunk> {
        self.say(actor, vec![Self::deed(words)], now)
    }

    /// Something that was done.
    pub fn deed(words: &mut Words) -> Says {
        Says::Acted { action: "correct it in the system of record".to_owned(), outcome: words.sentence() }
    }

    fn say(&mut self, actor: &Actor, says: Vec<Says>, now: UtcMs) -> anyhow::Result<Chunk> {
        let mut entries = Vec::new();
        let mut after: Vec<EntryKey> = self.last.iter().cloned().collect();
        // Each knows the one before it; in this document their writer has written everything so far.
        let mut n = self.last.as_ref().filter(|last| last.actor == *actor).map_or(0, |last| last.n);
        for says in says {
            n += 1;
            self.clock = self.clock.tick(now);
            entries.push(Entry { after, at: now, hlc: self.clock, by: "bench".to_owned(), says });
            after = vec![EntryKey { actor: actor.clone(), n }];
        }
        let (keys, chunk) = self.document.append(actor, &entries)?;
        self.last = keys.last().cloned();
        Ok(chunk)
    }
}
