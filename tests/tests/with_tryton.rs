//! The connector with a real Tryton: each write, its probe, lost answers, and the same write from four sides at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what went wrong by panicking")]

use std::time::Instant;

use futures::future::join_all;
use gatehouse_common::{
    id::{CustomerId, OrderId, SiteId},
    order::{Order, OrderStatus},
};
use gatehouse_hub::{
    config::Secret,
    core::reconcile::{Posting, PostingKind},
    erp::{
        Connector, ErpCursor, ErpError, Probe,
        tryton::{Tryton, TrytonOptions},
    },
};
use gatehouse_tests::{
    contract::{Decision, Fault, Line, tryton::AtTryton},
    tryton::{Clerk, SaleAtTryton, address, connector, options, server},
};
use serde_json::json;

async fn post(erp: &Tryton, postings: &[Posting]) {
    for posting in postings {
        let applied = loop {
            match erp.apply(posting).await {
                Ok(applied) => break applied,
                // Other tests confirm sales meanwhile, for which Tryton locks them all and sends us away.
                Err(ErpError::Ambiguous { detail }) if detail.contains("answered 503") => {}
                Err(error) => panic!("{}: {error}", posting.key),
            }
        };
        assert!(!applied.document.is_empty());
        assert_eq!(erp.probe(posting).await.unwrap(), Probe::Applied(applied), "{}", posting.key);
    }
}

async fn is_unknown(erp: &Tryton, posting: &Posting) {
    assert_eq!(erp.probe(posting).await.unwrap(), Probe::NotApplied, "{}", posting.key);
}

fn units(order: &Order) -> Vec<u32> {
    order.lines.iter().map(|line| line.quantity).collect()
}

/// Releases a sale and books what left.
async fn departs(erp: &Tryton, sale: &SaleAtTryton, load: &[u32]) -> Decision {
    let decision = Decision::about(&sale.number);
    post(erp, &[decision.of(PostingKind::Release)]).await;
    post(erp, &decision.each(PostingKind::GoodsIssue, load)).await;
    decision
}

/// Every order that changed, following the cursor to its end; also where it ends.
async fn all_changes(erp: &Tryton, since: ErpCursor) -> (Vec<Order>, ErpCursor, usize) {
    let (mut orders, mut cursor, mut pages) = (Vec::new(), since, 0);
    loop {
        let page = erp.changes(&cursor).await.unwrap();
        assert_eq!(page.unreadable, Vec::<String>::new());
        orders.extend(page.orders);
        cursor = page.cursor;
        pages += 1;
        if !page.more {
            return (orders, cursor, pages);
        }
    }
}

#[tokio::test]
async fn a_confirmed_sale_is_an_order_with_what_its_comment_says() {
    let (clerk, erp) = (Clerk::at_work().await, connector());
    let comment = "Ring twice.\nVehicle: BUS-9\ndoor: 2\ndeparture: 2030-01-31T08:00:00Z\ndestination: 30.27, -97.74";
    let sale = clerk.confirms_with(&[("P1", 4), ("P2", 2)], comment).await;
    let order = erp.order(&sale.number).await.unwrap();
    assert_eq!((order.site.as_str(), order.customer.id.as_str()), ("D1", "C1"));
    assert_eq!((order.vehicle.as_str(), order.carrier.as_str(), order.door.as_str()), ("BUS-9", "ACME", "2"));
    assert_eq!(order.planned_departure.to_string(), "2030-01-31T08:00:00Z");
    assert_eq!(order.window_end.to_string(), "2030-02-01T08:00:00Z");
    assert_eq!((order.currency.as_str(), order.status), ("EUR", OrderStatus::Released));
    let lines: Vec<_> =
        order.lines.iter().map(|l| (l.line, l.product.to_string(), l.quantity, l.unit_price_minor)).collect();
    assert_eq!(lines, [(1, "P1".to_owned(), 4, 1250), (2, "P2".to_owned(), 2, 4000)]);
    assert!(matches!(erp.order(&OrderId::new("no-such").unwrap()).await, Err(ErpError::NotFound { .. })));
}

#[tokio::test]
async fn a_sale_that_names_no_vehicle_is_told_with_the_remedy_and_keeps_nothing_else_back() {
    let clerk = Clerk::at_work().await;
    let mut options = options(server()["url"].as_str().unwrap());
    options.terms.vehicle = None;
    let erp = Tryton::new(options).unwrap();
    let (_, before, _) = all_changes(&connector(), ErpCursor::default()).await;
    let dumb = clerk.confirms(&[("P1", 1)]).await;
    let good = clerk.confirms_with(&[("P1", 1)], "vehicle: V3").await;
    let (mut orders, mut unreadable, mut cursor, mut more) = (Vec::new(), Vec::new(), before, true);
    while more {
        let page = erp.changes(&cursor).await.unwrap();
        orders.extend(page.orders);
        unreadable.extend(page.unreadable);
        (cursor, more) = (page.cursor, page.more);
    }
    assert!(orders.iter().any(|order| order.id == good.number));
    let remedy = "comment names no vehicle: write \"vehicle: NAME\" there, or set erp.terms.vehicle for all sales";
    assert!(unreadable.contains(&format!("sale.sale {}: {remedy}", dumb.id)), "{unreadable:?}");
    // That it is cancelled must be heard all the same.
    clerk.cancels_shipments(&dumb).await;
    assert_eq!(erp.order(&dumb.number).await.unwrap().status, OrderStatus::Cancelled);
}

#[tokio::test]
async fn a_quotation_is_no_order() {
    let (clerk, erp) = (Clerk::at_work().await, connector());
    let quotation = clerk.quotes(&[("P1", 4)]).await;
    assert!(matches!(erp.order(&quotation.number).await, Err(ErpError::NotFound { .. })));
}

#[tokio::test]
async fn changes_skip_no_sale_over_several_pages_and_then_tell_what_changed() {
    let (clerk, erp) = (Clerk::at_work().await, connector());
    let many = clerk.confirms_many(130).await;
    let (orders, cursor, pages) = all_changes(&erp, ErpCursor::default()).await;
    assert!(pages >= 2, "{pages} pages");
    for number in &many {
        assert!(orders.iter().any(|order| order.id.as_str() == number), "sale {number} was skipped");
    }
    let sale = clerk.confirms(&[("P1", 4), ("P2", 2)]).await;
    let (orders, cursor, _) = all_changes(&erp, cursor).await;
    assert!(orders.iter().any(|order| order.id == sale.number && order.status == OrderStatus::Released));
    // Cancelling shipments writes neither the sale's number nor its lines: the moves alone tell.
    clerk.cancels_shipments(&sale).await;
    let (orders, cursor, _) = all_changes(&erp, cursor).await;
    let order = orders.into_iter().find(|order| order.id == sale.number).unwrap();
    assert_eq!((order.status, units(&order)), (OrderStatus::Cancelled, vec![4, 2]));
    let sale = clerk.confirms(&[("P1", 4), ("P2", 2)]).await;
    clerk.amends(&sale, "P1", 3).await;
    let (orders, ..) = all_changes(&erp, cursor).await;
    let order = orders.into_iter().find(|order| order.id == sale.number).unwrap();
    assert_eq!(units(&order), [3, 2]);
}

#[tokio::test]
async fn a_customer_beyond_the_limit_is_on_hold() {
    let (clerk, erp) = (Clerk::at_work().await, connector());
    let id = CustomerId::new("C2").unwrap();
    let before = erp.customer(&id).await.unwrap();
    assert_eq!((before.on_hold, before.limit_minor), (false, Some(2_000_000)));
    clerk.limits("C2", "-1").await;
    let after = erp.customer(&id).await.unwrap();
    clerk.limits("C2", "20000").await;
    assert_eq!((after.on_hold, after.headroom_minor() < 0), (true, true));
    assert!(matches!(erp.customer(&CustomerId::new("none").unwrap()).await, Err(ErpError::NotFound { .. })));
}

#[tokio::test]
async fn stock_is_what_lies_at_the_depot() {
    let erp = connector();
    let stock = erp.stock(&SiteId::new("D2").unwrap()).await.unwrap();
    let stock: Vec<_> = stock.into_iter().map(|(product, units)| (product.to_string(), units)).collect();
    assert_eq!(stock, [("P1".to_owned(), 1000), ("P2".to_owned(), 1000), ("P3".to_owned(), 1000)]);
    assert!(matches!(erp.stock(&SiteId::new("D9").unwrap()).await, Err(ErpError::NotFound { .. })));
}

#[tokio::test]
async fn a_release_sets_stock_aside_and_voiding_it_gives_it_back() {
    let (clerk, erp) = (Clerk::at_work().await, connector());
    let sale = clerk.confirms(&[("P1", 4), ("P2", 2)]).await;
    let decision = Decision::about(&sale.number);
    let (release, void) = (decision.of(PostingKind::Release), decision.of(PostingKind::VoidRelease));
    is_unknown(&erp, &release).await;
    post(&erp, &[release.clone(), release.clone()]).await;
    assert_eq!(clerk.states(&sale).await, "assigned");
    is_unknown(&erp, &void).await;
    post(&erp, &[void.clone(), void]).await;
    assert_eq!(clerk.states(&sale).await, "waiting");
    assert_eq!(clerk.shipments(&sale).await[0]["reference"], json!(null));
    is_unknown(&erp, &release).await;
    let notes = clerk.find("ir.note", json!([["resource", "=", format!("sale.sale,{}", sale.id)]]), &["message"]).await;
    assert_eq!(notes.len(), 1, "{notes:?}");
}

#[tokio::test]
async fn a_release_without_stock_is_refused_and_never_forced() {
    let (clerk, erp) = (Clerk::at_work().await, connector());
    let sale = clerk.confirms(&[("P3", 5), ("P2", 1)]).await;
    let lines = clerk.find("sale.line", json!([["sale", "=", sale.id]]), &["id"]).await;
    assert_eq!(lines.len(), 2);
    clerk.amends(&sale, "P3", 1500).await;
    let refused = erp.apply(&Decision::about(&sale.number).of(PostingKind::Release)).await.unwrap_err();
    assert!(matches!(&refused, ErpError::Rejected { detail } if detail.contains("stock is missing")), "{refused}");
    assert_eq!(clerk.states(&sale).await, "waiting");
    let domain = json!([["origin.sale", "=", sale.id, "sale.line"]]);
    assert_eq!(clerk.find("stock.move", domain, &["state"]).await.len(), 2, "no half is left behind");
}

#[tokio::test]
async fn what_left_is_one_done_shipment_and_one_posted_invoice() {
    let (clerk, erp) = (Clerk::at_work().await, connector());
    let sale = clerk.confirms(&[("P1", 4), ("P2", 2)]).await;
    let decision = departs(&erp, &sale, &[4, 2]).await;
    assert_eq!((clerk.states(&sale).await, clerk.left(&sale).await), ("done".to_owned(), "P1 4, P2 2".to_owned()));
    assert_eq!(clerk.invoices(&sale).await, "draft: P1 4, P2 2");
    let invoices = decision.each(PostingKind::Invoice, &[4, 2]);
    is_unknown(&erp, &invoices[0]).await;
    post(&erp, &invoices).await;
    post(&erp, &invoices).await;
    post(&erp, &decision.each(PostingKind::GoodsIssue, &[4, 2])).await;
    assert_eq!((clerk.states(&sale).await, clerk.left(&sale).await), ("done".to_owned(), "P1 4, P2 2".to_owned()));
    assert_eq!(clerk.invoices(&sale).await, "posted: P1 4, P2 2");
}

#[tokio::test]
async fn what_left_short_leaves_the_rest_for_another_shipment() {
    let (clerk, erp) = (Clerk::at_work().await, connector());
    let sale = clerk.confirms(&[("P1", 4), ("P2", 2)]).await;
    let decision = departs(&erp, &sale, &[3, 0]).await;
    post(&erp, &decision.each(PostingKind::Invoice, &[3, 0])).await;
    assert_eq!((clerk.states(&sale).await, clerk.left(&sale).await), ("done, waiting".to_owned(), "P1 3".to_owned()));
    assert_eq!(units(&erp.order(&sale.number).await.unwrap()), [4, 2]);
    let rest = departs(&erp, &sale, &[1, 2]).await;
    post(&erp, &rest.each(PostingKind::Invoice, &[1, 2])).await;
    assert_eq!(clerk.states(&sale).await, "done, done");
    assert_eq!(clerk.left(&sale).await, "P1 1, P1 3, P2 2");
    assert_eq!(clerk.invoices(&sale).await, "posted: P1 3; posted: P1 1, P2 2");
}

#[tokio::test]
async fn more_than_is_ordered_is_booked_whole_and_billed_only_when_a_person_agreed() {
    let (clerk, erp) = (Clerk::at_work().await, connector());
    let sale = clerk.confirms(&[("P1", 5), ("P2", 2)]).await;
    clerk.amends(&sale, "P1", 3).await;
    let decision = departs(&erp, &sale, &[5, 2]).await;
    assert_eq!(clerk.left(&sale).await, "P1 5, P2 2");
    assert_eq!(units(&erp.order(&sale.number).await.unwrap()), [3, 2], "what left does not change what is ordered");
    post(&erp, &decision.each(PostingKind::Invoice, &[3, 2])).await;
    assert_eq!(clerk.invoices(&sale).await, "posted: P1 3, P2 2; draft: P1 2");
    let change = decision.changes_line(1, 5);
    is_unknown(&erp, &change).await;
    post(&erp, &[change.clone(), change]).await;
    assert_eq!(units(&erp.order(&sale.number).await.unwrap()), [5, 2]);
    post(&erp, &decision.each(PostingKind::Invoice, &[5, 2])).await;
    assert_eq!(clerk.invoices(&sale).await, "posted: P1 3, P2 2; posted: P1 2");
    assert_eq!(clerk.left(&sale).await, "P1 5, P2 2");
}

#[tokio::test]
async fn what_left_although_it_was_cancelled_is_booked_and_comes_back_as_a_return() {
    let (clerk, erp) = (Clerk::at_work().await, connector());
    let sale = clerk.confirms(&[("P1", 4), ("P2", 2)]).await;
    clerk.cancels_shipments(&sale).await;
    assert_eq!(erp.order(&sale.number).await.unwrap().status, OrderStatus::Cancelled);
    let decision = Decision::about(&sale.number);
    post(&erp, &decision.each(PostingKind::GoodsIssue, &[4, 2])).await;
    assert_eq!(
        (clerk.states(&sale).await.as_str(), clerk.left(&sale).await.as_str()),
        ("cancelled, done", "P1 4, P2 2")
    );
    let back = decision.each(PostingKind::Return, &[4, 2]);
    is_unknown(&erp, &back[0]).await;
    post(&erp, &back).await;
    post(&erp, &back).await;
    let returns = clerk.find("sale.sale", json!([["origin", "=", format!("sale.sale,{}", sale.id)]]), &["state"]).await;
    assert_eq!(returns.len(), 1, "{returns:?}");
    let moves = json!([["origin.sale", "=", returns[0]["id"], "sale.line"]]);
    assert_eq!(clerk.find("stock.move", moves, &["shipment"]).await.len(), 2);
}

#[tokio::test]
async fn a_release_cancelled_at_tryton_meanwhile_sets_nothing_aside_and_holds_nothing_up() {
    let (clerk, erp) = (Clerk::at_work().await, connector());
    let sale = clerk.confirms(&[("P1", 3)]).await;
    let decision = Decision::about(&sale.number);
    clerk.cancels_shipments(&sale).await;
    post(&erp, &[decision.of(PostingKind::Release), decision.of(PostingKind::VoidRelease)]).await;
    assert_eq!((clerk.states(&sale).await.as_str(), clerk.left(&sale).await.as_str()), ("cancelled", ""));
    assert_eq!(clerk.invoices(&sale).await, "");
}

#[tokio::test]
async fn a_shipment_that_a_clerk_booked_by_hand_is_taken_over_and_not_booked_again() {
    let (clerk, erp) = (Clerk::at_work().await, connector());
    let sale = clerk.confirms(&[("P1", 4)]).await;
    let id = clerk.shipments(&sale).await[0]["id"].clone();
    for button in ["assign_try", "pick", "pack", "do"] {
        clerk.call(&format!("stock.shipment.out.{button}"), vec![json!([id])]).await;
    }
    let decision = Decision::about(&sale.number);
    post(&erp, &decision.each(PostingKind::GoodsIssue, &[4])).await;
    assert_eq!((clerk.states(&sale).await.as_str(), clerk.left(&sale).await.as_str()), ("done", "P1 4"));
}

#[tokio::test]
async fn the_same_departure_from_four_sides_at_once_is_one_shipment_and_one_invoice() {
    let clerk = Clerk::at_work().await;
    let hubs: Vec<Tryton> = (0..4).map(|_| connector()).collect();
    let sale = clerk.confirms(&[("P1", 4), ("P2", 2)]).await;
    let decision = Decision::about(&sale.number);
    let mut postings = vec![decision.of(PostingKind::Release)];
    postings.extend(decision.each(PostingKind::GoodsIssue, &[3, 2]));
    postings.extend(decision.each(PostingKind::Invoice, &[3, 2]));
    for posting in &postings {
        let answers = join_all(hubs.iter().map(|hub| hub.apply(posting))).await;
        for answer in &answers {
            // Whoever came second is told to look again, and then finds it.
            assert!(
                matches!(
                    answer,
                    Ok(_) | Err(ErpError::Conflict { .. } | ErpError::Rejected { .. } | ErpError::Ambiguous { .. })
                ),
                "{answer:?}"
            );
        }
        post(&hubs[0], std::slice::from_ref(posting)).await;
    }
    assert_eq!((clerk.states(&sale).await.as_str(), clerk.left(&sale).await.as_str()), ("done, waiting", "P1 3, P2 2"));
    assert_eq!(clerk.invoices(&sale).await, "posted: P1 3, P2 2");
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_found_or_finished_and_never_done_twice() {
    let clerk = Clerk::at_work().await;
    for method in ["stock.move.write", "assign_try", "out.pick", "out.do\"", "account.invoice.write", "invoice.post"] {
        let line = Line::to(address()).await;
        line.next_meets(Fault::LoseAnswer(method.to_owned()));
        let erp = Tryton::new(options(&format!("http://{}", line.address))).unwrap();
        let sale = clerk.confirms(&[("P1", 4), ("P2", 2)]).await;
        let decision = Decision::about(&sale.number);
        let mut postings = decision.each(PostingKind::GoodsIssue, &[3, 2]);
        postings.extend(decision.each(PostingKind::Invoice, &[3, 2]));
        let mut ambiguous = 0;
        for posting in &postings {
            loop {
                match erp.apply(posting).await {
                    Ok(_) => break,
                    Err(ErpError::Ambiguous { detail }) if detail.contains("answered 503") => {}
                    Err(ErpError::Ambiguous { .. }) => ambiguous += 1,
                    Err(error) => panic!("{method}: {error}"),
                }
                if let Probe::Applied(_) = erp.probe(posting).await.unwrap() {
                    break;
                }
            }
        }
        assert_eq!((ambiguous, line.met()), (1, 1), "{method}");
        assert_eq!(clerk.states(&sale).await, "done, waiting", "{method}");
        assert_eq!(clerk.left(&sale).await, "P1 3, P2 2", "{method}");
        assert_eq!(clerk.invoices(&sale).await, "posted: P1 3, P2 2", "{method}");
    }
}

#[tokio::test]
async fn a_session_that_ended_is_opened_again() {
    let (clerk, erp) = (Clerk::at_work().await, connector());
    erp.customer(&CustomerId::new("C1").unwrap()).await.unwrap();
    // Tryton ends a user's sessions when the password is written, be it the same.
    let user = clerk.find("res.user", json!([["login", "=", "hub"]]), &["id"]).await[0]["id"].clone();
    let password = json!({ "password": server()["users"]["hub"] });
    clerk.call("res.user.write", vec![json!([user]), password]).await;
    erp.customer(&CustomerId::new("C1").unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_told_once_and_not_sent_again() {
    let line = Line::to(address()).await;
    let options = TrytonOptions { password: Secret::new("wrong"), ..options(&format!("http://{}", line.address)) };
    let erp = Tryton::new(options).unwrap();
    for _ in 0..5 {
        let error = erp.customer(&CustomerId::new("C1").unwrap()).await.unwrap_err();
        assert!(matches!(&error, ErpError::Auth { detail } if detail.contains("\"hub\"")), "{error}");
        assert!(!error.to_string().contains("wrong"), "{error}");
    }
    assert_eq!(line.requests(), 1);
}

#[tokio::test]
async fn a_tryton_that_is_away_is_transient_even_for_a_write() {
    let erp = Tryton::new(options("http://127.0.0.1:9")).unwrap();
    let began = Instant::now();
    let sale = SaleAtTryton { id: 0, number: OrderId::new("1").unwrap() };
    let error = erp.apply(&Decision::about(&sale.number).of(PostingKind::Release)).await.unwrap_err();
    assert!(matches!(error, ErpError::Transient { .. }), "{error}");
    assert!(began.elapsed().as_secs() < 5);
}

mod contract {
    gatehouse_tests::connector_keeps_its_contract!(super::AtTryton::new().await);
}

/// One after the other, with `--test-threads 1`: they block and free the one customer.
mod families {
    gatehouse_tests::families_end_to_end!(super::AtTryton::new().await);
    gatehouse_tests::families_end_to_end!(super::AtTryton::new().await; too_warm_on_the_way,);
}
