//! What truly happened, as the pretend world itself wrote it down.
//!
//! The checks compare the stores with this book and never with the product's own counters.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_common::{
    fact::FactKey,
    id::{Hash32, LeaseId, OrderId},
    time::UtcMs,
};

/// What a message is, to whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// A reading that must be kept.
    Reading,
    /// A reading sent again, byte for byte: it must not be kept twice.
    Repeat,
    /// Another content under an id that was used before: it belongs into quarantine.
    Conflict,
    /// Nothing that can be read: it belongs into quarantine.
    Garbage,
}

/// A message that a device published.
#[derive(Debug, Clone)]
pub struct Published {
    /// Which agent's broker took it.
    pub agent: usize,
    /// On which topic.
    pub topic: String,
    /// SHA-256 of its bytes.
    pub hash: Hash32,
    /// What it is.
    pub nature: Nature,
    /// Whether the agent has acknowledged it, so that the broker forgot it.
    pub is_acknowledged: bool,
}

/// The book.
#[derive(Debug, Default)]
pub struct Book {
    /// Every message, in the order of publication.
    pub published: Vec<Published>,
    /// Units that physically left per order line.
    pub departed: BTreeMap<(OrderId, u16), u32>,
    /// Loads that physically left per order, one per departure.
    pub departures: BTreeMap<OrderId, Vec<BTreeMap<u16, u32>>>,
    /// When each decision was made, by true time and by the hash of its record.
    pub decided: BTreeMap<String, UtcMs>,
    /// When an agent committed that a fact is so, each time, by true time: which agent, which fact that the hub told
    /// (none: what its own sensors say), and when it was so.
    pub facts_came: BTreeMap<(usize, Option<FactKey>, UtcMs), Vec<UtcMs>>,
    /// When an agent committed a lease, or more time for it, by true time, and for how many milliseconds.
    pub leases_came: BTreeMap<(usize, LeaseId), Vec<(UtcMs, i64)>>,
    /// Agents whose disk was put back to an older copy.
    pub put_back: BTreeSet<usize>,
    /// What befell the world, counted by name.
    pub befell: BTreeMap<&'static str, u64>,
}

impl Book {
    /// Counts something that befell the world.
    pub fn note(&mut self, what: &'static str) {
        *self.befell.entry(what).or_default() += 1;
    }

    /// An agent committed at `now` that something was so at `at`; `key` is of a fact that the hub told.
    pub fn fact_came(&mut self, agent: usize, key: Option<&FactKey>, at: UtcMs, now: UtcMs) {
        self.facts_came.entry((agent, key.cloned(), at)).or_default().push(now);
    }

    /// When an agent committed such a fact, each time.
    #[must_use]
    pub fn fact_came_at(&self, agent: usize, key: Option<&FactKey>, at: UtcMs) -> &[UtcMs] {
        self.facts_came.get(&(agent, key.cloned(), at)).map_or(&[], Vec::as_slice)
    }

    /// Goods left for good.
    pub fn goods_left(&mut self, order: &OrderId, load: &BTreeMap<u16, u32>) {
        for (line, units) in load {
            *self.departed.entry((order.clone(), *line)).or_default() += units;
        }
        self.departures.entry(order.clone()).or_default().push(load.clone());
    }
}
