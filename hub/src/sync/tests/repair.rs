//! A hub that is an older copy of itself, and devices that make it whole again.

use std::collections::BTreeSet;

use gatehouse_common::{
    case,
    lease::Lease,
    sync::{
        Attested, Comparison, PageDigest, Repair, Repaired,
        repair::{Differs, Given, Heads, Local, Step, digest},
        session::marks,
    },
};

use super::*;
use crate::{
    core::leases::{LeaseRow, LeaseState},
    store::{StoreError, Tx},
    sync::handle_repair,
};

impl Hub {
    fn asked(&self, depot: &Depot, asked: Repair) -> Repaired {
        self.store.fold_now().unwrap();
        handle_repair(&self.store, &hub_key(), &depot.device, asked, &at(9_000)).unwrap()
    }

    /// A page as it is signed for a device of the second protocol.
    fn page(&self, depot: &mut Depot) -> (Attested, PageDigest) {
        let asked = Pull { cursor: depot.cursor, wait_ms: 0, recalls_only: false };
        let attest = pull::Attest { key: hub_key(), run: self.store.actor().epoch, now: UtcMs(1) };
        let reply = pull::answer(&self.store, &depot.device, &asked, Some(&attest)).unwrap();
        let PullReply::Page { items, cursor, .. } = reply else { panic!("other epoch") };
        depot.cursor = cursor;
        let digest = items.iter().find_map(|i| if let Downward::Page(d) = &i.says { Some(d.clone()) } else { None });
        let page = Attested { digest: digest.expect("a page with changes is signed"), marks: marks(&items) };
        for item in items {
            if let Downward::Chunk { bytes, .. } = item.says {
                depot.document.apply_own(&bytes).unwrap();
            }
        }
        let read = page.open(&hub_key().public(), &depot.device).unwrap();
        (page, read)
    }

    /// What the disk held then, put back.
    fn copy(&self) -> Vec<u8> {
        let to = self.path.with_extension("copy");
        let from = rusqlite::Connection::open(&self.path).unwrap();
        from.execute("VACUUM INTO ?1", [to.to_str().unwrap()]).unwrap();
        std::fs::read(&to).unwrap()
    }

    fn put_back(&mut self, copy: &[u8], now: UtcMs) {
        let directory = tempfile::tempdir().unwrap();
        self.path = directory.path().join("hub.db");
        self._directory = directory;
        std::fs::write(&self.path, copy).unwrap();
        self.store = Store::open_after(&Location::Sqlite(self.path.clone()), &"hub".parse().unwrap(), now).unwrap();
    }

    fn heads(&self, id: &DocumentId) -> Vec<Hash32> {
        self.store.read_now(|r| r.document(id)).unwrap().map(|(_, d)| d.heads()).unwrap_or_default()
    }
}

/// A device's store of one document, and the pages it keeps.
pub(super) struct Kept<'a>(pub(super) &'a Depot, pub(super) Vec<Attested>);

impl Local for Kept<'_> {
    type Error = StoreError;

    fn heads(&self, after: Option<DocumentId>, _: usize) -> Result<Vec<Heads>, StoreError> {
        let one = (self.0.id(), self.0.document.heads());
        Ok(if Some(one.0) > after { vec![one] } else { Vec::new() })
    }

    fn beyond(
        &self,
        _: DocumentId,
        heads: &[Hash32],
    ) -> Result<Option<(DocumentKind, Vec<gatehouse_common::document::Chunk>)>, StoreError> {
        Ok(Some((DocumentKind::Dispatch, self.0.document.chunks_beyond(heads)?)))
    }

    fn page_of(&self, document: &DocumentId, change: &Hash32) -> Result<Option<Attested>, StoreError> {
        let mark = gatehouse_common::sync::page::mark(document, change);
        Ok(self.1.iter().find(|page| page.marks.contains(&mark)).cloned())
    }
}

fn compare(hub: &Hub, depot: &Depot, pages: Vec<Attested>) -> Vec<(u32, String)> {
    let (kept, mut comparison, mut refused) = (Kept(depot, pages), Comparison::new(), Vec::new());
    loop {
        let Step::Ask(asked) = comparison.next(&kept).unwrap() else { return refused };
        let answer = hub.asked(depot, asked);
        if let Repaired::Given(more) = &answer {
            refused.extend(more.clone());
        }
        comparison.answered(answer).unwrap();
    }
}

#[test]
fn what_a_restored_hub_forgot_its_own_word_too_is_given_back_on_its_signature_and_on_nothing_else() {
    let mut hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    depot.plan();
    depot.push(&hub);
    let copy = hub.copy();
    hub.says(depot.id(), cancelled(), Lane::Recalls);
    let (page, _) = hub.page(&mut depot);
    depot.say(Says::RecallSeen);
    depot.push(&hub);
    let whole = hub.heads(&depot.id());
    assert_eq!(depot.document.heads(), whole);

    hub.put_back(&copy, UtcMs(20_000));
    let forged = Attested { marks: page.marks.iter().rev().copied().chain([Hash32::ZERO]).collect(), ..page.clone() };
    for proof in [vec![], vec![forged]] {
        let refused = compare(&hub, &depot, proof);
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_ne!(hub.heads(&depot.id()), whole);
    }
    let quarantined = hub.quarantined();
    assert_eq!(compare(&hub, &depot, vec![page.clone()]), []);
    assert_eq!(hub.heads(&depot.id()), whole);
    assert_eq!(hub.quarantined(), quarantined);
    let mut other = hub.gateway("gw-2", "D1", 8);
    other.document = depot.document.clone();
    hub.put_back(&copy, UtcMs(40_000));
    let other = {
        let again = hub.gateway("gw-2", "D1", 8);
        Depot { document: other.document, ..again }
    };
    assert_eq!(compare(&hub, &other, vec![page]).len(), 2, "a page proves nothing for another device");
}

#[test]
fn a_page_that_the_store_cannot_have_sent_begins_another_life_and_any_other_begins_none() {
    let mut hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    depot.plan();
    depot.push(&hub);
    let copy = hub.copy();
    hub.says(depot.id(), cancelled(), Lane::Recalls);
    let (page, digest) = hub.page(&mut depot);
    let prove = |page: &Sealed| Repair::Prove { page: page.clone(), outbox_epoch: 1, taken_through: 1 };
    let life = |hub: &Hub| hub.store.read_now(|r| r.ledger_epoch()).unwrap();
    let first = life(&hub);
    assert_eq!(hub.asked(&depot, prove(&page.digest)), Repaired::Ledger(first));
    hub.restart();
    assert_eq!(hub.asked(&depot, prove(&page.digest)), Repaired::Ledger(first), "a start is no restore");
    let by_another = Sealed::new(&digest, &PrivateKey::from_seed([3; 32])).unwrap();
    let ahead = PageDigest { head: 1_000_000, device: "gw-9".parse().unwrap(), ..digest };
    for worthless in [by_another, Sealed::new(&ahead, &hub_key()).unwrap()] {
        assert_eq!(hub.asked(&depot, prove(&worthless)), Repaired::Ledger(first));
    }

    // The older copy goes on for a while, and further than the page, before anybody who knows better comes back.
    hub.put_back(&copy, UtcMs(20_000));
    for n in 0..6 {
        let (reason, why) = (gatehouse_common::dispatch::HoldReason::Person, format!("hold {n}"));
        hub.says(depot.id(), Says::Held { reason, why, cases: vec![], decision: None }, Lane::Recalls);
    }
    assert_eq!(life(&hub), first);
    let Repaired::Ledger(second) = hub.asked(&depot, prove(&page.digest)) else { panic!() };
    assert_ne!(second, first);
    assert_eq!((life(&hub), hub.store.read_now(|r| r.restored_at()).unwrap()), (second, Some(UtcMs(9_000))));
    assert_eq!(hub.asked(&depot, prove(&page.digest)), Repaired::Ledger(second), "shown again it changes nothing");
}

#[test]
fn after_a_restore_nothing_is_lent_before_every_depot_has_told_what_it_holds_and_that_weighs() {
    let hub = Hub::new();
    let (one, _two) = (hub.gateway("gw-1", "D1", 7), hub.gateway("gw-2", "D2", 8));
    let untold = || hub.store.read_now(|r| r.untold_leases()).unwrap().len();
    assert_eq!(untold(), 0);
    hub.store.write_now(|tx| tx.begin_ledger_epoch(UtcMs(5))).unwrap();
    assert_eq!(untold(), 2);
    let until = |id: &str, site: &str, key: &PrivateKey, end: i64| {
        let lease = Lease { expires_at: UtcMs(end), ..fixture::lease(id, site) };
        Sealed::new(&lease, key).unwrap()
    };
    let lease = |id: &str, site: &str, key: &PrivateKey| until(id, site, key, 51);
    let held = vec![
        lease("L1", "D1", &hub_key()),
        lease("L2", "D2", &hub_key()),
        lease("L3", "D1", &PrivateKey::from_seed([3; 32])),
    ];
    assert_eq!(hub.asked(&one, Repair::Leases(held)), Repaired::Noted);
    let known = hub.store.read_now(|r| r.leases()).unwrap();
    let known: Vec<(&str, LeaseState)> = known.iter().map(|row| (row.lease.id.as_str(), row.state)).collect();
    assert_eq!(known, [("L1", LeaseState::Outstanding)], "its own, as this hub signed it");
    assert_eq!(untold(), 1);
    // A second gateway of its depot may hold one of its own.
    let second = hub.gateway("gw-3", "D1", 9);
    assert_eq!(untold(), 2);
    hub.asked(&second, Repair::Leases(Vec::new()));
    assert_eq!(untold(), 1);
    // One that is made ready for later is not waited for before it speaks.
    let mut ready = fixture::gateway("gw-4", "D1", 4);
    ready.sites.push("D4".parse().unwrap());
    let name = ready.device.clone();
    crate::sync::devices::add(&hub.store, ready, "test", UtcMs(7)).unwrap();
    assert_eq!(untold(), 1);
    hub.store.write_now(|tx| tx.device_seen(&"gw-4".parse().unwrap(), None, UtcMs(8))).unwrap();
    assert_eq!(untold(), 3);
    hub.store.write_now(move |tx| tx.leases_are_told(&name)).unwrap();
    assert_eq!(untold(), 1);
    // Its time as well is what the depot was last granted.
    let end = || hub.store.read_now(|r| r.lease(&"L1".parse().unwrap())).unwrap().unwrap().lease.expires_at;
    for (said, stands) in [(91, 91), (51, 91)] {
        hub.asked(&one, Repair::Leases(vec![until("L1", "D1", &hub_key(), said)]));
        assert_eq!(end(), UtcMs(stands));
    }
    // What D2 holds may have got more time shortly before the restore.
    let sealed = lease("L2", "D2", &hub_key());
    let row = LeaseRow::granted(sealed.open(&hub_key().public()).unwrap(), sealed);
    hub.store.write_now(move |tx| tx.put_lease(&row, UtcMs(6))).unwrap();
    let write_off = |at: i64| {
        let write = move |tx: &mut Tx<'_>| {
            crate::lease_grants::write_off(tx, &"L2".parse().unwrap(), "ann", "burnt down", UtcMs(at)).map(drop)
        };
        hub.store.write_now(write)
    };
    assert!(write_off(55).is_err(), "it ends at 51, and 50 after the restore at 5 at the latest");
    write_off(56).unwrap();
    hub.store
        .write_now(|tx| crate::lease_grants::write_off_untold(tx, &"D2".parse().unwrap(), "ann", "sold", UtcMs(9)))
        .unwrap();
    assert_eq!(untold(), 0);
}

#[test]
fn a_person_answers_for_one_gateway_of_a_depot_and_the_other_is_still_waited_for() {
    let hub = Hub::new();
    let _gateways = [hub.gateway("gw-1", "D1", 7), hub.gateway("gw-2", "D1", 8)];
    hub.store.write_now(|tx| tx.begin_ledger_epoch(UtcMs(5))).unwrap();
    let answer = || {
        let gateway = "gw-2".parse().unwrap();
        hub.store.write_now(move |tx| crate::lease_grants::write_off_untold_of(tx, &gateway, "ann", "burnt", UtcMs(9)))
    };
    answer().unwrap();
    let untold = hub.store.read_now(|r| r.untold_leases()).unwrap();
    assert_eq!(untold.iter().map(|(_, gateway)| gateway.as_str()).collect::<Vec<_>>(), ["gw-1"]);
    assert!(matches!(answer(), Err(StoreError::Refused(_))), "it has nothing to tell any more");
}

#[test]
fn a_gateway_that_was_cut_off_after_the_copy_that_was_restored_is_waited_for_until_a_person_answers() {
    let hub = Hub::new();
    for (name, site, seed) in [("gw-1", "D1", 7), ("gw-2", "D2", 8), ("gw-3", "D3", 9)] {
        hub.gateway(name, site, seed);
    }
    let untold = || {
        let untold = hub.store.read_now(|r| r.untold_leases()).unwrap();
        untold.into_iter().map(|(site, _)| site.to_string()).collect::<Vec<_>>()
    };
    let revoke = |name: &str, at: i64| {
        let name = name.parse().unwrap();
        assert!(hub.store.write_now(move |tx| tx.revoke_device(&name, "stolen", UtcMs(at))).unwrap());
    };
    let remove = |name: &str| {
        let name = name.parse().unwrap();
        hub.store.write_now(move |tx| tx.remove_device(&name, UtcMs(9)))
    };
    let answer = |site: &str| {
        let site = site.parse().unwrap();
        hub.store
            .write_now(move |tx| crate::lease_grants::write_off_untold(tx, &site, "ann", "sold", UtcMs(9)))
            .unwrap();
    };
    revoke("gw-1", 2);
    hub.store.write_now(|tx| tx.mark_day(UtcMs(3))).unwrap();
    // After the copy and before the hub is started with it, as the guide says.
    revoke("gw-2", 4);
    hub.store.write_now(|tx| tx.begin_ledger_epoch(UtcMs(5))).unwrap();
    assert_eq!(untold(), ["D2", "D3"], "what gw-1 held the copy knows");
    revoke("gw-3", 6);
    assert_eq!(untold(), ["D2", "D3"]);
    answer("D2");
    answer("D3");
    assert_eq!(untold(), Vec::<String>::new());

    hub.gateway("gw-4", "D4", 10);
    hub.store.write_now(|tx| tx.begin_ledger_epoch(UtcMs(8))).unwrap();
    assert!(untold().contains(&"D4".to_owned()));
    assert!(matches!(remove("gw-4"), Err(StoreError::Refused(why)) if why.contains("write-off --site D4")));
    answer("D4");
    assert!(remove("gw-4").unwrap());
}

#[test]
fn devices_keep_what_came_after_the_newest_backup_and_without_one_two_weeks() {
    const DAY: i64 = 86_400_000;
    let hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    let push = |depot: &Depot, now: i64| {
        let (device, push) = (depot.device.clone(), Push { outbox_epoch: 1, records: depot.outbox.clone() });
        let reply = hub.store.write_now(move |tx| handle_push(tx, &hub_key(), &device, &push, &at(now))).unwrap();
        reply.kept_through
    };
    depot.plan();
    assert_eq!(push(&depot, DAY), 0);
    depot.say(Says::Ready);
    assert_eq!(push(&depot, 10 * DAY), 0);
    assert_eq!(push(&depot, 16 * DAY), 1, "what was there two weeks ago");
    let began = hub.store.write_now(|tx| tx.backup_begins(UtcMs(17 * DAY))).unwrap();
    depot.say(cancelled());
    assert_eq!(push(&depot, 17 * DAY), 1, "a backup that is under way holds nothing yet");
    hub.store.write_now(move |tx| tx.backup_holds(began)).unwrap();
    assert_eq!(push(&depot, 17 * DAY), 2);
    assert!(hub.store.write_now(|tx| tx.backup_holds(UtcMs(3))).is_err());
    hub.store.write_now(|tx| tx.begin_ledger_epoch(UtcMs(18 * DAY))).unwrap();
    assert_eq!(push(&depot, 18 * DAY), 0, "in another life nothing is held by any backup of before");
}

#[test]
fn a_device_that_holds_the_same_is_alike_and_one_that_lacks_a_document_gets_it_whole() {
    let hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    depot.plan();
    depot.push(&hub);
    let one = vec![(depot.id(), depot.document.heads())];
    let ask = |documents: &[Heads]| Repair::Digest { documents: documents.len() as u64, heads: digest(documents) };
    assert_eq!(hub.asked(&depot, ask(&one)), Repaired::Alike(Some(true)));
    assert_eq!(hub.asked(&depot, ask(&[])), Repaired::Alike(Some(false)));
    let new = hub.gateway("gw-3", "D1", 9);
    let asked = Repair::Heads { after: None, through: None, documents: Vec::new() };
    let Repaired::Heads { differ, through: None, head } = hub.asked(&new, asked.clone()) else { panic!() };
    assert_eq!(head, hub.store.read_now(|r| r.feed_head()).unwrap());
    let [Differs { document, lacks, .. }] = differ.as_slice() else { panic!("{differ:?}") };
    let [Downward::Snapshot { bytes, .. }, Downward::Page(_)] = lacks.as_slice() else { panic!("{lacks:?}") };
    let whole = Document::admit_whole(bytes).unwrap();
    assert_eq!((*document, whole.heads()), (depot.id(), depot.document.heads()));
    let elsewhere = hub.gateway("gw-4", "D4", 10);
    let Repaired::Heads { differ, .. } = hub.asked(&elsewhere, asked) else { panic!() };
    assert_eq!(differ, [], "nothing of another depot");
    let given = Given { document: depot.id(), kind: DocumentKind::Dispatch, bytes: depot.say(Says::Ready), page: None };
    let give = Repair::Give { pages: Vec::new(), changes: vec![given] };
    assert!(matches!(hub.asked(&elsewhere, give), Repaired::Given(refused) if refused.len() == 1));
}

#[test]
fn a_document_too_long_for_one_answer_comes_in_parts_that_fit() {
    let hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    depot.plan();
    depot.push(&hub);
    for n in 0..80_u32 {
        let why = (0..700_u32).map(|m| Hash32::of(format!("{n}/{m}").as_bytes()).to_string()).collect();
        hub.says(depot.id(), Says::Lifted { holds: Vec::new(), why }, Lane::Documents);
    }
    let mut new = hub.gateway("gw-2", "D1", 8);
    let (mut comparison, mut parts) = (Comparison::new(), 0);
    while let Step::Ask(asked) = comparison.next(&Kept(&new, Vec::new())).unwrap() {
        let answer = hub.asked(&new, asked);
        gatehouse_common::sync::encode(&answer).unwrap();
        let items = comparison.answered(answer).unwrap();
        parts += usize::from(!items.is_empty());
        assert!(parts < 20, "it does not end");
        for item in items {
            if let Downward::Chunk { bytes, .. } = item.says {
                new.document.apply_own(&bytes).unwrap();
            }
        }
    }
    assert_eq!(new.document.heads(), hub.heads(&new.id()), "it counts as alike once all of it came");
    assert!(parts > 3, "{parts}");
}

/// What the hub gives a gateway that asks `first`, long after everything was over, and then says what it holds.
fn gets(hub: &Hub, depot: &Depot, first: Repair, documents: Vec<Heads>) -> BTreeSet<DocumentId> {
    let ask = |asked: Repair| handle_repair(&hub.store, &hub_key(), &depot.device, asked, &at(9 * 86_400_000)).unwrap();
    hub.store.fold_now().unwrap();
    ask(first);
    let asked = Repair::Heads { after: None, through: None, documents };
    let Repaired::Heads { differ, .. } = ask(asked) else { panic!("not compared") };
    differ.into_iter().filter(|differs| !differs.lacks.is_empty()).map(|differs| differs.document).collect()
}

#[test]
fn what_was_over_long_ago_goes_to_a_gateway_that_begins_and_not_to_one_that_had_it_and_forgot_it() {
    let hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    let new = hub.gateway("gw-2", "D1", 8);
    depot.plan();
    depot.push(&hub);
    let dispatch = depot.id();
    hub.says(dispatch, Says::Departed { load: Vec::new(), evidence: evidence() }, Lane::Documents);
    let case_type = case::CaseType::DockBlocked;
    let case = case::document_id(&case::dedup_key(case_type, "D1/3", "-"), 1);
    let opened = case::Says::Opened {
        case_type,
        subject: "D1/3".into(),
        leg: "-".into(),
        occurrence: 1,
        site: "D1".parse().unwrap(),
        since: UtcMs(1),
        summary: "door 3 is blocked".into(),
        order: None,
        blocks: None,
        follows: None,
    };
    let (reason, how) = ("it is another's".to_owned(), Some(case::How::DuplicateOf(dispatch)));
    let to = case::CaseState::Cancelled;
    let closed = case::Says::Moved { to, since: UtcMs(2), reason, auto_cleared: false, how };
    let says = DocumentSays::Case(vec![opened, closed]);
    hub.store.write_now(move |tx| tx.write_entries(&case, says, "test", Lane::Documents, UtcMs(5_000))).unwrap();

    let (both, nothing) = (BTreeSet::from([dispatch, case]), BTreeSet::new());
    let begins = || Repair::Leases(Vec::new());
    let makes_sure = || Repair::Digest { documents: 1, heads: Hash32::ZERO };
    assert_eq!(gets(&hub, &new, begins(), Vec::new()), both);
    let held = || vec![(dispatch, hub.heads(&dispatch))];
    assert_eq!(gets(&hub, &new, begins(), held()), BTreeSet::from([case]), "it broke off, and gets the rest");
    assert_eq!(gets(&hub, &new, makes_sure(), Vec::new()), nothing, "it had everything");
    assert_eq!(gets(&hub, &depot, makes_sure(), Vec::new()), nothing, "as one that began before this was noted");

    // The hub was restored: all depots compare everything at once, and most hold what they held.
    hub.store.write_now(|tx| tx.begin_ledger_epoch(UtcMs(9))).unwrap();
    assert_eq!(gets(&hub, &depot, begins(), held()), nothing);
    assert_eq!(gets(&hub, &depot, begins(), held()), BTreeSet::from([case]), "the second time it is asked for");
    assert_eq!(gets(&hub, &new, begins(), Vec::new()), both, "one that was replaced meanwhile");
}

#[test]
fn a_lease_is_told_to_its_gateway_and_to_no_other_of_the_depot() {
    let hub = Hub::new();
    let (mut one, mut two) = (hub.gateway("gw-1", "D1", 7), hub.gateway("gw-2", "D1", 8));
    let lease = Lease { device: Some("gw-1".parse().unwrap()), ..fixture::lease("L1", "D1") };
    let sealed = Sealed::new(&lease, &hub_key()).unwrap();
    hub.store.write_now(move |tx| tx.put_lease(&LeaseRow::granted(lease, sealed), UtcMs(1))).unwrap();
    assert!(hub.pull(&mut two).is_empty());
    assert!(matches!(hub.pull(&mut one)[..], [FeedItem { says: Downward::Lease(_), .. }]));
    assert_eq!(one.cursor, two.cursor, "it is passed over");
}
