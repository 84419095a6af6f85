//! The scenes. Each makes orders of its own, so that they may run side by side on one server.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::join_all;
use gatehouse_common::{
    id::{CustomerId, OrderId, SiteId},
    order::{Order, OrderStatus},
};
use gatehouse_hub::{
    core::reconcile::{Posting, PostingKind, PostingState},
    erp::{Connector, ErpCursor, ErpError, Probe},
};

use super::{Books, Decision, Fault, Line, Queue, Shop, deliver};

/// Racing writers in one scene.
const WRITERS: usize = 8;

fn straight(shop: &dyn Shop) -> Arc<dyn Connector> {
    shop.connector(shop.address())
}

/// Follows the cursor to its end.
async fn read_on(erp: &dyn Connector, since: &ErpCursor) -> (BTreeMap<OrderId, Order>, ErpCursor) {
    let (mut orders, mut cursor) = (BTreeMap::new(), since.clone());
    for _ in 0..1_000 {
        let page = erp.changes(&cursor).await.expect("changes can be read");
        orders.extend(page.orders.into_iter().map(|order| (order.id.clone(), order)));
        let stands = page.cursor == cursor;
        cursor = page.cursor;
        if !page.more || stands {
            return (orders, cursor);
        }
    }
    panic!("{}: the changes have no end", erp.name());
}

fn units(order: &Order) -> Vec<u32> {
    order.lines.iter().map(|line| line.quantity).collect()
}

/// What must be posted for goods that left, in causal order.
fn departure(decision: &Decision, load: &[u32]) -> Vec<Posting> {
    let mut postings = vec![decision.of(PostingKind::Release)];
    postings.extend(decision.each(PostingKind::GoodsIssue, load));
    postings.extend(decision.each(PostingKind::Invoice, load));
    postings
}

async fn deliver_all(erp: &dyn Connector, postings: &[Posting]) {
    for posting in postings {
        let applied = deliver(erp, posting).await.unwrap_or_else(|e| panic!("{}: {e}", posting.key));
        assert!(!applied.document.is_empty(), "{}: the document has no name", posting.key);
        let found = erp.probe(posting).await.unwrap_or_else(|e| panic!("{}: {e}", posting.key));
        assert!(matches!(found, Probe::Applied(_)), "{}: {found:?} after it was applied", posting.key);
    }
}

fn billed(units: &[i64]) -> Books {
    Books { issued: units.to_vec(), billed: units.to_vec(), returned: vec![0; units.len()] }
}

/// Nothing is skipped, and who asks again from an older cursor hears it again.
pub async fn changes_come_at_least_once_from_wherever_the_reader_is(shop: &dyn Shop) {
    let erp = straight(shop);
    let first = shop.orders(&[4, 2]).await;
    let (orders, after_first) = read_on(erp.as_ref(), &ErpCursor::default()).await;
    assert_eq!(orders.get(&first).map(units), Some(vec![4, 2]));
    let second = shop.orders(&[3]).await;
    let (orders, after_second) = read_on(erp.as_ref(), &after_first).await;
    assert_eq!(orders.get(&second).map(units), Some(vec![3]));
    shop.cancels(&second).await;
    let (orders, _) = read_on(erp.as_ref(), &after_second).await;
    assert_eq!(orders.get(&second).map(|order| order.status), Some(OrderStatus::Cancelled));
    // A hub whose commit failed asks from where it was, with a connector that remembers nothing.
    let (orders, _) = read_on(straight(shop).as_ref(), &after_first).await;
    assert_eq!(orders.get(&second).map(|order| order.status), Some(OrderStatus::Cancelled));
}

/// One order, its customer and its depot's stock; and what is not there is said to be not there.
pub async fn an_order_is_read_as_it_stands(shop: &dyn Shop) {
    let erp = straight(shop);
    let id = shop.orders(&[4, 2]).await;
    let (site, customer, product) = shop.names();
    let order = erp.order(&id).await.expect("the order is read");
    assert_eq!((&order.id, units(&order), order.status), (&id, vec![4, 2], OrderStatus::Released));
    assert_eq!((&order.site, &order.customer.id), (&site, &customer));
    assert!(order.lines.iter().all(|line| line.unit_price_minor > 0), "{:?}", order.lines);
    shop.cancels(&id).await;
    assert_eq!(erp.order(&id).await.map(|order| order.status), Ok(OrderStatus::Cancelled));
    let standing = erp.customer(&customer).await.expect("the customer is read");
    assert_eq!((&standing.id, standing.on_hold), (&customer, false));
    let stock = erp.stock(&site).await.expect("the stock is read");
    assert!(stock.get(&product).is_some_and(|units| *units > 0), "{stock:?}");
    let nobody = erp.customer(&CustomerId::new("no-such").expect("a plain name")).await;
    assert!(matches!(nobody, Err(ErpError::NotFound { .. })), "{nobody:?}");
    let nothing = erp.order(&OrderId::new("no-such").expect("a plain name")).await;
    assert!(matches!(nothing, Err(ErpError::NotFound { .. })), "{nothing:?}");
    // An ERP may know no such depot, or say that nothing lies there; it must not say that something does.
    match erp.stock(&SiteId::new("D9").expect("a plain name")).await {
        Err(ErpError::NotFound { .. }) => {}
        other => assert_eq!(other, Ok(BTreeMap::new())),
    }
}

/// Release, its end, goods issue, invoice, return, another quantity.
pub async fn each_kind_of_posting_does_what_it_says(shop: &dyn Shop) {
    let erp = straight(shop);
    let order = shop.orders(&[4, 2]).await;
    let decision = Decision::about(&order);
    let release = decision.of(PostingKind::Release);
    assert_eq!(erp.probe(&release).await, Ok(Probe::NotApplied));
    deliver_all(erp.as_ref(), &[release, decision.of(PostingKind::VoidRelease)]).await;
    assert_eq!(shop.books(&order).await, Books { issued: vec![0, 0], billed: vec![0, 0], returned: vec![0, 0] });

    let order = shop.orders(&[4, 2]).await;
    let decision = Decision::about(&order);
    deliver_all(erp.as_ref(), &departure(&decision, &[3, 2])[..3]).await;
    assert_eq!(shop.books(&order).await, Books { issued: vec![3, 2], billed: vec![0, 0], returned: vec![0, 0] });
    deliver_all(erp.as_ref(), &decision.each(PostingKind::Invoice, &[3, 2])).await;
    assert_eq!(shop.books(&order).await, billed(&[3, 2]));
    deliver_all(erp.as_ref(), &decision.each(PostingKind::Return, &[1, 0])).await;
    assert_eq!(shop.books(&order).await, Books { returned: vec![1, 0], ..billed(&[3, 2]) });

    let order = shop.orders(&[4, 2]).await;
    deliver_all(erp.as_ref(), &[Decision::about(&order).changes_line(1, 6)]).await;
    assert_eq!(erp.order(&order).await.map(|order| units(&order)), Ok(vec![6, 2]));
}

/// Whoever asks before sending has one effect; where keys are honoured, whoever does not ask has as well.
pub async fn a_posting_that_is_known_has_no_second_effect(shop: &dyn Shop) {
    let erp = straight(shop);
    let order = shop.orders(&[4, 2]).await;
    let postings = departure(&Decision::about(&order), &[4, 2]);
    for _ in 0..2 {
        deliver_all(erp.as_ref(), &postings).await;
        // A connector that was started meanwhile knows no more than the ERP.
        deliver_all(straight(shop).as_ref(), &postings).await;
    }
    if erp.caps().honours_keys {
        for posting in &postings {
            erp.apply(posting).await.unwrap_or_else(|e| panic!("{}: {e}", posting.key));
        }
    }
    assert_eq!(shop.books(&order).await, billed(&[4, 2]));
}

/// A lost answer is no failure and no success: it is asked about.
pub async fn a_write_whose_answer_was_lost_is_found(shop: &dyn Shop) {
    let line = Line::to(shop.address()).await;
    let erp = shop.connector(line.address);
    let order = shop.orders(&[4, 2]).await;
    for posting in departure(&Decision::about(&order), &[3, 2]) {
        let mut found = erp.probe(&posting).await;
        for _ in 0..5 {
            if matches!(found, Ok(Probe::Applied(_))) {
                break;
            }
            let before = line.met();
            line.next_meets(Fault::LoseAnswer(shop.mark_of(posting.kind)));
            let answer = erp.apply(&posting).await;
            assert!(matches!(answer, Err(ErpError::Ambiguous { .. })), "{}: {answer:?}", posting.key);
            assert_eq!(line.met(), before + 1, "{}", posting.key);
            // An ERP that was busy with others may have refused it, and that answer was lost: then it is sent again.
            found = erp.probe(&posting).await;
        }
        assert!(matches!(found, Ok(Probe::Applied(_))), "{}: {found:?}", posting.key);
    }
    assert_eq!(shop.books(&order).await, billed(&[3, 2]));
}

/// A request that was lost on its way looks to its sender like a lost answer; the ERP says that it has nothing.
pub async fn a_write_that_never_arrived_is_not_found(shop: &dyn Shop) {
    let line = Line::to(shop.address()).await;
    let erp = shop.connector(line.address);
    let order = shop.orders(&[4, 2]).await;
    for posting in departure(&Decision::about(&order), &[3, 2]) {
        if erp.probe(&posting).await != Ok(Probe::NotApplied) {
            continue;
        }
        line.next_meets(Fault::LoseRequest(shop.mark_of(posting.kind)));
        let answer = erp.apply(&posting).await;
        assert!(matches!(answer, Err(ErpError::Ambiguous { .. })), "{}: {answer:?}", posting.key);
        assert_eq!(erp.probe(&posting).await, Ok(Probe::NotApplied), "{}", posting.key);
        deliver(erp.as_ref(), &posting).await.unwrap_or_else(|e| panic!("{}: {e}", posting.key));
    }
    assert_eq!(shop.books(&order).await, billed(&[3, 2]));
}

/// Cancelled after it was read and before it was written: the write says so and changes nothing.
pub async fn a_document_that_changed_in_between_is_not_overwritten(shop: &dyn Shop) {
    let line = Line::to(shop.address()).await;
    let erp = shop.connector(line.address);
    let order = shop.orders(&[4, 2]).await;
    let release = Decision::about(&order).of(PostingKind::Release);
    line.next_meets(Fault::Hold(shop.mark_of(PostingKind::Release)));
    let (answer, ()) = tokio::join!(erp.apply(&release), async {
        tokio::time::timeout(Duration::from_secs(30), line.holds()).await.expect("the write sets out");
        shop.cancels(&order).await;
        line.let_go();
    });
    assert!(matches!(answer, Err(ErpError::Conflict { .. } | ErpError::Rejected { .. })), "{answer:?}");
    assert_eq!(erp.order(&order).await.map(|order| order.status), Ok(OrderStatus::Cancelled));
    assert_eq!(shop.books(&order).await.issued, [0, 0]);
}

/// What the ERP refuses goes to a person with its words, and leaves nothing half done.
pub async fn what_the_erp_refuses_is_rejected_with_its_words(shop: &dyn Shop) {
    let posting = shop.refused().await;
    let before = shop.books(&posting.order).await;
    let answer = straight(shop).apply(&posting).await;
    assert!(matches!(&answer, Err(ErpError::Rejected { detail }) if detail.len() > 20), "{answer:?}");
    assert_eq!(shop.books(&posting.order).await, before);
    let queue = Queue::new();
    queue.take(std::slice::from_ref(&posting));
    queue.works(straight(shop), Duration::from_secs(20)).await;
    let parked = queue.all().remove(0);
    assert_eq!(parked.state, PostingState::Dead);
    assert!(parked.last_error.is_some_and(|why| why.len() > 20));
}

/// An order that is not there is no refusal: it may be a wrong database.
pub async fn a_posting_about_nothing_is_not_found(shop: &dyn Shop) {
    let nothing = OrderId::new("404404").expect("a plain name");
    let answer = straight(shop).apply(&Decision::about(&nothing).of(PostingKind::Release)).await;
    assert!(matches!(answer, Err(ErpError::NotFound { .. })), "{answer:?}");
}

/// A wrong secret: at most one request for each call, and the secret is in no error.
pub async fn a_wrong_secret_is_told_and_never_sent_in_a_loop(shop: &dyn Shop) {
    const CALLS: u32 = 5;
    let line = Line::to(shop.address()).await;
    let (erp, order) = (shop.stranger(line.address), shop.orders(&[1]).await);
    for n in 0..CALLS {
        let error = match n % 2 {
            0 => erp.order(&order).await.map(|_| ()).expect_err("a stranger reads nothing"),
            _ => {
                erp.apply(&Decision::about(&order).of(PostingKind::Release)).await.map(|_| ()).expect_err("nor writes")
            }
        };
        assert!(matches!(error, ErpError::Auth { .. }), "{error}");
        for secret in shop.secrets() {
            assert!(!format!("{error} {error:?}").contains(&secret), "{error}");
        }
    }
    assert!(line.requests() <= CALLS, "{} requests for {CALLS} calls", line.requests());
    assert_eq!(shop.books(&order).await.issued, [0]);
}

/// A session that ended costs nobody anything.
pub async fn a_session_that_ended_is_opened_again(shop: &dyn Shop) {
    let erp = straight(shop);
    let order = shop.orders(&[4, 2]).await;
    erp.order(&order).await.expect("the order is read");
    if !shop.ends_sessions().await {
        gatehouse_skipped::skipped(format!("{} has no sessions", erp.name()));
        return;
    }
    erp.order(&order).await.expect("a read opens a session");
    shop.ends_sessions().await;
    deliver_all(erp.as_ref(), &departure(&Decision::about(&order), &[4, 2])).await;
    assert_eq!(shop.books(&order).await, billed(&[4, 2]));
}

/// While the ERP is away nothing is sent, nothing is given up, and afterwards everything arrives once.
pub async fn an_erp_that_is_away_is_transient_and_nothing_is_given_up(shop: &dyn Shop) {
    let line = Line::to(shop.address()).await;
    let erp = shop.connector(line.address);
    let order = shop.orders(&[4, 2]).await;
    let postings = departure(&Decision::about(&order), &[4, 2]);
    // Connections that were open before end with the server.
    erp.order(&order).await.expect("the order is read");
    line.is_down(true);
    for _ in 0..2 {
        let read = erp.order(&order).await.map(|_| ());
        assert!(matches!(read, Err(ErpError::Transient { .. })), "{read:?}");
    }
    let queue = Queue::new();
    queue.take(&postings);
    let mut poster = queue.poster(erp.clone());
    let until = tokio::time::Instant::now() + Duration::from_secs(3);
    while tokio::time::Instant::now() < until {
        poster.once().await.expect("the store works");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let given_up = queue.all().into_iter().find(|q| matches!(q.state, PostingState::Dead | PostingState::Applied));
    assert_eq!(given_up, None);
    assert_eq!(shop.books(&order).await.issued, [0, 0]);
    line.is_down(false);
    queue.works(erp, Duration::from_secs(60)).await;
    assert!(queue.all().iter().all(|q| q.state == PostingState::Applied), "{:?}", queue.all());
    assert_eq!(shop.books(&order).await, billed(&[4, 2]));
}

/// Eight hubs take from one queue.
pub async fn eight_racing_queues_have_one_effect(shop: &dyn Shop) {
    let order = shop.orders(&[4, 2]).await;
    let queue = Queue::new();
    queue.take(&departure(&Decision::about(&order), &[3, 2]));
    join_all((0..WRITERS).map(|_| queue.works(straight(shop), Duration::from_secs(60)))).await;
    assert!(queue.all().iter().all(|q| q.state == PostingState::Applied), "{:?}", queue.all());
    assert_eq!(shop.books(&order).await, billed(&[3, 2]));
}

/// Eight hubs that know nothing of each other send the same postings at once.
pub async fn eight_racing_writers_have_one_effect(shop: &dyn Shop) {
    let writers: Vec<_> = (0..WRITERS).map(|_| straight(shop)).collect();
    if !shop.stands_races() {
        gatehouse_skipped::skipped(format!("{} cannot tell two writers apart; its queue has one", writers[0].name()));
        return;
    }
    let order = shop.orders(&[4, 2]).await;
    for posting in departure(&Decision::about(&order), &[3, 2]) {
        let answers = join_all(writers.iter().map(|erp| deliver(erp.as_ref(), &posting))).await;
        for answer in answers {
            answer.unwrap_or_else(|e| panic!("{}: {e}", posting.key));
        }
    }
    assert_eq!(shop.books(&order).await, billed(&[3, 2]));
}

/// What the connector says of an invoice is what stands in the books, before and after.
pub async fn billing_is_believed_once_it_is_read_back(shop: &dyn Shop) {
    let erp = straight(shop);
    let order = shop.orders(&[4, 2]).await;
    let postings = departure(&Decision::about(&order), &[4, 2]);
    let (before, invoices) = postings.split_at(3);
    deliver_all(erp.as_ref(), before).await;
    for invoice in invoices {
        assert_eq!(erp.probe(invoice).await, Ok(Probe::NotApplied), "{}", invoice.key);
    }
    assert_eq!(shop.books(&order).await.billed, [0, 0]);
    let queue = Queue::new();
    queue.take(invoices);
    queue.works(erp, Duration::from_secs(60)).await;
    assert!(queue.all().iter().all(|q| q.state == PostingState::Applied), "{:?}", queue.all());
    assert_eq!(shop.books(&order).await.billed, [4, 2]);
}
