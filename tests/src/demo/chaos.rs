//! Kills agents and the hub at random moments and starts them again, as power cuts and operators do.

use std::sync::Arc;

use gatehouse_common::time::UtcMs;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    narrate::Narrator,
    pace::Pace,
    plan::{MINUTE, Moments},
    programs::Program,
    setup::Scene,
};

/// How often something dies in one run.
const KILLS: usize = 8;

/// The moments of death with who dies (0 is the hub) and for how long, by time.
#[must_use]
pub fn draw(seed: u64, moments: &Moments, agents: usize) -> Vec<(UtcMs, usize, i64)> {
    let mut random = StdRng::seed_from_u64(seed ^ 0x0063_6861_6f73);
    let mut deaths: Vec<(UtcMs, usize, i64)> = (0..KILLS)
        .map(|i| {
            let at = random.random_range(moments.start.plus(8 * MINUTE).0..moments.end.plus(-10 * MINUTE).0);
            // Each dies at least once; who dies more often is drawn.
            let who = if i <= agents { i } else { random.random_range(0..=agents) };
            (UtcMs(at), who, random.random_range(5_000..90_000))
        })
        .collect();
    deaths.sort();
    deaths
}

/// Kills and restarts until the list is done.
pub async fn rage(scene: Arc<Scene>, deaths: Vec<(UtcMs, usize, i64)>, pace: Pace, narrator: Narrator) {
    for (at, who, pretend_ms) in deaths {
        pace.until(at).await;
        let program: &Program = match who.checked_sub(1).and_then(|i| scene.agents.get(i)) {
            Some(agent) => &agent.program,
            None => &scene.hub,
        };
        program.kill().await;
        narrator.say(format!("chaos: {} is killed", program.name));
        pace.pause(pretend_ms).await;
        match program.start().await {
            Ok(()) => narrator.say(format!("chaos: {} is started again", program.name)),
            Err(error) => narrator.say(format!("chaos: {} cannot be started again: {error:#}", program.name)),
        }
    }
}
