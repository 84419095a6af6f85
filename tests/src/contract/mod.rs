//! What every connector promises, whatever its ERP: the same scenes, played against each.
//!
//! In: a [`Shop`], an ERP that runs, with a clerk who works at it and with its books as it keeps them itself. Out: a
//! test per scene, made by [`crate::connector_keeps_its_contract`]. The scenes know a connector by its trait alone,
//! and they judge by the ERP's books, never by what the connector says of them.
//! `docs/recipes/erp-connector.md` says how the next connector joins.

#![expect(clippy::expect_used, clippy::panic, reason = "a scene that cannot be played is a failed test")]

mod decision;
mod line;
pub mod odata;
mod queue;
pub mod scenes;
pub mod standin;
pub mod tryton;

use std::{net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use gatehouse_common::id::{CustomerId, OrderId, ProductId, SiteId};
use gatehouse_hub::{
    core::reconcile::{Posting, PostingKind},
    erp::Connector,
};

pub use decision::Decision;
pub use line::{Fault, Line};
pub use queue::{Queue, deliver};

/// What stands of an order in the ERP's own books, in units by line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Books {
    /// Goods that left.
    pub issued: Vec<i64>,
    /// What is invoiced, drafts left out.
    pub billed: Vec<i64>,
    /// What is to come back.
    pub returned: Vec<i64>,
}

/// An ERP under test, and a clerk at it.
#[async_trait]
pub trait Shop: Send + Sync {
    /// Where its server listens.
    fn address(&self) -> SocketAddr;

    /// A connector of its own, as a hub makes one, that finds the server at `address`.
    fn connector(&self, address: SocketAddr) -> Arc<dyn Connector>;

    /// The same, with a secret that the server does not know.
    fn stranger(&self, address: SocketAddr) -> Arc<dyn Connector>;

    /// Secrets that no error may hold.
    fn secrets(&self) -> Vec<String>;

    /// The depot, a customer in good standing, and the product of every line.
    fn names(&self) -> (SiteId, CustomerId, ProductId);

    /// What stands in the bytes of the request that makes a posting of this kind true, and in none before it.
    fn mark_of(&self, kind: PostingKind) -> String;

    /// An order is released with these quantities, a line each.
    async fn orders(&self, quantities: &[u32]) -> OrderId;

    /// The clerk cancels what has not left.
    async fn cancels(&self, order: &OrderId);

    /// The books.
    async fn books(&self, order: &OrderId) -> Books;

    /// A posting of an order of its own that this ERP refuses for a reason of business.
    async fn refused(&self) -> Posting;

    /// Whether several connectors may write at once with no queue between them and the ERP.
    fn stands_races(&self) -> bool;

    /// All sessions end. `false` if the ERP has none.
    async fn ends_sessions(&self) -> bool;
}

/// Makes a test of each scene of the contract. `$shop` is an expression that gives a [`Shop`], made anew for each.
#[macro_export]
macro_rules! connector_keeps_its_contract {
    ($shop:expr) => {
        $crate::connector_keeps_its_contract!($shop;
            changes_come_at_least_once_from_wherever_the_reader_is,
            an_order_is_read_as_it_stands,
            each_kind_of_posting_does_what_it_says,
            a_posting_that_is_known_has_no_second_effect,
            a_write_whose_answer_was_lost_is_found,
            a_write_that_never_arrived_is_not_found,
            a_document_that_changed_in_between_is_not_overwritten,
            what_the_erp_refuses_is_rejected_with_its_words,
            a_posting_about_nothing_is_not_found,
            a_wrong_secret_is_told_and_never_sent_in_a_loop,
            a_session_that_ended_is_opened_again,
            an_erp_that_is_away_is_transient_and_nothing_is_given_up,
            eight_racing_queues_have_one_effect,
            eight_racing_writers_have_one_effect,
            billing_is_believed_once_it_is_read_back,
        );
    };
    ($shop:expr; $($scene:ident,)+) => {
        $(#[tokio::test]
        async fn $scene() {
            let shop = $shop;
            $crate::contract::scenes::$scene(&shop).await;
        })+
    };
}
