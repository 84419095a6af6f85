//! What agents of every released protocol said, byte for byte, played to the endpoint that serves them: each is
//! answered in the protocol it asked in, and what it told has the same effect.

use gatehouse_common::{
    id::{DocumentId, DocumentKind, Hash32},
    seal::Sealed,
    sync::{Downward, FeedItem, Lane, LedgerEpoch, PROTOCOL, Standing},
};
use serde::Deserialize;

use super::*;

/// A frame that was written by the code of that time; see `common/tests/recorded_frames.rs`.
fn recorded(protocol: u8, name: &str) -> Vec<u8> {
    let path = format!("{}/../common/tests/frames/v{protocol}/{name}.frame", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// What the code of protocol 1 knew of the answer to a pull. What was added since it cannot read.
#[derive(Debug, PartialEq, Deserialize)]
enum FirstReply {
    Page { items: Vec<FirstItem>, cursor: Cursor, more: bool },
    OtherEpoch(LedgerEpoch),
}

#[derive(Debug, PartialEq, Deserialize)]
struct FirstItem {
    lane: Lane,
    position: u64,
    says: FirstSays,
}

#[derive(Debug, PartialEq, Deserialize)]
enum FirstSays {
    Order(String),
    Fact(String),
    Lease(Sealed),
    Chunk { document: DocumentId, kind: DocumentKind, bytes: Vec<u8> },
    Anchor(Sealed),
    Sources(String),
}

/// An agent that speaks one protocol, and of it only what was recorded.
struct Agent<'a> {
    hub: &'a Listening,
    protocol: u8,
    asked: u32,
}

impl Agent<'_> {
    /// The answer to these bytes.
    async fn sends(&mut self, path: &str, frame: &[u8]) -> Vec<u8> {
        self.asked += 1;
        let nonce = format!("nonce-{:04}", self.asked);
        let signed = headers(&self.hub.key, path, self.hub.clock.wall(), &nonce, frame);
        let answer = ask(self.hub.address, path, &signed, frame).await;
        assert_eq!(answer.status, 200, "protocol {}, {path}: {}", self.protocol, answer.head);
        assert_eq!(protocol_of(&answer.body), self.protocol, "{path} is answered in the protocol it was asked in");
        answer.body
    }

    async fn plays<A: DeserializeOwned>(&mut self, path: &str, name: &str) -> A {
        let answer = self.sends(path, &recorded(self.protocol, name)).await;
        decode(&answer).unwrap_or_else(|e| panic!("protocol {}, {name}: {e}", self.protocol))
    }
}

/// What a hub said and is, once everything that was recorded of a protocol was played to it.
#[derive(Debug, PartialEq)]
struct Played {
    not_let_in: PushReply,
    let_in: PushReply,
    again: PushReply,
    /// How the device stands: what of the life of its outbox is taken, its lives, its chains.
    stands: (u64, Vec<u64>, Vec<Sealed>),
    state: Hash32,
    decisions: u64,
    quarantined: u64,
    /// What a device that begins reads, but for what only says that it was sent.
    page: Vec<FeedItem>,
}

/// Plays what was recorded of `protocol`; gives also the bytes of the answers to both pulls.
async fn play(protocol: u8) -> (Played, [Vec<u8>; 2]) {
    let hub = Listening::start().await;
    let epoch = hub.store.read_now(|r| r.ledger_epoch()).unwrap();
    let mut agent = Agent { hub: &hub, protocol, asked: 0 };
    let not_let_in: PushReply = agent.plays(PUSH_PATH, "push").await;
    let let_in: PushReply = agent.plays(PUSH_PATH, "depot-push").await;
    let again: PushReply = agent.plays(PUSH_PATH, "depot-push").await;
    let standing: Standing = agent.plays(STANDING_PATH, "stand").await;
    let other = agent.sends(PULL_PATH, &recorded(protocol, "pull")).await;
    assert_eq!(decode(&other), Ok(PullReply::OtherEpoch(epoch)), "its cursor counts in another life");
    // A question that names the life of this ledger cannot have been recorded.
    let begins = Pull { cursor: Cursor::start(epoch), wait_ms: 0, recalls_only: false };
    let page = agent.sends(PULL_PATH, &encode_as(protocol, &begins).unwrap()).await;
    let Ok(PullReply::Page { items, .. }) = decode(&page) else { panic!("protocol {protocol}: no page") };
    let read = hub.store.read_now(|r| Ok((r.state_hash()?, r.decision_count()?, r.quarantine_count()?)));
    let (state, decisions, quarantined) = read.unwrap();
    let played = Played {
        not_let_in,
        let_in,
        again,
        stands: (standing.taken_through, standing.outbox_epochs, standing.heads),
        state,
        decisions,
        quarantined,
        page: items.into_iter().filter(|item| !matches!(item.says, Downward::Page(_))).collect(),
    };
    (played, [other, page])
}

#[tokio::test]
async fn what_agents_of_every_released_protocol_told_has_the_same_effect_and_is_answered_in_their_own() {
    let (newest, _) = play(PROTOCOL).await;
    let numbers: Vec<u64> = newest.not_let_in.rejected.iter().map(|rejection| rejection.number).collect();
    assert_eq!((newest.not_let_in.taken_through, numbers), (10, vec![7, 8, 9, 10]), "nothing in it is what it says");
    assert_eq!((newest.let_in.taken_through, newest.let_in.rejected.len()), (4, 0), "{:?}", newest.let_in);
    assert_eq!(newest.again, newest.let_in);
    assert_eq!((newest.decisions, newest.quarantined), (1, 4));
    assert_eq!((newest.stands.0, newest.stands.1.as_slice()), (10, &[1, 3][..]));
    let kinds: Vec<bool> = newest.page.iter().map(|item| matches!(item.says, Downward::Chunk { .. })).collect();
    assert_eq!(kinds, [true, false], "the plan and the receipt of the chain: {:?}", newest.page);
    for protocol in 1..PROTOCOL {
        let (older, _) = play(protocol).await;
        assert_eq!(older, newest, "protocol {protocol}");
    }
}

/// The answers are in a form that the code of the first protocol could read. The control: those to an agent of the
/// second are not, so this would show an answer that was only marked as older.
#[tokio::test]
async fn an_agent_of_the_first_protocol_is_told_nothing_that_it_could_not_read() {
    let (_, [other, page]) = play(1).await;
    assert!(matches!(decode(&other), Ok(FirstReply::OtherEpoch(_))));
    let read: FirstReply = decode(&page).unwrap();
    let FirstReply::Page { items, more: false, .. } = &read else { panic!("{read:?}") };
    assert!(matches!(items[0].says, FirstSays::Chunk { .. }), "{items:?}");
    assert!(matches!(items[1].says, FirstSays::Anchor(_)), "{items:?}");
    assert_eq!(items.len(), 2);
    let (_, [_, newer]) = play(2).await;
    assert!(decode::<FirstReply>(&newer).is_err(), "it says what was sent, which protocol 1 does not know");
}
