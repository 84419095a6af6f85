//! What befalls the pretend world: cuts, slow and repeating lines, crashes, an ERP that is away.

use super::{dice::Dice, erp::Mood, network::Manners};

/// How bad it is now. The default is calm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weather {
    /// In thousandths of commits: an agent dies just before one.
    pub agent_dies_before: u64,
    /// In thousandths of commits: an agent dies just after one, before its effects.
    pub agent_dies_after: u64,
    /// In thousandths of deaths of an agent: the power went, so that its clock is unconfirmed afterwards.
    pub power_goes: u64,
    /// In thousandths of pushes: the hub dies after its commit, before its answer.
    pub hub_dies: u64,
    /// How every line behaves while it is up.
    pub manners: Manners,
    /// How the ERP behaves while it is there.
    pub mood: Mood,
    /// In thousandths of messages: a device sends one again.
    pub device_repeats: u64,
    /// In thousandths of messages: a device sends another under the same id, or garbage.
    pub device_errs: u64,
    /// In thousandths of events of WMS and TMS: one is sent again.
    pub partner_repeats: u64,
    /// In thousandths of requests: somebody on the line sends the hub the same with other bytes.
    pub mangles: u64,
}

/// When an agent dies around a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// Before it.
    Before,
    /// After it, before its effects.
    After,
}

impl Weather {
    /// Some weather for a day, from mild to wild.
    #[must_use]
    pub fn drawn(dice: &mut Dice) -> Self {
        let mut up_to = |most: u64| if dice.chance(600) { dice.below(most + 1) } else { 0 };
        Self {
            agent_dies_before: up_to(12),
            agent_dies_after: up_to(20),
            power_goes: up_to(300),
            hub_dies: up_to(30),
            manners: Manners { loses: up_to(120), repeats: up_to(120), dawdles: up_to(200) },
            mood: Mood { is_away: false, busy: up_to(200), forgets: up_to(300), outlives: up_to(60) },
            device_repeats: up_to(150),
            device_errs: up_to(40),
            partner_repeats: up_to(200),
            mangles: 0,
        }
    }

    /// Whether and when an agent dies around this commit.
    pub fn agent_dies(&self, dice: &mut Dice) -> Option<Death> {
        let roll = dice.below(1000);
        if roll < self.agent_dies_before {
            return Some(Death::Before);
        }
        (roll < self.agent_dies_before + self.agent_dies_after).then_some(Death::After)
    }
}
