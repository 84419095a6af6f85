//! Counting goods: onto the staging lane, into the vehicle, out again.

use gatehouse_common::{fact::FactValue, order::LineQuantity, reading::ScanStep, time::UtcMs};

use crate::core::state::Counts;

impl Counts {
    /// Takes a scan. What is loaded unstaged counts as staged; what is unloaded leaves lane and vehicle.
    pub fn scanned(&mut self, step: ScanStep, line: u16, quantity: u32, at: UtcMs) {
        let staged = self.staged.entry(line).or_default();
        let loaded = self.loaded.entry(line).or_default();
        match step {
            ScanStep::Staged => *staged = staged.saturating_add(quantity),
            ScanStep::Loaded => {
                *loaded = loaded.saturating_add(quantity);
                *staged = (*staged).max(*loaded);
                self.loading_since.get_or_insert(at);
            }
            ScanStep::Unloaded => {
                *loaded = loaded.saturating_sub(quantity);
                *staged = staged.saturating_sub(quantity);
            }
        }
        if step != ScanStep::Staged {
            self.moved_at = self.moved_at.max(Some(at));
        }
        if self.on_board() == 0 {
            // What is put in after this begins anew: what the vehicle did before has nothing to do with it.
            self.loading_since = None;
        }
    }

    /// Takes a scan that tells late of goods that have left: they are not on the lane any more.
    pub fn scanned_late(&mut self, step: ScanStep, line: u16, quantity: u32) {
        if let (ScanStep::Loaded, Some(staged)) = (step, self.staged.get_mut(&line)) {
            *staged = staged.saturating_sub(quantity);
        }
    }

    /// Everything was taken out and the vehicle goes empty.
    pub fn emptied(&mut self) {
        self.loaded.clear();
        self.weight = None;
        self.loading_since = None;
        self.moved_at = None;
    }

    /// The order became smaller: what is too much on the lane goes back; what is in the vehicle must be taken out by count.
    pub fn shrink_to(&mut self, load: &[LineQuantity]) {
        for (line, staged) in &mut self.staged {
            let wanted = load.iter().find(|l| l.line == *line).map_or(0, |l| l.quantity);
            let loaded = self.loaded.get(line).copied().unwrap_or(0);
            *staged = (*staged).min(wanted.max(loaded));
        }
    }

    /// `load` has left: it is neither on the lane nor in a vehicle here.
    pub fn left(&mut self, load: &[LineQuantity]) {
        for gone in load {
            if let Some(staged) = self.staged.get_mut(&gone.line) {
                *staged = staged.saturating_sub(gone.quantity);
            }
        }
        self.emptied();
    }

    /// What gates rest on for one line.
    pub fn fact(&self, line: u16) -> FactValue {
        let of = |counts: &std::collections::BTreeMap<u16, u32>| counts.get(&line).copied().unwrap_or(0);
        FactValue::Cargo { staged: of(&self.staged), loaded: of(&self.loaded) }
    }

    /// What is in the vehicle, as lines of `order_load`.
    pub fn load_of(&self, order_load: &[LineQuantity]) -> Vec<LineQuantity> {
        order_load
            .iter()
            .map(|l| LineQuantity { quantity: self.loaded.get(&l.line).copied().unwrap_or(0), ..l.clone() })
            .filter(|l| l.quantity > 0)
            .collect()
    }
}
