//! A world drawn from a seed: depots, orders, facts, changes at the ERP, cuts and crashes.

use gatehouse_common::{id::OrderId, time::UtcMs};

use super::{
    DAWN, World,
    bugs::Bug,
    business::Word,
    checks::{self, Broken},
    clock::{HOUR, MINUTE},
    crew::{DESTINATION_M, north_of_yard},
    dice::Dice,
    erp::Mood,
    hostile,
    hub::PutBack,
    revoked,
    weather::Weather,
};
use crate::standin::books::{self, Change, Credit, Status, Tier};

/// How long the weather rages.
pub(super) const STORM: i64 = 120 * MINUTE;
const CUSTOMERS: [&str; 3] = ["C1", "C2", "C3"];
const PRODUCTS: [&str; 2] = ["PALLET", "CRATE"];

/// What came of a seed.
#[derive(Debug)]
pub struct Played {
    /// What does not hold.
    pub broken: Vec<Broken>,
    /// Everything that happened and everything that is stored, as one hash.
    pub digest: String,
    /// What befell the world, counted.
    pub befell: std::collections::BTreeMap<&'static str, u64>,
}

/// Plays the world of `seed` with `bug` planted, to its quiet end, and checks it.
#[must_use]
pub fn play(seed: u64, bug: Bug, prints: bool) -> Played {
    ended(drawn(seed, bug, prints), STORM - MINUTE)
}

/// Plays a world through its storm, which lasts `ms`, to its quiet end, and checks it.
pub(super) fn ended(mut world: World, ms: i64) -> Played {
    world.run_until(DAWN.plus(ms + MINUTE));
    world.heal();
    let rests = world.run_to_quiet();
    let copied = world.comes_into_a_file();
    let mut broken = checks::all(&world);
    broken.extend(copied);
    broken.extend(world.what_went_back());
    broken.extend(hostile::holds(&world));
    broken.extend(revoked::holds(&world));
    if let Err(restless) = rests {
        broken.push(Broken::new(checks::RESTS, restless));
    }
    let digest = checks::digest(&world);
    Played { broken, digest, befell: std::mem::take(&mut world.book.befell) }
}

/// Plays the world of `seed` with a hub that is backed up now and then, loses its disk once or twice and goes on from
/// the newest backup, put back in one of the ways of `hows`, to its quiet end, and checks it.
#[must_use]
pub fn play_restored(seed: u64, hows: &[PutBack], bug: Bug, prints: bool) -> Played {
    // Minds do not change here: a question that the forgotten life answered is posed anew to a person, who may answer
    // otherwise.
    let mut world = drawn_with(seed, bug, prints, 0);
    world.reads_again(false);
    let mut dice = Dice::of(seed ^ 0x6261_636b_7570);
    let first = dice.between(5 * MINUTE, STORM / 3);
    world.backup_after(first);
    let mut lost = first + dice.between(MINUTE, STORM / 2);
    world.restore_after(lost, hows[dice.place(hows.len())]);
    if dice.chance(500) {
        world.backup_after(lost + dice.between(5 * MINUTE, STORM / 4));
        lost += dice.between(STORM / 4, STORM / 2);
        world.restore_after(lost, hows[dice.place(hows.len())]);
    }
    ended(world, lost.max(STORM))
}

/// Plays the world of `seed` with a hub that takes out of its feeds what was read, and with depots that are away for longer
/// than it waits for them; to its quiet end, and checks it.
#[must_use]
pub fn play_pruned(seed: u64, bug: Bug, prints: bool) -> Played {
    let mut world = drawn(seed, bug, prints);
    let mut dice = Dice::of(seed ^ 0x7072_756e_6564);
    let away_ms = dice.between(MINUTE, 10 * MINUTE);
    for place in 0..world.agents.len() {
        let from = dice.between(20 * MINUTE, STORM - 50 * MINUTE);
        world.line_after(from, place, true);
        world.line_after(from + dice.between(away_ms + 5 * MINUTE, 45 * MINUTE), place, false);
    }
    world.prune_after(5 * MINUTE, away_ms);
    ended(world, STORM - MINUTE)
}

/// The world of `seed`, about to begin.
#[must_use]
pub fn drawn(seed: u64, bug: Bug, prints: bool) -> World {
    drawn_with(seed, bug, prints, 600)
}

/// As [`drawn`]; of a thousand orders the ERP wants so many otherwise after all.
fn drawn_with(seed: u64, bug: Bug, prints: bool, minds: u64) -> World {
    let mut dice = Dice::of(seed ^ 0x0077_6f72_6c64);
    let lasts_ms = u64::try_from(dice.between(HOUR / 2, 8 * HOUR)).unwrap_or(1);
    let mut world = World::new(seed, bug, lasts_ms, prints);
    let depots = 2 + dice.place(2);
    let sites: Vec<String> = (1..=depots).map(|n| format!("D{n}")).collect();
    customers_and_stock(&mut world, &sites, &mut dice);
    let mut orders = Vec::new();
    for site in &sites {
        let place = world.add(site, None);
        world.doors_are_free(place);
        world.yards[place].rogues = if dice.chance(300) { 100 } else { 0 };
        world.yards[place].overrides = if dice.chance(500) { 200 } else { 0 };
        for n in 1..=1 + dice.place(3) {
            orders.push(order(&mut world, site, n, &mut dice));
        }
    }
    if dice.chance(500) {
        world.add("D1", Some("V11"));
    }
    for order in &orders {
        facts(&mut world, order, &mut dice);
        if dice.chance(minds) {
            change_of_mind(&mut world, order, &mut dice);
        }
    }
    weather(&mut world, &mut dice);
    world
}

pub(super) fn customers_and_stock(world: &mut World, sites: &[String], dice: &mut Dice) {
    for id in CUSTOMERS {
        let limit_minor = if dice.chance(850) { 100_000_000 } else { dice.between(50_000, 400_000) };
        let credit = Credit { on_hold: false, limit_minor, exposure_minor: 0, currency: "EUR".to_owned() };
        let customer =
            books::Customer { id: id.to_owned(), name: format!("Customer {id}"), tier: Tier::B, revision: 0, credit };
        world.erp.change(Change::PutCustomer { customer });
    }
    for site in sites {
        for product in PRODUCTS {
            let available = if dice.chance(850) { 2_000 } else { dice.between(0, 60) };
            world.erp.change(Change::PutStock { site: site.clone(), product: product.to_owned(), available });
        }
    }
}

pub(super) fn order(world: &mut World, site: &str, n: usize, dice: &mut Dice) -> books::Order {
    let departure = DAWN.plus(dice.between(45 * MINUTE, 100 * MINUTE));
    order_leaving(world, site, n, departure, dice)
}

/// An order that the ERP soon has, and that shall leave at `departure`.
pub(super) fn order_leaving(
    world: &mut World,
    site: &str,
    n: usize,
    departure: UtcMs,
    dice: &mut Dice,
) -> books::Order {
    let time = |at: UtcMs| jiff::Timestamp::from_millisecond(at.0).unwrap_or_default();
    let customer = CUSTOMERS[dice.place(CUSTOMERS.len())];
    let lines = (1..=1 + dice.place(2))
        .map(|line| books::Line {
            line: u16::try_from(line).unwrap_or(1),
            product: PRODUCTS[line - 1].to_owned(),
            quantity: u32::try_from(dice.between(2, 20)).unwrap_or(2),
            unit_price_minor: dice.between(500, 5_000),
        })
        .collect();
    let number = site.trim_start_matches('D');
    let (lat, lon) = north_of_yard(DESTINATION_M);
    let order = books::Order {
        id: format!("SO-{number}{n}"),
        revision: 0,
        site: site.to_owned(),
        customer: books::Buyer { id: customer.to_owned(), name: format!("Customer {customer}"), tier: Tier::B },
        lines,
        currency: "EUR".to_owned(),
        class: "standard".to_owned(),
        vehicle: format!("V{number}{n}"),
        carrier: "ACME".to_owned(),
        door: n.to_string(),
        planned_departure: time(departure),
        window_end: time(departure.plus(4 * HOUR)),
        destination: Some(books::Place { lat, lon }),
        status: Status::Released,
    };
    let at = dice.between(0, 30 * MINUTE);
    world.erp_after(at, Change::PutOrder { order: order.clone() });
    order
}

/// WMS and TMS speak of an order now and then; some of it comes late, is a no first, or grows stale.
pub(super) fn facts(world: &mut World, order: &books::Order, dice: &mut Dice) {
    let id: OrderId = order.id.parse().expect("a name");
    let from = dice.between(MINUTE, 40 * MINUTE);
    let again = dice.between(30 * MINUTE, 100 * MINUTE);
    let repeats = (1..).map(move |n| from + n * again).take_while(|at| *at < STORM + again);
    for line in &order.lines {
        let short = dice.chance(150);
        let first = if short { line.quantity.saturating_sub(1) } else { line.quantity };
        world.told_after(from, &id, &Word::Inventory(line.line, first));
        // What can be picked grows with what may be ordered later.
        for at in repeats.clone() {
            world.told_after(at, &id, &Word::Inventory(line.line, line.quantity + 40));
        }
    }
    let declined = dice.chance(150);
    world.told_after(from, &id, &Word::Carrier(!declined));
    world.told_after(from + dice.between(0, 5 * MINUTE), &id, &Word::Capacity(!dice.chance(80)));
    for at in repeats {
        world.told_after(at, &id, &Word::Carrier(true));
        world.told_after(at, &id, &Word::Capacity(true));
    }
}

/// The ERP wants something else, most often around the planned departure.
pub(super) fn change_of_mind(world: &mut World, order: &books::Order, dice: &mut Dice) {
    let departure = order.planned_departure.as_millisecond() - DAWN.0;
    let at = departure + dice.between(-60 * MINUTE, 25 * MINUTE);
    let change = match dice.below(5) {
        0 | 4 => Change::CancelOrder { order: order.id.clone() },
        1 => {
            let customer = order.customer.id.clone();
            let free = Change::HoldCustomer { customer: customer.clone(), on_hold: false };
            world.erp_after(at + dice.between(10 * MINUTE, HOUR), free);
            Change::HoldCustomer { customer, on_hold: true }
        }
        less_or_more => {
            let line = &order.lines[dice.place(order.lines.len())];
            let by = u32::try_from(dice.between(1, 6)).unwrap_or(1);
            let quantity = if less_or_more == 2 { line.quantity.saturating_sub(by).max(1) } else { line.quantity + by };
            Change::SetQuantity { order: order.id.clone(), line: line.line, quantity }
        }
    };
    world.erp_after(at, change);
}

fn weather(world: &mut World, dice: &mut Dice) {
    world.weather = Weather::drawn(dice);
    let mood = world.weather.mood;
    world.erp.set_mood(mood);
    for place in 0..world.agents.len() {
        world.agents[place].line.manners = world.weather.manners;
        for _ in 0..dice.below(3) {
            let from = dice.between(10 * MINUTE, STORM - 30 * MINUTE);
            world.line_after(from, place, true);
            world.line_after(from + dice.between(MINUTE, HOUR), place, false);
        }
    }
    if dice.chance(500) {
        let from = dice.between(20 * MINUTE, STORM - 40 * MINUTE);
        world.mood_after(from, Mood { is_away: true, ..mood });
        world.mood_after(from + dice.between(5 * MINUTE, 40 * MINUTE), mood);
    }
}
