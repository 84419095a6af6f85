//! What the reconciler writes beside items.

use gatehouse_common::case::{CaseState, CaseType, Says};

use super::*;

fn opened(occurrence: u32) -> Says {
    Says::Opened {
        case_type: CaseType::DockBlocked,
        subject: "door 3".into(),
        leg: "-".into(),
        occurrence,
        site: "D1".parse().unwrap(),
        since: UtcMs(0),
        summary: "door 3 is blocked".into(),
        order: None,
        blocks: None,
        follows: None,
    }
}

#[tokio::test]
async fn a_second_case_of_one_matter_becomes_part_of_the_first_one_that_runs() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("hub.db"), &"hub".parse().unwrap()).unwrap();
    let bundle = Bundle { hash: gatehouse_common::id::Hash32::of(b""), rules: Default::default() };
    let mut reconciler = Reconciler::new(store.clone(), Clock::system(), bundle, Default::default());
    reconciler.once().await.unwrap();
    let key = case::dedup_key(CaseType::DockBlocked, "door 3", "-");
    for occurrence in [1, 2] {
        let (id, says) = (case::document_id(&key, occurrence), DocumentSays::Case(vec![opened(occurrence)]));
        store.write_now(move |tx| tx.write_entries(&id, says, "test", Lane::Documents, UtcMs(5))).unwrap();
    }
    for _ in 0..3 {
        reconciler.once().await.unwrap();
    }
    let cases = store.read_now(move |r| r.cases_under(&key)).unwrap();
    assert_eq!(cases.iter().map(|(_, c)| c.state).collect::<Vec<_>>(), [CaseState::Open, CaseState::Cancelled]);
    assert_eq!((cases[0].1.aliases.len(), cases[1].1.duplicate_of), (1, Some(cases[0].0)));
}
