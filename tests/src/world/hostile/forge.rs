//! What is forged: changes, decisions, facts, pages and frames that are not what they say they are.

use std::io;

use gatehouse_common::{
    case::{self, CaseType},
    decision::{DecidedBy, DecisionKind, DecisionRecord},
    dispatch,
    document::{Actor, Chunk, Document, Entry, gate::inspect},
    fact::{FactKey, FactValue, Report, Source},
    id::{DecisionId, DeviceId, DocumentId, DocumentKind, Hash32, OrderId, SiteId},
    seal::{PrivateKey, Sealed},
    sync::{
        Attested, LedgerEpoch, PageDigest, Push, decode, page,
        version::{CONTENT_MAX_BYTES, PROTOCOL},
    },
    time::{Hlc, Moment, UtcMs},
};

use crate::{fuzz::mutate::Mutator, world::dice::Dice};

/// Bytes of magic and checksum before the part of a change that the checksum is over.
const HEAD: usize = 8;
/// Tries to mangle a frame so that nobody can read it.
const TRIES: usize = 20;

/// Somebody's document, as it stands at the hub.
pub(super) struct Target {
    pub(super) id: DocumentId,
    pub(super) kind: DocumentKind,
    pub(super) site: SiteId,
    pub(super) order: Option<OrderId>,
    pub(super) document: Document,
}

/// Says something in a document, in the name of `actor` and of this time.
pub(in crate::world) fn says_in(
    kind: DocumentKind,
    document: &mut Document,
    actor: &Actor,
    at: UtcMs,
    dice: &mut Dice,
) -> Chunk {
    let (word, by, hlc) = (format!("harm {}", dice.roll()), "nobody".to_owned(), Hlc { ms: at.0, n: 0 });
    let after = Vec::new();
    let written = match kind {
        DocumentKind::Case => {
            let says = case::Says::Acted { action: word, outcome: "none".to_owned() };
            document.append(actor, &[Entry { after, at, hlc, by, says }])
        }
        DocumentKind::Dispatch => {
            let says = dispatch::Says::Lifted { holds: Vec::new(), why: word };
            document.append(actor, &[Entry { after, at, hlc, by, says }])
        }
    };
    written.expect("an entry can be written").1
}

/// A case of the depot `site`, opened at `at`: its id, the document, and the change that opens it.
pub(super) fn opens(site: &SiteId, actor: &Actor, at: UtcMs) -> (DocumentId, Document, Chunk) {
    let (case_type, subject) = (CaseType::DockBlocked, format!("{site}/1"));
    let id = case::document_id(&case::dedup_key(case_type, &subject, "-"), 1);
    let says = case::Says::Opened {
        case_type,
        subject,
        leg: "-".to_owned(),
        occurrence: 1,
        site: site.clone(),
        since: at,
        summary: "the door is blocked".to_owned(),
        order: None,
        blocks: None,
        follows: None,
    };
    let mut document = Document::new().expect("a document can be made");
    let entry = Entry { after: Vec::new(), at, hlc: Hlc { ms: at.0, n: 0 }, by: "nobody".to_owned(), says };
    let (_, chunk) = document.append(actor, &[entry]).expect("an entry can be written");
    (id, document, chunk)
}

/// Some writer of a document.
pub(super) fn writer_of(document: &Document, dice: &mut Dice) -> Option<Actor> {
    let chunks = document.chunks();
    inspect(&chunks.get(dice.place(chunks.len()))?.bytes).ok()?.actor()
}

/// A change of a document with other bytes; in half its checksum is made right again.
pub(super) fn mutated(document: &Document, mutator: &mut Mutator, dice: &mut Dice) -> Vec<u8> {
    let good: Vec<Vec<u8>> = document.chunks().into_iter().map(|chunk| chunk.bytes).collect();
    let mut bytes = mutator.draw(&good);
    if dice.chance(500) && bytes.len() > HEAD {
        let sum = Hash32::of(&bytes[HEAD..]);
        bytes[4..HEAD].copy_from_slice(&sum.0[..4]);
    }
    bytes
}

/// A change of a document without its head. What is left has the hash that the change has.
pub(super) fn headless(document: &Document, dice: &mut Dice) -> Option<Vec<u8>> {
    let chunks = document.chunks();
    Some(chunks.get(dice.place(chunks.len()))?.bytes[HEAD..].to_vec())
}

/// A decision of `device` that says that it stands at `position`, behind `previous`.
pub(in crate::world) fn decision(
    (device, site): (&DeviceId, &SiteId),
    (position, previous): (u64, Hash32),
    at: Moment,
    key: &PrivateKey,
) -> Sealed {
    let record = DecisionRecord {
        v: 1,
        id: DecisionId::of(device, 1, position),
        device: device.clone(),
        site: site.clone(),
        epoch: 1,
        position,
        previous,
        kind: DecisionKind::Release,
        mode: None,
        dispatch: None,
        order: None,
        load: Vec::new(),
        gates: Vec::new(),
        bundle: Hash32::ZERO,
        lease: None,
        by: DecidedBy::Rule { rule: "none".to_owned() },
        reason: "none".to_owned(),
        at,
        begins: None,
        drills: Vec::new(),
    };
    Sealed::new(&record, key).expect("a record can be signed")
}

/// That the papers of an order are complete, or without an order that a customer may buy what it likes.
pub(super) fn fact(order: Option<OrderId>, at: UtcMs) -> String {
    let (key, value, source) = match order {
        Some(order) => (FactKey::Documents { order }, FactValue::Documents { complete: true }, Source::Depot),
        None => {
            let customer = "C1".parse().expect("a name");
            let value = FactValue::Credit { on_hold: false, headroom_minor: i64::MAX };
            (FactKey::Credit { customer }, value, Source::Erp)
        }
    };
    let report = Report { key, value, source, at, evidence: "none".to_owned() };
    serde_json::to_string(&report).expect("a report can be written")
}

/// A page of the hub's that `device` signed itself.
pub(super) fn signed_page(device: &DeviceId, marks: Vec<Hash32>, key: &PrivateKey) -> Attested {
    let (ledger, changes) = (LedgerEpoch(1), page::root(&marks));
    let digest = PageDigest { device: device.clone(), ledger, run: 1, head: 1_000_000, backed_up: 0, changes };
    Attested { digest: Sealed::new(&digest, key).expect("a page can be signed"), marks }
}

/// A small frame that holds more than is read.
pub(super) fn inflated() -> io::Result<Vec<u8>> {
    let zeros = vec![0; CONTENT_MAX_BYTES + 1];
    Ok([&[PROTOCOL][..], &zstd::bulk::compress(&zeros, 1)?].concat())
}

/// `frame` with other bytes, so that it is none.
pub(super) fn mangled(frame: &[u8], mutator: &mut Mutator) -> Option<Vec<u8>> {
    let frames = [frame.to_vec()];
    (0..TRIES).map(|_| mutator.draw(&frames)).find(|bytes| decode::<Push>(bytes).is_err())
}
