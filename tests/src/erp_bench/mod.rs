//! How fast postings reach a Tryton, beside a bare client that makes the same calls in the same run.
//!
//! One posting is a step of one sale: its release, its goods issue, its invoice with the look that it is there. Ours go
//! through the hub's queue and its store; the bare client's go straight out. Both sides take turns at sales of the same
//! kind, so that neither has the fresher server.

mod bare;
mod recorder;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use gatehouse_bench::lines::{Aim, Printer, rounded};
use gatehouse_common::{id::OrderId, time::UtcMs};
use gatehouse_hub::{
    clock::Clock,
    core::reconcile::{Posting, PostingKind},
    erp::{
        Connector,
        post::{self, PostOptions},
        tryton::Tryton,
    },
    store::Store,
    tasks::Stop,
};
use serde_json::json;

use crate::{
    contract::Decision,
    tryton::{Clerk, address, options},
};
use bare::Bare;
use recorder::Recorder;

/// Postings of a sale.
const STEPS: u32 = 3;
/// Times that both sides take turns.
const ROUNDS: usize = 4;
/// The share of the bare client's rate that ours must reach.
const AIM: f64 = 0.9;
/// Longest that one side may take for a round.
const ROUND_MAX: Duration = Duration::from_secs(600);

/// Measures with `sales` sales a side and round. Returns whether the aim holds.
/// # Errors
/// If Tryton does not take what it should, or the two do not make the same calls.
pub async fn run(sales: usize, printer: Printer) -> anyhow::Result<bool> {
    let clerk = Clerk::at_work().await;
    let mut numbers = clerk.confirms_many(2 + 2 * ROUNDS * sales).await.into_iter();
    let mut next = |n: usize| -> Vec<String> { numbers.by_ref().take(n).collect() };
    let straight = address();
    let calls = same_calls(&next(1)[0], &next(1)[0]).await?;

    let ours = Queue::to(&format!("http://{straight}"))?;
    let theirs = Bare::at(&format!("http://{straight}")).await?;
    let (mut our_time, mut their_time) = (Duration::ZERO, Duration::ZERO);
    for round in 0..ROUNDS {
        // Whoever comes second has the warmer server: they take turns at that, too.
        for is_ours in [round % 2 == 0, round % 2 == 1] {
            let numbers = next(sales);
            let begun = Instant::now();
            if is_ours {
                ours.deliver(&numbers).await?;
                our_time += begun.elapsed();
            } else {
                for (n, number) in numbers.iter().enumerate() {
                    theirs.delivers(number, &format!("gatehouse:bare-{round}-{n}")).await?;
                }
                their_time += begun.elapsed();
            }
        }
        printer.say(&format!("round {}: ours {our_time:.1?}, the bare client {their_time:.1?}", round + 1));
    }
    let postings = f64::from(STEPS) * f64::from(u32::try_from(ROUNDS * sales)?);
    let (our_rate, their_rate) = (postings / our_time.as_secs_f64(), postings / their_time.as_secs_f64());
    printer.line(&json!({
        "bench": "erp", "case": "calls", "calls_per_sale": calls, "postings": postings,
        "ours_seconds": rounded(our_time.as_secs_f64()), "theirs_seconds": rounded(their_time.as_secs_f64()),
    }));
    Ok(printer.aim(&Aim {
        bench: "erp",
        case: "postings per second at Tryton",
        ours: our_rate,
        peer: Some(("bare client", their_rate)),
        aim: "ratio at least 0.9",
        holds: our_rate / their_rate >= AIM,
    }))
}

/// Lets each side deliver one sale over a line that writes down its calls, and compares them. Returns how many.
async fn same_calls(for_ours: &str, for_theirs: &str) -> anyhow::Result<usize> {
    let line = Recorder::to(address()).await?;
    let url = format!("http://{}", line.address);
    let is_step = |method: &String| !method.starts_with("common.") && !method.contains("get_preferences");
    Queue::to(&url)?.deliver(&[for_ours.to_owned()]).await?;
    let ours: Vec<String> = line.take().into_iter().filter(is_step).collect();
    Bare::at(&url).await?.delivers(for_theirs, "gatehouse:bare").await?;
    let theirs: Vec<String> = line.take().into_iter().filter(is_step).collect();
    if ours != theirs {
        bail!("the two do not make the same calls.\nours:   {ours:?}\ntheirs: {theirs:?}");
    }
    Ok(ours.len())
}

/// The hub's queue over a store of its own, with the connector behind it.
struct Queue {
    store: Store,
    connector: Arc<dyn Connector>,
    _folder: tempfile::TempDir,
}

impl Queue {
    fn to(url: &str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("gatehouse-erp-bench-").tempdir()?;
        let store = Store::open(&folder.path().join("hub.db"), &"hub".parse()?)?;
        Ok(Self { store, connector: Arc::new(Tryton::new(options(url))?), _folder: folder })
    }

    /// Queues the three postings of each sale and waits until all are applied, as the hub's own task takes them out.
    async fn deliver(&self, numbers: &[String]) -> anyhow::Result<()> {
        let mut postings = Vec::new();
        for number in numbers {
            let decision = Decision::about(&OrderId::new(number.clone())?);
            postings.push(decision.of(PostingKind::Release));
            for kind in [PostingKind::GoodsIssue, PostingKind::Invoice] {
                postings.extend(decision.each(kind, &[1]));
            }
        }
        let last: Vec<String> = postings.iter().map(|posting| posting.key.clone()).collect();
        self.queue(postings).await?;
        let (end, stop) = Stop::pair();
        let (store, connector) = (self.store.clone(), self.connector.clone());
        let poster = tokio::spawn(post::run(store, connector, Clock::system(), PostOptions::default(), stop));
        let done = tokio::time::timeout(ROUND_MAX, self.all_applied(last)).await;
        let _ = end.send(true);
        poster.await?.map_err(|error| anyhow::anyhow!("{error}"))?;
        done.context("the queue does not come to its end")?
    }

    async fn queue(&self, postings: Vec<Posting>) -> anyhow::Result<()> {
        let queued = self.store.write(move |tx| {
            for posting in &postings {
                tx.enqueue(posting, UtcMs(0))?;
            }
            Ok(())
        });
        Ok(queued.await?)
    }

    async fn all_applied(&self, keys: Vec<String>) -> anyhow::Result<()> {
        let mut changes = self.store.changes();
        loop {
            let wanted = keys.clone();
            let open = self.store.read(move |r| {
                let mut open = Vec::new();
                for key in &wanted {
                    open.extend(r.posting(key)?.filter(|queued| queued.applied_at.is_none()));
                }
                Ok(open)
            });
            let open = open.await?;
            if let Some(bad) = open.iter().find(|queued| queued.last_error.is_some()) {
                bail!("posting {}: {:?}", bad.posting.key, bad.last_error);
            }
            if open.is_empty() {
                return Ok(());
            }
            let _ = tokio::time::timeout(Duration::from_millis(200), changes.recv()).await;
            // Once for all that changed meanwhile: looking is not what is measured.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
