//! Backups, restores and moves: what comes back is what was there.

use super::*;
use crate::store::moving;

on_both!(
    a_backup_holds_one_state_and_comes_back_as_another_life_of_the_ledger,
    a_damaged_store_gives_no_backup,
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
