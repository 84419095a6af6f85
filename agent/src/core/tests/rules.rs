//! Rules as data: own gates, fallback, routing, two persons, and rules put in force and taken back.

use gatehouse_common::{
    case::Team,
    decision::{DecidedBy, DecisionKind, Mode},
    fact::{FactKey, FactValue},
    id::Hash32,
    reading::ScanStep,
    sync::Downward,
};

use super::depot::{Depot, both, time};
use crate::core::{
    decision::TapRefused,
    input::{Act, Input, Tap},
};

const LABOUR: &str = "[classes.standard]\ngates = ['inventory', 'capacity', 'carrier', 'credit', 'dock', 'documents', 'cargo', \
                      'labour']\n";

impl Depot {
    fn hands(&mut self, required_minutes: u32, rostered_minutes: u32) -> &mut Self {
        let key = FactKey::Labour { site: "D1".parse().unwrap(), slot_start: time("08:00") };
        self.fact(key, FactValue::Labour { slot_end: time("12:00"), required_minutes, rostered_minutes })
    }
}

fn override_of(order: &str) -> Act {
    Act::Override { dispatch: Depot::id(order), reason: "the customer waits at the gate".into() }
}

fn confirm(order: &str) -> Act {
    Act::Confirm { dispatch: Depot::id(order) }
}

#[test]
fn a_slot_with_too_few_hands_holds_where_the_class_waits_for_labour_and_only_there() {
    both(|depot| {
        depot.under(LABOUR).released("O1", 10);
        assert_eq!(depot.state("O1"), "planned", "nobody has told of the roster");
        depot.hands(600, 480);
        assert_eq!(depot.state("O1"), "held");
        assert_eq!(depot.cases(), ["LABOUR_SHORT O1 open"]);
        depot.hands(600, 620).wait_minutes(5);
        assert_eq!(depot.state("O1"), "released");
    });
    let mut usual = Depot::new(false, None);
    usual.released("O1", 10).hands(600, 480);
    assert_eq!(usual.state("O1"), "released");
}

#[test]
fn a_roster_of_another_depot_or_another_slot_says_nothing() {
    let mut depot = Depot::new(false, None);
    depot.under(LABOUR).released("O1", 10);
    let value = FactValue::Labour { slot_end: time("23:00"), required_minutes: 1, rostered_minutes: 2 };
    depot.fact(FactKey::Labour { site: "D2".parse().unwrap(), slot_start: time("08:00") }, value.clone());
    depot.fact(FactKey::Labour { site: "D1".parse().unwrap(), slot_start: time("11:00") }, value);
    assert_eq!(depot.state("O1"), "planned");
}

#[test]
fn a_fallback_rule_releases_against_a_gate_and_the_decision_names_it() {
    both(|depot| {
        let text = format!(
            "{LABOUR}[[fallback]]\nid = 'hands'\ngate = 'labour'\nwhen = \"order.units <= 10\"\nthen = 'release_degraded'\n"
        );
        depot.under(&text).released("O1", 10).hands(600, 480);
        assert_eq!(depot.state("O1"), "released");
        let decision = depot.decisions().pop().unwrap();
        assert_eq!((decision.kind, decision.mode), (DecisionKind::Release, Some(Mode::Degraded)));
        let gate = decision.gates.iter().find(|g| !g.passes()).unwrap();
        assert_eq!((gate.name(), gate.fallback.as_deref()), ("labour", Some("hands")));
        assert!(gate.inputs[0].age_ms.is_some() && decision.reason.contains("hands"));
        assert_eq!(decision.bundle, Hash32::of(text.as_bytes()));
        depot.prepared("O2", 20).scan(ScanStep::Staged, "O2", 20);
        assert_eq!(depot.state("O2"), "held", "the rule does not fit it");
    });
}

#[test]
fn a_fallback_rule_asks_a_person_whose_word_is_no_override() {
    both(|depot| {
        let text = format!("{LABOUR}[[fallback]]\nid = 'hands'\ngate = 'labour'\nthen = 'ask'\n");
        depot.under(&text).released("O1", 10).hands(600, 480);
        assert_eq!(depot.state("O1"), "held");
        assert!(depot.decisions().pop().unwrap().reason.starts_with("a person is asked: the slot needs 600"));
        depot.tap("supervisor", override_of("O1")).unwrap();
        assert_eq!(
            (depot.state("O1").as_str(), depot.decided().pop().unwrap().as_str()),
            ("released", "release degraded")
        );
    });
}

#[test]
fn an_own_gate_holds_at_once_or_from_the_deadline_on_with_its_own_reason() {
    let text = |from_deadline: bool| {
        format!(
            "[classes.standard]\ngates = ['cargo', 'small']\n[gates.small]\npass_when = 'order.units < 5'\nreason = 'too \
             large'\ncase = 'DOC_HOLD'\nfrom_deadline = {from_deadline}\n"
        )
    };
    let mut depot = Depot::new(false, None);
    depot.under(&text(false)).released("O1", 10);
    assert_eq!((depot.state("O1").as_str(), depot.cases()), ("held", vec!["DOC_HOLD O1 open".to_owned()]));
    let gate = depot.decisions().pop().unwrap().gates.into_iter().find(|g| g.rule.is_some()).unwrap();
    assert_eq!((gate.name(), gate.explain().as_str()), ("small", "too large"));
    let mut depot = Depot::new(false, None);
    depot.under(&text(true)).released("O1", 10);
    assert_eq!(depot.state("O1"), "planned");
    depot.until("09:30");
    assert_eq!(depot.state("O1"), "held");
}

#[test]
fn the_promise_is_a_gate_where_the_class_says_so() {
    let text = "[classes.standard]\ngates = ['cargo', 'sla']\ntransit_ms = 3600000\n";
    let mut depot = Depot::new(false, None);
    // The window ends at 12:00 and the way takes an hour.
    depot.under(text).online().lease("L1", 100).prepared("O1", 10).until("11:02").lease("L2", 100).scan(
        ScanStep::Staged,
        "O1",
        10,
    );
    assert_eq!(depot.state("O1"), "held");
    assert!(depot.cases().contains(&"ETA_RISK O1 open".to_owned()), "{:?}", depot.cases());
    // The ERP names a later cut-off: the promise can be kept.
    depot.changes("O1", |order| order.cut_off = Some(time("11:40"))).wait_minutes(5);
    assert_eq!(depot.state("O1"), "released");
}

#[test]
fn a_routing_rule_gives_a_case_to_another_team_and_makes_it_worse() {
    let text = "[[routing]]\nid = 'r'\ncases = ['INV_SHORTFALL']\nwhen = \"order.tier == 'B' && case.severity >= \
                3\"\nowner = 'customer_service'\nseverity = 'S2'\n[clocks]\nS2 = { acknowledge_minutes = 7, resolve_minutes = 70 }\n";
    let mut depot = Depot::new(false, None);
    depot.under(text).online().lease("L1", 100).prepared("O1", 10).inventory("O1", 4);
    let case = depot.case_views().remove(0);
    assert_eq!((case.owner, format!("{:?}", case.severity)), (Team::CustomerService, "S2".to_owned()));
    assert_eq!(case.acknowledge_by, Some(time("08:07")));
}

#[test]
fn two_different_persons_release_against_credit_and_both_are_named() {
    both(|depot| {
        depot.released("O1", 10).prepared("O2", 5).scan(ScanStep::Staged, "O2", 5).credit(true).order("O3", 5);
        depot.prepared("O4", 5).credit(true).scan(ScanStep::Staged, "O4", 5);
        assert_eq!(depot.state("O4"), "held");
        let nobody = depot.tap_as("ben", "supervisor", confirm("O4")).unwrap_err();
        assert_eq!(nobody.to_string(), "nobody has asked for an override here");
        assert!(depot.tap_as("ann", "supervisor", override_of("O4")).unwrap().decision.is_none());
        assert_eq!(depot.state("O4"), "held", "one word is not enough");
        let self_made = depot.tap_as("ann", "supervisor", confirm("O4")).unwrap_err();
        assert_eq!(self_made.to_string(), "you asked for it yourself; another person must confirm");
        assert!(matches!(depot.tap_as("ben", "dispatch", confirm("O4")), Err(TapRefused::Role { .. })));
        assert!(depot.look().board().unwrap().iter().any(|row| row.asked.is_some()), "the page shows who asked");
        let done = depot.tap_as("ben", "supervisor", confirm("O4")).unwrap();
        assert_eq!(done.message, "order O4 is released by ann and ben");
        let decision = depot.decisions().pop().unwrap();
        assert_eq!(
            (decision.kind, decision.reason.as_str()),
            (DecisionKind::Override, "the customer waits at the gate")
        );
        let DecidedBy::Person { name, second: Some(second), .. } = decision.by else { panic!("{:?}", decision.by) };
        assert_eq!((name.as_str(), second.name.as_str(), second.role.as_str()), ("ann", "ben", "supervisor"));
        assert!(depot.look().board().unwrap().iter().all(|row| row.asked.is_none()));
    });
}

#[test]
fn a_second_person_who_comes_too_late_or_to_another_order_confirms_nothing() {
    let mut depot = Depot::new(false, None);
    depot.online().lease("L1", 100).prepared("O1", 10).credit(true).scan(ScanStep::Staged, "O1", 10);
    depot.tap_as("ann", "supervisor", override_of("O1")).unwrap();
    depot.wait_minutes(16);
    let late = depot.tap_as("ben", "supervisor", confirm("O1")).unwrap_err();
    assert_eq!(late.to_string(), "the time to confirm is over; the first person must ask again");
    depot.tap_as("ann", "supervisor", override_of("O1")).unwrap();
    depot.changes("O1", |order| order.window_end = time("13:00"));
    let changed = depot.tap_as("ben", "supervisor", confirm("O1")).unwrap_err();
    assert_eq!(changed.to_string(), "the order has changed since; the first person must ask again");
    assert!(depot.decisions().iter().all(|d| d.mode.is_none()));
}

#[test]
fn dangerous_goods_without_papers_leave_on_nobodys_word() {
    let mut depot = Depot::new(false, None);
    depot.online().lease("L1", 100).changes("O1", |order| order.dangerous_goods = true);
    depot.inventory("O1", 10).capacity("O1").carrier("O1", true).credit(false).at_door("3", None);
    depot.scan(ScanStep::Staged, "O1", 10);
    let refused = depot.tap("supervisor", override_of("O1")).unwrap_err();
    assert_eq!(refused.to_string(), "it carries dangerous goods and its papers are not complete");
    depot.papers("O1").wait_minutes(3);
    assert_eq!(depot.state("O1"), "released");
}

#[test]
fn rules_are_put_in_force_and_taken_back_while_the_agent_runs() {
    both(|depot| {
        depot.released("O1", 10);
        let text = "version = 2\n[classes.standard]\nauto_release = false\n";
        depot.under(text).prepared("O2", 5).scan(ScanStep::Staged, "O2", 5);
        assert_eq!(depot.state("O2"), "ready");
        let again = depot.tap("supervisor", Act::ActivateRules { text: text.into() }).unwrap_err();
        assert_eq!(again.to_string(), "version 2 of these rules is in force already");
        let older = depot.tap("supervisor", Act::ActivateRules { text: "version = 1".into() }).unwrap_err();
        assert_eq!(older.to_string(), "version 2 is in force and this is 1; raise the version, or roll back");
        let wrong =
            depot.tap("supervisor", Act::ActivateRules { text: "version = 3\nnonsense = 1".into() }).unwrap_err();
        assert!(wrong.to_string().contains("line 2, column 1"), "{wrong}");
        assert!(matches!(depot.tap("dispatch", Act::RollBackRules), Err(TapRefused::Role { .. })));
        depot.tap("supervisor", Act::RollBackRules).unwrap();
        assert_eq!(depot.state("O2"), "released", "the rules before release by themselves");
        assert_eq!(depot.decisions().pop().unwrap().bundle, Hash32::of(b""));
        depot.tap("supervisor", Act::RollBackRules).unwrap();
        let rows = depot.look().bundles().unwrap();
        let how: Vec<&str> = rows.iter().rev().map(|row| row.how.as_str()).collect();
        assert_eq!(how, ["start", "activate", "rollback", "rollback"]);
        assert_eq!((rows[0].version, rows[0].by.as_str()), (2, "ann"));
    });
}

#[test]
fn rules_that_were_put_in_force_are_in_force_after_a_restart_until_the_file_changes() {
    let usual = || gatehouse_common::bundle::Bundle::usual();
    let parsed = |text: &str| gatehouse_common::bundle::Bundle::parse(text).unwrap();
    let mut depot = Depot::new(false, None);
    depot.under("version = 2");
    let mut start = |file, text: &str| depot.store.rules_at_start(file, text, time("09:00")).unwrap().rules.version;
    assert_eq!(start(usual(), ""), 2, "the file is the one that was there before");
    assert_eq!(start(parsed("version = 1"), "version = 1"), 2, "a version never goes back silently");
    assert_eq!(start(parsed("version = 3"), "version = 3"), 3, "a file that changed counts");
    assert_eq!(start(parsed("version = 3"), "version = 3"), 3);
    assert_eq!(depot.look().bundles().unwrap().len(), 3);
}

#[test]
fn a_commit_that_fails_leaves_the_rules_as_they_were() {
    let mut depot = Depot::new(false, None);
    depot.store.refuse_writes();
    let act = Act::ActivateRules { text: "version = 2".into() };
    let tap = Input::Tap(Tap { who: "ann".parse().unwrap(), role: "supervisor".into(), act });
    let now = depot.moment();
    crate::driver::step(&mut depot.core, &mut depot.store, &now, &[tap]).unwrap_err();
    assert_eq!(depot.core.profile().bundle.rules.version, 0);
}

#[test]
fn an_order_written_before_cut_offs_were_known_is_read_and_written_as_it_was() {
    let mut depot = Depot::new(false, None);
    let order = depot.order_of("O1", 10, gatehouse_common::order::OrderStatus::Released);
    let json = serde_json::to_string(&order).unwrap();
    assert!(!json.contains("cut_off") && !json.contains("dangerous_goods"));
    depot.tell(Downward::Order(json));
    assert_eq!(depot.state("O1"), "planned");
}

#[test]
fn new_thresholds_count_at_once_also_for_what_no_reading_comes_of() {
    both(|depot| {
        depot.under("version = 1").door("7", true).wait_minutes(5);
        assert!(depot.cases().is_empty());
        depot.under("version = 2\n[detectors]\ndock_blocked_after_ms = 60000\n");
        assert_eq!(depot.cases(), ["DOCK_BLOCKED D1/7 open"]);
    });
}
