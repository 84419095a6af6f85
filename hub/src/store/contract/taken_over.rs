//! A claim that another replica takes over: who had it does nothing more under it.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Builder;

use super::{promises::posting, *};
use crate::{
    store::{
        claims::{POST, Standing, while_held},
        sql::params,
    },
    tasks::{Stop, TaskError},
};

/// How many postings wait, each of an order of its own.
const WAITING: u32 = 400;
/// How long anything here may take.
const WITHIN: Duration = Duration::from_secs(20);

/// What a replica does under the claim: it takes one posting after the other.
#[derive(Default)]
struct Work {
    is_at_work: AtomicBool,
    looked: AtomicUsize,
}

impl Work {
    async fn run(&self, store: Store, stop: Stop) -> Result<(), TaskError> {
        self.is_at_work.store(true, Ordering::Release);
        while !stop.is_stopped() {
            store.write(|tx| tx.claim_due(UtcMs(1), 1)).await?;
            self.looked.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.is_at_work.store(false, Ordering::Release);
        Ok(())
    }
}

/// How many postings somebody has under way.
fn under_way(store: &Store) -> i64 {
    let sql = "SELECT count(*) FROM postings WHERE claimed <> 0";
    store.read_now(|r| Ok(r.sql.one(sql, params![], |row| row.get(0))?)).unwrap()
}

fn until(what: &str, mut seen: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !seen() {
        assert!(begun.elapsed() < WITHIN, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Takes the claim from whoever has it, as if that one had stood still for long; gives what was under way then.
fn take_over(store: &Store) -> i64 {
    let taken = store.write_now(|tx| {
        let Standing::Others { holder, beat } = tx.claim(POST, None)? else {
            return Err(StoreError::Refused("nobody has the claim".to_owned()));
        };
        assert_eq!(tx.claim(POST, Some(&(holder, beat)))?, Standing::Held);
        let sql = "SELECT count(*) FROM postings WHERE claimed <> 0";
        Ok(tx.sql.one(sql, params![], |row| row.get(0))?)
    });
    taken.unwrap()
}

#[test]
fn who_lost_a_claim_is_handed_nothing_from_that_moment_on_and_is_told_to_end() {
    let Some(ground) = Ground::postgresql() else { return };
    let (slow, quick) = (ground.open(), ground.open());
    let queued = quick.write_now(|tx| (1..=WAITING).try_for_each(|n| tx.enqueue(&posting(n), UtcMs(0)).map(drop)));
    queued.unwrap();
    let (work, (end, stop)) = (Work::default(), Stop::pair());
    thread::scope(|scope| {
        let held = scope.spawn(|| {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(while_held(slow.clone(), POST, stop, |stop| work.run(slow.clone(), stop)))
        });
        until("it has some under way", || under_way(&quick) >= 3);
        let had = take_over(&quick);
        // It has not heard of it yet, and goes on asking until then.
        until("it is told to end", || !work.is_at_work.load(Ordering::Acquire));
        let looked = work.looked.load(Ordering::Relaxed);
        thread::sleep(Duration::from_millis(300));
        assert_eq!(work.looked.load(Ordering::Relaxed), looked, "it has ended");
        assert!(had < i64::from(WAITING), "there was more to take: {had}");
        assert_eq!(under_way(&quick), had, "nothing was handed out since");

        // The control: what is handed out without a look at the claim shows in this count.
        let unasked = "UPDATE postings SET claimed = 1 WHERE n = (SELECT max(n) FROM postings)";
        slow.write_now(move |tx| Ok(tx.sql.execute(unasked, params![])?)).unwrap();
        assert_eq!(under_way(&quick), had + 1);
        end.send(true).unwrap();
        held.join().unwrap().unwrap();
    });
}
