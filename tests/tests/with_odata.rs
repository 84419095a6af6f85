//! The connector for OData V4 keeps the contract of connectors, with a running SAP CAP.

gatehouse_tests::connector_keeps_its_contract!(gatehouse_tests::contract::odata::AtCap::new().await);

mod families {
    gatehouse_tests::families_end_to_end!(gatehouse_tests::contract::odata::AtCap::new().await);
}
