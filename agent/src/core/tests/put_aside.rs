//! Rows that rotted: put aside, and whole again by what the core, the outbox or the hub has of them. What nobody has
//! stays named.

use std::collections::BTreeMap;

use gatehouse_common::{
    case::CaseState,
    document::{Chunk, Document, gate::inspect},
    id::{DocumentId, Hash32},
    order::OrderStatus,
    reading::ScanStep,
    seal::PrivateKey,
    sync::{
        Comparison, Downward, LedgerEpoch, Repair, Repaired,
        repair::{Differs, Local, Step},
    },
};

use super::{Depot, both};
use crate::{
    core::{Core, decision::Record, input::Input},
    driver,
    store::{Damaged, Identity, Reader, ScrubPlace, Store, StoreError},
};

fn short_of_stock(depot: &mut Depot) -> DocumentId {
    depot.online().lease("L1", 100).prepared("O1", 10).inventory("O1", 4).scan(ScanStep::Staged, "O1", 10);
    depot.case("INV_SHORTFALL")
}

/// Flips a bit of one value.
fn rots(depot: &Depot, table: &str, column: &str, row: i64) {
    let conn = depot.store.raw();
    let read = format!("SELECT CAST({column} AS BLOB), typeof({column}) = 'text' FROM {table} WHERE rowid = ?1");
    let (mut bytes, is_text): (Vec<u8>, bool) =
        conn.query_row(&read, [row], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let value = if is_text { "CAST(?1 AS TEXT)" } else { "?1" };
    conn.execute(&format!("UPDATE {table} SET {column} = {value} WHERE rowid = ?2"), (bytes, row)).unwrap();
}

/// What a whole round of the scrub finds.
fn damaged(depot: &Depot) -> Vec<Damaged> {
    found_in(depot.look())
}

fn found_in(store: &Reader) -> Vec<Damaged> {
    let (mut place, mut found) = (Some(ScrubPlace::default()), Vec::new());
    while let Some(at) = place {
        let scrubbed = store.scrub(at, 7).unwrap();
        found.extend(scrubbed.damaged);
        place = scrubbed.next;
    }
    found
}

/// The driver is told what the scrub found.
fn hears_of_damage(depot: &mut Depot) {
    let rows = damaged(depot).into_iter().filter_map(|found| found.row).collect();
    depot.give(Input::Damaged(rows));
}

/// The program starts, as it does in life.
fn starts(depot: &mut Depot) -> Result<(), StoreError> {
    let (profile, now) = (depot.core.profile().clone(), depot.now());
    let snapshot = depot.store.snapshot_over_damage(now)?;
    depot.core = driver::load(profile, snapshot, &mut depot.store, now)?;
    Ok(())
}

fn put_aside(depot: &Depot) -> Vec<String> {
    depot.look().status().unwrap().put_aside
}

fn heads(depot: &Depot, id: DocumentId) -> Vec<Hash32> {
    let all: BTreeMap<DocumentId, Vec<Hash32>> = depot.look().heads(None, 99).unwrap().into_iter().collect();
    all[&id].clone()
}

/// The places of a document's changes, and whether each is the depot's own.
fn changes(depot: &Depot, id: DocumentId) -> Vec<(i64, bool)> {
    let mut query =
        depot.store.raw().prepare("SELECT position, own FROM chunks WHERE document = ?1 ORDER BY position").unwrap();
    let rows = query.query_map([id.to_string()], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// Where the first change lies that is the depot's own, or is not.
fn first(depot: &Depot, id: DocumentId, is_own: bool) -> i64 {
    changes(depot, id).into_iter().find(|(_, own)| *own == is_own).unwrap().0
}

/// Every change in the store, with all that is filed of it.
fn ground(depot: &Depot) -> Vec<String> {
    let sql = "SELECT position || ' ' || document || ' ' || kind || ' ' || hash || ' ' || own || ' ' || aside || ' ' ||
                      hex(bytes) || ' ' || hex(checksum) FROM chunks ORDER BY position";
    let mut query = depot.store.raw().prepare(sql).unwrap();
    let rows = query.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// The hub has a backup of all that it was told: nothing is kept in the outbox.
fn outbox_is_backed_up(depot: &mut Depot) {
    let through = depot.look().outbox_last().unwrap();
    let (ledger, rejected, changes) = (LedgerEpoch::default(), vec![], vec![]);
    depot.give(Input::Pushed { ledger, through, rejected, changes, kept_through: through });
}

/// Depot and hub compare what they hold, to the end.
fn made_alike(depot: &mut Depot) {
    let mut comparison = Comparison::new();
    for _ in 0..20 {
        let Step::Ask(asked) = comparison.next(depot.look()).unwrap() else { return };
        let items = comparison.answered(hub_answers(depot, asked)).unwrap();
        let cursor = depot.look().cursor().unwrap();
        if !items.is_empty() {
            depot.give(Input::Feed { items, cursor, more: false });
        }
    }
    panic!("it does not end");
}

fn hub_answers(depot: &mut Depot, asked: Repair) -> Repaired {
    match asked {
        Repair::Heads { documents, .. } => {
            let theirs: BTreeMap<DocumentId, Vec<Hash32>> = documents.into_iter().collect();
            let unknown = theirs.keys().filter(|id| !depot.hub.contains_key(id)).copied();
            let mut differ: Vec<Differs> =
                unknown.map(|document| Differs { document, heads: Vec::new(), lacks: Vec::new() }).collect();
            for (document, (kind, held)) in &depot.hub {
                let (document, kind) = (*document, *kind);
                let known = theirs.get(&document).cloned().unwrap_or_default();
                if held.heads() != known {
                    let says = |chunk: Chunk| Downward::Chunk { document, kind, bytes: chunk.bytes };
                    let lacks = held.chunks_beyond(&known).unwrap().into_iter().map(says).collect();
                    differ.push(Differs { document, heads: held.heads(), lacks });
                }
            }
            Repaired::Heads { differ, through: None, head: 0 }
        }
        Repair::Give { changes, .. } => {
            for given in changes {
                let new = || (given.kind, Document::new().unwrap());
                let held = depot.hub.entry(given.document).or_insert_with(new);
                held.1.admit(&inspect(&given.bytes).unwrap()).unwrap();
            }
            Repaired::Given(Vec::new())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_damaged_change_that_the_core_holds_is_written_anew_at_once_as_it_was() {
    both(|depot| {
        let case = short_of_stock(depot);
        depot.hub_acts(case, 1).hub_acts(case, 1);
        let (whole, places) = (ground(depot), changes(depot, case));
        assert!(places.iter().any(|(_, own)| *own) && places.iter().any(|(_, own)| !own));
        let columns = ["document", "hash", "kind", "bytes", "checksum"];
        for (place, _) in &places {
            for column in columns {
                rots(depot, "chunks", column, *place);
                let names: Vec<String> = damaged(depot).into_iter().map(|found| found.name).collect();
                assert_eq!(names, [format!("row {place} of chunks")], "{column}");
                hears_of_damage(depot);
                assert_eq!(ground(depot), whole, "{column} of row {place}");
            }
        }
        assert!(damaged(depot).is_empty() && put_aside(depot).is_empty());
        let count = "SELECT count(*) FROM damaged WHERE mended = 1";
        let as_found: u32 = depot.store.raw().query_row(count, [], |row| row.get(0)).unwrap();
        assert_eq!(as_found as usize, places.len() * columns.len(), "each is kept as it was found");
        assert_eq!(depot.look().status().unwrap().counters["rows_put_aside"], u64::from(as_found));
    });
}

#[test]
fn a_damaged_change_that_nobody_puts_aside_stays_damaged_and_no_start_reads_it() {
    let mut depot = Depot::new(false, None);
    let case = short_of_stock(&mut depot);
    rots(&depot, "chunks", "bytes", first(&depot, case, true));
    depot.wait_minutes(3);
    assert_eq!(damaged(&depot).len(), 1);
    assert!(matches!(depot.store.snapshot(), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_change_of_others_that_rotted_before_a_start_comes_again_from_the_hub() {
    both(|depot| {
        let case = short_of_stock(depot);
        depot.hub_acts(case, 1).hub_acts(case, 2);
        let (whole, view) = (heads(depot, case), depot.core.case(case).cloned());
        let place = first(depot, case, false);
        rots(depot, "chunks", "bytes", place);
        starts(depot).unwrap();
        assert_eq!(put_aside(depot), [format!("row {place} of chunks")]);
        assert!(damaged(depot).is_empty(), "it is out of the way");
        assert_ne!(heads(depot, case), whole, "the hub sees what to send");
        made_alike(depot);
        assert_eq!(put_aside(depot), Vec::<String>::new());
        for _ in 0..2 {
            assert_eq!((heads(depot, case), depot.core.case(case).cloned()), (whole.clone(), view.clone()));
            starts(depot).unwrap();
        }
        assert!(damaged(depot).is_empty());
    });
}

#[test]
fn an_own_change_that_only_the_hub_has_yet_comes_back_and_none_of_its_numbers_is_given_out_again() {
    both(|depot| {
        let case = short_of_stock(depot);
        depot.hub_acts(case, 1).hub_hears();
        outbox_is_backed_up(depot);
        let (whole, view) = (heads(depot, case), depot.core.case(case).cloned());
        let before = depot.core.actor.clone();
        rots(depot, "chunks", "bytes", first(depot, case, true));
        starts(depot).unwrap();
        assert_eq!(put_aside(depot).len(), 1);
        assert_eq!(depot.core.case(case), None, "what is left was opened by nobody");
        made_alike(depot);
        assert_eq!((heads(depot, case), depot.core.case(case).cloned()), (whole, view));
        assert_eq!(put_aside(depot), Vec::<String>::new());
        assert_eq!(changes(depot, case).iter().filter(|(_, own)| *own).count(), 1, "it is its own as before");
        assert_ne!(depot.core.actor, before);
        depot.moves(case, CaseState::Resolved).hub_hears();
        assert_eq!(depot.hub[&case].1.heads(), heads(depot, case), "the hub takes what is said next");
    });
}

#[test]
fn an_own_change_that_is_kept_in_the_outbox_is_whole_again_with_the_start() {
    both(|depot| {
        let case = short_of_stock(depot);
        let (whole, before) = (ground(depot), depot.core.actor.clone());
        rots(depot, "chunks", "bytes", first(depot, case, true));
        starts(depot).unwrap();
        assert_eq!((ground(depot), put_aside(depot)), (whole, vec![]));
        assert_eq!(depot.core.actor, before, "nothing is lacking");
    });
}

#[test]
fn a_change_that_nobody_has_any_more_stays_named_and_the_depot_goes_on() {
    both(|depot| {
        let case = short_of_stock(depot);
        outbox_is_backed_up(depot);
        let place = first(depot, case, true);
        rots(depot, "chunks", "bytes", place);
        for _ in 0..2 {
            starts(depot).unwrap();
            made_alike(depot);
            depot.wait_minutes(2);
            assert_eq!(put_aside(depot), [format!("row {place} of chunks")]);
        }
        depot.order("O2", 5);
        assert!(depot.has_dispatch("O2", 1));
    });
}

#[test]
fn a_dispatch_that_cannot_be_read_as_a_whole_is_made_of_its_changes_and_does_not_leave_twice() {
    both(|depot| {
        depot.released("O1", 10);
        let (whole, decided) = (depot.dispatch("O1"), depot.decided());
        let row = "SELECT rowid FROM documents WHERE document = ?1";
        let row = depot.store.raw().query_row(row, [Depot::id("O1").to_string()], |row| row.get(0)).unwrap();
        rots(depot, "documents", "snapshot", row);
        let alone = Core::load(depot.core.profile().clone(), depot.store.snapshot().unwrap());
        assert!(alone.view(Depot::id("O1")).is_none(), "the control: it cannot be read");
        starts(depot).unwrap();
        assert_eq!(depot.dispatch("O1"), whole);
        depot.wait_minutes(2);
        assert_eq!(depot.decided(), decided);
    });
}

#[test]
fn a_dispatch_that_lacks_a_part_in_every_place_lets_nothing_start() {
    let mut depot = Depot::new(false, None);
    depot.released("O1", 10).hub_hears();
    outbox_is_backed_up(&mut depot);
    let id = Depot::id("O1");
    let row = "SELECT rowid FROM documents WHERE document = ?1";
    let row = depot.store.raw().query_row(row, [id.to_string()], |row| row.get(0)).unwrap();
    rots(&depot, "documents", "snapshot", row);
    rots(&depot, "chunks", "bytes", changes(&depot, id).last().unwrap().0);
    assert!(matches!(starts(&mut depot), Err(StoreError::Damaged { what, .. }) if what.contains("dispatch")));
    assert!(starts(&mut depot).is_err(), "nor the second time");
}

#[test]
fn damaged_orders_and_facts_are_written_anew_from_what_the_core_holds() {
    both(|depot| {
        depot.released("O1", 10).order("O2", 5);
        depot.store.fold().unwrap();
        let held = |depot: &Depot| {
            let snapshot = depot.store.snapshot().unwrap();
            format!("{:?} {:?}", snapshot.orders, snapshot.facts)
        };
        let whole = held(depot);
        for (table, columns) in [("orders", ["order_id", "body", "checksum"]), ("facts", ["key", "body", "checksum"])] {
            for column in columns {
                let row = format!("SELECT min(rowid) FROM {table}");
                let row = depot.store.raw().query_row(&row, [], |row| row.get(0)).unwrap();
                rots(depot, table, column, row);
                assert_eq!(damaged(depot).len(), 1, "{table} {column}");
                hears_of_damage(depot);
                assert_eq!(held(depot), whole, "{table} {column}");
                depot.store.fold().unwrap();
                assert!(damaged(depot).is_empty() && put_aside(depot).is_empty(), "{table} {column}");
            }
        }
    });
}

#[test]
fn a_start_over_a_whole_store_has_nothing_to_mend() {
    let mut depot = Depot::new(false, None);
    let case = short_of_stock(&mut depot);
    depot.hub_acts(case, 1).inventory("O1", 10).wait_minutes(30).hub_acts(case, 9);
    let mut core = Core::load(depot.core.profile().clone(), depot.store.snapshot().unwrap());
    assert_eq!(core.mend(&[]), vec![]);
}

/// A bit of the file itself: an update would move the index as well.
#[test]
fn an_order_whose_indexed_name_rotted_in_the_file_is_put_aside_and_none_is_lost() {
    both(|depot| {
        let orders = ["O10", "O11"].map(|id| depot.order_of(id, 10, OrderStatus::Released));
        let records = orders.map(Record::Order);
        let public_key = PrivateKey::from_seed([7; 32]).public();
        let identity = Identity { device: "gw".parse().unwrap(), site: "D1".parse().unwrap(), public_key };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gw.db");
        let mut store = Store::open(&path, &identity).unwrap();
        store.commit(&records).unwrap();
        drop(store);
        let mut bytes = std::fs::read(&path).unwrap();
        let name = b"O10{";
        let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(name)).collect();
        assert_eq!(places.len(), 1, "the name stands before the text in its row alone");
        bytes[places[0] + 2] ^= 1;
        std::fs::write(&path, bytes).unwrap();

        let mut store = Store::open(&path, &identity).unwrap();
        let rows: Vec<_> = found_in(store.look()).into_iter().filter_map(|found| found.row).collect();
        let [row] = &rows[..] else { panic!("{rows:?}") };
        let aside = Record::PutAside { row: row.clone(), is_held: true, at: depot.wall() };
        store.commit(&[aside]).unwrap();
        store.commit(&records).unwrap();
        assert_eq!(found_in(store.look()), []);
        let whole: String = store.raw().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        let held: i64 = store.raw().query_row("SELECT count(*) FROM orders", [], |row| row.get(0)).unwrap();
        assert_eq!((whole.as_str(), held), ("ok", 2));
    });
}
