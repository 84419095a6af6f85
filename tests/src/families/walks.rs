//! The walks. Times are minutes of the pretend day: the crew brings goods to the lane from 60 on, the vehicle comes at
//! 80, is loaded until 90 or so and leaves before 100.

use gatehouse_common::dispatch::DispatchState::{
    Aborted, Cancelled, Departed, ExceptionDelivered, Held, Loading, Released,
};
use gatehouse_hub::core::reconcile::Choice;

use super::{Afterwards, Turn, Walk, walk::Way};
use crate::world::{
    DAWN, Word,
    clock::{HOUR, MINUTE},
};

/// When a depot that is cut off hears of the hub again, long after the goods left.
const BACK: i64 = 100;
/// When what it brought home is with the hub.
const HOME: i64 = 115;
/// When everything is long done.
const EVENING: i64 = 220;
/// The same, where the goods leave late or twice.
const NIGHT: i64 = 320;

/// D1 is alone until `back`, and that happens meanwhile.
fn alone_until<'w>(walk: &'w Walk, back: i64, happens: impl FnOnce(&mut Way<'w>)) -> Way<'w> {
    let mut way = walk.order(10);
    way.alone(0, 16, back);
    way.until(30);
    happens(&mut way);
    way
}

/// The order leaves D1 while D1 is alone, and that happens meanwhile. Ends when the news is home.
fn behind_its_back<'w>(walk: &'w Walk, happens: impl FnOnce(&mut Way<'w>)) -> Way<'w> {
    let mut way = alone_until(walk, BACK, happens);
    way.until(BACK);
    assert_eq!(way.states(0), [Departed], "the depot could not know");
    assert_eq!(way.postings(), [""; 0], "nor could the hub");
    way.until(HOME);
    way
}

/// Released and sent off alone, and nobody minds.
pub fn nothing_differs(walk: &Walk) {
    let mut way = walk.order(10);
    way.alone(0, 16, BACK);
    way.until(HOME);
    assert_eq!(way.items(), ["agreement - matched"]);
    way.ends(EVENING, 10, 10, 0);
}

/// The control: books that say otherwise are found.
pub fn one_unit_that_is_not_issued_is_found(walk: &Walk) {
    let mut way = walk.order(10);
    way.alone(0, 16, BACK);
    let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| way.ends(EVENING, 11, 10, 0)));
    assert!(looked.is_err());
}

/// Row 1: the release is taken back, and nothing leaves.
pub fn cancelled_before_it_was_loaded(walk: &Walk) {
    let mut way = alone_until(walk, 75, |way| way.turns(Turn::Cancel, |_| ()));
    way.until(75);
    assert_eq!(way.states(0), [Released]);
    way.until(90);
    assert_eq!(way.states(0), [Cancelled]);
    // That the depot took it back is a decision as well, and nobody minds that.
    assert_eq!(way.items(), ["cancel 1 compensated", "agreement - matched"]);
    way.ends(EVENING, 0, 0, 0);
}

/// Row 2: what is on board comes out again.
pub fn cancelled_while_it_was_loaded(walk: &Walk) {
    let mut way = alone_until(walk, EVENING, |way| way.turns(Turn::Cancel, |_| ()));
    way.until_it_is(0, Loading);
    way.crew_rests(0);
    way.world.line_after(0, 0, false);
    way.until(HOME);
    assert_eq!(way.states(0), [Aborted]);
    assert_eq!(way.items()[0], "cancel 2 compensated");
    way.ends(EVENING, 0, 0, 0);
}

/// Row 3: what left is issued, nothing is billed, and a return brings it back.
pub fn cancelled_after_it_had_left_and_it_comes_back(walk: &Walk) {
    let mut way = behind_its_back(walk, |way| way.turns(Turn::Cancel, |_| ()));
    assert_eq!(way.items(), ["cancel 3 open"]);
    assert!(way.cases().contains(&"RECON_DISCREPANCY".to_owned()), "{:?}", way.cases());
    way.chooses(Choice::Return);
    way.ends(EVENING, 10, 0, 10);
    assert_eq!(way.items(), ["cancel 3 compensated"]);
}

/// Row 3: the customer keeps it, so the order is a sale again and is billed.
pub fn cancelled_after_it_had_left_and_the_customer_keeps_it(walk: &Walk) {
    let mut way = behind_its_back(walk, |way| way.turns(Turn::Cancel, |_| ()));
    way.chooses(Choice::Accept);
    way.ends(EVENING, 10, 10, 0);
    assert_eq!(way.items(), ["cancel 3 accepted_variance"]);
}

/// Row 5: the vehicle stands until the customer's credit is free again.
pub fn blocked_before_it_had_left(walk: &Walk) {
    let mut way = alone_until(walk, 75, |way| way.blocks(true));
    way.until(110);
    assert!(!way.states(0).contains(&Departed), "{:?}", way.states(0));
    assert_eq!(way.postings().iter().filter(|p| p.starts_with("goods_issue")).count(), 0);
    assert_eq!(way.items()[0], "credit 5 compensated");
    way.blocks(false);
    way.ends(EVENING, 10, 10, 0);
}

/// Row 6: what left is issued and billed as ever.
pub fn blocked_after_it_had_left(walk: &Walk) {
    let mut way = behind_its_back(walk, |way| way.blocks(true));
    assert!(way.items()[0].starts_with("credit 6 "), "{:?}", way.items());
    way.blocks(false);
    way.is_sent_again();
    way.ends(EVENING, 10, 10, 0);
    assert_eq!(way.items(), ["credit 6 accepted_variance"]);
}

/// Row 7: the release of ten is over, and eight leave.
pub fn fewer_before_it_had_left(walk: &Walk) {
    let mut way = alone_until(walk, 75, |way| way.turns(Turn::Quantity, |wish| wish.units[0] = 8));
    way.ends(EVENING, 8, 8, 0);
    assert_eq!(way.items()[0], "quantity 7 compensated");
}

/// Row 8: ten left for eight that are wanted, and the customer keeps all.
pub fn fewer_after_it_had_left_and_the_customer_keeps_all(walk: &Walk) {
    let mut way = behind_its_back(walk, |way| way.turns(Turn::Quantity, |wish| wish.units[0] = 8));
    assert_eq!(way.items(), ["quantity 8 open"]);
    way.chooses(Choice::Accept);
    way.until(130);
    way.is_booked_by_hand(Afterwards::More, "order_change 10");
    way.ends(EVENING, 10, 10, 0);
    assert_eq!(way.items(), ["quantity 8 accepted_variance"]);
}

/// Row 8: ten left for eight that are wanted, and two come back.
pub fn fewer_after_it_had_left_and_the_surplus_comes_back(walk: &Walk) {
    let mut way = behind_its_back(walk, |way| way.turns(Turn::Quantity, |wish| wish.units[0] = 8));
    way.chooses(Choice::Return);
    way.ends(EVENING, 10, 8, 2);
    assert_eq!(way.items(), ["quantity 8 compensated"]);
}

/// Row 9: ten left for twelve, and two go with the next vehicle.
pub fn more_after_it_had_left(walk: &Walk) {
    let mut way = behind_its_back(walk, |way| way.turns(Turn::Quantity, |wish| wish.units[0] = 12));
    assert_eq!(way.items()[0], "quantity 9 compensated");
    way.until(EVENING);
    let by_hand = way.is_booked_by_hand(Afterwards::More, "goods_issue 2");
    way.ends(NIGHT, if by_hand { 10 } else { 12 }, 12, 0);
    assert_eq!(way.states(0), [Departed, Departed]);
}

/// Row 10: one is missing at the dock, so nine leave and nine are billed.
pub fn short_from_the_dock(walk: &Walk) {
    let mut way = walk.order(10);
    way.lacks(0, 1, 300);
    way.world.yards[0].overrides = 1_000;
    way.alone(0, 16, 200);
    way.until(EVENING);
    let posted = way.postings();
    assert_eq!(posted[..3], ["release applied", "goods_issue 9 applied", "invoice 9 applied"], "{:?}", way.items());
    assert!(way.items().contains(&"quantity 10 compensated".to_owned()), "{:?}", way.items());
    // The last one comes, and goes by the next vehicle.
    way.until(EVENING + NIGHT - 60);
    let by_hand = way.is_booked_by_hand(Afterwards::More, "goods_issue 1");
    way.ends(EVENING + NIGHT, if by_hand { 9 } else { 10 }, 10, 0);
    assert_eq!(way.states(0), [Departed, Departed]);
}

/// Row 11: the invoice says what the ERP says, and the rest is for a person.
pub fn another_price(walk: &Walk) {
    let mut way = behind_its_back(walk, |way| way.turns(Turn::Price, |wish| wish.price_minor = 1_500));
    assert_eq!(way.items(), ["price 11 open"]);
    way.chooses(Choice::Accept);
    way.ends(EVENING, 10, 10, 0);
    assert_eq!(way.items(), ["price 11 accepted_variance"]);
}

/// Row 11: both promises are kept, and nobody is asked.
pub fn a_later_window(walk: &Walk) {
    let mut way =
        behind_its_back(walk, |way| way.turns(Turn::Terms, |wish| wish.window_end = DAWN.plus(9 * HOUR + MINUTE)));
    assert_eq!(way.items(), ["date 11 accepted_variance"]);
    way.ends(EVENING, 10, 10, 0);
}

/// Row 14: who has loaded carries it.
pub fn another_carrier(walk: &Walk) {
    let mut way = behind_its_back(walk, |way| way.turns(Turn::Terms, |wish| wish.carrier = "OTHER"));
    assert_eq!(way.items(), ["carrier 14 open"]);
    way.chooses(Choice::Accept);
    way.ends(EVENING, 10, 10, 0);
}

/// Row 12: D1 had sent it when the order went to D2, which had not begun.
pub fn another_depot(walk: &Walk) {
    let mut way = walk.order(10);
    way.lacks(1, 10, 540);
    way.alone(0, 16, EVENING);
    way.until_it_is(0, Loading);
    way.turns(Turn::Site, |wish| wish.site = "D2");
    way.until_it_is(0, Departed);
    way.world.line_after(0, 0, false);
    way.until(HOME);
    assert_eq!((way.items(), way.states(1)), (vec!["depot 12 compensated".to_owned()], vec![Cancelled]));
    way.ends(EVENING, 10, 10, 0);
}

/// Row 13: both sent it, and what D1 had sent first is heard of when the goods from D2 are billed. It is what left twice.
pub fn two_depots_sent_it(walk: &Walk) {
    let mut way = walk.order(10);
    way.lacks(1, 10, 100);
    way.alone(0, 16, 180);
    way.until(30);
    way.turns(Turn::Site, |wish| wish.site = "D2");
    way.until(170);
    assert_eq!((way.states(0), way.states(1)), (vec![Departed], vec![Departed]));
    way.until(200);
    let by_hand = way.is_booked_by_hand(Afterwards::Again, "goods_issue 10");
    way.until(210);
    assert_eq!(way.items().last().map(String::as_str), Some("duplicate 13 open"), "{:?}", way.postings());
    way.chooses(Choice::Return);
    way.ends(NIGHT, if by_hand { 10 } else { 20 }, 10, 10);
}

/// Row 11: the goods went where they should have gone before, and a person sends them on.
pub fn another_address(walk: &Walk) {
    let mut way = behind_its_back(walk, |way| way.turns(Turn::Terms, |wish| wish.destination = (30.9, -97.9)));
    assert_eq!(way.items(), ["address 11 open"]);
    way.chooses(Choice::Divert);
    way.ends(EVENING, 10, 10, 0);
    assert_eq!(way.items(), ["address 11 compensated"]);
}

/// Row 20: the warehouse had promised the units to someone else, and the lease had set them aside for this depot.
pub fn stock_that_was_taken(walk: &Walk) {
    let mut way = walk.order(10);
    let order = way.order.clone();
    way.alone(0, 16, BACK);
    way.until_it_is(0, Released);
    way.world.told_after(MINUTE, &order, &Word::Inventory(1, 4));
    way.until(HOME);
    assert_eq!(way.items(), ["stock 20 accepted_variance"]);
    way.ends(EVENING, 10, 10, 0);
}

/// The lease had run out when a person let it go at the dock: the ERP does not mind.
pub fn an_override_beyond_the_lease(walk: &Walk) {
    let mut way = walk.lent(10, 40 * MINUTE);
    way.alone(0, 16, 200);
    way.until(105);
    assert_eq!(way.states(0), [Held]);
    way.is_let_go(0);
    way.until(200);
    assert_eq!(way.states(0), [Departed]);
    way.ends(NIGHT, 10, 10, 0);
    assert_eq!(way.items(), ["agreement - matched"; 2]);
}

/// Row 17: a supervisor at the dock passed what people at the console had lifted.
pub fn an_override_of_a_hold_that_was_lifted(walk: &Walk) {
    let mut way = walk.order(10);
    way.until_it_is(0, Released);
    way.is_held(0);
    let cut_off = way.minute() + 5;
    way.alone(0, cut_off, 200);
    way.is_freed_from_the_console(0);
    way.until(cut_off + 10);
    assert_eq!(way.states(0), [Held], "the depot could not know");
    way.is_let_go(0);
    way.until(200);
    assert_eq!(way.states(0), [Departed]);
    way.ends(NIGHT, 10, 10, 0);
    let how_it_went = ["agreement - compensated", "agreement - matched", "override 17 matched"];
    assert_eq!(way.items(), how_it_went);
}

/// A person at the dock holds what the rules had released, and people at the console let it go.
pub fn held_at_the_dock_and_let_go_from_the_console(walk: &Walk) {
    let mut way = walk.order(10);
    way.alone(0, 16, BACK);
    way.until_it_is(0, Released);
    way.is_held(0);
    way.until(HOME);
    assert_eq!(way.states(0), [Held]);
    assert_eq!(way.postings().iter().filter(|p| p.starts_with("goods_issue")).count(), 0);
    way.is_freed_from_the_console(0);
    way.ends(NIGHT, 10, 10, 0);
    assert_eq!(way.items(), ["agreement - matched"; 2]);
}

/// Row 33: the lease trusted the rules that the depot had, and they were replaced while it was alone.
pub fn released_by_rules_that_were_replaced(walk: &Walk) {
    let mut way = behind_its_back(walk, |way| way.world.hub.activates("next").expect("a hub starts again"));
    assert_eq!(way.items(), ["policy 33 accepted_variance"]);
    way.ends(EVENING, 10, 10, 0);
}

/// Row 34: a depot took its lease for longer than it was granted, which ours do not. What left is booked, and people
/// look into it.
pub fn left_under_a_lease_that_had_ended(walk: &Walk) {
    let mut way = behind_its_back(walk, |way| way.world.hub.leases_had_ended());
    assert_eq!(way.items(), ["policy 34 escalated"]);
    assert!(way.cases().contains(&"POLICY_VIOLATION".to_owned()), "{:?}", way.cases());
    way.ends(EVENING, 10, 10, 0);
}

/// Row 34: the same, heard of before it left. It stands until people let it go.
pub fn released_under_a_lease_that_had_ended_and_let_go(walk: &Walk) {
    let mut way = alone_until(walk, 75, |way| way.world.hub.leases_had_ended());
    way.until(110);
    assert!(!way.states(0).contains(&Departed), "{:?}", way.states(0));
    assert_eq!(way.postings(), [""; 0]);
    way.is_freed_from_the_console(0);
    way.ends(EVENING, 10, 10, 0);
}

/// Row 35: the goods were too warm on the way, were taken and billed, and what was billed stands.
pub fn too_warm_on_the_way(walk: &Walk) {
    let mut way = handed_over_warm(walk);
    way.chooses(Choice::Accept);
    way.ends(EVENING, 10, 10, 0);
    assert_eq!(way.items(), ["quality 35 accepted_variance"]);
}

/// Row 35: the same, and the customer is credited.
pub fn too_warm_on_the_way_and_credited(walk: &Walk) {
    let mut way = handed_over_warm(walk);
    way.chooses(Choice::Credit);
    way.ends(EVENING, 10, 10, 0);
    assert_eq!(way.items(), ["quality 35 compensated"]);
}

fn handed_over_warm(walk: &Walk) -> Way<'_> {
    let mut way = walk.chilled(10);
    let unit = way.rides();
    way.alone(0, 16, BACK);
    way.until_it_is(0, Departed);
    way.is_so_warm(unit, 14.0, 120);
    way.until(130);
    way.hands_over(unit, 10, 0);
    way.until(150);
    assert!(way.cases().contains(&"TEMP_EXCURSION".to_owned()), "{:?}", way.cases());
    assert_eq!(way.items(), ["quality 35 open"]);
    way
}

/// Row 36: two of ten were refused at the door, and what was billed stands.
pub fn refused_in_part(walk: &Walk) {
    let mut way = handed_over_in_part(walk);
    way.chooses(Choice::Accept);
    way.ends(EVENING, 10, 10, 0);
    assert_eq!(way.items(), ["pod 36 accepted_variance"]);
}

/// Row 36: two of ten were refused at the door, come back and are credited.
pub fn refused_in_part_and_credited(walk: &Walk) {
    let mut way = handed_over_in_part(walk);
    way.chooses(Choice::Credit);
    way.ends(EVENING, 10, 10, 2);
    assert_eq!(way.items(), ["pod 36 compensated"]);
}

fn handed_over_in_part(walk: &Walk) -> Way<'_> {
    let mut way = walk.order(10);
    let unit = way.rides();
    way.alone(0, 16, BACK);
    way.until(130);
    way.hands_over(unit, 8, 2);
    way.until(150);
    assert_eq!(way.states(0), [ExceptionDelivered]);
    assert_eq!(way.items(), ["pod 36 open"]);
    way
}

/// A gate that was not met was overridden at the dock: the ERP does not mind.
pub fn an_override_beyond_the_gates(walk: &Walk) {
    let mut way = walk.order(10);
    let order = way.order.clone();
    way.world.told_after(MINUTE / 2, &order, &Word::Capacity(false));
    way.world.yards[0].overrides = 1_000;
    way.alone(0, 16, 200);
    way.ends(NIGHT, 10, 10, 0);
    assert_eq!(way.items(), ["agreement - matched"; 2]);
}
