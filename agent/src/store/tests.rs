use gatehouse_common::{seal::PrivateKey, sync::Upward};

use super::*;

#[test]
fn of_states_under_one_key_in_one_commit_the_last_one_stands() {
    let key = PrivateKey::from_seed([7; 32]).public();
    let identity = Identity { device: "gw".parse().unwrap(), site: "D1".parse().unwrap(), public_key: key };
    let mut store = Store::in_memory(&identity).unwrap();
    let rule = |key: &str, n: u32| Record::Rule { key: key.to_owned(), body: n.to_string() };
    let gone = |key: &str| Record::RuleGone { key: key.to_owned() };
    let records = [rule("a", 1), rule("b", 2), gone("b"), rule("a", 3), gone("c"), rule("c", 4), rule("d", 5)];
    assert_eq!(last_words(&records), [false, false, true, true, false, true, true]);
    store.commit(&records).unwrap();
    let rules: Vec<String> =
        store.snapshot().unwrap().rules.into_iter().map(|(key, body)| format!("{key}{body}")).collect();
    assert_eq!(rules, ["a3", "c4", "d5"]);
}

#[test]
fn what_changes_often_is_the_same_from_the_journal_its_fold_and_both_together() {
    let key = PrivateKey::from_seed([7; 32]).public();
    let identity = Identity { device: "gw".parse().unwrap(), site: "D1".parse().unwrap(), public_key: key };
    let rule = |key: &str, n: u32| Record::Rule { key: key.to_owned(), body: n.to_string() };
    let gone = |key: &str| Record::RuleGone { key: key.to_owned() };
    let commits = [
        vec![rule("door/1", 1), rule("door/2", 2), rule("trip/1", 3)],
        vec![rule("door/1", 4), gone("door/2"), rule("stamp", 5)],
        vec![rule("door/2", 6), gone("door/1"), gone("door/9"), gone("trip/1")],
    ];
    let expected = [("door/2", "6"), ("stamp", "5")].map(|(k, b)| (k.to_owned(), b.to_owned()));
    for fold_after in 0..8 {
        let mut store = Store::in_memory(&identity).unwrap();
        for (n, records) in commits.iter().enumerate() {
            store.commit(records).unwrap();
            if fold_after & (1 << n) != 0 {
                store.fold().unwrap();
            }
        }
        assert_eq!(store.snapshot().unwrap().rules, expected, "folds {fold_after:b}");
        let rows: i64 = store.raw().query_row("SELECT count(*) FROM journal", [], |row| row.get(0)).unwrap();
        let since_the_last_fold = 3 - (0..3).filter(|n| fold_after & (1 << n) != 0).map(|n| n + 1).max().unwrap_or(0);
        assert_eq!(rows, since_the_last_fold, "folds {fold_after:b}");
    }
}

#[test]
fn until_the_hub_was_asked_nothing_that_a_copy_writes_can_have_been_told_however_often_it_starts() {
    let key = PrivateKey::from_seed([7; 32]).public();
    let identity = Identity { device: "gw".parse().unwrap(), site: "D1".parse().unwrap(), public_key: key };
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("gw.db"), folder.path().join("copy.db"));
    let writes = |store: &Store, n: usize| {
        let word = |n: usize| outbox::put(store.conn(), &Upward::Status(n.to_string()));
        (0..n).try_for_each(word).unwrap();
    };
    let told_at_most = |store: &Store| store.look().told_at_most().unwrap();
    let mut store = Store::open(&path, &identity).unwrap();
    writes(&store, 3);
    assert!((told_at_most(&store), store.look().waits_to_ask().unwrap()) == (0, true), "it has not asked yet");
    store.commit(&[Record::Stands]).unwrap();
    assert_eq!(told_at_most(&store), 3);
    drop(store);
    std::fs::copy(&path, &copy).unwrap();

    let mut store = Store::open(&path, &identity).unwrap();
    store.commit(&[Record::Stands]).unwrap();
    writes(&store, 2);
    let the_hub_has = told_at_most(&store);
    assert_eq!(the_hub_has, 5);
    drop(store);

    // The copy writes as much and more before it asks, and is killed meanwhile: by its last number it would be as new.
    for start in 1..3 {
        let copy = Store::open(&copy, &identity).unwrap();
        writes(&copy, 2);
        assert_eq!((told_at_most(&copy), copy.look().outbox_last().unwrap()), (3, 3 + 2 * start));
        assert!(the_hub_has > told_at_most(&copy), "the hub knows more");
    }
}
