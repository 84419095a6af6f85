//! The connector for plain REST keeps the contract of connectors, with an ERP that honours keys and one that does not.

mod honours_keys {
    gatehouse_tests::connector_keeps_its_contract!(gatehouse_tests::contract::standin::StandIn::new(true).await);
}

mod honours_none {
    gatehouse_tests::connector_keeps_its_contract!(gatehouse_tests::contract::standin::StandIn::new(false).await);
}
