use gatehouse_common::seal::PrivateKey;

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
