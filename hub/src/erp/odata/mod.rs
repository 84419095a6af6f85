//! OData V4: S/4HANA's services, Business Central, and whatever else speaks it, by a map in the configuration.
//!
//! One document of the service is an order and what leaves of it. Every write goes under the tag under which the
//! document was read, never under `*`, so that one that changed meanwhile is a conflict and is read again. What a
//! posting makes true is read back before it is believed.

mod http;
mod read;
pub mod settings;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;

use async_trait::async_trait;
use gatehouse_common::{
    id::{CustomerId, OrderId, ProductId, SiteId},
    order::Order,
};

use super::{Applied, Caps, ChangePage, Connector, Customer, ErpCursor, ErpError, Probe};
use crate::core::reconcile::{Posting, PostingKind};
use http::Service;
pub use settings::{Login, ODataMap, ODataOptions};

/// The connector.
pub struct OData {
    options: ODataOptions,
    service: Service,
}

impl OData {
    /// A connector; nothing is sent yet.
    /// # Errors
    /// [`ErpError::Contract`] if the address is none, or no HTTP client can be made.
    pub fn new(options: ODataOptions) -> Result<Self, ErpError> {
        Ok(Self { service: Service::new(&options)?, options })
    }
}

/// A row that is not what the map says.
fn contract(detail: impl Into<String>) -> ErpError {
    ErpError::Contract { detail: detail.into() }
}

#[async_trait]
impl Connector for OData {
    fn name(&self) -> &str {
        "odata"
    }

    fn caps(&self) -> Caps {
        Caps { honours_keys: false, orders_in_credit: false, orders_in_stock: false }
    }

    fn takes(&self, kind: PostingKind) -> bool {
        kind != PostingKind::CreditNote || self.options.map.write.contains_key(&kind)
    }

    async fn changes(&self, since: &ErpCursor) -> Result<ChangePage, ErpError> {
        self.read_changes(since).await
    }

    async fn order(&self, id: &OrderId) -> Result<Order, ErpError> {
        self.order_of(&self.document(id).await?).map_err(contract)
    }

    async fn customer(&self, id: &CustomerId) -> Result<Customer, ErpError> {
        self.read_customer(id).await
    }

    async fn stock(&self, site: &SiteId) -> Result<BTreeMap<ProductId, i64>, ErpError> {
        self.read_stock(site).await
    }

    async fn apply(&self, posting: &Posting) -> Result<Applied, ErpError> {
        self.write_posting(posting).await
    }

    async fn probe(&self, posting: &Posting) -> Result<Probe, ErpError> {
        Ok(match self.shown(posting).await? {
            Some(document) => Probe::Applied(Applied { document }),
            None => Probe::NotApplied,
        })
    }
}
