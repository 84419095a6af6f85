//! Agents by the thousand: what each has to say is made beforehand, so that little but the exchange itself is left.
//!
//! Each speaks the protocol as the agent does: recalls first, then a pull that waits, and pushes on a line of their own.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use gatehouse_agent::sync::Backoff;
use gatehouse_common::{
    document::Actor,
    id::{DocumentId, DocumentKind},
    sync::{
        Cursor, Downward, Pull, PullReply, Push, PushReply, Upward, decode, encode,
        exchange::{PULL_PATH, PUSH_PATH},
    },
};
use rand::Rng;
use tokio::time::{Instant, sleep};

use crate::{
    cases::{Case, writer},
    programs::now,
    unit::Unit,
    wire::{Trust, Wire, source},
    words::Words,
};

/// How long a pull waits, as in the agent.
const LONG_POLL: Duration = Duration::from_secs(30);
/// Changes of one case.
const CHANGES_A_CASE: usize = 10;
/// Cases before those that the ones who come back bring.
const CASES_MAX: usize = 100_000;
/// How often each has something to say while all is quiet.
const EVERY: Duration = Duration::from_secs(60);

/// One device and what it has to say.
pub struct Speaker {
    /// Which of all.
    pub n: usize,
    /// Who.
    pub unit: Unit,
    /// Changes in order, each with its case, one for each push.
    pub said: Vec<(DocumentId, Vec<u8>)>,
}

/// What all of them share.
pub struct Crowd {
    /// Where the hub is.
    pub hub: SocketAddr,
    /// Who is trusted.
    pub trust: Trust,
    /// Where the feed stood when all began.
    pub cursor: Cursor,
    /// How many wait in a pull.
    pub waiting: AtomicUsize,
    /// How many have failed at something that they then tried again.
    pub failures: AtomicUsize,
    /// When each was told something, by its number; taken out once it has seen it.
    pub told: Mutex<HashMap<usize, Instant>>,
    /// How long it took until it was seen.
    pub seen: Mutex<Vec<Duration>>,
    /// How long pushes took until they were answered.
    pub pushed: Mutex<Vec<Duration>>,
}

impl Crowd {
    /// Nobody has said anything yet.
    pub fn new(hub: SocketAddr, trust: Trust, cursor: Cursor) -> Arc<Self> {
        Arc::new(Self {
            hub,
            trust,
            cursor,
            waiting: AtomicUsize::new(0),
            failures: AtomicUsize::new(0),
            told: Mutex::default(),
            seen: Mutex::default(),
            pushed: Mutex::default(),
        })
    }

    async fn connect(&self, speaker: &Speaker) -> anyhow::Result<Wire> {
        Wire::open(self.hub, source(speaker.n), &speaker.unit, &self.trust).await
    }

    fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

/// Locks; a panic elsewhere changes nothing of the figures.
pub fn held<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the `n`-th speaker, with so many changes.
pub fn speaker(n: usize, unit: Unit, changes: usize) -> anyhow::Result<Speaker> {
    let said = Teller::new(&unit, 0, Words::of(n as u64)).take(changes)?;
    Ok(Speaker { n, unit, said })
}

/// A frame with `changes` changes in cases of their own; numbers go on after `after`.
pub fn frame(speaker: &Speaker, after: u64, changes: usize) -> anyhow::Result<Vec<u8>> {
    let said = Teller::new(&speaker.unit, CASES_MAX, Words::of(1 << 32 | speaker.n as u64)).take(changes)?;
    let records = (after + 1..).zip(said).map(|(n, (id, bytes))| (n, upward(id, bytes))).collect();
    Ok(encode(&Push { outbox_epoch: 1, records })?)
}

/// Makes changes of a depot one after the other, ten to a case: a case does not grow for ever.
pub struct Teller {
    actor: Actor,
    words: Words,
    next: usize,
    case: Option<(Case, usize)>,
}

impl Teller {
    /// For the depot of `unit`; its first case is the `first`-th.
    pub fn new(unit: &Unit, first: usize, words: Words) -> Self {
        Self { actor: writer(unit.site(), unit.name()), words, next: first, case: None }
    }

    /// The next change, with its case.
    pub fn tell(&mut self) -> anyhow::Result<(DocumentId, Vec<u8>)> {
        if let Some((case, left @ 1..)) = &mut self.case {
            *left -= 1;
            return Ok((case.id, case.acted(&self.actor, &mut self.words, now())?.bytes));
        }
        let (case, opening) = Case::open(&self.actor, self.next, &mut self.words, now())?;
        self.next += 1;
        let id = case.id;
        self.case = Some((case, CHANGES_A_CASE - 1));
        Ok((id, opening.bytes))
    }

    fn take(mut self, changes: usize) -> anyhow::Result<Vec<(DocumentId, Vec<u8>)>> {
        (0..changes).map(|_| self.tell()).collect()
    }
}

fn upward(document: DocumentId, bytes: Vec<u8>) -> Upward {
    Upward::Chunk { document, kind: DocumentKind::Case, bytes }
}

/// Waits for news for ever, over connections that it makes anew when they break.
pub async fn waits(crowd: Arc<Crowd>, speaker: Arc<Speaker>) {
    let (mut backoff, mut cursor) = (Backoff::new(), crowd.cursor);
    loop {
        if let Ok(wire) = crowd.connect(&speaker).await {
            crowd.waiting.fetch_add(1, Ordering::Relaxed);
            let ended = waits_over(&crowd, &speaker, wire, &mut cursor, &mut backoff).await;
            crowd.waiting.fetch_sub(1, Ordering::Relaxed);
            drop(ended);
        }
        crowd.failed();
        sleep(Duration::from_millis(backoff.next_ms())).await;
    }
}

async fn waits_over(
    crowd: &Crowd,
    speaker: &Speaker,
    mut wire: Wire,
    cursor: &mut Cursor,
    backoff: &mut Backoff,
) -> anyhow::Result<()> {
    let mut recalls_only = true;
    loop {
        let wait = if recalls_only { Duration::ZERO } else { LONG_POLL };
        let pull = Pull { cursor: *cursor, wait_ms: u32::try_from(wait.as_millis())?, recalls_only };
        let reply: PullReply = wire.exchange(&speaker.unit, PULL_PATH, &pull, wait).await?;
        backoff.reset();
        recalls_only = false;
        match reply {
            PullReply::OtherEpoch(epoch) => *cursor = Cursor::start(epoch),
            PullReply::Page { items, cursor: next, .. } => {
                *cursor = next;
                if items.iter().any(|item| matches!(item.says, Downward::Fact(_)))
                    && let Some(told) = held(&crowd.told).remove(&speaker.n)
                {
                    held(&crowd.seen).push(told.elapsed());
                }
            }
        }
    }
}

/// Says one thing a minute, at a moment of its own within it, until nothing is left.
pub async fn says(crowd: Arc<Crowd>, speaker: Arc<Speaker>, keep: Duration) {
    let offset = rand::rng().random_range(Duration::ZERO..EVERY);
    sleep(offset).await;
    let mut wire: Option<(Wire, Instant)> = None;
    for (n, (id, bytes)) in (1..).zip(&speaker.said) {
        let begun = Instant::now();
        let push = Push { outbox_epoch: 1, records: vec![(n, upward(*id, bytes.clone()))] };
        let mut backoff = Backoff::new();
        loop {
            let kept = wire.take().filter(|(_, used)| used.elapsed() < keep).map(|(wire, _)| wire);
            let opened = match kept {
                Some(wire) => Ok(wire),
                None => crowd.connect(&speaker).await,
            };
            if let Ok(mut open) = opened
                && let Ok(reply) = open.exchange::<_, PushReply>(&speaker.unit, PUSH_PATH, &push, Duration::ZERO).await
                && reply.rejected.is_empty()
            {
                wire = Some((open, Instant::now()));
                break;
            }
            crowd.failed();
            sleep(Duration::from_millis(backoff.next_ms())).await;
        }
        held(&crowd.pushed).push(begun.elapsed());
        if keep < EVERY {
            // As the agent does with a connection that it has not used for a while.
            sleep(keep).await;
            wire = None;
        }
        sleep(EVERY.saturating_sub(begun.elapsed())).await;
    }
}

/// Comes back within `spread` and pushes `frame` until the hub has taken it through `last`, as the agent would.
pub async fn returns(crowd: Arc<Crowd>, speaker: Arc<Speaker>, frame: Vec<u8>, last: u64, spread: Duration) {
    let delay = rand::rng().random_range(Duration::ZERO..=spread);
    sleep(delay).await;
    let mut backoff = Backoff::new();
    loop {
        let wait = match pushes(&crowd, &speaker, &frame, last).await {
            Ok(None) => return,
            Ok(Some(wait)) => wait,
            Err(_) => Duration::ZERO,
        };
        crowd.failed();
        sleep(wait + Duration::from_millis(backoff.next_ms())).await;
    }
}

/// One try; gives how long the hub asks to wait, or nothing if it has taken everything.
async fn pushes(crowd: &Crowd, speaker: &Speaker, frame: &[u8], last: u64) -> anyhow::Result<Option<Duration>> {
    let mut wire = crowd.connect(speaker).await?;
    let recalls = Pull { cursor: crowd.cursor, wait_ms: 0, recalls_only: true };
    let _: PullReply = wire.exchange(&speaker.unit, PULL_PATH, &recalls, Duration::ZERO).await?;
    let answer = wire.post(&speaker.unit, PUSH_PATH, frame, Duration::ZERO).await?;
    if answer.status != 200 {
        return Ok(Some(Duration::from_secs(answer.retry_after_s.unwrap_or(0))));
    }
    let reply: PushReply = decode(&answer.body)?;
    anyhow::ensure!(reply.rejected.is_empty(), "the hub did not let a change in: {:?}", reply.rejected.first());
    Ok(if reply.taken_through == last { None } else { Some(Duration::ZERO) })
}
