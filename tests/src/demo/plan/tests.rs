//! What every plan must hold, whatever the seed.

use std::path::Path;

use super::*;
use crate::demo::aims::Standing;

fn day() -> Day {
    Day::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("data/buses")).unwrap()
}

fn wish(seed: u64) -> Wish {
    Wish { seed, speed: 60.0, outage_minutes: 120, people: true }
}

#[test]
fn a_seed_gives_the_same_plan_every_time() {
    let day = day();
    let draw = |seed| serde_json::to_string(&draw(&day, wish(seed)).unwrap()).unwrap();
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[test]
fn every_seed_has_enough_of_each_way_to_leave_and_every_aim_at_a_bus_that_comes_at_the_right_time() {
    let day = day();
    for seed in 1..=40 {
        let plan = draw(&day, wish(seed)).unwrap();
        let m = plan.moments;
        let of = |meant| plan.orders.iter().filter(|o| o.meant == meant && o.aim.is_none()).count();
        assert!(of(Meant::Normal) >= 4 && of(Meant::Degraded) >= 4 && of(Meant::Offline) >= 4, "seed {seed}");
        assert_eq!((of(Meant::Override), plan.orders.iter().filter(|o| o.meant.is_held()).count()), (4, 4));
        let aims: Vec<_> = plan.orders.iter().filter_map(|o| Some((o, o.aim.as_ref()?))).collect();
        assert_eq!(aims.len(), 10, "seed {seed}");
        for (order, aim) in aims {
            assert!(order.staged_by > m.cut && order.staged_by < aim.changed_at && aim.changed_at < m.back);
            match aim.standing {
                Standing::Departed => assert!(order.leaves < aim.changed_at),
                Standing::OnBoard => assert!(order.arrives < m.back && order.leaves > m.back),
                Standing::NotDeparted => assert!(order.arrives > m.back),
            }
        }
    }
}

#[test]
fn every_outage_that_is_allowed_finds_a_stretch_of_the_day() {
    let day = day();
    let mut refused = Vec::new();
    for outage_minutes in (90..=210).step_by(15) {
        for seed in 1..=20 {
            if let Err(why) = draw(&day, Wish { outage_minutes, ..wish(seed) }) {
                refused.push(format!("seed {seed}, {outage_minutes} minutes: {why}"));
            }
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn an_outage_that_the_day_cannot_hold_is_refused_with_what_it_can() {
    let refused = draw(&day(), Wish { outage_minutes: 20, ..wish(1) }).unwrap_err().to_string();
    assert!(refused.contains("90 to 210"), "{refused}");
}
