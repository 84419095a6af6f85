//! One order on its way: the office, a hub that reads it, and a depot or two with crews.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use gatehouse_agent::core::input::{Act, Tap};
use gatehouse_common::{
    dispatch::DispatchState,
    id::{ActorName, DocumentId, OrderId},
    reading::ProofLine,
};
use gatehouse_hub::core::reconcile::Choice;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use super::{Afterwards, Office, Turn, Wish};
use crate::{
    contract::Books,
    world::{
        DAWN, Word, World,
        bugs::Bug,
        clock::{HOUR, MINUTE, SECOND},
        depot::open_outside,
        yard::Job,
    },
};

/// A vehicle of its own for each order: several walks may share one ERP.
static VEHICLES: AtomicU32 = AtomicU32::new(1);

/// An office where walks begin.
pub struct Walk {
    office: Arc<dyn Office>,
    clerk: Runtime,
}

impl Walk {
    /// At an office that opens with the walk.
    /// # Panics
    /// If the operating system gives no threads.
    pub fn begins_at<O: Office + 'static>(office: impl Future<Output = O>) -> Self {
        let clerk = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime can be made");
        let office = clerk.block_on(office);
        Self { office: Arc::new(office), clerk }
    }

    /// An order of so many units in one line, released in the ERP and known at D1 with everything that its gates ask for
    /// but what only the dock can show. It should leave at 120 minutes; D2 stands by.
    pub(super) fn order(&self, units: u32) -> Way<'_> {
        self.begins(units, "standard", 24 * HOUR)
    }

    /// The same, of goods that must stay cold.
    pub(super) fn chilled(&self, units: u32) -> Way<'_> {
        self.begins(units, "chilled", 24 * HOUR)
    }

    /// The same, under leases that last so many milliseconds.
    pub(super) fn lent(&self, units: u32, lasts_ms: i64) -> Way<'_> {
        self.begins(units, "standard", lasts_ms)
    }

    fn begins(&self, units: u32, class: &'static str, lasts_ms: i64) -> Way<'_> {
        let wish = Wish {
            site: "D1",
            vehicle: format!("F{}", VEHICLES.fetch_add(1, Ordering::Relaxed)),
            carrier: "ACME",
            class,
            departure: DAWN.plus(2 * HOUR),
            window_end: DAWN.plus(6 * HOUR),
            destination: (30.5, -97.7),
            units: vec![units],
            price_minor: 1_250,
        };
        // A walk before this one may have ended badly.
        self.clerk.block_on(self.office.blocks(false));
        let order = self.clerk.block_on(self.office.releases(&wish));
        let mut world = World::new(1, Bug::None, u64::try_from(lasts_ms).unwrap_or(1), false);
        // A real ERP takes seconds for what a pretend one is asked in an instant.
        (world.polls_every, world.lends_every) = (4 * MINUTE, 12 * MINUTE);
        world.lot = format!("-{}", wish.vehicle);
        world.hub.asks(self.office.connector(self.office.address())).expect("a hub starts again");
        for site in ["D1", "D2"] {
            let depot = world.add(site, None);
            world.doors_are_free(depot);
        }
        for word in [Word::Inventory(1, units + 10), Word::Capacity(true), Word::Carrier(true)] {
            world.told_after(4 * MINUTE, &order, &word);
        }
        let mut way = Way { walk: self, world, order, wish };
        way.until(15);
        assert_eq!(way.states(0), [DispatchState::Planned], "the order reached the depot");
        way
    }
}

/// An order under way.
pub(super) struct Way<'w> {
    walk: &'w Walk,
    pub(super) world: World,
    pub(super) order: OrderId,
    pub(super) wish: Wish,
}

impl Way<'_> {
    pub(super) fn until(&mut self, minutes: i64) {
        self.world.run_until(DAWN.plus(minutes * MINUTE));
        assert_eq!(self.world.failures, [""; 0]);
    }

    /// The minute of the pretend day.
    pub(super) fn minute(&self) -> i64 {
        self.world.now.since(DAWN) / MINUTE
    }

    /// So many units come into a depot only at that minute.
    pub(super) fn lacks(&mut self, depot: usize, units: u32, until: i64) {
        let missing = Job { comes_later: [(1, (units, DAWN.plus(until * MINUTE)))].into(), ..Job::default() };
        self.world.yards[depot].jobs.insert(self.order.clone(), missing);
    }

    /// From one minute on the depot hears nothing of the hub, until another.
    pub(super) fn alone(&mut self, depot: usize, from: i64, to: i64) {
        self.until(from);
        self.world.line_after(0, depot, true);
        self.world.line_after((to - from) * MINUTE, depot, false);
    }

    /// Plays on until the order's newest dispatch is in that state at a depot.
    pub(super) fn until_it_is(&mut self, depot: usize, state: DispatchState) {
        for tens in 0..6 * 120 {
            self.world.run_until(DAWN.plus(30 * MINUTE + tens * 10 * SECOND));
            if self.states(depot).last() == Some(&state) {
                return;
            }
        }
        panic!("it is never {state:?} at depot {depot}: {:?}", self.states(depot));
    }

    /// The crew does nothing more until something changes on its page.
    pub(super) fn crew_rests(&mut self, depot: usize) {
        self.world.yards[depot].looks_at = None;
    }

    pub(super) fn turns(&mut self, turn: Turn, change: impl FnOnce(&mut Wish)) {
        change(&mut self.wish);
        self.walk.clerk.block_on(self.walk.office.turns(&self.order, turn, &self.wish));
    }

    /// The clerk blocks the customer's credit, or frees it.
    pub(super) fn blocks(&mut self, is_blocked: bool) {
        self.walk.clerk.block_on(self.walk.office.blocks(is_blocked));
    }

    /// A unit rides along in the order's vehicle. Gives its place among the agents.
    pub(super) fn rides(&mut self) -> usize {
        let vehicle = self.wish.vehicle.clone();
        self.world.add(self.wish.site, Some(&vehicle))
    }

    fn newest(&mut self, agent: usize) -> DocumentId {
        let order = self.order.clone();
        let page = self.world.agents[agent].page().into_iter().filter(|(_, seen)| seen.order == order);
        page.max_by_key(|(_, seen)| seen.occurrence).expect("it knows the order").0
    }

    fn touches(&mut self, agent: usize, who: &str, role: &str, act: Act) {
        let who = ActorName::new(who).expect("a name");
        let answer = self.world.tap(agent, Tap { who, role: role.to_owned(), act }).expect("the agent runs");
        answer.unwrap_or_else(|refused| panic!("{refused}"));
    }

    /// A supervisor lets it go whatever stands in its way.
    pub(super) fn is_let_go(&mut self, depot: usize) {
        let dispatch = self.newest(depot);
        let reason = "the customer waits at the gate".to_owned();
        self.touches(depot, "ana", "supervisor", Act::Override { dispatch, reason });
    }

    /// Somebody at the dock holds it.
    pub(super) fn is_held(&mut self, depot: usize) {
        let dispatch = self.newest(depot);
        let reason = "a pallet looks damaged".to_owned();
        self.touches(depot, "ana", "warehouse", Act::Hold { dispatch, reason });
    }

    /// People at the console lift what holds it.
    pub(super) fn is_freed_from_the_console(&mut self, depot: usize) {
        let dispatch = self.newest(depot);
        let lifted = self.world.hub.people_lift(dispatch).expect("the hub's store answers");
        assert!(lifted > 0, "something holds it at the hub");
        self.world.hub_has_work();
    }

    /// So warm is it in the vehicle from now on, told every four minutes by its unit until `minutes`.
    pub(super) fn is_so_warm(&mut self, unit: usize, celsius: f64, minutes: i64) {
        let topic = format!("vehicle/{}/temperature", self.wish.vehicle);
        while self.world.now < DAWN.plus(minutes * MINUTE) {
            let at = self.world.now;
            let says = json!({ "id": format!("t{at}"), "time": at.0, "celsius": celsius });
            self.world.publishes(unit, &topic, &says);
            self.world.run_until(at.plus(4 * MINUTE));
        }
    }

    /// At the vehicle's page: so many were taken, and so many refused.
    pub(super) fn hands_over(&mut self, unit: usize, delivered: u32, refused: u32) {
        let dispatch = self.newest(unit);
        let lines = vec![ProofLine { line: 1, delivered, refused, damaged: 0 }];
        let signed_by = Some("the consignee".to_owned());
        self.touches(unit, "driver", "driver", Act::Prove { dispatch, lines, signed_by, photo: None });
    }

    /// States of the order's dispatches at a depot, first to last.
    pub(super) fn states(&mut self, depot: usize) -> Vec<DispatchState> {
        let order = self.order.clone();
        let mut page = self.world.agents[depot].page();
        page.retain(|(_, seen)| seen.order == order);
        page.sort_by_key(|(_, seen)| seen.occurrence);
        page.into_iter().map(|(_, seen)| seen.state).collect()
    }

    /// `family row outcome` of each recon item of the order, oldest first.
    pub(super) fn items(&self) -> Vec<String> {
        self.ask(
            "SELECT family || ' ' || coalesce(row, '-') || ' ' || coalesce(outcome, 'open') FROM recon_items \
             WHERE order_id = ?1 ORDER BY opened_ms, decision",
        )
    }

    /// Types of the cases about the order.
    pub(super) fn cases(&self) -> Vec<String> {
        self.ask(
            "SELECT DISTINCT json_extract(view, '$.case_type') FROM documents WHERE kind = 'case' AND order_id = ?1 \
             ORDER BY 1",
        )
    }

    /// What is posted: `kind quantity state`, in the order of posting, with the reason where it is not yet.
    pub(super) fn postings(&self) -> Vec<String> {
        self.ask(
            "SELECT kind || coalesce(' ' || quantity, '') || ' ' || state || \
                    CASE WHEN state = 'applied' THEN '' ELSE coalesce(': ' || last_error, '') END \
               FROM postings WHERE order_id = ?1 ORDER BY n",
        )
    }

    fn ask(&self, sql: &str) -> Vec<String> {
        let store = open_outside(&self.world.hub.path);
        let mut statement = store.prepare(sql).expect("the hub's tables have these columns");
        let rows = statement.query_map([self.order.as_str()], |row| row.get(0)).expect("rows");
        rows.map(|row| row.expect("a text")).collect()
    }

    /// People choose for every item of the order that asks.
    pub(super) fn chooses(&mut self, choice: Choice) {
        let chosen = self.world.hub.people_choose(|choices| choices.contains(&choice).then_some(choice));
        assert_eq!(chosen.expect("the hub's store answers"), 1, "one item offers {choice:?}: {:?}", self.items());
        self.world.hub_has_work();
    }

    /// The ERP issued nothing to a blocked customer, and a person had it sent again once the credit was free.
    pub(super) fn is_sent_again(&mut self) {
        if self.walk.office.issues_to_blocked() {
            return;
        }
        self.is_parked_alone("goods_issue 10");
        self.world.hub.replays().expect("the hub's store answers");
        self.world.hub_has_work();
    }

    /// Where the ERP lets less happen to what has left, it refused this posting, and a person said that it is booked there
    /// by hand. Says whether it was so.
    pub(super) fn is_booked_by_hand(&mut self, needed: Afterwards, posting: &str) -> bool {
        if self.walk.office.afterwards() >= needed {
            return false;
        }
        self.is_parked_alone(posting);
        self.world.hub.books_by_hand().expect("the hub's store answers");
        self.world.hub_has_work();
        true
    }

    fn is_parked_alone(&self, posting: &str) {
        let postings = self.postings();
        let refused: Vec<&String> = postings.iter().filter(|p| p.contains(" dead: ")).collect();
        assert!(refused.len() == 1 && refused[0].starts_with(posting), "not {posting} alone: {postings:?}");
    }

    /// The ERP's own books say so, and nothing waits or was given up.
    pub(super) fn ends(&mut self, minutes: i64, issued: i64, billed: i64, returned: i64) {
        self.until(minutes);
        let books = Books { issued: vec![issued], billed: vec![billed], returned: vec![returned] };
        let found = self.walk.clerk.block_on(self.walk.office.books(&self.order));
        assert_eq!(found, books, "{:?}, {:?}", self.items(), self.postings());
        let loose: Vec<String> = self.postings().into_iter().filter(|p| !p.ends_with(" applied")).collect();
        assert_eq!(loose, [""; 0], "{:?}", self.items());
        let open: Vec<String> = self.items().into_iter().filter(|item| item.ends_with(" open")).collect();
        assert_eq!(open, [""; 0], "{:?}", self.postings());
    }
}
