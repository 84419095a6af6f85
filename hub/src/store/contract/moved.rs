//! Backups, restores and moves: what comes back is what was there.

use super::*;
use crate::store::moving;

on_both!(
    a_backup_holds_one_state_and_comes_back_as_another_life_of_the_ledger,
    a_damaged_store_gives_no_backup,
    a_store_that_no_hub_has_served_gives_no_backup_and_says_what_to_do,
    a_row_that_nobody_has_any_more_ends_no_backup_once_it_is_put_aside,
    the_state_has_one_hash_however_many_rows_are_read_at_a_time,
    devices_may_forget_what_a_whole_backup_holds_and_in_the_life_that_it_begins_nothing,
);

fn worked(ground: &Ground) -> Store {
    let store = ground.open();
    store.write_now(|tx| tx.write_entries(&case_id(), opened(), "test", Lane::Documents, UtcMs(5))).unwrap();
    for part in [0..700, 700..1_200] {
        store.write_now(move |tx| part.clone().try_for_each(|n| publish(tx, &format!("{n}")).map(|_| ()))).unwrap();
        store.fold_now().unwrap();
    }
    store
}

fn a_backup_holds_one_state_and_comes_back_as_another_life_of_the_ledger(ground: &Ground) {
    let folder = tempfile::tempdir().unwrap();
    let (file, restored) = (folder.path().join("backup"), folder.path().join("restored.db"));
    let store = worked(ground);
    let backup = moving::back_up(&ground.location, &file).unwrap();
    assert_eq!(backup, moving::verify(&ground.location).unwrap(), "of a store at rest it is the same");
    assert!(matches!(moving::back_up(&ground.location, &file), Err(StoreError::Refused(_))), "none is written over");
    store.write_now(|tx| publish(tx, "after the backup")).unwrap();
    drop(store);

    let other = Ground::postgresql();
    let places = [Some(Location::Sqlite(restored)), other.as_ref().map(|other| other.location.clone())];
    for place in places.into_iter().flatten() {
        assert_eq!(moving::restore(&file, &place).unwrap(), backup);
        assert!(matches!(moving::restore(&file, &place), Err(StoreError::Refused(_))), "no store is written over");
        let store = Store::open_at(&place, &"hub".parse().unwrap()).unwrap();
        assert_eq!(feed(&store, 0).len(), 1_200);
        let (epoch, from) = store.read_now(|r| Ok((r.ledger_epoch()?, r.restored_from()?))).unwrap();
        assert_eq!(from, Some(backup.ledger_epoch));
        assert_ne!(epoch, backup.ledger_epoch);
        assert!(store.write_now(|tx| publish(tx, "again")).unwrap());
        assert!(feed(&store, 0).is_sorted_by(|a, b| a.0 < b.0));
    }
    assert_eq!(
        std::fs::read_dir(folder.path())
            .unwrap()
            .flatten()
            .filter(|f| f.path().to_string_lossy().contains("part"))
            .count(),
        0
    );
}

fn a_store_that_no_hub_has_served_gives_no_backup_and_says_what_to_do(ground: &Ground) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    let store = Store::open_beside(&ground.location, &"hub".parse().unwrap()).unwrap();
    let refused = store.back_up(&file, UtcMs(10)).unwrap_err().to_string();
    assert!(refused.contains("start `gatehouse-hub serve` on it once"), "{refused}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    drop(store);
    ground.open().back_up(&file, UtcMs(20)).unwrap();
}

fn a_damaged_store_gives_no_backup(ground: &Ground) {
    let folder = tempfile::tempdir().unwrap();
    let store = ground.open();
    store.write_now(|tx| publish(tx, "sound")).unwrap();
    ground.beside().execute("UPDATE ledger SET checksum = body", &[]).unwrap();
    let file = folder.path().join("backup");
    assert!(matches!(moving::back_up(&ground.location, &file), Err(StoreError::Damaged { table: "ledger", .. })));
    assert!(matches!(moving::verify(&ground.location), Err(StoreError::Damaged { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// The row of the ledger that came in `behind` so many others rots.
fn rots(ground: &Ground, behind: u32) {
    let sql = format!(
        "UPDATE ledger SET checksum = body
          WHERE position = (SELECT position FROM ledger ORDER BY position DESC LIMIT 1 OFFSET {behind})"
    );
    assert_eq!(ground.beside().execute(&sql, &[]).unwrap(), 1);
}

fn a_row_that_nobody_has_any_more_ends_no_backup_once_it_is_put_aside(ground: &Ground) {
    const WEEKS: i64 = 14 * 86_400_000;
    let folder = tempfile::tempdir().unwrap();
    let (file, later) = (folder.path().join("backup"), folder.path().join("later"));
    let store = worked(ground);
    let head = store.read_now(|r| r.feed_head()).unwrap();
    let kept = || store.read_now(|r| r.kept_feed(UtcMs(20))).unwrap();
    let marks = || ground.beside().one("SELECT count(*) FROM marks", &[], |r| r.get::<i64>(0)).unwrap();
    rots(ground, 3);
    assert!(matches!(store.back_up(&file, UtcMs(10)), Err(StoreError::Damaged { table: "ledger", .. })));
    assert_eq!((kept(), marks()), (0, 0), "nothing is left of the one that failed");

    assert_eq!(store.scrub_now(UtcMs(20)).unwrap(), 1);
    let backup = store.back_up(&file, UtcMs(30)).unwrap();
    assert_eq!(backup.rows_put_aside, 1);
    assert_eq!((kept(), marks()), (0, 0), "a device may still have it, and keeps everything");
    assert_eq!(store.back_up(&later, UtcMs(20 + WEEKS)).unwrap().rows_put_aside, 1);
    assert_eq!((kept(), marks()), (head, 1), "nobody has it any more");

    let other = Ground::postgresql();
    let places =
        [Some(Location::Sqlite(folder.path().join("restored.db"))), other.as_ref().map(|other| other.location.clone())];
    for place in places.into_iter().flatten() {
        assert_eq!(moving::restore(&file, &place).unwrap(), backup);
        let restored = Store::open_at(&place, &"hub".parse().unwrap()).unwrap();
        assert_eq!(restored.read_now(|r| r.damaged_counts()).unwrap(), [("ledger".to_owned(), 1)]);
        assert_eq!(feed(&restored, 0).len(), 1_199, "it is given to nobody");
    }
    rots(ground, 5);
    assert!(matches!(moving::verify(&ground.location), Err(StoreError::Damaged { .. })), "a second is not known yet");
}

fn the_state_has_one_hash_however_many_rows_are_read_at_a_time(ground: &Ground) {
    let store = worked(ground);
    let beside = ground.beside();
    let put = |sql: String| assert_eq!(beside.execute(&sql, &[]).unwrap(), 1);
    for device in ["gw-1", "gw-2"] {
        for epoch in ["9", "10"] {
            put(format!(
                "INSERT INTO outboxes (device, outbox_epoch, taken_through) VALUES ('{device}', '{epoch}', 12)"
            ));
            for number in 1..=12 {
                put(format!(
                    "INSERT INTO rejections (device, outbox_epoch, number, reason)
                     VALUES ('{device}', '{epoch}', {number}, 'why')"
                ));
            }
            put(format!("INSERT INTO document_scopes (document, scope) VALUES ('{epoch}', 'site/{device}')"));
        }
    }
    let by = |page: usize| store.read_now(move |r| r.state_hash_by(page)).unwrap();
    let whole = by(100_000);
    for page in [1, 2, 3, 7] {
        assert_eq!(by(page), whole, "{page} at a time");
    }
    put("DELETE FROM rejections WHERE device = 'gw-2' AND outbox_epoch = '10' AND number = 12".to_owned());
    assert_ne!(by(7), whole, "no row is passed over");
}

fn devices_may_forget_what_a_whole_backup_holds_and_in_the_life_that_it_begins_nothing(ground: &Ground) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    let store = worked(ground);
    let kept = |store: &Store| store.read_now(|r| Ok((r.kept_feed(UtcMs(20))?, r.feed_head()?))).unwrap();
    let (nothing, head) = kept(&store);
    assert_eq!(nothing, 0);
    store.back_up(&file, UtcMs(10)).unwrap();
    store.write_now(|tx| publish(tx, "after the backup")).unwrap();
    assert!(matches!(store.back_up(&file, UtcMs(11)), Err(StoreError::Refused(_))));
    assert_eq!(kept(&store), (head, head + 1));
    drop(store);
    let place = Location::Sqlite(folder.path().join("restored.db"));
    moving::restore(&file, &place).unwrap();
    let restored = Store::open_after(&place, &"hub".parse().unwrap(), UtcMs(30_000)).unwrap();
    assert_eq!(kept(&restored), (0, head));
    assert_eq!(restored.read_now(|r| r.restored_at()).unwrap(), Some(UtcMs(30_000)));
    assert_eq!(restored.actor().epoch, 30, "a run is never numbered as one that was forgotten");
}

#[test]
fn a_store_that_moves_to_postgresql_goes_on_there_and_nowhere_else() {
    let Some(there) = Ground::postgresql() else { return };
    let here = Ground::sqlite();
    let Location::Sqlite(path) = &here.location else { return };
    let store = worked(&here);
    let (epoch, head) = store.read_now(|r| Ok((r.ledger_epoch()?, r.feed_head()?))).unwrap();
    drop(store);
    let moved = moving::move_to(path, &there.location).unwrap();
    assert_eq!(moved, moving::verify(&there.location).unwrap());
    let refused = Store::open(path, &"hub".parse().unwrap()).err().unwrap().to_string();
    assert!(refused.contains("was moved to postgresql://"), "{refused}");
    let store = there.open();
    assert_eq!(store.read_now(|r| Ok((r.ledger_epoch()?, r.restored_from()?))).unwrap(), (epoch, None));
    store.write_now(|tx| publish(tx, "there")).unwrap();
    assert_eq!(feed(&store, head).len(), 1);
}

/// Has a server of PostgreSQL do `what` before it takes a row of `cursors`.
fn meddles(ground: &Ground, what: &str) {
    let sql = format!(
        "CREATE OR REPLACE FUNCTION meddles() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN {what} RETURN NEW; END $$;
         DROP TRIGGER IF EXISTS meddles ON cursors;
         CREATE TRIGGER meddles BEFORE INSERT ON cursors FOR EACH ROW EXECUTE FUNCTION meddles()"
    );
    ground.beside().postgres().unwrap().batch(&sql).unwrap();
}

#[test]
fn a_copy_that_differs_or_cannot_be_marked_leaves_nothing_behind_and_can_be_made_again() {
    let Some(there) = Ground::postgresql() else { return };
    let here = Ground::sqlite();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    drop(worked(&here));
    let backup = moving::back_up(&here.location, &file).unwrap();
    drop(there.location.open().unwrap());
    let differs = "IF NEW.name = 'actor.epoch' THEN NEW.value := NEW.value || ' '; END IF;";
    let is_unmarked = "IF NEW.name = 'ledger.restored_from' THEN RAISE EXCEPTION 'no mark'; END IF;";
    for (meddling, why) in [(differs, "differs from"), (is_unmarked, "no mark")] {
        meddles(&there, meddling);
        let refused = moving::restore(&file, &there.location).unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
        let rows = "SELECT (SELECT count(*) FROM ledger) + (SELECT count(*) FROM cursors)";
        assert_eq!(there.beside().one(rows, &[], |r| r.get::<i64>(0)).unwrap(), 0, "{why}");
    }
    meddles(&there, "");
    assert_eq!(moving::restore(&file, &there.location).unwrap(), backup);
    assert_eq!(there.open().read_now(|r| r.restored_from()).unwrap(), Some(backup.ledger_epoch));
}

#[test]
fn an_errand_about_a_large_store_is_not_ended_by_the_limits_of_a_commit() {
    let (Some(here), Some(there)) = (Ground::postgresql(), Ground::postgresql()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    drop(worked(&here));
    drop(there.location.open().unwrap());
    let unlimited = "CREATE FUNCTION unlimited() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
        IF current_setting('statement_timeout') <> '0'
           OR current_setting('idle_in_transaction_session_timeout') <> '0' THEN
          RAISE EXCEPTION 'it has a limit';
        END IF;
        RETURN TRUE;
      END $$";
    for ground in [&here, &there] {
        ground.beside().postgres().unwrap().batch(unlimited).unwrap();
    }
    // Whoever has a limit reads no cursor here, and writes none there.
    let guarded = "ALTER TABLE cursors RENAME TO of_cursors;
        CREATE VIEW cursors AS SELECT * FROM of_cursors WHERE (SELECT unlimited())";
    here.beside().postgres().unwrap().batch(guarded).unwrap();
    meddles(&there, "PERFORM unlimited();");
    let limited = here.beside().one("SELECT count(*) FROM cursors", &[], |r| r.get::<i64>(0));
    assert!(limited.unwrap_err().to_string().contains("it has a limit"));

    let backup = moving::back_up(&here.location, &file).unwrap();
    assert_eq!(moving::verify(&here.location).unwrap(), backup);
    assert_eq!(moving::restore(&file, &there.location).unwrap(), backup);
}
