use gatehouse_common::{
    bundle::Bundle,
    case::CaseState,
    decision::DecisionKind,
    dispatch::Says,
    id::DocumentKind,
    reading::{ReadingValue, ScanStep},
    sync::Downward,
    time::UtcMs,
};

use super::{Asked, Report, replay};
use crate::core::{
    input::{Act, Line},
    tests::depot::{Depot, time},
};

const STRICT: &str = "version = 1\n[classes.standard]\ndegrade = []\n";
const LOOSE: &str = "version = 2\n[classes.standard]\ndegrade = []\n[classes.standard.age_limits]\ninventory = { normal_ms = \
                     36000000, under_lease_ms = 43200000 }\n";

fn begun() -> Depot {
    let mut depot = Depot::new(false, None);
    depot.line(Line::Starting);
    depot
}

fn under(depot: &Depot, text: &str) -> Report {
    within(depot, text, &Asked::default())
}

fn within(depot: &Depot, text: &str, asked: &Asked) -> Report {
    replay(depot.look(), &Bundle::parse(text).unwrap(), asked, |_| {}).unwrap()
}

/// What the stock says is too old by the time the goods stand on the lane.
fn waits_for_stock(depot: &mut Depot) {
    depot.under(STRICT).online().lease("L1", 1_000).order("O1", 10).inventory("O1", 10).wait_minutes(70);
    depot.lease("L2", 1_000).capacity("O1").carrier("O1", true).credit(false).at_door("3", None).papers("O1");
    depot.scan(ScanStep::Staged, "O1", 10).wait_minutes(10);
}

fn scenes() -> [fn(&mut Depot); 9] {
    [
        waits_for_stock,
        |depot| {
            depot.released("O1", 10).drives_off_with("O1", 10).wait_minutes(5).seal("V1", false);
            depot.moves(depot.case("SEAL_BROKEN"), CaseState::Resolved).wait_minutes(20).seal("V1", false);
        },
        |depot| {
            depot.released("O1", 10).cut_off().prepared("O2", 5).scan(ScanStep::Staged, "O2", 5).wait_minutes(30);
            depot.online().wait_minutes(5);
        },
        |depot| {
            depot.online().lease("L1", 100).prepared("O1", 10).inventory("O1", 4).scan(ScanStep::Staged, "O1", 10);
            depot.moves(depot.case("INV_SHORTFALL"), CaseState::Resolved).wait_minutes(20);
            depot.hub_hears();
            depot.hub_moves(depot.case("INV_SHORTFALL"), CaseState::InProgress).inventory("O1", 10).wait_minutes(10);
        },
        |depot| {
            // A restart in the middle, and the hub's word on a dispatch of its own making.
            depot.released("O1", 10);
            depot.hub_hears();
            depot
                .hub_says("O1", Says::Cancelled { order_version: 2, why: "customer withdrew".into() })
                .wait_minutes(3)
                .restart();
            depot.line(Line::Starting).line(Line::Lost).wait_minutes(3).prepared("O2", 3);
            depot.online().lease("L2", 100).scan(ScanStep::Staged, "O2", 3).wait_minutes(5);
        },
        |depot| {
            depot.online().lease("L1", 100).prepared("O4", 5).credit(true).scan(ScanStep::Staged, "O4", 5);
            let dispatch = Depot::id("O4");
            let reason = "the customer waits at the gate".to_owned();
            depot.tap_as("ann", "supervisor", Act::Override { dispatch, reason }).unwrap();
            depot.tap_as("ben", "supervisor", Act::Confirm { dispatch }).unwrap();
            depot.wait_minutes(4);
        },
        |depot| {
            let drill =
                Act::StartDrill { source: "wms".into(), lasts_ms: 1_800_000, reason: "we learn to do without".into() };
            depot.online().lease("L1", 100).order("O1", 10).capacity("O1").carrier("O1", true).credit(false);
            depot.at_door("3", None).papers("O1").scan(ScanStep::Staged, "O1", 10);
            depot.tap("supervisor", drill).unwrap();
            depot.inventory("O1", 10).wait_minutes(35);
        },
        |depot| {
            depot.released("O1", 10).under("version = 2\n[classes.standard]\nauto_release = false\n");
            depot.prepared("O2", 5).scan(ScanStep::Staged, "O2", 5).wait_minutes(5);
            depot.tap("supervisor", Act::RollBackRules).unwrap();
            depot.wait_minutes(5);
        },
        |depot| {
            // What comes while the clock is behind counts once it is right.
            depot.online().lease("L1", 100).prepared("O1", 10).clock_set(-60);
            let value =
                ReadingValue::Scan { step: ScanStep::Staged, order: "O1".parse().unwrap(), line: 1, quantity: 10 };
            depot.reads_at(depot.wall().plus(3_600_000), value).wait_minutes(5);
            depot.clock_set(60).wait_minutes(5);
        },
    ]
}

#[test]
fn a_looser_age_limit_shows_the_release_that_would_have_been_and_which_gate_made_the_difference() {
    let mut depot = begun();
    waits_for_stock(&mut depot);
    assert_eq!(depot.state("O1"), "planned", "{:?}", depot.cases());
    let report = under(&depot, LOOSE);
    let [difference] = report.differences.as_slice() else { panic!("{report:?}") };
    assert_eq!((difference.order.as_ref().unwrap().as_str(), difference.change), ("O1", "released"));
    assert!(difference.then.is_empty() && difference.now[0].kind == DecisionKind::Release, "{difference:?}");
    assert_eq!(difference.now[0].at, time("09:10"));
    let [why] = difference.why.as_slice() else { panic!("{difference:?}") };
    assert!(
        why.starts_with("inventory: then unknown (what WMS said of inventory is too old), facts may be 60 min"),
        "{why}"
    );
    assert!(why.ends_with("now met, facts may be 600 min old"), "{why}");
    assert!(report.faith.is_whole(), "{:?}", report.faith);
}

#[test]
fn the_same_rules_show_no_difference_and_give_what_was_recorded() {
    for (n, scene) in scenes().into_iter().enumerate() {
        let mut depot = begun();
        scene(&mut depot);
        let report = under(&depot, if n == 0 { STRICT } else { "" });
        // That scene changed its rules meanwhile: there the rules of then are not the same all along.
        assert!(report.differences.is_empty() || n == 7, "scene {n}: {:#?}", report.differences);
        assert!(report.cases.iter().all(|c| c.only_now.is_empty() && c.only_then.is_empty()), "{:?}", report.cases);
        assert!(report.faith.is_whole(), "scene {n}: {:#?}", report.faith);
        assert!(n == 0 || report.faith.decisions_recorded > 0, "scene {n} decides nothing");
    }
}

#[test]
fn a_replay_that_is_not_true_says_so() {
    let mut depot = begun();
    depot.released("O1", 10).drives_off_with("O1", 10);
    assert!(under(&depot, "").faith.is_whole());
    let gone = depot.store.raw().execute("DELETE FROM inputs WHERE body LIKE '%lease%'", []).unwrap() as u64;
    let faith = under(&depot, "").faith;
    assert!(gone > 0 && !faith.is_whole(), "{faith:?}");
    assert_eq!((faith.missing, faith.decisions_same, faith.orders.as_slice()), ((gone, 0), 0, &["O1".to_owned()][..]));
}

#[test]
fn stricter_rules_show_what_would_not_have_left_and_the_cases_that_would_have_been() {
    let mut depot = begun();
    depot.released("O1", 10).wait_minutes(5);
    let text = "[classes.standard]\ngates = ['cargo', 'small']\n[gates.small]\npass_when = 'order.units < 5'\nreason = \
                'too large'\ncase = 'DOC_HOLD'\n";
    let report = under(&depot, text);
    let [difference] = report.differences.as_slice() else { panic!("{report:?}") };
    assert_eq!(difference.change, "not released");
    assert!(difference.why.contains(&"small: then not asked; now failed (too large)".to_owned()), "{difference:?}");
    let documents = report.cases.iter().find(|of| of.case_type.code() == "DOC_HOLD").unwrap();
    assert_eq!((documents.then, documents.now), (0, 1));
    assert_eq!(documents.only_now, ["order O1: too large"]);
}

#[test]
fn a_span_tries_the_new_rules_from_its_beginning_on_and_looks_no_further_than_its_end() {
    let mut depot = begun();
    waits_for_stock(&mut depot);
    let asked = |from: Option<UtcMs>, to: Option<UtcMs>| Asked { from, to };
    let late = within(&depot, LOOSE, &asked(Some(time("09:15")), None));
    assert_eq!(late.differences[0].now[0].at, time("09:15"));
    let before = within(&depot, LOOSE, &asked(None, Some(time("09:05"))));
    assert!(before.differences.is_empty() && before.to <= time("09:05"), "{before:?}");
    let nothing = replay(depot.look(), &Bundle::usual(), &asked(Some(time("23:00")), None), |_| {}).unwrap_err();
    assert!(nothing.to_string().contains("2015-03-10T08:00:00Z"), "{nothing}");
}

#[test]
fn after_old_inputs_are_let_go_of_a_replay_begins_with_a_checkpoint() {
    let mut depot = begun();
    let day = |depot: &mut Depot| {
        depot.passes_unseen(24 * 60);
        depot.online();
        while depot.store.tidy(depot.now()).unwrap() {}
    };
    let limits = crate::store::Limits { inputs_bytes: 1, ..crate::store::Limits::default() };
    depot.store.keep_within(limits).unwrap();
    depot.released("O1", 10).drives_off_with("O1", 10);
    day(&mut depot);
    depot.prepared("O2", 5);
    day(&mut depot);
    depot.lease("L3", 100).prepared("O2", 5).scan(ScanStep::Staged, "O2", 5).wait_minutes(5);
    let first: i64 = depot.store.raw().query_row("SELECT min(n) FROM inputs", [], |row| row.get(0)).unwrap();
    assert!(first > 1, "nothing was let go of");
    let report = under(&depot, "");
    assert!(report.faith.is_whole() && report.faith.decisions_recorded > 0, "{:?}", report.faith);
    assert!(report.differences.is_empty(), "{:?}", report.differences);
}

#[test]
fn what_was_forgotten_meanwhile_is_forgotten_in_the_replay_too_from_its_chunks_or_from_a_checkpoint() {
    let mut depot = begun();
    depot.released("O1", 10).drives_off_with("O1", 10).wait_minutes(180);
    depot.hub_hears();
    let hour = crate::store::Limits { forget_after_ms: 3_600_000, ..crate::store::Limits::default() };
    depot.forgets_within(hour);
    assert!(!depot.has_dispatch("O1", 1));
    let grows = |depot: &mut Depot, quantity: u32| {
        depot.lease("L2", 100).prepared("O1", quantity).scan(ScanStep::Staged, "O1", 5).wait_minutes(5);
    };
    grows(&mut depot, 15);
    assert_eq!(depot.dispatch_n("O1", 2).load, Depot::load(5));
    let report = under(&depot, "");
    assert!(report.faith.is_whole() && report.differences.is_empty(), "{report:#?}");
    // Once more with nothing kept of what came in before it was forgotten.
    depot.store.keep_within(crate::store::Limits { inputs_bytes: 1, ..hour }).unwrap();
    for _ in 0..2 {
        depot.passes_unseen(24 * 60);
        depot.online();
        while depot.store.tidy(depot.now()).unwrap() {}
    }
    grows(&mut depot, 20);
    let held = "SELECT count(*) FROM chunks WHERE document = ?1";
    let chunks = |depot: &Depot| -> i64 {
        depot.store.raw().query_row(held, [Depot::id("O1").to_string()], |row| row.get(0)).unwrap()
    };
    assert_eq!(chunks(&depot), 0);
    let report = under(&depot, "");
    assert!(report.faith.is_whole() && report.differences.is_empty(), "{report:#?}");
}

#[test]
fn a_vehicle_unit_is_replayed_as_one() {
    let mut depot = Depot::new(false, None);
    depot.released("O1", 10).at_door("3", Some("V1")).scan(ScanStep::Loaded, "O1", 10).seal("V1", true);
    let document = depot.hub_document("O1");
    let mut unit = Depot::new(false, Some("V1"));
    unit.line(Line::Starting).online().order("O1", 10);
    for chunk in document.chunks() {
        unit.tell(Downward::Chunk { document: Depot::id("O1"), kind: DocumentKind::Dispatch, bytes: chunk.bytes });
    }
    unit.fix("V1", 0.0).wait_minutes(1).fix("V1", 0.0).drives_off().wait_minutes(30).seal("V1", false).wait_minutes(5);
    assert_eq!(unit.state("O1"), "departed");
    let report = under(&unit, "");
    assert!(report.faith.is_whole() && report.faith.cases_recorded > 0, "{report:#?}");
    assert!(report.cases.iter().all(|c| c.only_now.is_empty() && c.only_then.is_empty()), "{:?}", report.cases);
}

#[test]
fn what_the_hub_said_of_a_case_that_does_not_arise_is_left_out_and_counted() {
    let mut depot = begun();
    depot.online().lease("L1", 100).prepared("O1", 10).inventory("O1", 4).scan(ScanStep::Staged, "O1", 10);
    depot.hub_moves(depot.case("INV_SHORTFALL"), CaseState::Acknowledged).wait_minutes(2);
    let report = under(&depot, "[classes.standard]\ngates = ['cargo']\n");
    assert_eq!((report.faith.unheard_now, report.differences[0].change), (1, "released"));
    let shortfalls = report.cases.iter().find(|of| of.case_type.code() == "INV_SHORTFALL").unwrap();
    assert_eq!((shortfalls.then, shortfalls.now, shortfalls.only_then.len()), (1, 0, 1));
    assert!(report.faith.is_whole(), "{:?}", report.faith);
}
