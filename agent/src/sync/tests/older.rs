//! A hub of an older version: its answers, byte for byte as they were recorded, are understood, and it is asked in what
//! it speaks, until it speaks more.

use super::*;

/// What the code of protocol 1 said of a frame of protocol 2; from the version on that knew two, it named both.
const OF_THE_FIRST: &str = "frame of protocol 2; this side speaks 1; upgrade the older side";

/// A frame that the code of protocol 1 wrote; see `common/tests/recorded_frames.rs`.
fn recorded(name: &str) -> Vec<u8> {
    let path = format!("{}/../common/tests/frames/v1/{name}.frame", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// A hub that knows the first protocol alone.
fn first() -> Hub {
    Hub { speaks: AtomicU8::new(1), says_of_newer: OF_THE_FIRST, ..Hub::new(0, 0) }
}

fn protocols(depot: &Depot) -> Vec<u8> {
    depot.hub.protocols.lock().unwrap().clone()
}

fn reader(depot: &Depot) -> Reader {
    Reader::open(&depot.store.path().join("agent.db")).unwrap()
}

#[tokio::test]
async fn the_recorded_answers_of_the_first_protocol_are_understood_by_the_whole_agent() {
    let page: PullReply = decode(&recorded("page")).unwrap();
    let PullReply::Page { cursor: told, .. } = page else { panic!("{page:?}") };
    let ten_wait = |store: &mut Store| {
        // What is pushed in another life of the ledger would be told again.
        store.commit(&[Record::Cursor(Cursor::start(told.epoch))]).unwrap();
        for at in 1..=10 {
            store.commit(&[Record::Tracks { at: UtcMs(at), position: None, tracks: Vec::new() }]).unwrap();
        }
    };
    let replays = [(PUSH_PATH, recorded("push-reply")), (PULL_PATH, recorded("page"))];
    let hub = Hub { life: told.epoch, replays: Mutex::new(replays.into()), ..first() };
    let depot = Depot::over(9, hub, ten_wait).await;
    depot.until("the page is committed, whatever is in it", |d| d.cursor() == told).await;
    depot.until("what was not let in is noted", |d| reader(d).status().unwrap().rejected == 1).await;
    assert!(depot.hub.replays.lock().unwrap().is_empty());
    let pushed = depot.hub.pushed.lock().unwrap().clone();
    assert!(pushed.iter().take(10).map(|(n, _)| *n).eq(1..=10), "{pushed:?}");
    let oldest = reader(&depot).outbox_oldest().unwrap();
    assert!(oldest.is_none_or(|n| n > 10), "the hub took them through 10: {oldest:?}");
    let asks_from = |d: &Depot| d.hub.pulls.lock().unwrap().last().map(|pull| pull.cursor);
    depot.until("it goes on from there", |d| asks_from(d) == Some(told)).await;
}

#[tokio::test]
async fn the_recorded_standing_of_the_first_protocol_shows_a_store_that_was_restored() {
    let hub = Hub { replays: Mutex::new([(STANDING_PATH, recorded("standing"))].into()), ..first() };
    let depot = Depot::with(9, hub).await;
    depot.until("something is pushed", |d| !d.hub.pushed.lock().unwrap().is_empty()).await;
    assert!(depot.hub.outbox_epochs.lock().unwrap().iter().all(|epoch| *epoch == 4), "the hub knew of three lives");
}

#[tokio::test]
async fn a_hub_of_the_first_protocol_is_asked_in_that_until_it_comes_back_and_speaks_the_newest() {
    let depot = Depot::with(9, first()).await;
    let pulls = |depot: &Depot| depot.hub.pulls.lock().unwrap().len();
    depot.until("it is pulled from", |d| pulls(d) >= 4).await;
    depot.until("the fact is committed", |d| d.cursor().positions[Lane::Orders.index()] == 3).await;
    let asked = protocols(&depot);
    assert_eq!(asked[0], PROTOCOL, "the newest is tried first");
    assert!(asked[1..].iter().all(|protocol| *protocol == 1), "and once: {asked:?}");

    depot.hub.speaks.store(PROTOCOL, Ordering::Relaxed);
    // While it is started anew, nobody is served.
    depot.hub.fail_next.store(2, Ordering::Relaxed);
    depot.until("it is asked in the newest", |d| protocols(d).last() == Some(&PROTOCOL)).await;
    let before = protocols(&depot).len();
    depot.until("and goes on so", |d| protocols(d).len() >= before + 3).await;
    let asked = protocols(&depot);
    assert!(asked[before..].iter().all(|protocol| *protocol == PROTOCOL), "{asked:?}");
}

/// The control: another refusal, and that of a hub which speaks the first protocol among others, is none of a hub of
/// the first version. An agent that took it for one would go on without what came since.
#[tokio::test]
async fn a_hub_that_refuses_a_frame_for_another_reason_is_not_asked_in_an_older_protocol() {
    let of_both = "frame of protocol 9; this side speaks 1 to 2; upgrade the older side";
    for says_of_newer in [of_both, "frame cannot be read: bytes after the message"] {
        let depot = Depot::with(9, Hub { says_of_newer, ..first() }).await;
        depot.until("it is asked again", |d| protocols(d).len() >= 3).await;
        assert!(protocols(&depot).iter().all(|protocol| *protocol == PROTOCOL), "{says_of_newer}");
        assert!(depot.hub.pulls.lock().unwrap().is_empty());
    }
}
