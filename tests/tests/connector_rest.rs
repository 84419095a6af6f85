//! The connector for REST keeps the contract of connectors: with an ERP that honours keys, one that takes postings only
//! under an order's tag or version, one that knows neither, and one whose names all come from the configuration.

use gatehouse_hub::{
    core::reconcile::PostingKind,
    erp::{Connector, Probe},
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
