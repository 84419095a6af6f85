//! What one decision posts, in the words of the reconciler.

use std::sync::atomic::{AtomicU32, Ordering};

use gatehouse_common::{
    id::{DecisionId, OrderId, ProductId},
    order::{LineQuantity, OrderStatus},
    time::UtcMs,
};
use gatehouse_hub::core::reconcile::{Posting, PostingKind};

static DECISIONS: AtomicU32 = AtomicU32::new(1);

/// A decision about an order, and the postings that follow from it.
#[derive(Debug)]
pub struct Decision {
    id: DecisionId,
    order: OrderId,
}

impl Decision {
    /// A decision that no other test made.
    /// # Panics
    /// Never: the name is short and plain.
    #[must_use]
    pub fn about(order: &OrderId) -> Self {
        let n = DECISIONS.fetch_add(1, Ordering::Relaxed);
        let id = DecisionId::new(format!("D1-gateway-{}-{n}", std::process::id())).expect("a plain name");
        Self { id, order: order.clone() }
    }

    fn posting(&self, kind: PostingKind, line: Option<u16>, quantity: Option<u32>, load: &[u32]) -> Posting {
        let product = ProductId::new("P").expect("a plain name");
        let total = load.iter().zip(1..).map(|(quantity, line)| LineQuantity {
            line,
            product: product.clone(),
            quantity: *quantity,
        });
        Posting {
            key: format!("{}/{}/{}", self.id, kind.as_str(), line.unwrap_or(0)),
            decision: self.id.clone(),
            order: self.order.clone(),
            line,
            kind,
            quantity,
            total: total.collect(),
            status: None,
            amount_minor: None,
            text: "as the depot says".to_owned(),
            at: UtcMs(0),
        }
    }

    /// A posting about the whole order.
    #[must_use]
    pub fn of(&self, kind: PostingKind) -> Posting {
        self.posting(kind, None, None, &[])
    }

    /// One posting per line of a load, each with the whole load in it.
    #[must_use]
    pub fn each(&self, kind: PostingKind, load: &[u32]) -> Vec<Posting> {
        let lines = load.iter().zip(1..).filter(|(units, _)| **units > 0);
        lines.map(|(units, line)| self.posting(kind, Some(line), Some(*units), load)).collect()
    }

    /// A credit note for some units of a line.
    #[must_use]
    pub fn credits(&self, line: u16, quantity: u32, amount_minor: i64) -> Posting {
        let posting = self.posting(PostingKind::CreditNote, Some(line), Some(quantity), &[]);
        Posting { amount_minor: Some(amount_minor), ..posting }
    }

    /// Another quantity of a line.
    #[must_use]
    pub fn changes_line(&self, line: u16, quantity: u32) -> Posting {
        self.posting(PostingKind::OrderChange, Some(line), Some(quantity), &[])
    }

    /// Another status of the order.
    #[must_use]
    pub fn changes_status(&self, status: OrderStatus) -> Posting {
        Posting { status: Some(status), ..self.posting(PostingKind::OrderChange, None, None, &[]) }
    }
}
