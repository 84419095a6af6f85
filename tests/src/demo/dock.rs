//! People at the dock: they stage goods, look at the depot's page, and load what may leave.
//!
//! In: the plan of one order and the page's word. Out: readings as the dock's sensors and scanners send them, and the
//! note of what physically left. A bus comes and goes when the real one did, loaded or not.

use std::{collections::BTreeMap, sync::Arc};

use gatehouse_common::time::UtcMs;

use super::{
    aims::Standing,
    desk::{Desk, Shown},
    feed::Senses,
    pace::Pace,
    plan::{MINUTE, Meant, Moments, PlannedOrder},
};

/// How long before the bus leaves loading must be over.
const CLOSE_BEFORE: i64 = 100_000;
/// How often people look at the page, in pretend milliseconds.
const LOOK_EVERY: i64 = 20_000;

/// What one order's people work with.
#[derive(Debug, Clone)]
pub struct Dock {
    /// The order.
    pub order: PlannedOrder,
    /// When the line returns.
    pub moments: Moments,
    /// The sensors of the depot.
    pub senses: Senses,
    /// The depot's page.
    pub desk: Arc<Desk>,
    /// The clock.
    pub pace: Pace,
}

impl Dock {
    /// Lives through the order's day.
    pub async fn work(self) {
        self.stage().await;
        self.pace.until(self.order.arrives).await;
        let Some(load) = self.wait_for_word().await else { return };
        self.load_and_leave(&load).await;
    }

    async fn stage(&self) {
        let o = &self.order;
        if o.meant == Meant::HeldInventory {
            // There is nothing to stage: the WMS has told why.
            return;
        }
        self.pace.until(o.staged_by.plus(-9 * MINUTE)).await;
        for line in &o.lines {
            let half = line.quantity / 2;
            self.senses.scan("staged", &o.order, line.line, half, self.pace.now()).await;
            self.pace.pause(2 * MINUTE).await;
            self.senses.scan("staged", &o.order, line.line, line.quantity - half, self.pace.now()).await;
            self.pace.pause(30_000).await;
        }
        self.pace.until(o.staged_by).await;
        self.senses.papers(&o.order, o.meant != Meant::HeldDocuments, self.pace.now()).await;
    }

    /// Waits at the yard until the page says that the order may leave; gives what to load.
    async fn wait_for_word(&self) -> Option<Vec<(u16, u32)>> {
        let o = &self.order;
        // A bus that comes just after the line returned waits a moment: what the hub has to say must be seen first.
        let aimed_later = o.aim.as_ref().is_some_and(|aim| aim.standing == Standing::NotDeparted);
        let patience_ends = o.leaves.plus(-CLOSE_BEFORE - 2 * MINUTE);
        while self.pace.now() < patience_ends {
            let calm = !aimed_later || self.pace.now() > self.moments.back.plus(5 * MINUTE);
            if let Some(shown) = self.desk.dispatch(&o.order).await
                && calm
            {
                match shown.state.as_str() {
                    "released" | "loading" if !shown.stop => return Some(shown.load),
                    "cancelled" | "aborted" | "departed" | "delivered" | "settled" => return None,
                    _ => {}
                }
            }
            self.pace.pause(LOOK_EVERY).await;
        }
        None
    }

    async fn load_and_leave(&self, load: &[(u16, u32)]) {
        let o = &self.order;
        self.senses.bay(&o.door, Some(&o.vehicle), self.pace.now()).await;
        self.senses.door(&o.door, true, self.pace.now()).await;
        let mut on_board: BTreeMap<u16, u32> = BTreeMap::new();
        let close_at = o.leaves.plus(-CLOSE_BEFORE);
        let steps = i64::try_from(load.len() * 2).unwrap_or(2) + 1;
        let pause = (close_at.since(self.pace.now()) / steps).clamp(3_000, 2 * MINUTE);
        for (line, quantity) in load {
            let half = quantity / 2;
            for part in [half, quantity - half] {
                self.pace.pause(pause).await;
                if self.must_stop().await {
                    return self.unload(on_board).await;
                }
                self.senses.scan("loaded", &o.order, *line, part, self.pace.now()).await;
                *on_board.entry(*line).or_default() += part;
            }
        }
        let stays_for_the_line = o.aim.as_ref().is_some_and(|aim| aim.standing == Standing::OnBoard);
        if !stays_for_the_line {
            self.close().await;
        }
        // Goods are in; people keep an eye on the page until the bus leaves.
        while self.pace.now() < close_at {
            if self.must_stop().await {
                return self.unload(on_board).await;
            }
            self.pace.pause(LOOK_EVERY).await;
        }
        if stays_for_the_line {
            self.close().await;
        }
        self.pace.until(o.leaves.plus(-25_000)).await;
        self.senses.bay(&o.door, None, self.pace.now()).await;
        self.pace.until(o.leaves).await;
        for (line, quantity) in on_board {
            self.senses.feed.record().departed(&o.order, line, quantity, self.pace.now());
        }
    }

    async fn close(&self) {
        let o = &self.order;
        self.senses.door(&o.door, false, self.pace.now()).await;
        self.senses.seal(&o.vehicle, &format!("S-{}", o.order), self.pace.now()).await;
    }

    async fn must_stop(&self) -> bool {
        let gone = |shown: &Shown| matches!(shown.state.as_str(), "cancelled" | "held" | "aborted");
        self.desk.first_dispatch(&self.order.order).await.is_some_and(|shown| shown.stop || gone(&shown))
    }

    async fn unload(&self, on_board: BTreeMap<u16, u32>) {
        let o = &self.order;
        self.senses.door(&o.door, true, self.pace.now()).await;
        for (line, quantity) in on_board {
            self.pace.pause(20_000).await;
            self.senses.scan("unloaded", &o.order, line, quantity, self.pace.now()).await;
        }
        self.pace.pause(10_000).await;
        self.senses.door(&o.door, false, self.pace.now()).await;
        self.senses.bay(&o.door, None, self.pace.now()).await;
    }
}

/// Tells a depot's sensors' first word: every door closed and free.
pub async fn wake(senses: &Senses, doors: &[String], at: UtcMs) {
    for door in doors {
        senses.door(door, false, at).await;
        senses.bay(door, None, at).await;
    }
}
