//! Large worlds: many depots, partitions that come and go, hostile peers, and outages of a week.

use super::{
    DAWN, World,
    bugs::Bug,
    clock::{HOUR, MINUTE},
    dice::Dice,
    hub::PutBack,
    random::{Played, STORM, customers_and_stock, ended, facts, order},
    weather::Weather,
};
use crate::standin::books;

/// How many of a thousand requests of a hostile peer's neighbours it repeats with other bytes.
const MANGLED: u64 = 30;
/// How many of a thousand messages a device sends again in the week.
const REPEATED: u64 = 50;

/// Plays a world of `depots` depots in which parts of the network are cut off together again and again, somebody
/// mangles what he sees on the line, and the hub is restored once; to its quiet end, and checks it.
#[must_use]
pub fn play_fleet(seed: u64, depots: usize, bug: Bug, prints: bool) -> Played {
    let mut dice = Dice::of(seed ^ 0x666c_6565_74);
    let mut world = World::new(seed, bug, u64::try_from(4 * HOUR).unwrap_or(1), prints);
    world.weather = Weather { mangles: MANGLED, ..Weather::drawn(&mut dice) };
    let mood = world.weather.mood;
    world.erp.set_mood(mood);
    peopled(&mut world, depots, &mut dice);
    for _ in 0..4 {
        // A provider fails: everyone on it is gone at once, and back at once.
        let (from, lasts) = (dice.between(5 * MINUTE, STORM - 50 * MINUTE), dice.between(2 * MINUTE, 45 * MINUTE));
        let (one_in, which) = (2 + dice.place(4), dice.place(6));
        for place in (0..world.agents.len()).filter(|place| place % one_in == which % one_in) {
            world.line_after(from, place, true);
            world.line_after(from + lasts, place, false);
        }
    }
    let backup = dice.between(20 * MINUTE, STORM / 2);
    world.backup_after(backup);
    let how = if dice.chance(500) { PutBack::Told } else { PutBack::Copied };
    world.restore_after(backup + dice.between(MINUTE, STORM / 3), how);
    ended(world, STORM)
}

/// Plays a small world in which one depot is cut off for seven days, to its quiet end, and checks it.
#[must_use]
pub fn play_week(seed: u64, bug: Bug, prints: bool) -> Played {
    let mut dice = Dice::of(seed ^ 0x7765_656b);
    let mut world = World::new(seed, bug, u64::try_from(8 * HOUR).unwrap_or(1), prints);
    world.weather.device_repeats = REPEATED;
    peopled(&mut world, 2, &mut dice);
    let from = dice.between(5 * MINUTE, STORM);
    world.line_after(from, 0, true);
    world.line_after(from + 7 * 24 * HOUR, 0, false);
    ended(world, from + 7 * 24 * HOUR + 5 * MINUTE)
}

/// Puts depots with orders and what is said of them into a world.
pub(super) fn peopled(world: &mut World, depots: usize, dice: &mut Dice) -> Vec<books::Order> {
    let sites: Vec<String> = (1..=depots).map(|n| format!("D{n}")).collect();
    customers_and_stock(world, &sites, dice);
    let mut orders = Vec::new();
    for site in &sites {
        let place = world.add(site, None);
        world.doors_are_free(place);
        world.agents[place].line.manners = world.weather.manners;
        for n in 1..=1 + dice.place(2) {
            orders.push(order(world, site, n, dice));
        }
    }
    orders.iter().for_each(|order| facts(world, order, dice));
    world.say(&format!("{depots} depots, {} orders, from {DAWN}", orders.len()));
    orders
}
