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

/// How often something dies at any time of a run.
const KILLS: usize = 8;
/// How long after the line returned the most is on its way.
const RUSH: i64 = 3 * MINUTE;

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
    // When the line is back, postings and recalls are half done for a moment. The hub dies once then, and so does
    // one of the others.
    for who in [0, random.random_range(1..=agents)] {
        let at = UtcMs(random.random_range(moments.back.0..moments.back.plus(RUSH).0));
        deaths.push((at, who, random.random_range(5_000..60_000)));
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_kills_everyone_at_least_once_and_the_hub_while_it_settles() {
        let minute = |m: i64| UtcMs(m * MINUTE);
        let moments = Moments {
            start: minute(0),
            wms_confirmed: minute(-15),
            tms_confirmed: minute(-20),
            wms_speaks: minute(79),
            cut: minute(85),
            erp_down: minute(97),
            erp_up: minute(191),
            back: minute(205),
            reconfirm: minute(207),
            end: minute(279),
        };
        for seed in 0..50 {
            let deaths = draw(seed, &moments, 3);
            assert_eq!(deaths, draw(seed, &moments, 3));
            assert!((0..=3).all(|who| deaths.iter().any(|(_, dead, _)| *dead == who)));
            let rush = moments.back..moments.back.plus(RUSH);
            assert!(deaths.iter().any(|(at, who, _)| *who == 0 && rush.contains(at)));
        }
    }
}
