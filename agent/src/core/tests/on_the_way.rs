//! Cargo on the way: seals, cargo doors, alarms, temperatures; and what lies behind the facts: feeds and clocks.

use gatehouse_common::{
    case::{CaseType, Severity},
    reading::{AlarmKind, ReadingValue, ScanStep},
    sync::Downward,
};

use super::{Depot, both};
use crate::core::{cases::Matter, input::Line, signals::watch::Gravity};

/// Metres north of the yard at which the orders are delivered.
const THERE_M: f64 = 0.5 * 111_195.0;

fn only(depot: &Depot, code: &str) -> Vec<String> {
    depot.cases().into_iter().filter(|c| c.starts_with(code)).collect()
}

fn severity(depot: &Depot, code: &str) -> Severity {
    depot.case_views().iter().find(|c| c.case_type.code() == code).unwrap().severity
}

fn cargo_door(depot: &mut Depot, open: bool) -> &mut Depot {
    depot.reads(ReadingValue::CargoDoor { vehicle: "V1".parse().unwrap(), open })
}

fn degrees(depot: &mut Depot, celsius: f64) -> &mut Depot {
    depot.reads(ReadingValue::Temperature { celsius, vehicle: Some("V1".parse().unwrap()) })
}

/// So many minutes at a temperature, read each minute.
fn stays(depot: &mut Depot, celsius: f64, minutes: u64) {
    for _ in 0..minutes {
        degrees(depot, celsius).wait_minutes(1);
    }
}

fn chilled(depot: &mut Depot) {
    depot.online().lease("L1", 100).inventory("O1", 10).capacity("O1").carrier("O1", true).credit(false);
    depot.changes("O1", |o| o.class = "chilled".into()).at_door("3", None).papers("O1").scan(
        ScanStep::Staged,
        "O1",
        10,
    );
}

#[test]
fn what_is_opened_at_the_destination_is_opened_where_it_belongs() {
    both(|depot| {
        depot.released("O1", 10).drives_off_with("O1", 10).wait_minutes(40).fix("V1", THERE_M - 100.0);
        cargo_door(depot.wait_minutes(1).seal("V1", false), true).wait_minutes(1).fix("V1", THERE_M - 90.0);
        // The door stays open and is read again on the way back.
        cargo_door(depot.wait_minutes(30).fix("V1", THERE_M / 2.0), true).wait_minutes(30);
        assert_eq!(only(depot, "SEAL_BROKEN"), [""; 0]);
    });
}

#[test]
fn a_door_opened_between_two_fixes_near_the_destination_waits_for_the_next_to_say_where() {
    for (next_m, cases) in [(THERE_M - 50.0, 0), (THERE_M - 1_500.0, 1)] {
        both(|depot| {
            depot.released("O1", 10).drives_off_with("O1", 10).wait_minutes(40).fix("V1", THERE_M - 2_000.0);
            cargo_door(depot.wait_minutes(2), true).wait_minutes(1);
            assert_eq!(only(depot, "SEAL_BROKEN"), [""; 0]);
            depot.fix("V1", next_m);
            assert_eq!(only(depot, "SEAL_BROKEN").len(), cases, "{next_m}");
        });
    }
    both(|depot| {
        depot.released("O1", 10).drives_off_with("O1", 10).wait_minutes(40).fix("V1", THERE_M - 2_000.0);
        cargo_door(depot.wait_minutes(2), true).wait_seconds(595);
        assert_eq!(only(depot, "SEAL_BROKEN"), [""; 0]);
        depot.wait_seconds(5);
        assert_eq!(only(depot, "SEAL_BROKEN"), ["SEAL_BROKEN V1 open"], "no fix has come for ten minutes");
    });
}

#[test]
fn a_cargo_door_opened_far_from_the_destination_is_told_at_once() {
    both(|depot| {
        depot.released("O1", 10).drives_off_with("O1", 10).wait_minutes(5).fix("V1", 8_000.0);
        cargo_door(depot.wait_minutes(1), true);
        assert_eq!((only(depot, "SEAL_BROKEN").len(), severity(depot, "SEAL_BROKEN")), (1, Severity::S1));
    });
}

#[test]
fn another_number_on_the_seal_than_at_the_departure_is_a_broken_seal() {
    let seal = |depot: &mut Depot, number: &str| {
        let (vehicle, number) = ("V1".parse().unwrap(), Some(number.to_owned()));
        depot.reads(ReadingValue::Seal { vehicle, intact: true, number });
    };
    both(|depot| {
        depot.released("O1", 10).fix("V1", 0.0).wait_minutes(1).fix("V1", 5.0).at_door("3", Some("V1"));
        depot.wait_minutes(5).scan(ScanStep::Loaded, "O1", 10);
        seal(depot, "A1");
        depot.wait_minutes(1).at_door("3", None).drives_off();
        assert_eq!(depot.state("O1"), "departed");
        seal(depot.wait_minutes(30), "A1");
        assert_eq!(only(depot, "SEAL_BROKEN"), [""; 0]);
        seal(depot.wait_minutes(30), "B2");
        assert_eq!(only(depot, "SEAL_BROKEN"), ["SEAL_BROKEN V1 open"]);
        assert!(depot.case_views()[0].summary.ends_with("is B2, it left with A1"), "{}", depot.case_views()[0].summary);
    });
}

#[test]
fn each_kind_of_alarm_is_a_matter_of_its_own_and_of_the_worst_severity() {
    both(|depot| {
        for alarm in [AlarmKind::Panic, AlarmKind::Jamming] {
            depot.reads(ReadingValue::Alarm { vehicle: "V1".parse().unwrap(), alarm, on: true });
        }
        assert_eq!(only(depot, "SECURITY_ALARM"), ["SECURITY_ALARM V1 open"; 2]);
        assert_eq!(severity(depot, "SECURITY_ALARM"), Severity::S1);
    });
}

#[test]
fn an_alarm_and_a_wrong_clock_are_cases_of_the_depot_that_sees_them() {
    both(|depot| {
        depot.reads(ReadingValue::Alarm { vehicle: "V1".parse().unwrap(), alarm: AlarmKind::Panic, on: true });
        for _ in 0..6 {
            depot.wait_minutes(1);
            depot.door_reads(depot.now().plus(20_000), "3", false);
        }
        let mut keys: Vec<String> =
            depot.case_views().iter().map(|c| format!("{} {} {}", c.case_type.code(), c.subject, c.leg)).collect();
        keys.sort();
        assert_eq!(keys, ["CLOCK_SKEW sensor D1", "SECURITY_ALARM V1 D1/panic"]);
    });
}

#[test]
fn what_an_older_program_opened_without_its_depot_comes_to_rest() {
    both(|depot| {
        for (case_type, subject, leg) in
            [(CaseType::SecurityAlarm, "V1", "panic"), (CaseType::ClockSkew, "sensor", "-")]
        {
            let matter = Matter {
                case_type,
                subject: subject.to_owned(),
                leg: leg.to_owned(),
                since: depot.now(),
                summary: "as before".to_owned(),
                order: None,
                blocks: None,
                gravity: Gravity::default(),
            };
            let now = depot.moment();
            depot.core.raise(&now, matter);
            // Else a restart would forget it.
            depot.wait_minutes(1);
        }
        let open = ["CLOCK_SKEW sensor open", "SECURITY_ALARM V1 open"];
        assert_eq!(depot.cases(), open);
        depot.reads(ReadingValue::Alarm { vehicle: "V1".parse().unwrap(), alarm: AlarmKind::Panic, on: true });
        for _ in 0..6 {
            depot.wait_minutes(1);
            depot.door_reads(depot.now().plus(20_000), "3", false);
        }
        depot.wait_minutes(5);
        let resolved = ["CLOCK_SKEW sensor resolved", "SECURITY_ALARM V1 resolved"];
        assert_eq!(depot.cases(), [open[0], resolved[0], open[1], resolved[1]]);
    });
}

#[test]
fn cargo_too_warm_is_s2_and_s1_beyond_the_critical_limit_in_the_same_case() {
    both(|depot| {
        chilled(depot);
        depot.drives_off_with("O1", 10);
        stays(depot, 10.0, 15);
        assert_eq!((only(depot, "TEMP_EXCURSION").len(), severity(depot, "TEMP_EXCURSION")), (1, Severity::S2));
        stays(depot, 13.0, 1);
        assert_eq!(severity(depot, "TEMP_EXCURSION"), Severity::S2, "one reading alone is a spike");
        stays(depot, 13.0, 1);
        assert_eq!((only(depot, "TEMP_EXCURSION").len(), severity(depot, "TEMP_EXCURSION")), (1, Severity::S1));
        assert_eq!(depot.case_views()[0].triggers, 2);
    });
}

#[test]
fn a_door_open_at_the_dock_is_allowed_twenty_minutes_more() {
    both(|depot| {
        chilled(depot);
        depot.fix("V1", 0.0).at_door("3", Some("V1")).scan(ScanStep::Loaded, "O1", 10);
        stays(depot, 10.0, 29);
        assert_eq!(only(depot, "TEMP_EXCURSION"), [""; 0]);
        stays(depot, 10.0, 2);
        assert_eq!(only(depot, "TEMP_EXCURSION"), ["TEMP_EXCURSION V1 open"]);
    });
}

#[test]
fn many_short_excursions_use_up_the_budget_of_a_trip() {
    both(|depot| {
        chilled(depot);
        depot.drives_off_with("O1", 10);
        for _ in 0..6 {
            stays(depot, 9.0, 9);
            stays(depot, 5.0, 3);
        }
        assert_eq!(only(depot, "TEMP_EXCURSION"), [""; 0], "48 minutes in all");
        stays(depot, 9.0, 9);
        stays(depot, 5.0, 3);
        stays(depot, 9.0, 6);
        assert_eq!(only(depot, "TEMP_EXCURSION"), ["TEMP_EXCURSION V1 open"]);
        stays(depot, 5.0, 30);
        assert_eq!(only(depot, "TEMP_EXCURSION"), ["TEMP_EXCURSION V1 open"], "a budget that is used up stays so");
    });
}

#[test]
fn cargo_just_inside_its_band_again_does_not_clear_yet() {
    both(|depot| {
        chilled(depot);
        depot.drives_off_with("O1", 10);
        stays(depot, 9.0, 12);
        stays(depot, 7.9, 10);
        assert_eq!(only(depot, "TEMP_EXCURSION"), ["TEMP_EXCURSION V1 open"]);
        stays(depot, 7.4, 3);
        assert_eq!(only(depot, "TEMP_EXCURSION"), ["TEMP_EXCURSION V1 resolved"]);
    });
}

#[test]
fn a_class_without_a_band_and_an_empty_vehicle_may_be_as_warm_as_they_like() {
    both(|depot| {
        depot.released("O1", 10).drives_off_with("O1", 10);
        stays(depot, 40.0, 30);
        assert_eq!(only(depot, "TEMP_EXCURSION"), [""; 0]);
    });
    both(|depot| {
        chilled(depot);
        stays(depot, 40.0, 30);
        assert_eq!(only(depot, "TEMP_EXCURSION"), [""; 0]);
    });
}

#[test]
fn a_cold_store_has_the_band_that_the_bundle_names_for_its_probe() {
    let mut depot = Depot::new(true, None);
    depot.rules(|rules| {
        rules.detectors.temp_excursion.probes.insert("sensor".into(), "frozen".into());
    });
    for _ in 0..12 {
        depot.reads(ReadingValue::Temperature { celsius: -15.0, vehicle: None }).wait_minutes(1);
    }
    assert_eq!(depot.cases(), ["TEMP_EXCURSION D1/sensor open"]);
    for _ in 0..3 {
        depot.reads(ReadingValue::Temperature { celsius: -22.0, vehicle: None }).wait_minutes(1);
    }
    assert_eq!(depot.cases(), ["TEMP_EXCURSION D1/sensor resolved"]);
}

#[test]
fn a_system_silent_for_an_hour_is_stale_once_and_until_it_is_heard() {
    let heard = |depot: &mut Depot| {
        let at = depot.now().0;
        depot.tell(Downward::Sources(format!(r#"{{"erp":{at}}}"#)));
    };
    both(|depot| {
        heard(depot.online());
        for _ in 0..59 {
            depot.wait_minutes(1).online();
        }
        assert!(depot.cases().is_empty());
        for _ in 0..5 {
            depot.wait_minutes(1).online();
        }
        assert_eq!(depot.cases(), ["FEED_STALE D1/erp open"]);
        heard(depot);
        for _ in 0..3 {
            depot.wait_minutes(1).online();
        }
        assert_eq!(depot.cases(), ["FEED_STALE D1/erp resolved"]);
    });
}

#[test]
fn cut_off_from_the_hub_only_the_line_is_stale_and_the_old_ages_told_first_afterwards_open_nothing() {
    both(|depot| {
        let at = depot.now().0;
        depot.online().tell(Downward::Sources(format!(r#"{{"erp":{at},"wms":{at}}}"#)));
        depot.line(Line::Lost);
        for _ in 0..59 {
            depot.wait_minutes(1).line(Line::Lost);
        }
        assert!(depot.cases().is_empty());
        depot.wait_minutes(120);
        assert_eq!(depot.cases(), ["FEED_STALE D1/hub open"]);
        depot.online().wait_minutes(1);
        let at = depot.now().0;
        depot.tell(Downward::Sources(format!(r#"{{"erp":{at},"wms":{at}}}"#))).wait_minutes(5);
        assert_eq!(depot.cases(), ["FEED_STALE D1/hub resolved"]);
    });
}

#[test]
fn a_device_whose_clock_is_off_opens_one_case_until_it_is_set() {
    both(|depot| {
        for _ in 0..6 {
            depot.wait_minutes(1);
            depot.door_reads(depot.now().plus(20_000), "3", false);
        }
        assert_eq!(depot.cases(), ["CLOCK_SKEW sensor open"]);
        assert_eq!(depot.case_views()[0].summary, "the clock of sensor is 20 s fast");
        for _ in 0..8 {
            depot.wait_minutes(1).door("3", false);
        }
        assert_eq!(depot.cases(), ["CLOCK_SKEW sensor resolved"]);
    });
}

#[test]
fn a_buffer_that_empties_and_a_clock_off_by_less_than_five_seconds_are_no_wrong_clock() {
    both(|depot| {
        for minutes in (1..60).rev() {
            depot.door_reads(depot.now().plus(-minutes * 60_000), "3", false).wait_seconds(1);
        }
        for _ in 0..20 {
            depot.door_reads(depot.now().plus(4_000), "3", false).wait_minutes(1);
        }
        assert!(depot.cases().is_empty(), "{:?}", depot.cases());
    });
}
