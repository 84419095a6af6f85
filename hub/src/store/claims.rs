//! Which replica does what only one of them may do at a time.
//!
//! Whoever holds a claim beats: a number that grows each second. Who has watched it stand still for a while, by a
//! clock of his own, takes it over; so no two clocks are compared. Over a store that is not shared every claim is
//! held without a word.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use tracing::{info, warn};

use super::{Store, StoreError, Tx, sql::params};
use crate::tasks::{Stop, TaskError};

/// The claim of who takes postings to the ERP.
pub const POST: &str = "post";

/// How often a claim is renewed or looked at, in real time.
const BEAT: Duration = Duration::from_secs(1);
/// How long a claim stands still before another replica takes it, in real time. Whoever could not renew it for
/// as long has stopped before.
const TAKEN_OVER_AFTER: Duration = Duration::from_secs(10);
/// How long the holder goes on when it cannot renew.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(4);
/// How long it waits for one answer of the store, and for what is under way to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// How a claim stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    Held,
    /// Another holds it, who has beaten so often.
    Others {
        holder: String,
        beat: i64,
    },
}

/// What was last seen of another's claim, and since when it stands still.
#[derive(Debug)]
struct Watched {
    holder: String,
    beat: i64,
    since: Duration,
}

/// One who wants a claim: it has it, or watches whoever does.
#[derive(Debug, Default)]
pub struct Claimant {
    watched: Option<Watched>,
}

impl Claimant {
    /// Takes the claim `name`, or beats if this replica has it. Another's is taken once it was seen to stand still for
    /// long enough by `now`, a clock of one's own that only rises. Says whether it is held.
    /// # Errors
    /// Those of the write. Whoever holds it may not be able to beat either: it is watched anew.
    pub async fn wants(
        &mut self,
        store: &Store,
        name: &'static str,
        now: impl Fn() -> Duration,
    ) -> Result<bool, StoreError> {
        let watched = self.watched.take();
        let stood_still = |watched: &&Watched| now().saturating_sub(watched.since) >= TAKEN_OVER_AFTER;
        let still = watched.as_ref().filter(stood_still).map(|watched| (watched.holder.clone(), watched.beat));
        let Standing::Others { holder, beat } = store.write(move |tx| tx.claim(name, still.as_ref())).await? else {
            return Ok(true);
        };
        let is_as_before = |seen: &Watched| seen.holder == holder && seen.beat == beat;
        // Only after the answer: it may have beaten while that was waited for.
        let anew = || Watched { holder: holder.clone(), beat, since: now() };
        self.watched = Some(watched.filter(is_as_before).unwrap_or_else(anew));
        Ok(false)
    }
}

impl Tx<'_> {
    /// Takes the claim `name`, or beats if it is held already. Another's is taken only if it still stands where
    /// `still` says.
    pub(super) fn claim(&mut self, name: &str, still: Option<&(String, i64)>) -> Result<Standing, StoreError> {
        let me = self.actor.to_string();
        let found = self.sql.optional("SELECT holder, beat FROM claims WHERE name = ?1", params![name], |r| {
            Ok::<_, StoreError>((r.get::<String>("holder")?, r.get::<i64>("beat")?))
        })?;
        match found {
            Some((holder, beat)) if holder != me && still != Some(&(holder.clone(), beat)) => {
                return Ok(Standing::Others { holder, beat });
            }
            _ => {}
        }
        self.sql.execute(
            "INSERT INTO claims (name, holder, beat) VALUES (?1, ?2, 1)
             ON CONFLICT (name) DO UPDATE SET holder = ?2, beat = claims.beat + 1",
            params![name, me],
        )?;
        Ok(Standing::Held)
    }

    /// Whether this replica holds the claim `name`. Over a store that is not shared it holds every claim.
    pub(super) fn holds(&self, name: &str) -> Result<bool, StoreError> {
        if self.sql.postgres().is_none() {
            return Ok(true);
        }
        let holder: Option<String> =
            self.sql.optional("SELECT holder FROM claims WHERE name = ?1", params![name], |r| r.get(0))?;
        Ok(holder.is_some_and(|holder| holder == self.actor.to_string()))
    }

    /// Lets the claim `name` go, if it is held.
    fn let_go(&mut self, name: &str) -> Result<(), StoreError> {
        self.sql
            .execute("DELETE FROM claims WHERE name = ?1 AND holder = ?2", params![name, self.actor.to_string()])?;
        Ok(())
    }
}

/// Runs a task while this replica holds the claim `name`, again and again until it is stopped. `run` is told to
/// stop when the claim is lost, and is waited for before another is let in by it.
/// # Errors
/// Those of the task.
pub async fn while_held<F, Fut>(store: Store, name: &'static str, mut stop: Stop, run: F) -> Result<(), TaskError>
where
    F: Fn(Stop) -> Fut,
    Fut: Future<Output = Result<(), TaskError>> + Send,
{
    if !store.is_shared() {
        return run(stop).await;
    }
    let (begun, mut claimant) = (Instant::now(), Claimant::default());
    while !stop.is_stopped() {
        match claimant.wants(&store, name, || begun.elapsed()).await {
            Ok(true) => {
                info!(task = name, "this replica does {name} from now on");
                hold(&store, name, &mut stop, &run).await?;
            }
            Err(e @ StoreError::Stopped) => return Err(e.into()),
            Ok(false) | Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(BEAT) => {}
            () = stop.stopped() => {}
        }
    }
    Ok(())
}

/// Runs the task and beats, until it ends, is stopped, or the claim is lost.
async fn hold<F, Fut>(store: &Store, name: &'static str, stop: &mut Stop, run: &F) -> Result<(), TaskError>
where
    F: Fn(Stop) -> Fut,
    Fut: Future<Output = Result<(), TaskError>> + Send,
{
    let (end, inner) = Stop::pair();
    let mut running = std::pin::pin!(run(inner));
    let mut renewed = Instant::now();
    let ended = loop {
        tokio::select! {
            ended = &mut running => break Some(ended),
            () = stop.stopped() => break None,
            () = tokio::time::sleep(BEAT) => {}
        }
        let asked = Instant::now();
        let beaten = tokio::select! {
            ended = &mut running => break Some(ended),
            beaten = tokio::time::timeout(PATIENCE, store.write(move |tx| tx.claim(name, None))) => {
                beaten.unwrap_or_else(|_| Err(StoreError::NotWritten("it takes too long".to_owned())))
            }
        };
        match beaten {
            Ok(Standing::Held) => renewed = asked,
            Ok(Standing::Others { holder, .. }) => {
                warn!(task = name, "{name} was taken over by {holder}");
                break None;
            }
            Err(_) if renewed.elapsed() < GIVEN_UP_AFTER => {}
            Err(e) => {
                warn!(task = name, error = %e, "{name} cannot be held: {e}");
                break None;
            }
        }
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            let _ = end.send(true);
            // What is under way is brought to its end, though not for ever: another may do it by then.
            tokio::time::timeout(PATIENCE, running).await.unwrap_or(Ok(()))
        }
    };
    // Another need not wait for it to stand still. It is no matter if this does not arrive.
    let _ = tokio::time::timeout(PATIENCE, store.write(move |tx| tx.let_go(name))).await;
    ended
}
