//! Each family of disagreement between a depot and an ERP, walked from end to end: the order in the ERP, the depot that
//! decides alone, what changed in the ERP meanwhile, the recon item, the choice of a person, and what stands in the
//! ERP's own books at last.
//!
//! In: an [`Office`], an ERP that runs and its clerk. Around it is the pretend [`World`](crate::world) with the product
//! inside: its hub reads and writes that ERP over HTTP. Out: a test per walk, made by [`crate::families_end_to_end`].

#![expect(clippy::expect_used, clippy::panic, reason = "a walk that cannot be walked is a failed test")]

mod offices;
mod walk;
pub mod walks;

use async_trait::async_trait;
use gatehouse_common::{id::OrderId, time::UtcMs};

pub use walk::Walk;

use crate::contract::Shop;

/// An order as it shall stand in the ERP. Its customer is C1, its lines are of whatever the office sells.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// The depot.
    pub site: &'static str,
    /// With which vehicle.
    pub vehicle: String,
    /// By which carrier.
    pub carrier: &'static str,
    /// Which rules its goods ask for.
    pub class: &'static str,
    /// When it should leave.
    pub departure: UtcMs,
    /// Until when it should be there.
    pub window_end: UtcMs,
    /// Where it goes, as latitude and longitude.
    pub destination: (f64, f64),
    /// Units of each line.
    pub units: Vec<u32>,
    /// Hundredths of a euro for a unit, whatever the line.
    pub price_minor: u32,
}

/// What a clerk does to an order that a depot works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Cancels what has not left.
    Cancel,
    /// The first line gets another quantity, as the wish says.
    Quantity,
    /// The goods get another price, as the wish says.
    Price,
    /// What the wish says of window, destination and carrier is written anew.
    Terms,
    /// It shall leave from another depot, as the wish says.
    Site,
}

/// What an ERP lets happen to an order that has left. The rest is parked, and a person books it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Afterwards {
    /// Nothing: its delivery is closed.
    Nothing,
    /// What was ordered may change, and what is ordered beyond what left may leave.
    More,
    /// The same goods may leave once more, too.
    Again,
}

/// A shop whose clerk changes orders under way.
#[async_trait]
pub trait Office: Shop {
    /// An order is released as `wish` says.
    async fn releases(&self, wish: &Wish) -> OrderId;

    /// Whether goods that left are booked for a customer whose credit is blocked.
    fn issues_to_blocked(&self) -> bool;

    /// What it lets happen to an order that has left.
    fn afterwards(&self) -> Afterwards;

    /// The customer's credit is blocked, or free, whatever was before.
    async fn blocks(&self, is_blocked: bool);

    /// The clerk does that; the order shall stand as `wish` says afterwards.
    async fn turns(&self, order: &OrderId, turn: Turn, wish: &Wish);
}

/// Makes a test of each walk. `$office` is an expression that gives an [`Office`], made anew for each.
#[macro_export]
macro_rules! families_end_to_end {
    ($office:expr) => {
        $crate::families_end_to_end!($office;
            nothing_differs,
            one_unit_that_is_not_issued_is_found,
            cancelled_before_it_was_loaded,
            cancelled_while_it_was_loaded,
            cancelled_after_it_had_left_and_it_comes_back,
            cancelled_after_it_had_left_and_the_customer_keeps_it,
            blocked_before_it_had_left,
            blocked_after_it_had_left,
            fewer_before_it_had_left,
            fewer_after_it_had_left_and_the_customer_keeps_all,
            fewer_after_it_had_left_and_the_surplus_comes_back,
            more_after_it_had_left,
            short_from_the_dock,
            another_price,
            a_later_window,
            another_carrier,
            another_depot,
            two_depots_sent_it,
            an_override_beyond_the_gates,
            stock_that_was_taken,
            an_override_beyond_the_lease,
            an_override_of_a_hold_that_was_lifted,
            held_at_the_dock_and_let_go_from_the_console,
            released_by_rules_that_were_replaced,
            left_under_a_lease_that_had_ended,
            released_under_a_lease_that_had_ended_and_let_go,
            refused_in_part,
        );
    };
    ($office:expr; $($walk:ident,)+) => {
        $(#[test]
        fn $walk() {
            $crate::families::walks::$walk(&$crate::families::Walk::begins_at(async { $office }));
        })+
    };
}
