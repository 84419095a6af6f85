//! Each posting once, whatever becomes of the answer.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use gatehouse_common::{
    id::{CustomerId, DecisionId, OrderId, ProductId, SiteId},
    order::Order,
};

use super::{super::*, *};
use crate::core::reconcile::{Posting, PostingKind};

/// An ERP that resets the connection after every second write that it applied.
#[derive(Default)]
struct Forgetful {
    applied: Mutex<Vec<String>>,
    probes: Mutex<u32>,
    sent: Mutex<u32>,
    refuses: bool,
    is_mute: bool,
    is_away: AtomicBool,
    /// Loses every write, and the answer to it.
    drops: bool,
}

impl Forgetful {
    fn applied(&self) -> Vec<String> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Connector for Forgetful {
    fn name(&self) -> &str {
        "forgetful"
    }
    fn caps(&self) -> Caps {
        Caps { honours_keys: false, orders_in_credit: false, orders_in_stock: false }
    }
    async fn changes(&self, _: &ErpCursor) -> Result<ChangePage, ErpError> {
        Ok(ChangePage::default())
    }
    async fn order(&self, id: &OrderId) -> Result<Order, ErpError> {
        Err(ErpError::NotFound { detail: id.to_string() })
    }
    async fn customer(&self, id: &CustomerId) -> Result<Customer, ErpError> {
        Err(ErpError::NotFound { detail: id.to_string() })
    }
    async fn stock(&self, _: &SiteId) -> Result<BTreeMap<ProductId, i64>, ErpError> {
        Ok(BTreeMap::new())
    }
    async fn apply(&self, posting: &Posting) -> Result<Applied, ErpError> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(ErpError::Transient { detail: "nobody answers".into(), retry_after: None });
        }
        if self.drops {
            *self.sent.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            return Err(ErpError::Ambiguous { detail: "500 internal error".into() });
        }
        if self.refuses {
            return Err(ErpError::Rejected { detail: "line 1 is closed".into() });
        }
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        applied.push(posting.key.clone());
        if applied.len().is_multiple_of(2) {
            return Err(ErpError::Ambiguous { detail: "connection reset".into() });
        }
        Ok(Applied { document: format!("effect {}", applied.len()) })
    }
    async fn probe(&self, posting: &Posting) -> Result<Probe, ErpError> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(ErpError::Transient { detail: "nobody answers".into(), retry_after: None });
        }
        *self.probes.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        if self.is_mute {
            return Ok(Probe::Unknown);
        }
        let document = posting.key.clone();
        let found = self.applied().contains(&posting.key);
        Ok(if found { Probe::Applied(Applied { document }) } else { Probe::NotApplied })
    }
}

fn queued(n: u32, state: PostingState) -> QueuedPosting {
    let posting = Posting {
        key: format!("gw-1-1-1/goods_issue/{n}"),
        decision: DecisionId::new("gw-1-1-1").unwrap(),
        order: OrderId::new("SO-1").unwrap(),
        line: Some(1),
        kind: PostingKind::GoodsIssue,
        quantity: Some(10),
        total: Vec::new(),
        status: None,
        amount_minor: None,
        text: String::new(),
        at: UtcMs(0),
    };
    QueuedPosting {
        posting,
        state,
        is_wanted: true,
        attempts: 0,
        next_try: UtcMs(0),
        sent_at: None,
        last_error: None,
        applied_at: None,
        document: None,
    }
}

fn options() -> PostOptions {
    PostOptions { settle: Duration::ZERO, ..PostOptions::default() }
}

#[tokio::test]
async fn a_posting_whose_answer_was_lost_is_found_and_not_repeated() {
    let erp = Forgetful::default();
    try_one(&erp, &queued(1, PostingState::Queued), &options(), None).await;
    let (lost, _) = try_one(&erp, &queued(2, PostingState::Queued), &options(), None).await;
    assert!(matches!(lost, Tried::InDoubt(_)), "{lost:?}");
    let (found, _) = try_one(&erp, &queued(2, PostingState::InDoubt), &options(), None).await;
    assert!(matches!(found, Tried::Done(_)), "{found:?}");
    assert_eq!(erp.applied().len(), 2);
}

#[tokio::test]
async fn an_erp_that_does_not_have_a_write_is_believed_once_it_cannot_be_on_its_way() {
    let erp = Forgetful::default();
    let sent = QueuedPosting { sent_at: Some(UtcMs(5_000)), ..queued(1, PostingState::InDoubt) };
    let asked = |at: i64| {
        let (erp, sent, options) = (&erp, &sent, options());
        async move { try_one(erp, sent, &options, Some(at - 5_000)).await.0 }
    };
    assert_eq!(asked(6_000).await, Tried::OnItsWay);
    assert_eq!(asked(64_999).await, Tried::OnItsWay);
    assert_eq!(asked(65_000).await, Tried::Absent(String::new()));
    assert!(erp.applied().is_empty(), "asking sends nothing");
    let options = options();
    let next = |at| options.ask_again(Some(UtcMs(5_000)), UtcMs(at)).0;
    assert_eq!([next(5_200), next(9_000), next(50_000)], [6_200, 13_000, 65_000]);
    assert_eq!(next(90_000), 91_000, "by a clock that was set forth; not at once, again and again");
}

/// A queue with one posting, whose waits are over at once.
struct Queue {
    store: Store,
    erp: Arc<Forgetful>,
    poster: Poster,
    _directory: tempfile::TempDir,
}

impl Queue {
    async fn before(erp: Forgetful) -> Self {
        Self::with(erp, Duration::ZERO).await
    }

    async fn with(erp: Forgetful, settle: Duration) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("hub.db"), &"hub".parse().unwrap()).unwrap();
        let posting = queued(1, PostingState::Queued).posting;
        store.write(move |tx| tx.enqueue(&posting, UtcMs(0)).map(|_| ())).await.unwrap();
        let (erp, at_once) = (Arc::new(erp), PostOptions { settle, doubt_ms: 0, retry_first_ms: 0, ..options() });
        let poster = Poster::new(store.clone(), erp.clone(), Clock::system(), at_once);
        Self { store, erp, poster, _directory: directory }
    }

    async fn rounds(&mut self, count: usize) -> QueuedPosting {
        for _ in 0..count {
            self.poster.once().await.unwrap();
        }
        self.store.read(|r| r.posting("gw-1-1-1/goods_issue/1")).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn a_posting_that_the_erp_never_takes_is_parked_after_a_bounded_number_of_tries() {
    let mut queue = Queue::before(Forgetful { drops: true, ..Forgetful::default() }).await;
    let parked = queue.rounds(100).await;
    assert_eq!(parked.state, PostingState::Dead);
    assert!(parked.last_error.as_deref().unwrap().ends_with("no answer to a write: 500 internal error"));
    assert_eq!(*queue.erp.sent.lock().unwrap(), 12);
}

/// A write may wait for its turn at the ERP for longer than it may then be on its way.
#[tokio::test]
async fn the_time_of_doubt_begins_when_the_answer_was_missed_and_not_when_the_posting_was_handed_out() {
    let took = Duration::from_millis(200);
    let mut queue = Queue::with(Forgetful { drops: true, ..Forgetful::default() }, took).await;
    let handed_out = Clock::system().wall();
    let in_doubt = queue.rounds(1).await;
    assert_eq!(in_doubt.state, PostingState::InDoubt);
    assert!(in_doubt.sent_at.unwrap() >= handed_out.plus(200), "{in_doubt:?}");
}

#[tokio::test]
async fn an_erp_that_is_away_however_long_makes_no_dead_letters() {
    let erp = Forgetful { is_away: true.into(), ..Forgetful::default() };
    let mut queue = Queue::before(erp).await;
    let waiting = queue.rounds(200).await;
    assert_eq!((waiting.state, waiting.attempts), (PostingState::Queued, 0));
    queue.erp.is_away.store(false, Ordering::Relaxed);
    assert_eq!(queue.rounds(1).await.state, PostingState::Applied);
}

#[tokio::test]
async fn what_is_withdrawn_is_never_sent_and_none_waits_behind_it() {
    let key = || "gw-1-1-1/goods_issue/1";
    let mut queue = Queue::before(Forgetful { refuses: true, ..Forgetful::default() }).await;
    assert_eq!(queue.rounds(1).await.state, PostingState::Dead);
    let next = queued(2, PostingState::Queued).posting;
    queue.store.write(move |tx| tx.enqueue(&next, UtcMs(0)).map(|_| ())).await.unwrap();
    queue.store.write(move |tx| tx.withdraw(key(), UtcMs(0))).await.unwrap();
    assert_eq!(queue.rounds(2).await.state, PostingState::Withdrawn);
    let behind = queue.store.read(|r| r.posting("gw-1-1-1/goods_issue/2")).await.unwrap().unwrap();
    assert_eq!(behind.state, PostingState::Dead, "it had its turn and was refused for itself");
    assert!(queue.erp.applied().is_empty());
}

#[tokio::test]
async fn what_the_erp_has_stays_applied_though_it_is_withdrawn() {
    let mut queue = Queue::before(Forgetful::default()).await;
    queue.erp.applied.lock().unwrap().push("another".to_owned());
    assert_eq!(queue.rounds(1).await.state, PostingState::InDoubt, "the answer was lost");
    queue.store.write(|tx| tx.withdraw("gw-1-1-1/goods_issue/1", UtcMs(0))).await.unwrap();
    assert_eq!(queue.rounds(1).await.state, PostingState::Applied);
}

#[tokio::test]
async fn a_posting_that_cannot_be_decided_is_parked_for_a_person_and_never_guessed() {
    let erp = Forgetful { is_mute: true, ..Forgetful::default() };
    let mut doubtful = queued(1, PostingState::InDoubt);
    assert!(matches!(try_one(&erp, &doubtful, &options(), None).await.0, Tried::InDoubt(_)));
    doubtful.attempts = 12;
    assert!(matches!(try_one(&erp, &doubtful, &options(), None).await.0, Tried::Parked(_)));
    assert!(erp.applied().is_empty());
}

#[tokio::test]
async fn a_refused_posting_is_parked_with_the_reason() {
    let erp = Forgetful { refuses: true, ..Forgetful::default() };
    let (parked, reached) = try_one(&erp, &queued(1, PostingState::Queued), &options(), None).await;
    assert_eq!((parked, reached), (Tried::Parked("the ERP refuses: line 1 is closed".into()), true));
}

#[tokio::test]
async fn what_a_connector_does_not_take_is_parked_and_never_sent() {
    let erp = Forgetful::default();
    let mut note = queued(1, PostingState::Queued);
    note.posting.kind = PostingKind::CreditNote;
    let (parked, _) = try_one(&erp, &note, &options(), None).await;
    assert_eq!(parked, Tried::Parked("forgetful cannot write credit_note for us: book it by hand".into()));
    assert!(erp.applied().is_empty() && *erp.probes.lock().unwrap() == 0);
}

#[test]
fn an_erp_that_is_away_is_left_alone_for_a_while_then_tried_with_one() {
    let mut breaker = Breaker::default();
    breaker.note(false, UtcMs(0), &options());
    assert_eq!(breaker.allows(UtcMs(100), 4), 0);
    assert_eq!(breaker.allows(UtcMs(2_000), 4), 1);
    breaker.note(true, UtcMs(2_000), &options());
    assert_eq!(breaker.allows(UtcMs(2_000), 4), 4);
}

#[test]
fn an_erp_that_was_away_while_the_clock_was_ahead_is_tried_once_the_clock_is_right() {
    let (days_ahead, mut breaker) = (UtcMs(3 * 24 * 3_600_000), Breaker::default());
    breaker.note(false, days_ahead, &options());
    assert_eq!(breaker.allows(days_ahead, 4), 0);
    assert_eq!(breaker.allows(UtcMs(0), 4), 1);
}

#[tokio::test]
async fn what_was_to_wait_by_a_clock_that_was_days_ahead_is_asked_for_at_once_and_sent_when_its_doubt_is_over_anew() {
    let key = || "gw-1-1-1/goods_issue/1";
    let mut queue = Queue::before(Forgetful::default()).await;
    queue.poster.options.doubt_ms = 60_000;
    let waits = Clock::system().wall().plus(60_000);
    queue.store.write(move |tx| tx.retry(key(), PostingState::Queued, waits, "not now", false)).await.unwrap();
    let waiting = queue.rounds(1).await;
    assert_eq!((waiting.state, waiting.next_try), (PostingState::Queued, waits), "a wait as there is one");

    let ahead = waits.plus(3 * 24 * 3_600_000);
    let missed = queue.store.write(move |tx| {
        assert_eq!(tx.claim_due(ahead, 1)?.len(), 1);
        tx.retry(key(), PostingState::InDoubt, ahead.plus(60_000), "no answer", true)
    });
    missed.await.unwrap();
    let right = Clock::system().wall();
    let asked = queue.rounds(1).await;
    let sent = asked.sent_at.unwrap();
    assert_eq!((asked.state, *queue.erp.probes.lock().unwrap()), (PostingState::InDoubt, 1));
    assert!(right <= sent && sent <= Clock::system().wall() && asked.next_try <= sent.plus(60_000), "{asked:?}");
    queue.rounds(1).await;
    assert!(queue.erp.applied().is_empty(), "it may be on its way");
    queue.poster.options.doubt_ms = 0;
    for _ in 0..100 {
        if queue.rounds(1).await.state == PostingState::Applied {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(queue.erp.applied(), [key()]);
}
