use super::*;
use crate::{case::Severity, rule::judge::Verdict};

const EXAMPLE: &str = include_str!("../../../firmware-config/gateway/rules.toml");

fn problems(text: &str) -> Vec<String> {
    Bundle::parse(text).expect_err(text).problems().iter().map(ToString::to_string).collect()
}

#[test]
fn an_empty_text_is_the_usual_bundle_and_old_bundles_of_thresholds_are_read() {
    assert_eq!(Bundle::parse("").unwrap(), Bundle::usual());
    let old = "hub_silence_max_ms = 30000\n[classes.standard]\nauto_release = false\n[classes.standard.age_limits]\ninventory = \
               { normal_ms = 1, under_lease_ms = 2 }\n[overrides]\nroles = ['supervisor', 'dispatch']\ntwo_persons = ['credit']\n";
    let bundle = Bundle::parse(old).unwrap();
    assert_eq!(bundle.rules.class("standard").waits_for.len(), 8, "gates stay as they were");
    assert_eq!(bundle.rules.overrides.roles.len(), 2);
}

#[test]
fn the_shipped_example_checks_and_its_scenarios_come_out_as_written() {
    let bundle = Bundle::parse(EXAMPLE).unwrap_or_else(|error| panic!("{error}"));
    assert!(bundle.rules.scenarios.len() >= 8);
    for scenario in &bundle.rules.scenarios {
        let played = scenario.play(&bundle.rules);
        assert!(played.differs.is_empty(), "{}: {:?}", played.scenario, played.differs);
    }
}

#[test]
fn a_scenario_that_expects_something_else_differs() {
    // Control of the test above: the same scenarios under other rules must not all come out as written.
    let mut bundle = Bundle::parse(EXAMPLE).unwrap();
    bundle.rules.fallback.clear();
    let differ = bundle.rules.scenarios.iter().filter(|s| !s.play(&bundle.rules).differs.is_empty()).count();
    assert!(differ > 0);
}

#[test]
fn a_wrong_condition_is_told_with_line_and_column_in_the_bundle() {
    let text = "version = 2\n[gates.no-late-loading]\npass_when = \"minutes_until(order.cutoff) > 10\"\nreason = \"late\"\ncase \
                = \"ETA_RISK\"\n";
    let told = problems(text);
    assert_eq!(
        told,
        ["line 3, column 28: gates.no-late-loading: there is no fact order.cutoff here; did you mean order.cut_off?"]
    );
}

#[test]
fn every_wrong_name_is_told_at_once_where_it_stands() {
    let text = "[classes.standard]\ngates = ['inventroy', 'sla', 'sla']\n[[fallback]]\nid = 'a'\ngate = 'labor'\nthen = \
                'hold'\n[[fallback]]\nid = 'a'\ngate = 'credit'\nthen = 'release_degraded'\n[gates.own]\npass_when = \
                '''\norder.units > 'x'\n'''\nreason = 'r'\ncase = 'SEAL_BROKEN'\n";
    let told = problems(text).join("\n");
    for expected in [
        "line 2, column 10: there is no gate \"inventroy\"; did you mean inventory?",
        "line 2, column 30: gate sla is named twice",
        "line 5, column 8: there is no gate \"labor\"; did you mean labour?",
        "line 10, column 8: fallback a: nothing is released by itself against credit; write ask",
        "the id \"a\" is empty or stands for two rules",
        "line 13, column 15: gates.own: a whole number is compared with a text",
        "gates.own: a gate opens no such case",
    ] {
        assert!(told.contains(expected), "{expected} is not told in:\n{told}");
    }
}

#[test]
fn what_is_no_bundle_at_all_is_told_with_its_line() {
    assert!(problems("version = 1\nhub_silence_max = 3\n")[0].starts_with("line 2, column 1: "));
    assert!(problems("[[fallback]]\nid = 'a'\nthen = 'go'\n")[0].starts_with("line 3, column 8: "));
    assert!(problems(&" ".repeat(BUNDLE_MAX_BYTES + 1))[0].contains("a bundle may have"));
}

#[test]
fn a_row_of_a_table_is_a_rule_that_decides() {
    let text = "[classes.standard]\ngates = ['labour']\n[[tables]]\nid = 'late'\nrows_are = 'fallback'\ncolumns = ['gate.name', \
                'order.tier', 'minutes_until(order.planned_departure)']\nrows = [\n ['labour', 'A, critical', '< 30', \
                'release_degraded'],\n ['labour', '-', '30..240', 'ask'],\n]\n[[scenarios]]\nname = 'a'\norder = { tier = 'A', \
                leaves_in_minutes = 20 }\nfacts = { labour_required_minutes = 900 }\nexpect = { verdict = 'release', mode = \
                'degraded', fallback = 'late/1' }\n[[scenarios]]\nname = 'b'\nfacts = { labour_required_minutes = 900 }\nexpect = \
                { verdict = 'ask', case = 'LABOUR_SHORT', fallback = 'late/2' }\n[[scenarios]]\nname = 'c'\norder = { \
                leaves_in_minutes = 20 }\nfacts = { labour_required_minutes = 900 }\nexpect = { verdict = 'hold' }\n";
    let rules = Bundle::parse(text).unwrap_or_else(|error| panic!("{error}")).rules;
    for scenario in &rules.scenarios {
        let played = scenario.play(&rules);
        assert!(played.differs.is_empty(), "{}: {:?}", played.scenario, played.differs);
    }
    let wrong = text.replace("'< 30'", "'soon'");
    assert!(problems(&wrong)[0].starts_with("line 8, column 2: table late/1: \"soon\" under minutes_until"));
}

#[test]
fn a_case_is_due_by_the_calendar_and_the_next_cut_off() {
    let text = "[calendar]\ncut_offs = ['16:00']\n[calendar.hours]\ntue = ['08:00-18:00']\nwed = ['08:00-18:00']\n[clocks]\nS1 = { \
                acknowledge_minutes = 5, resolve_minutes = 60, wall = true }\n";
    let rules = Bundle::parse(text).unwrap().rules;
    let at = |text: &str| text.parse().unwrap();
    // A Tuesday, 17:30: half an hour is left that day, and its cut-off is over.
    let due = rules.clocks.due(Severity::S3, None, &rules.calendar, at("2026-03-10T17:30:00Z"));
    assert_eq!(due, (at("2026-03-11T08:30:00Z"), at("2026-03-11T16:00:00Z")));
    let due = rules.clocks.due(Severity::S1, None, &rules.calendar, at("2026-03-10T17:30:00Z"));
    assert_eq!(due, (at("2026-03-10T17:35:00Z"), at("2026-03-10T18:30:00Z")));
}

#[test]
fn an_own_gate_never_passes_on_facts_that_are_too_old() {
    let text = "[classes.standard]\ngates = ['own']\n[classes.standard.age_limits]\ncredit = { normal_ms = 60000, under_lease_ms = \
                60000 }\n[gates.own]\npass_when = 'credit.headroom_minor > 5'\nreason = 'too little'\ncase = \
                'DOC_HOLD'\n[[scenarios]]\nname = 'old'\nage_minutes = { credit = 2 }\nexpect = {}\n";
    let rules = Bundle::parse(text).unwrap_or_else(|error| panic!("{error}")).rules;
    assert_eq!(rules.scenarios[0].play(&rules).verdict, Verdict::Wait);
}
