//! The real hub, killed between any two of its steps: what it acknowledged is kept, each release is at the ERP once,
//! and nothing is stuck. And a hub that is killed and goes on from a backup: the depots give back what it forgot.
//!
//! strace kills it as it enters its Nth call to the disk or the network. A session in which nobody is killed goes
//! before: it says at which numbers the hub starts, takes in, posts, and ends. `GATEHOUSE_CALLS=all` tries every N
//! until the session has no further call, which takes hours; else a few of each of these.

use std::{cell::Cell, collections::BTreeSet, future::Future, path::Path, sync::Once};

use anyhow::Context;
use futures::stream::{self, StreamExt};
use gatehouse_tests::killed_hub::{
    Begin, Played, Rehearsed, Script,
    calls::{self, Calls, Kill, NAMES, SENDS, SYNCS, WRITES},
    restoring::{Restored, Restoring},
};

/// Sessions that are played at one time: most of each is waiting.
const AT_ONCE: usize = 2;
/// Most calls of one kind that are tried.
const CALLS_MAX: u32 = 20_000;
/// Most sessions with an ERP that cannot be asked until one of them has posted something twice.
const BLIND_MAX: usize = 12;

fn are_all() -> bool {
    std::env::var("GATEHOUSE_CALLS").is_ok_and(|what| what == "all")
}

/// What sessions begin from; `None`, said aloud, where no program can be traced.
async fn script(what: &str) -> Option<anyhow::Result<Script>> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    if let Some(why) = calls::lacking() {
        gatehouse_skipped::skipped(format!("{what} ({why})"));
        return None;
    }
    Some(Script::write(Path::new(env!("CARGO_BIN_EXE_gatehouse-either"))).await)
}

/// Where the hub is killed: at every call of these, or at some of a session that was rehearsed.
fn kills(calls: &Calls, rehearsed: &Rehearsed, some: [usize; 5]) -> Vec<Kill> {
    if are_all() { (1..=CALLS_MAX).map(|n| Kill { calls: *calls, n }).collect() } else { rehearsed.picked(calls, some) }
}

/// Plays each; where all are asked for, until one `is_over`.
async fn each<T, F>(kills: Vec<Kill>, play: impl Fn(Kill) -> F, is_over: impl Fn(&T) -> bool) -> anyhow::Result<Vec<T>>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let mut sessions = stream::iter(kills).map(play).buffered(AT_ONCE);
    let mut played = Vec::new();
    while let Some(session) = sessions.next().await {
        let session = session?;
        if are_all() && is_over(&session) {
            break;
        }
        played.push(session);
    }
    Ok(played)
}

/// What befell in sessions in which the hub was killed.
#[derive(Debug, Default)]
struct Total {
    sessions: usize,
    in_the_start: usize,
    before_it_acknowledged: usize,
    after_it_acknowledged: usize,
    between_send_and_record: usize,
    /// Of what was acknowledged: the control finds it missing in the store of before.
    lacking_before: usize,
}

impl Total {
    /// Adds what must be as it must.
    fn add(&mut self, played: &[Played]) {
        for session in played {
            assert!(session.end.holds(), "{session:#?}");
            let Some(at_kill) = &session.at_kill else { continue };
            assert_eq!(at_kill.lost, Vec::<String>::new(), "{session:#?}");
            self.sessions += 1;
            self.in_the_start += usize::from(!session.was_up);
            self.before_it_acknowledged += usize::from(session.was_up && at_kill.acknowledged == 0);
            self.after_it_acknowledged += usize::from(at_kill.acknowledged > 0);
            self.between_send_and_record += usize::from(at_kill.unrecorded > 0);
            self.lacking_before += at_kill.new;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_killed_at_its_nth_call_of_its_first_start_starts_again_as_if_nothing_had_been() {
    let Some(script) = script("a hub that is killed in its first start").await else { return };
    let script = script.unwrap();
    let begin = Begin { is_first_start: true, ..Begin::default() };
    let rehearsed = script.rehearsed(begin).await.unwrap();
    let mut total = Total::default();
    for (calls, some) in [(WRITES, [2, 0, 0, 0, 0]), (SYNCS, [2, 0, 0, 0, 0]), (NAMES, [1, 0, 0, 0, 0])] {
        // Once it answers, the others go on from there.
        let is_over = |played: &Played| played.was_up;
        let played = each(kills(&calls, &rehearsed, some), |kill| script.played(begin, kill), is_over).await.unwrap();
        println!("{} until it first answers: killed in {} sessions", calls.name, played.len());
        total.add(&played);
    }
    println!("{total:?}");
    assert!(total.in_the_start > 2, "{total:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_killed_at_its_nth_call_has_what_it_acknowledged_and_posts_each_release_once() {
    let Some(script) = script("a hub that is killed between its steps").await else { return };
    let script = script.unwrap();
    let rehearsed = script.rehearsed(Begin::default()).await.unwrap();
    let mut total = Total::default();
    for (calls, some) in [(SYNCS, [1, 2, 1, 3, 1]), (WRITES, [0, 1, 0, 2, 0]), (SENDS, [0, 1, 1, 2, 0])] {
        let is_over = |played: &Played| !played.is_killed;
        let play = |kill| script.played(Begin::default(), kill);
        let played = each(kills(&calls, &rehearsed, some), play, is_over).await.unwrap();
        println!("{}: {} sessions", calls.name, played.len());
        total.add(&played);
    }
    println!("{total:?}");
    assert!(total.sessions > 8, "{total:?}");
    for (what, times) in [
        ("before it had acknowledged anything", total.before_it_acknowledged),
        ("after it had acknowledged something", total.after_it_acknowledged),
        ("between sending a posting and recording it", total.between_send_and_record),
    ] {
        assert!(times > 0, "it was never killed {what}: {total:?}");
    }
    assert!(total.lacking_before > 0, "the judge finds nothing missing in a store that has nothing: {total:?}");
}

/// The control: what was sent and not recorded is asked for, and an ERP that cannot be asked gets it twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_hub_killed_at_its_nth_call_posts_something_twice_to_an_erp_that_cannot_be_asked() {
    let Some(script) = script("a hub that is killed before an ERP that cannot be asked").await else { return };
    let script = script.unwrap();
    let rehearsed = script.rehearsed(Begin::default()).await.unwrap();
    let begin = Begin { is_blind: true, ..Begin::default() };
    for kill in rehearsed.picked(&SYNCS, [0, 0, 0, BLIND_MAX, 0]) {
        let played = script.played(begin, kill).await.unwrap();
        let unrecorded = played.at_kill.as_ref().map_or(0, |at_kill| at_kill.unrecorded);
        if unrecorded > 0 {
            assert!(played.end.verdict.doubled >= unrecorded && !played.end.holds(), "{played:#?}");
            return;
        }
    }
    panic!("in no session was it killed between sending and recording");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_killed_at_its_nth_call_and_restored_is_given_back_what_it_forgot_and_posts_nothing_twice() {
    let Some(script) = script("a hub that is killed and restored from a backup").await else { return };
    let script = script.unwrap().backed_up().await.unwrap();
    let rehearsed = script.rehearsed(Begin::default()).await.unwrap();
    // The errand is killed as well, each time somewhere else; every third is left alone.
    let written = u32::try_from(WRITES.reached(&script.restore_rehearsed().await.unwrap()).len()).unwrap();
    let turn = Cell::new(0_u32);
    let errand = || {
        let turn = turn.replace(turn.get() + 1);
        (turn % 3 < 2).then(|| Kill { calls: WRITES, n: 1 + turn * 7 % written })
    };
    let (mut sessions, mut forgotten, mut again) = (0, 0, 0);
    for (calls, some) in [(SYNCS, [0, 1, 1, 1, 0]), (SENDS, [0, 0, 0, 1, 0])] {
        let is_over = |restored: &Option<Restored>| restored.is_none();
        let play = |kill: Kill| script.restored(kill, errand());
        let restored = each(kills(&calls, &rehearsed, some), play, is_over).await.unwrap();
        for session in restored.into_iter().flatten() {
            assert!(session.end.holds(), "{session:#?}");
            sessions += 1;
            forgotten += session.forgotten;
            again += u32::from(session.restoring.is_killed);
        }
    }
    println!("{sessions} sessions with a restore, {again} of them with one that was killed; {forgotten} given back");
    assert!(sessions > 2 && again > 0, "{sessions} {again}");
    assert!(forgotten > 0, "the judge finds nothing missing in a store that is put back and told nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_killed_at_its_nth_call_is_done_again_or_says_that_the_store_is_there_and_whole() {
    let Some(script) = script("a restore that is killed").await else { return };
    let script = script.unwrap().backed_up().await.unwrap();
    let rehearsed = script.restore_rehearsed().await.unwrap();
    let (mut killed, mut there) = (0, 0);
    for calls in [WRITES, SYNCS, NAMES] {
        let reached = calls.reached(&rehearsed);
        let last = u32::try_from(reached.len()).unwrap();
        // At the end the store gets its name, its folder is synced, and what it was written in is taken away.
        let some =
            || calls::picked(&reached, &[(0.0, f64::INFINITY, 2)]).into_iter().chain(last.saturating_sub(1)..=last);
        let numbers: BTreeSet<u32> = if are_all() { (1..=last).collect() } else { some().filter(|n| *n > 0).collect() };
        for n in numbers {
            let brought_back = script.brought_back(Some(Kill { calls, n })).await;
            let Restoring { is_killed, was_there } =
                brought_back.with_context(|| format!("{}, call {n}", calls.name)).unwrap();
            killed += u32::from(is_killed);
            there += u32::from(was_there);
        }
    }
    println!("restore was killed {killed} times; {there} times the store was there by then");
    assert!(killed > 4 && there > 0 && there < killed, "{killed} {there}");
    let half = script.copied_by_hand(2).await.unwrap_err();
    let whole = script.copied_by_hand(1).await.unwrap_err();
    println!("controls: half a store: {half:#}\na store that was put back by hand: {whole:#}");
}
