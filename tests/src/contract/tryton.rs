//! A running Tryton as a shop.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use gatehouse_common::id::{CustomerId, OrderId, ProductId, SiteId};
use gatehouse_hub::{
    config::Secret,
    core::reconcile::{Posting, PostingKind},
    erp::{
        Connector,
        tryton::{Tryton, TrytonOptions},
    },
};
use serde_json::{Value, json};

use super::{Books, Decision, Shop};
use crate::tryton::{Clerk, SaleAtTryton, address, options, server};

const STRANGER: &str = "stranger-canary";
const PRODUCTS: [&str; 2] = ["P1", "P2"];

/// The Tryton that `GATEHOUSE_TRYTON` names.
pub struct AtTryton {
    clerk: Clerk,
    /// Sales by number: Tryton's id, and how many lines.
    sales: Mutex<BTreeMap<OrderId, (i64, usize)>>,
}

impl AtTryton {
    /// A clerk at work there.
    pub async fn new() -> Self {
        Self { clerk: Clerk::at_work().await, sales: Mutex::default() }
    }

    /// A sale of so many units by line from a depot, whose comment says the rest.
    pub(crate) async fn releases_with(&self, quantities: &[u32], site: &str, comment: &str) -> OrderId {
        let lines: Vec<(&str, u32)> = PRODUCTS.into_iter().zip(quantities.iter().copied()).collect();
        assert_eq!(lines.len(), quantities.len(), "a line per product");
        let sale = self.clerk.confirms_from(site, &lines, comment).await;
        self.sales.lock().unwrap_or_else(PoisonError::into_inner).insert(sale.number.clone(), (sale.id, lines.len()));
        sale.number
    }

    /// The first line gets that quantity at that price.
    pub(crate) async fn amends(&self, order: &OrderId, units: u32, price: &str) {
        self.clerk.amends_at(&self.sale(order).0, PRODUCTS[0], units, Some(price)).await;
    }

    /// The sale's comment is written anew.
    pub(crate) async fn comments(&self, order: &OrderId, comment: &str) {
        self.clerk.comments(&self.sale(order).0, comment).await;
    }

    /// What has not left shall leave from another depot.
    pub(crate) async fn moves_to(&self, order: &OrderId, site: &str) {
        self.clerk.moves_to(&self.sale(order).0, site).await;
    }

    /// The credit of C1 is blocked, or free again.
    pub(crate) async fn blocks_credit(&self, is_blocked: bool) {
        self.clerk.limits("C1", if is_blocked { "-1" } else { "20000" }).await;
    }

    fn sale(&self, order: &OrderId) -> (SaleAtTryton, usize) {
        let sales = self.sales.lock().unwrap_or_else(PoisonError::into_inner);
        let (id, lines) = *sales.get(order).expect("a sale of this scene");
        (SaleAtTryton { id, number: order.clone() }, lines)
    }

    /// Units by line of rows with a product's code and a quantity; a sale here has a line per product.
    fn sum(rows: &[Value], lines: usize, sign: f64) -> Vec<i64> {
        let mut units = vec![0; lines];
        for row in rows {
            let line =
                PRODUCTS.iter().position(|code| row["product."]["code"] == *code).expect("a product of the scene");
            #[expect(clippy::cast_possible_truncation, reason = "whole units of a test")]
            let quantity = (row["quantity"].as_f64().expect("a quantity") * sign) as i64;
            units[line] += quantity;
        }
        units
    }
}

#[async_trait]
impl Shop for AtTryton {
    fn address(&self) -> SocketAddr {
        address()
    }

    fn connector(&self, address: SocketAddr) -> Arc<dyn Connector> {
        Arc::new(Tryton::new(options(&format!("http://{address}"))).expect("a connector"))
    }

    fn stranger(&self, address: SocketAddr) -> Arc<dyn Connector> {
        let options = TrytonOptions { password: Secret::new(STRANGER), ..options(&format!("http://{address}")) };
        Arc::new(Tryton::new(options).expect("a connector"))
    }

    fn secrets(&self) -> Vec<String> {
        vec![server()["users"]["hub"].as_str().expect("a password").to_owned(), STRANGER.to_owned()]
    }

    fn names(&self) -> (SiteId, CustomerId, ProductId) {
        let plain = "a plain name";
        (SiteId::new("D1").expect(plain), CustomerId::new("C1").expect(plain), ProductId::new("P1").expect(plain))
    }

    fn mark_of(&self, kind: PostingKind) -> String {
        match kind {
            PostingKind::Release => "stock.shipment.out.assign_try",
            PostingKind::VoidRelease | PostingKind::OrderChange => "ir.note.create",
            PostingKind::GoodsIssue => "stock.shipment.out.do\"",
            PostingKind::Invoice => "account.invoice.post",
            PostingKind::Return => "sale.sale.confirm",
            PostingKind::CreditNote => "no request at all",
        }
        .to_owned()
    }

    async fn orders(&self, quantities: &[u32]) -> OrderId {
        self.releases_with(quantities, "D1", "").await
    }

    async fn cancels(&self, order: &OrderId) {
        self.clerk.cancels_shipments(&self.sale(order).0).await;
    }

    async fn books(&self, order: &OrderId) -> Books {
        let (sale, lines) = self.sale(order);
        let fields = &["product.code", "quantity"];
        let done = json!([["origin.sale", "=", sale.id, "sale.line"], ["state", "=", "done"]]);
        let issued = self.clerk.find("stock.move", done, fields).await;
        let posted = json!([["origin.sale", "=", sale.id, "sale.line"], ["invoice.state", "in", ["posted", "paid"]]]);
        let billed = self.clerk.find("account.invoice.line", posted, fields).await;
        let back = json!([["sale.origin", "=", format!("sale.sale,{}", sale.id)], ["sale.state", "!=", "cancelled"]]);
        let returned = self.clerk.find("sale.line", back, fields).await;
        Books {
            issued: Self::sum(&issued, lines, 1.0),
            billed: Self::sum(&billed, lines, 1.0),
            returned: Self::sum(&returned, lines, -1.0),
        }
    }

    async fn refused(&self) -> Posting {
        let order = self.orders(&[1]).await;
        // More than lies there, of what costs little: the customer's credit is for the other scenes.
        self.clerk.amends_at(&self.sale(&order).0, "P1", 1_010, Some("0.01")).await;
        Decision::about(&order).of(PostingKind::Release)
    }

    fn stands_races(&self) -> bool {
        true
    }

    async fn ends_sessions(&self) -> bool {
        let user = self.clerk.find("res.user", json!([["login", "=", "hub"]]), &["id"]).await[0]["id"].clone();
        // Tryton ends a user's sessions when the password is written, be it the same.
        let password = json!({ "password": server()["users"]["hub"] });
        self.clerk.call("res.user.write", vec![json!([user]), password]).await;
        true
    }
}
