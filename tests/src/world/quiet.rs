//! When a healed world has come to rest.
//!
//! In: a world. Out: that nothing changes or waits any more, or what does. A case that goes on is told again every two
//! hours for as long as it does, and twenty of them may leave no pause between them: telling again is no change.

use serde_json::Value;

use super::{
    World,
    clock::{HOUR, MINUTE, SECOND},
};

/// How long nothing must have changed before a world counts as quiet.
const QUIET: i64 = 20 * MINUTE;
/// How long a healed world may take to become quiet.
const PATIENCE: i64 = 12 * HOUR;
/// What is different in a case that was told again.
const TOLD_AGAIN: [&str; 3] = ["triggers", "evidence", "length"];

impl World {
    /// Plays on until nothing changes any more.
    /// # Errors
    /// What still changes or waits when patience ends.
    pub fn run_to_quiet(&mut self) -> Result<(), String> {
        let patience = self.now.plus(PATIENCE);
        let mut cases = self.cases();
        loop {
            // Not a multiple of any period of the product: else each look could fall on the moment of its status.
            self.run_until(self.now.plus(5 * MINUTE + 7 * SECOND));
            self.people_choose();
            if std::mem::take(&mut self.cases_spoke) {
                let now = self.cases();
                if now != cases {
                    self.changes();
                    cases = now;
                }
            }
            let waits = self.waits();
            let still = self.now.since(self.changed_at);
            if !self.failures.is_empty() || (still >= QUIET && waits.is_empty()) {
                return Ok(());
            }
            if self.now > patience {
                return Err(format!("the last change was {} s ago; {}", still / SECOND, waits.join(", ")));
            }
        }
    }

    /// Every case as each agent sees it, but for how often it was told.
    fn cases(&self) -> Vec<Value> {
        // Who was revoked weighs for ever what nobody tells it any more.
        let agents = self.agents.iter().enumerate().filter(|(place, _)| !self.revoked.is_out(*place));
        let running = agents.filter_map(|(_, agent)| agent.running.as_ref());
        let rows = running.flat_map(|running| running.store.look().cases().expect("an agent's cases can be read"));
        rows.map(|row| {
            let mut view = row.view;
            if let Some(view) = view.as_object_mut() {
                view.retain(|name, _| !TOLD_AGAIN.contains(&name.as_str()));
            }
            view
        })
        .collect()
    }

    /// What waits in brokers, outboxes and the queue of postings. The outbox of who was revoked waits for ever.
    fn waits(&self) -> Vec<String> {
        let mut waits = Vec::new();
        for (place, agent) in self.agents.iter().enumerate() {
            let outbox = agent.running.as_ref().map(|r| r.store.look().outbox(9).map_or(0, |waiting| waiting.len()));
            let is_done = outbox == Some(0) || (outbox.is_some() && self.revoked.is_out(place));
            if !is_done {
                waits.push(format!("{} has {outbox:?} records to push", agent.device));
            }
            if !agent.broker.is_empty() {
                waits.push(format!("{} has messages to take in", agent.device));
            }
        }
        match self.hub.next_posting() {
            Ok(None) => {}
            Ok(Some(due)) => waits.push(format!("a posting is due at {due}")),
            Err(error) => waits.push(error.to_string()),
        }
        waits
    }
}
