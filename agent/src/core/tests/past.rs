//! What is over is forgotten, and a matter that comes up again is decided as if it were not.

use gatehouse_common::{
    case::CaseState,
    fact::{FactKey, FactValue},
    id::DocumentId,
    order::OrderStatus,
    reading::ScanStep,
    sync::{Cursor, Downward, LedgerEpoch, Upward},
};

use super::{Depot, both, depot::time};
use crate::{
    core::{input::Input, past::Over},
    driver,
    store::Limits,
};

const DAY_MINUTES: u64 = 24 * 60;

impl Depot {
    /// Days pass while nothing happens; then the program looks for what it may forget until there is no more.
    fn days_pass(&mut self, days: u64) -> &mut Self {
        self.passes_unseen(days * DAY_MINUTES);
        self.give(Input::Tick);
        self.forgets()
    }

    fn forgets(&mut self) -> &mut Self {
        self.forgets_within(Limits::default())
    }

    /// Looks for what may be forgotten within these limits until there is no more.
    pub(crate) fn forgets_within(&mut self, limits: Limits) -> &mut Self {
        self.store.keep_within(limits).unwrap();
        let mut behind = None;
        loop {
            let now = self.moment();
            let (outcome, more) = driver::forget(&mut self.core, &mut self.store, &now, &mut behind).unwrap();
            if outcome.is_some() {
                // As after every other input, where a scene is played with restarts.
                self.give(Input::Counted(Vec::new()));
            }
            if !more {
                return self;
            }
        }
    }

    fn rows(&self, sql: &str) -> i64 {
        self.store.raw().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// The order left, the vehicle came back, and the hub heard of it.
    fn left(&mut self) -> &mut Self {
        self.released("O1", 10).drives_off_with("O1", 10).wait_minutes(3);
        assert_eq!(self.state("O1"), "departed");
        self.hub_hears();
        self
    }
}

fn facts_of(depot: &Depot, order: &str) -> usize {
    depot.core.facts.iter().filter(|f| format!("{:?}", f.report.key).contains(&format!("\"{order}\""))).count()
}

#[test]
fn an_order_that_left_is_forgotten_with_all_about_it_and_its_decisions_stay() {
    both(|depot| {
        depot.left();
        let decisions = depot.decisions();
        assert!(facts_of(depot, "O1") > 3 && !decisions.is_empty());
        depot.days_pass(29);
        depot.hub_hears();
        assert!(depot.has_dispatch("O1", 1), "29 days are not 30");
        depot.days_pass(2);
        assert!(!depot.has_dispatch("O1", 1));
        assert!(depot.core.orders.is_empty() && depot.core.counts.len() == 0 && depot.core.rules.len() == 0);
        assert_eq!(facts_of(depot, "O1"), 0);
        assert!(depot.look().board().unwrap().is_empty());
        assert_eq!(depot.rows("SELECT count(*) FROM orders"), 0);
        assert!(depot.decisions().starts_with(&decisions));
    });
}

#[test]
fn what_is_forgotten_here_is_told_again_where_the_feed_begins_anew_since_no_comparison_gives_it() {
    both(|depot| {
        depot.left();
        depot.days_pass(29);
        depot.hub_hears();
        depot.days_pass(2);
        assert!(!depot.has_dispatch("O1", 1));
        depot.hub_hears();
        depot.give(Input::StartAgain { cursor: Cursor::start(LedgerEpoch::default()) });
        let waiting = depot.look().outbox(1_000).unwrap();
        let is_of_it = |says: &Upward| matches!(says, Upward::Chunk { document, .. } if *document == Depot::id("O1"));
        assert!(waiting.iter().any(|w| is_of_it(&w.says)), "it may be damaged at the hub");
    });
}

#[test]
fn nothing_is_forgotten_of_which_the_hub_has_not_heard_all() {
    both(|depot| {
        depot.released("O1", 10).drives_off_with("O1", 10).wait_minutes(3);
        depot.days_pass(90);
        assert!(depot.has_dispatch("O1", 1), "the hub has heard nothing");
        depot.hub_hears();
        depot.forgets();
        assert!(!depot.has_dispatch("O1", 1));
    });
}

#[test]
fn what_the_hub_did_not_let_in_is_not_forgotten() {
    both(|depot| {
        depot.released("O1", 10).drives_off_with("O1", 10).wait_minutes(3);
        let waiting = depot.look().outbox(1_000).unwrap();
        let of_dispatch =
            |says: &Upward| matches!(says, Upward::Chunk { document, .. } if *document == Depot::id("O1"));
        let number = waiting.iter().find(|w| of_dispatch(&w.says)).unwrap().n;
        let rejected = vec![gatehouse_common::sync::Rejection { number, reason: "out of order".into() }];
        depot.give(Input::Pushed {
            ledger: gatehouse_common::sync::LedgerEpoch::default(),
            through: waiting.last().unwrap().n,
            rejected,
            changes: Vec::new(),
            kept_through: 0,
        });
        depot.days_pass(90);
        depot.hub_hears();
        depot.forgets();
        assert!(depot.has_dispatch("O1", 1));
    });
}

#[test]
fn what_still_waits_for_somebody_is_not_forgotten_however_old_it_is() {
    both(|depot| {
        // Half of it left; the rest is still to go.
        depot.released("O1", 10).fix("V1", 0.0).wait_minutes(1).fix("V1", 5.0);
        depot.at_door("3", Some("V1")).wait_minutes(5).scan(ScanStep::Loaded, "O1", 6);
        depot.seal("V1", true).wait_minutes(4).at_door("3", None).drives_off().wait_minutes(3);
        depot.hub_hears();
        depot.days_pass(90);
        depot.hub_hears();
        depot.forgets();
        assert!(depot.has_dispatch("O1", 1), "{:?}", depot.cases());
    });
}

#[test]
fn while_nothing_confirms_the_clock_nothing_is_forgotten() {
    both(|depot| {
        depot.left().clock_in_doubt();
        depot.days_pass(9_000);
        assert!(depot.has_dispatch("O1", 1));
        depot.clock_confirmed();
        depot.forgets();
        assert!(!depot.has_dispatch("O1", 1));
    });
}

#[test]
fn a_matter_that_comes_up_again_after_its_case_was_forgotten_gets_the_next_number() {
    both(|depot| {
        depot.online().changes("O2", |order| order.planned_departure = time("12:00"));
        depot.door("1", true).wait_minutes(15);
        assert_eq!(depot.cases(), ["DOCK_BLOCKED D1/1 open"]);
        let first = depot.case("DOCK_BLOCKED");
        depot.door("1", false).wait_minutes(15);
        depot.hub_moves(first, CaseState::Closed).hub_hears();
        depot.days_pass(31);
        depot.hub_hears();
        depot.forgets();
        assert!(depot.core.cases.get(&first).is_none() && depot.core.past.holds(first));
        assert!(depot.core.slots.iter().all(|(key, _)| !key.starts_with("DOCK_BLOCKED")));
        depot.door("1", true).wait_minutes(15);
        let views = depot.case_views();
        let again = views.iter().find(|view| view.case_type.code() == "DOCK_BLOCKED").unwrap();
        assert_eq!((again.occurrence, again.follows), (2, Some(first)));
    });
}

#[test]
fn a_forgotten_order_that_grows_is_planned_for_what_has_not_left_under_the_next_number() {
    both(|depot| {
        depot.left().days_pass(31);
        depot.hub_hears();
        depot.forgets();
        assert!(!depot.has_dispatch("O1", 1));
        depot.order("O1", 15);
        assert!(!depot.has_dispatch("O1", 1));
        assert_eq!(depot.dispatch_n("O1", 2).load, Depot::load(5));
    });
}

#[test]
fn what_the_hub_tells_once_more_of_what_is_forgotten_is_not_taken_again() {
    both(|depot| {
        let order = depot.order_of("O1", 10, OrderStatus::Released);
        depot.tell(Downward::Order(serde_json::to_string(&order).unwrap()));
        depot.versions.insert("O1".into(), 0);
        depot.left();
        let document = depot.hub_document("O1");
        depot.days_pass(31);
        depot.hub_hears();
        depot.forgets();
        let before = depot.look().outbox(1_000).unwrap().len();
        depot.tell(Downward::Order(serde_json::to_string(&order).unwrap())).inventory("O1", 10);
        for chunk in document.chunks() {
            let kind = gatehouse_common::id::DocumentKind::Dispatch;
            depot.tell(Downward::Chunk { document: Depot::id("O1"), kind, bytes: chunk.bytes });
        }
        let kind = gatehouse_common::id::DocumentKind::Dispatch;
        depot.tell(Downward::Snapshot { document: Depot::id("O1"), kind, bytes: document.save() });
        assert!(depot.core.orders.is_empty() && depot.core.dispatches.is_empty());
        assert_eq!((facts_of(depot, "O1"), depot.look().outbox(1_000).unwrap().len()), (0, before));
        assert!(depot.look().status().unwrap().counters["changes_of_forgotten"] > 0);
    });
}

#[test]
fn a_gateway_that_was_replaced_plans_for_what_has_not_left_under_the_next_number() {
    let mut before = Depot::new(false, None);
    before.left();
    let bytes = before.hub_document("O1").save();
    both(|depot| {
        let kind = gatehouse_common::id::DocumentKind::Dispatch;
        depot.wait_minutes(60).tell(Downward::Snapshot { document: Depot::id("O1"), kind, bytes: bytes.clone() });
        depot.order("O1", 12);
        assert_eq!(depot.state("O1"), "departed");
        assert_eq!(depot.dispatch_n("O1", 2).load, Depot::load(2));
    });
}

#[test]
fn slots_of_dock_work_that_have_passed_are_forgotten() {
    both(|depot| {
        let key = FactKey::Labour { site: "D1".parse().unwrap(), slot_start: time("08:00") };
        let value = FactValue::Labour { slot_end: time("12:00"), required_minutes: 1, rostered_minutes: 2 };
        depot.online().fact(key.clone(), value);
        assert!(depot.core.facts.iter().any(|fact| fact.report.key == key));
        depot.days_pass(31);
        assert!(depot.core.facts.iter().all(|fact| fact.report.key != key));
    });
}

#[test]
fn chunks_go_once_every_replay_begins_behind_a_few_at_a_time_and_are_counted() {
    let mut depot = Depot::new(false, None);
    depot.left().days_pass(31);
    depot.hub_hears();
    depot.forgets();
    let chunks = "SELECT count(*) FROM chunks";
    let held = depot.rows(chunks);
    while depot.store.tidy(depot.now()).unwrap() {}
    assert_eq!(depot.rows(chunks), held, "a replay of the last 30 days begins before it was forgotten");
    for _ in 0..32 {
        depot.passes_unseen(DAY_MINUTES);
        depot.wait_minutes(1).order("O9", 1);
        while depot.store.tidy(depot.now()).unwrap() {}
    }
    let of_order = format!("SELECT count(*) FROM chunks WHERE document = '{}'", Depot::id("O1"));
    assert_eq!(depot.rows(&of_order), 0);
    assert_eq!(depot.look().status().unwrap().counters["documents_let_go"], 1);
    assert_eq!(depot.rows("SELECT count(*) FROM forgotten"), 0);
}

#[test]
fn the_same_is_over_in_the_same_order_wherever_it_is_asked_from() {
    let mut depot = Depot::new(false, None);
    for n in 0..9 {
        let id = format!("O{n}");
        let order = depot.order_of(&id, 1, OrderStatus::Cancelled);
        depot.tell(Downward::Order(serde_json::to_string(&order).unwrap()));
    }
    let all = depot.core.over(time("23:00"), None, 100);
    assert_eq!(all.len(), 9);
    let mut pieces: Vec<Over> = Vec::new();
    while let Some(last) = depot.core.over(time("23:00"), pieces.last(), 2).last().cloned() {
        pieces.extend(depot.core.over(time("23:00"), pieces.last(), 2));
        assert_eq!(pieces.last(), Some(&last));
    }
    assert_eq!(pieces, all);
    assert_eq!(depot.core.documents_of(&all[0]), Vec::<DocumentId>::new());
}
