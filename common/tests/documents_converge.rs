//! Any interleaving, repetition and reordering of any number of replicas' changes gives one state;
//! damaged and forged chunks change nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure report")]

use gatehouse_common::{
    case::{CaseState, CaseType, Says, fold},
    document::{Actor, Applied, Chunk, Document, Entry, History, gate::inspect},
    time::{Hlc, UtcMs},
};
use proptest::prelude::*;

const ACTORS: [&str; 3] = ["site/D1/gw-1/1", "site/D1/gw-1/2", "hub/H/H/1"];

fn opened() -> Says {
    Says::Opened {
        case_type: CaseType::DockBlocked,
        subject: "door 3".into(),
        leg: "-".into(),
        occurrence: 1,
        site: "D1".parse().unwrap(),
        since: UtcMs(1),
        summary: "door 3 is blocked".into(),
        order: None,
        blocks: None,
        follows: None,
    }
}

fn moved(choice: u8, since: i64) -> Says {
    let to = [
        CaseState::Acknowledged,
        CaseState::InProgress,
        CaseState::Waiting,
        CaseState::Resolved,
        CaseState::Closed,
        CaseState::Reopened,
    ][usize::from(choice % 6)];
    Says::Moved { to, since: UtcMs(since), reason: format!("move {choice}"), auto_cleared: false, how: None }
}

fn say(document: &mut Document, actor: &Actor, clock: i64, says: Says) -> Chunk {
    let (entries, _) = document.entries::<Says>();
    let after = History::new(entries).heads();
    let entry = Entry { after, at: UtcMs(clock), hlc: Hlc { ms: clock, n: 0 }, by: "test".into(), says };
    document.append(actor, &[entry]).unwrap().1
}

fn admit(document: &mut Document, chunk: &Chunk) -> Applied {
    document.admit(&inspect(&chunk.bytes).unwrap()).unwrap()
}

#[derive(Debug, Clone)]
enum Step {
    Move { who: usize, choice: u8 },
    Note { who: usize },
    Hear { who: usize, from: usize },
    Reload { who: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3usize, any::<u8>()).prop_map(|(who, choice)| Step::Move { who, choice }),
        1 => (0..3usize).prop_map(|who| Step::Note { who }),
        2 => (0..3usize, 0..3usize).prop_map(|(who, from)| Step::Hear { who, from }),
        1 => (0..3usize).prop_map(|who| Step::Reload { who }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replicas_end_in_one_state_whatever_the_order_of_arrival(
        steps in prop::collection::vec(step(), 1..30),
        order in prop::collection::vec(any::<prop::sample::Index>(), 200),
    ) {
        let actors: Vec<Actor> = ACTORS.iter().map(|a| a.parse().unwrap()).collect();
        let mut replicas: Vec<Document> = (0..3).map(|_| Document::new().unwrap()).collect();
        let first = say(&mut replicas[0], &actors[0], 1, opened());
        for replica in &mut replicas[1..] {
            admit(replica, &first);
        }
        for (clock, step) in (10..).zip(&steps) {
            match step {
                Step::Move { who, choice } => {
                    say(&mut replicas[*who], &actors[*who], clock, moved(*choice, clock));
                }
                Step::Note { who } => {
                    replicas[*who].add_note(&actors[*who], UtcMs(clock), "looked at it").unwrap();
                }
                Step::Hear { who, from } => {
                    let chunks = replicas[*from].chunks();
                    for chunk in &chunks {
                        admit(&mut replicas[*who], chunk);
                    }
                }
                Step::Reload { who } => replicas[*who] = Document::load(&replicas[*who].save()).unwrap(),
            }
        }
        let all: Vec<Chunk> = replicas.iter().flat_map(Document::chunks).collect();
        let mut shuffled = all.clone();
        for (from, to) in order.iter().enumerate().take(shuffled.len()) {
            let to = to.index(shuffled.len());
            shuffled.swap(from, to);
        }
        for replica in &mut replicas {
            for chunk in &shuffled {
                admit(replica, chunk);
            }
            prop_assert!(replica.missing().is_empty());
        }
        let mut fresh = Document::new().unwrap();
        for chunk in shuffled.iter().rev() {
            admit(&mut fresh, chunk);
        }
        let view = fold(&fresh);
        prop_assert!(view.is_some());
        for replica in &replicas {
            prop_assert_eq!(replica.heads(), fresh.heads());
            prop_assert_eq!(&fold(replica), &view);
        }
    }

    #[test]
    fn a_damaged_chunk_is_refused_and_changes_nothing(position in any::<prop::sample::Index>(), bit in 0u8..8) {
        let actor: Actor = ACTORS[0].parse().unwrap();
        let mut writer = Document::new().unwrap();
        let mut chunk = say(&mut writer, &actor, 1, opened());
        let place = position.index(chunk.bytes.len());
        chunk.bytes[place] ^= 1 << bit;
        prop_assert!(inspect(&chunk.bytes).is_err());
    }
}

#[test]
fn an_entry_under_another_writers_key_is_refused() {
    // The intruder writes with a plain Automerge program under the hub's key.
    use automerge::{ActorId, Automerge, ObjType, ReadDoc, transaction::Transactable};
    let mut plain = Automerge::load(&Document::new().unwrap().save()).unwrap();
    plain.set_actor(ActorId::from(ACTORS[0].as_bytes()));
    let (_, entries) = plain.get(automerge::ROOT, "entries").unwrap().unwrap();
    assert_eq!(plain.object_type(&entries).unwrap(), ObjType::Map);
    let mut tx = plain.transaction();
    tx.put(&entries, "hub/H/H/1-1", "{}").unwrap();
    tx.commit();
    let bytes = plain.get_last_local_change().unwrap().raw_bytes().to_vec();
    let inspected = inspect(&bytes).unwrap();
    let mut document = Document::new().unwrap();
    let heads = document.heads();
    let refused = document.admit(&inspected).unwrap_err();
    assert!(refused.to_string().contains("another writer's key"), "{refused}");
    assert_eq!(document.heads(), heads);
}

#[test]
fn a_chunk_whose_past_is_missing_waits_and_says_so() {
    let actor: Actor = ACTORS[0].parse().unwrap();
    let mut writer = Document::new().unwrap();
    let first = say(&mut writer, &actor, 1, opened());
    let second = say(&mut writer, &actor, 2, moved(0, 2));
    let mut reader = Document::new().unwrap();
    assert_eq!(admit(&mut reader, &second), Applied::Waiting);
    assert_eq!(reader.missing(), vec![first.hash]);
    reader = Document::load(&reader.save()).unwrap();
    assert_eq!(admit(&mut reader, &first), Applied::New);
    assert_eq!(reader.heads(), writer.heads());
    assert_eq!(admit(&mut reader, &second), Applied::Known);
}
