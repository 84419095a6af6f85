//! What each detector of readings owes: one case however often it is seen, none below its threshold, an end by
//! itself, a word again after two hours, none from old readings, and the same after a restart anywhere.

use gatehouse_common::{
    case::CaseState,
    reading::{AlarmKind, ReadingValue, ScanStep},
    time::UtcMs,
};

use super::{Depot, both};

/// One detector as its readings tell of it.
struct Matter {
    code: &'static str,
    /// What must be so before.
    prepare: fn(&mut Depot),
    /// Readings for a time that say that something is wrong.
    wrong: fn(&mut Depot, UtcMs),
    /// Readings for a time that say that it is not.
    right: fn(&mut Depot, UtcMs),
    /// Seconds for which it must last.
    lasts_s: u64,
    /// Whether it ends by itself.
    ends: bool,
}

fn nothing(_: &mut Depot) {}

fn released(depot: &mut Depot) {
    depot.released("O1", 10);
}

fn dock_door(depot: &mut Depot, at: UtcMs, open: bool) {
    depot.door_reads(at, "3", open);
}

fn loading(depot: &mut Depot) {
    depot.released("O1", 10).at_door("3", Some("V1")).wait_minutes(1);
}

fn on_the_way(depot: &mut Depot) {
    depot.released("O1", 10).drives_off_with("O1", 10).wait_minutes(5);
}

fn chilled_on_the_way(depot: &mut Depot) {
    depot.online().lease("L1", 100).inventory("O1", 10).capacity("O1").carrier("O1", true).credit(false);
    depot.changes("O1", |o| o.class = "chilled".into()).at_door("3", None).papers("O1").scan(
        ScanStep::Staged,
        "O1",
        10,
    );
    depot.drives_off_with("O1", 10).wait_minutes(5);
    assert_eq!(depot.state("O1"), "departed");
}

fn fault(depot: &mut Depot, at: UtcMs, fault: Option<&str>) {
    depot.reads_at(at, ReadingValue::DoorFault { door: "3".parse().unwrap(), fault: fault.map(str::to_owned) });
}

fn occupied(depot: &mut Depot, at: UtcMs, door: &str, vehicle: Option<&str>) {
    let (occupied, vehicle) = (vehicle.is_some(), vehicle.map(|v| v.parse().unwrap()));
    depot.reads_at(at, ReadingValue::Occupancy { door: door.parse().unwrap(), occupied, vehicle });
}

fn alarm(depot: &mut Depot, at: UtcMs, on: bool) {
    depot.reads_at(at, ReadingValue::Alarm { vehicle: "V1".parse().unwrap(), alarm: AlarmKind::Panic, on });
}

fn seal(depot: &mut Depot, at: UtcMs, intact: bool) {
    depot.reads_at(at, ReadingValue::Seal { vehicle: "V1".parse().unwrap(), intact, number: None });
}

fn cargo_door(depot: &mut Depot, at: UtcMs, open: bool) {
    depot.reads_at(at, ReadingValue::CargoDoor { vehicle: "V1".parse().unwrap(), open });
}

/// Two readings in a row: one alone is a spike.
fn degrees(depot: &mut Depot, at: UtcMs, celsius: f64) {
    for at in [at, at.plus(1_000)] {
        depot.reads_at(at, ReadingValue::Temperature { celsius, vehicle: Some("V1".parse().unwrap()) });
    }
}

fn weighs(depot: &mut Depot, at: UtcMs, grams: u64) {
    depot.reads_at(at, ReadingValue::Weight { order: "O1".parse().unwrap(), grams });
}

fn all_in(depot: &mut Depot) {
    loading(depot);
    depot.scan(ScanStep::Loaded, "O1", 10).wait_minutes(1);
}

fn papers(depot: &mut Depot, at: UtcMs, complete: bool) {
    depot.reads_at(at, ReadingValue::Documents { order: "O1".parse().unwrap(), complete });
}

fn sealed(depot: &mut Depot) {
    all_in(depot);
    depot.seal("V1", true).wait_minutes(1);
}

fn matters() -> Vec<Matter> {
    let matter = |code, prepare, wrong, right, lasts_s| Matter { code, prepare, wrong, right, lasts_s, ends: true };
    vec![
        matter("DOCK_BLOCKED", nothing, |d, at| fault(d, at, Some("leveller")), |d, at| fault(d, at, None), 60),
        matter("DOCK_BLOCKED", nothing, |d, at| dock_door(d, at, true), |d, at| dock_door(d, at, false), 601),
        matter(
            "DOCK_CONFLICT",
            released,
            |d, at| occupied(d, at, "7", Some("V1")),
            |d, at| occupied(d, at, "7", None),
            180,
        ),
        matter("SECURITY_ALARM", nothing, |d, at| alarm(d, at, true), |d, at| alarm(d, at, false), 0),
        Matter {
            ends: false,
            ..matter("SEAL_BROKEN", on_the_way, |d, at| seal(d, at, false), |d, at| seal(d, at, true), 0)
        },
        Matter {
            ends: false,
            ..matter("SEAL_BROKEN", on_the_way, |d, at| cargo_door(d, at, true), |d, at| cargo_door(d, at, false), 0)
        },
        matter("TEMP_EXCURSION", chilled_on_the_way, |d, at| degrees(d, at, 9.0), |d, at| degrees(d, at, 5.0), 600),
        matter("INV_MISMATCH", all_in, |d, at| weighs(d, at, 121_000), |d, at| weighs(d, at, 119_000), 0),
        matter("DOC_HOLD", sealed, |d, at| papers(d, at, false), |d, at| papers(d, at, true), 0),
    ]
}

fn of<'a>(depot: &'a Depot, code: &'a str) -> Vec<(String, u32)> {
    let views = depot.case_views().into_iter().filter(|c| c.case_type.code() == code);
    views.map(|c| (c.state.as_str().to_owned(), c.triggers)).collect()
}

#[test]
fn one_case_opens_however_often_it_is_seen_and_is_told_again_after_two_hours() {
    for Matter { code, prepare, wrong, lasts_s, .. } in matters() {
        both(|depot| {
            prepare(depot);
            wrong(depot, depot.now());
            if lasts_s > 0 {
                depot.wait_seconds(lasts_s - 5);
                assert_eq!(of(depot, code), [], "{code} below its threshold");
                depot.wait_seconds(5);
            }
            let open = [("open".to_owned(), 1)];
            assert_eq!(of(depot, code), open, "{code} after {lasts_s} s");
            for _ in 0..5 {
                depot.wait_minutes(1);
                wrong(depot, depot.now());
                assert_eq!(of(depot, code), open, "{code} seen again");
            }
            depot.wait_minutes(120);
            assert_eq!(of(depot, code), [("open".to_owned(), 2)], "{code} after two hours");
        });
    }
}

#[test]
fn what_is_right_before_its_threshold_opens_nothing() {
    for Matter { code, prepare, wrong, right, lasts_s, .. } in matters().into_iter().filter(|m| m.lasts_s > 0) {
        both(|depot| {
            prepare(depot);
            for _ in 0..3 {
                wrong(depot, depot.now());
                depot.wait_seconds(lasts_s / 2);
                right(depot, depot.now());
                // Long enough for the next not to count as the same.
                depot.wait_minutes(3);
            }
            depot.wait_minutes(20);
            assert_eq!(of(depot, code), [], "{code}");
        });
    }
}

#[test]
fn a_case_ends_by_itself_two_minutes_after_its_condition_but_nothing_heals_a_seal() {
    for Matter { code, prepare, wrong, right, lasts_s, ends } in matters() {
        both(|depot| {
            prepare(depot);
            wrong(depot, depot.now());
            depot.wait_seconds(lasts_s + 5);
            right(depot, depot.now());
            depot.wait_seconds(119);
            assert_eq!(of(depot, code), [("open".to_owned(), 1)], "{code} at once");
            depot.wait_seconds(2);
            let state = if ends { "resolved" } else { "open" };
            assert_eq!(of(depot, code), [(state.to_owned(), 1)], "{code}");
        });
    }
}

#[test]
fn old_readings_that_are_told_late_open_nothing() {
    for Matter { code, prepare, wrong, right, ends, .. } in matters() {
        both(|depot| {
            prepare(depot);
            let then = depot.now();
            depot.wait_minutes(90);
            right(depot, depot.now());
            wrong(depot, then.plus(60_000));
            wrong(depot, then.plus(30 * 60_000));
            depot.wait_minutes(30);
            assert_eq!(of(depot, code), [], "{code}: older than the last word");
        });
        if !ends {
            continue;
        }
        both(|depot| {
            prepare(depot);
            let then = depot.now();
            depot.wait_minutes(90);
            for minute in [1, 25, 50] {
                wrong(depot, then.plus(minute * 60_000));
                right(depot, then.plus((minute + 20) * 60_000));
            }
            depot.wait_minutes(30);
            assert_eq!(of(depot, code), [], "{code}: a buffer that empties");
        });
    }
}

#[test]
fn readings_of_the_future_count_for_nothing() {
    for Matter { code, prepare, wrong, .. } in matters() {
        both(|depot| {
            prepare(depot);
            wrong(depot, depot.now().plus(120_000));
            depot.wait_minutes(30);
            assert_eq!(of(depot, code), [], "{code}");
        });
    }
}

#[test]
fn a_case_put_to_rest_comes_back_once_when_it_is_seen_anew() {
    for Matter { code, prepare, wrong, right, lasts_s, .. } in matters() {
        both(|depot| {
            prepare(depot);
            wrong(depot, depot.now());
            depot.wait_seconds(lasts_s + 5);
            depot.moves(depot.case(code), CaseState::Resolved);
            right(depot, depot.now());
            depot.wait_minutes(10);
            assert_eq!(of(depot, code), [("resolved".to_owned(), 1)], "{code}");
            wrong(depot, depot.now());
            depot.wait_seconds(lasts_s + 5);
            assert_eq!(of(depot, code), [("reopened".to_owned(), 2)], "{code}");
        });
    }
}
