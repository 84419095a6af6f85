//! The connector for REST keeps the contract of connectors: with an ERP that honours keys, one that takes postings only
//! under an order's tag or version, one that knows neither, and one whose names all come from the configuration.

use gatehouse_hub::erp::Connector;
use gatehouse_tests::contract::{Shop, standin::StandIn};

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
