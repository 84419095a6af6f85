//! The connector for REST keeps the contract of connectors: with an ERP that honours keys, one that takes postings only
//! under an order's tag or version, one that knows neither, one whose names all come from the configuration, and stand-ins
//! that answer as ERPNext and Odoo do by their documentation, each by the map that we hand out.

use gatehouse_common::id::OrderId;
use gatehouse_hub::{
    core::reconcile::PostingKind,
    erp::{Connector, ErpError, Probe},
};
use gatehouse_tests::contract::{Books, Decision, Shop, standin::StandIn};

mod keys {
    gatehouse_tests::connector_keeps_its_contract!(super::StandIn::with_keys().await);
}

mod tags {
    gatehouse_tests::connector_keeps_its_contract!(super::StandIn::with_tags().await);
}

mod neither {
    gatehouse_tests::connector_keeps_its_contract!(super::StandIn::plain().await);
}

mod other_names {
    gatehouse_tests::connector_keeps_its_contract!(super::StandIn::under_other_names().await);
}

mod erpnext {
    gatehouse_tests::connector_keeps_its_contract!(super::StandIn::as_erpnext().await);
}

mod odoo {
    gatehouse_tests::connector_keeps_its_contract!(super::StandIn::as_odoo().await);
}

#[tokio::test]
async fn a_second_posting_under_a_unique_key_is_found_and_not_parked() {
    for shop in [StandIn::as_erpnext().await, StandIn::as_odoo().await] {
        let (erp, order) = (shop.connector(shop.address()), shop.orders(&[4]).await);
        let release = Decision::about(&order).of(PostingKind::Release);
        let first = erp.apply(&release).await.unwrap();
        // Two hubs that know nothing of each other: the ERP refuses the second by the key, and has what it asks for.
        assert_eq!(shop.connector(shop.address()).apply(&release).await.unwrap(), first);
        let other = OrderId::new("no-such").unwrap();
        let nothing = Decision::about(&other).of(PostingKind::Release);
        assert!(matches!(erp.apply(&nothing).await, Err(ErpError::NotFound { .. })));
    }
}

#[tokio::test]
async fn weight_cut_off_and_dangerous_goods_come_from_the_fields_that_the_map_names() {
    let shop = StandIn::under_other_names().await;
    let erp: std::sync::Arc<dyn Connector> = shop.connector(shop.address());
    let order = erp.order(&shop.orders(&[4, 2]).await).await.unwrap();
    assert_eq!(order.weight_grams(&order.quantities()), Some(6 * 700));
    assert_eq!(order.cut_off, Some(order.window_end));
    assert!(order.dangerous_goods);
    assert_eq!(order.lines[1].line, 2);
}

#[tokio::test]
async fn a_credit_note_is_proposed_once_under_either_names_and_books_nothing() {
    for shop in [StandIn::with_keys().await, StandIn::with_tags().await, StandIn::under_other_names().await] {
        let erp: std::sync::Arc<dyn Connector> = shop.connector(shop.address());
        assert!(erp.takes(PostingKind::CreditNote));
        let order = shop.orders(&[4, 2]).await;
        let note = Decision::about(&order).credits(1, 3, 1_500);
        assert_eq!(erp.probe(&note).await, Ok(Probe::NotApplied));
        erp.apply(&note).await.unwrap();
        assert!(matches!(erp.probe(&note).await, Ok(Probe::Applied(_))));
        assert_eq!(shop.credits(&order).await, [(1, 3, 1_500)]);
        let nothing = Books { issued: vec![0, 0], billed: vec![0, 0], returned: vec![0, 0] };
        assert_eq!(shop.books(&order).await, nothing);
    }
}
