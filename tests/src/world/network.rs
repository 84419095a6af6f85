//! The lines between depots and the hub.
//!
//! A line may be cut; while it is up it may lose, delay and repeat what it carries. Delays differ, so
//! what is sent later may arrive earlier.

use super::{
    clock::{MINUTE, SECOND},
    dice::Dice,
};

/// How badly a line behaves while it is up; in thousandths of what it carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Manners {
    /// Lost on the way.
    pub loses: u64,
    /// Arrives twice, the second time late.
    pub repeats: u64,
    /// Arrives much later than usual.
    pub dawdles: u64,
}

/// One line.
#[derive(Debug, Clone, Default)]
pub struct Line {
    /// Nothing passes.
    pub is_cut: bool,
    /// How it behaves otherwise.
    pub manners: Manners,
}

impl Line {
    /// When each copy of a message arrives, in milliseconds from now; none if it is lost.
    pub fn carry(&self, dice: &mut Dice) -> Vec<i64> {
        if self.is_cut || dice.chance(self.manners.loses) {
            return Vec::new();
        }
        let usual = dice.between(20, 300);
        let delay = if dice.chance(self.manners.dawdles) { dice.between(SECOND, 15 * SECOND) } else { usual };
        let mut arrivals = vec![delay];
        if dice.chance(self.manners.repeats) {
            arrivals.push(delay + dice.between(1, 2 * MINUTE));
        }
        arrivals
    }
}
