//! A vehicle on the way: where it is on its route, when it will come, what went wrong, what was signed for.

use gatehouse_common::{
    bundle::{ProofPolicy, Rules},
    dispatch::DispatchState,
    geo::Geofence,
    id::Hash32,
    order::Order,
    reading::{ProofLine, ReadingValue},
    route::{PlannedStop, Route},
};

use super::{
    Depot,
    depot::{both_from, time, yard_plus},
    riding::loaded_with,
};
use crate::core::input::Act;

/// Twenty kilometres north by road, a stop half way, there at 09:00.
fn planned(order: &mut Order) {
    let stop = |north_m, at: &str| PlannedStop {
        name: String::new(),
        point: yard_plus(north_m, 0.0),
        arrive: time(at),
        leave: time(at),
    };
    let path = (0..=20).map(|km| yard_plus(f64::from(km) * 1_000.0, 0.0)).collect();
    let stops = vec![stop(0.0, "08:10"), stop(10_000.0, "08:35"), stop(20_000.0, "09:00")];
    order.route = Some(Route { path, stops });
    order.destination = Some(yard_plus(20_000.0, 0.0));
    order.window_end = time("09:30");
}

/// The vehicle, on its way since 08:10.
fn on_the_way(reload: bool, rules: impl Fn(&mut Rules)) -> Depot {
    let mut vehicle = loaded_with(reload, planned);
    vehicle.rules(rules);
    vehicle.rides(0.0, 0.0, 0.0).wait_minutes(1).rides(0.0, 0.0, 0.0).until("08:10");
    vehicle.rides(400.0, 0.0, 40.0).wait_minutes(1).rides(1_000.0, 0.0, 40.0);
    assert_eq!(vehicle.state("O1"), "departed");
    vehicle
}

fn riding(scene: impl Fn(&mut Depot)) {
    both_from(|reload| on_the_way(reload, |_| {}), scene);
}

fn signs(vehicle: &mut Depot, delivered: u32, refused: u32, damaged: u32) {
    let lines = vec![ProofLine { line: 1, delivered, refused, damaged }];
    let (order, photo) = ("O1".parse().unwrap(), Some(Hash32([4; 32])));
    vehicle.reads(ReadingValue::Proof { order, lines, signed_by: Some("Kim".into()), photo });
}

/// Rides on in steps of a minute, from so many metres on to the end, and arrives.
fn arrives(vehicle: &mut Depot, from_m: f64) {
    let mut at_m = from_m;
    while at_m < 20_000.0 {
        vehicle.wait_minutes(1).rides(at_m, 0.0, 40.0);
        at_m += 700.0;
    }
    vehicle.wait_minutes(1).rides(20_000.0, 0.0, 0.0).wait_minutes(1).rides(20_000.0, 0.0, 0.0);
    assert!(vehicle.dispatch("O1").arrived_at.is_some());
}

#[test]
fn on_its_route_it_is_so_far_along_and_its_arrival_has_a_median_and_an_80th_percentile() {
    riding(|vehicle| {
        vehicle.until("08:40").rides(10_000.0, 60.0, 40.0);
        let trip = vehicle.trip("O1");
        assert!((9_990..=10_010).contains(&trip.along_m), "{trip:?}");
        assert!(
            (9_990..=10_010).contains(&trip.left_m) && trip.off_m.is_some_and(|m| (59..=61).contains(&m)),
            "{trip:?}"
        );
        // Five minutes late half way, so five minutes late at the end.
        let eta = trip.eta.unwrap();
        assert!((time("09:04")..=time("09:06")).contains(&eta.p50), "{eta:?}");
        assert!(eta.p80 > eta.p50);
    });
}

#[test]
fn three_fixes_off_the_route_are_a_deviation_and_two_are_none() {
    riding(|vehicle| {
        for minute in 0..2 {
            vehicle.wait_minutes(1).rides(1_500.0 + f64::from(minute) * 300.0, 900.0, 40.0);
        }
        vehicle.wait_minutes(1).rides(2_000.0, 0.0, 40.0);
        assert!(vehicle.cases().is_empty());
        for minute in 0..3 {
            vehicle.wait_minutes(1).rides(2_500.0 + f64::from(minute) * 300.0, 900.0, 40.0);
        }
        assert_eq!(vehicle.cases(), ["ROUTE_DEVIATION V1 open"]);
        vehicle.wait_minutes(1).rides(3_500.0, 480.0, 40.0).wait_minutes(5).rides(3_600.0, 480.0, 40.0);
        assert_eq!(vehicle.cases(), ["ROUTE_DEVIATION V1 open"], "at its edge it is neither");
        vehicle.wait_minutes(1).rides(4_000.0, 100.0, 40.0).wait_minutes(3);
        assert_eq!(vehicle.cases(), ["ROUTE_DEVIATION V1 resolved"]);
    });
}

#[test]
fn without_a_road_the_line_between_far_stops_is_no_corridor() {
    let no_road = |order: &mut Order| {
        planned(order);
        order.route.as_mut().unwrap().path.clear();
    };
    let mut vehicle = loaded_with(true, no_road);
    vehicle.rides(0.0, 0.0, 0.0).wait_minutes(1).rides(0.0, 0.0, 0.0).until("08:10");
    vehicle.rides(400.0, 0.0, 40.0).wait_minutes(1).rides(1_000.0, 0.0, 40.0);
    for minute in 0..5 {
        vehicle.wait_minutes(1).rides(2_500.0 + f64::from(minute) * 300.0, 2_000.0, 40.0);
    }
    assert_eq!(vehicle.trip("O1").off_m, None);
    assert!(vehicle.cases().is_empty());
}

#[test]
fn half_an_hour_of_standing_where_no_stop_is_planned_is_told_and_at_a_stop_or_a_rest_area_it_is_not() {
    let stands = |vehicle: &mut Depot, north_m: f64| {
        for _ in 0..32 {
            vehicle.wait_minutes(1).rides(north_m, 0.0, 0.0);
        }
        vehicle.cases().iter().any(|case| case.starts_with("UNPLANNED_STOP"))
    };
    riding(|vehicle| {
        assert!(stands(vehicle, 5_000.0));
        vehicle.wait_minutes(1).rides(5_600.0, 0.0, 40.0).wait_minutes(3);
        assert!(vehicle.cases().contains(&"UNPLANNED_STOP V1 resolved".to_owned()), "{:?}", vehicle.cases());
    });
    riding(|vehicle| assert!(!stands(vehicle, 10_000.0), "a planned stop"));
    let rest = |rules: &mut Rules| {
        rules.trips.rest_areas = vec![Geofence { centre: yard_plus(5_000.0, 0.0), radius_m: 200.0 }];
    };
    both_from(|reload| on_the_way(reload, rest), |vehicle| assert!(!stands(vehicle, 5_000.0), "a rest area"));
}

#[test]
fn an_arrival_that_will_probably_be_after_the_window_is_a_risk_until_it_is_none() {
    riding(|vehicle| {
        vehicle.until("08:45").rides(5_000.0, 0.0, 40.0);
        let risk = |vehicle: &Depot| vehicle.cases().iter().any(|case| case.starts_with("ETA_RISK"));
        assert!(!risk(vehicle), "twenty minutes late is within the window");
        vehicle.until("08:55").rides(5_100.0, 0.0, 40.0).wait_minutes(1).rides(5_200.0, 0.0, 40.0);
        vehicle.wait_minutes(1).rides(5_300.0, 0.0, 40.0);
        assert!(vehicle.cases().contains(&"ETA_RISK O1 open".to_owned()), "{:?}", vehicle.cases());
        vehicle.until("09:01").rides(15_000.0, 0.0, 100.0).wait_minutes(3);
        assert!(vehicle.cases().contains(&"ETA_RISK O1 resolved".to_owned()), "{:?}", vehicle.cases());
    });
}

#[test]
fn a_fix_elsewhere_after_the_window_is_a_late_delivery_and_arriving_ends_it() {
    riding(|vehicle| {
        vehicle.until("09:29").rides(15_000.0, 0.0, 40.0);
        assert!(!vehicle.cases().iter().any(|case| case.starts_with("LATE_DELIVERY")));
        vehicle.wait_minutes(2).rides(15_500.0, 0.0, 40.0);
        assert!(vehicle.cases().contains(&"LATE_DELIVERY O1 open".to_owned()), "{:?}", vehicle.cases());
        arrives(vehicle, 16_000.0);
        vehicle.wait_minutes(3);
        assert!(vehicle.cases().contains(&"LATE_DELIVERY O1 resolved".to_owned()), "{:?}", vehicle.cases());
        assert_eq!(vehicle.state("O1"), "delivered");
    });
}

#[test]
fn silence_is_told_after_ten_minutes_on_the_move_and_after_thirty_of_standing() {
    riding(|vehicle| {
        for minute in 0..6 {
            vehicle.wait_minutes(1).rides(1_500.0 + f64::from(minute) * 700.0, 0.0, 40.0);
        }
        vehicle.wait_minutes(9);
        assert!(vehicle.cases().is_empty());
        vehicle.wait_minutes(2);
        assert_eq!(vehicle.cases(), ["TELEMETRY_SILENCE V1 open"]);
        vehicle.rides(9_000.0, 0.0, 40.0).wait_minutes(3).rides(10_000.0, 0.0, 0.0);
        assert_eq!(vehicle.cases(), ["TELEMETRY_SILENCE V1 resolved"]);
        vehicle.wait_minutes(1).rides(10_000.0, 0.0, 0.0).wait_minutes(1).rides(10_000.0, 0.0, 0.0).wait_minutes(25);
        assert!(!vehicle.cases().contains(&"TELEMETRY_SILENCE V1 reopened".to_owned()));
    });
}

#[test]
fn what_is_signed_for_whole_is_delivered_with_who_signed_and_the_photo_by_its_hash() {
    riding(|vehicle| {
        arrives(vehicle, 2_000.0);
        signs(vehicle, 10, 0, 0);
        let view = vehicle.dispatch("O1");
        let proof = view.proof.unwrap();
        assert_eq!((view.state, view.delivered.unwrap().load), (DispatchState::Delivered, Depot::load(10)));
        assert_eq!((proof.signed_by.as_deref(), proof.photo), (Some("Kim"), Some(Hash32([4; 32]))));
        vehicle.wait_minutes(25 * 60);
        assert!(vehicle.cases().is_empty(), "{:?}", vehicle.cases());
    });
}

#[test]
fn what_is_short_damaged_refused_or_too_much_is_an_exception_with_a_case_for_each() {
    riding(|vehicle| {
        arrives(vehicle, 2_000.0);
        signs(vehicle, 5, 2, 1);
        assert_eq!(vehicle.state("O1"), "exception_delivered");
        assert_eq!(vehicle.dispatch("O1").delivered.unwrap().load, Depot::load(5));
        assert_eq!(vehicle.cases(), ["POD_DAMAGE O1 open", "POD_REFUSED O1 open", "POD_SHORT O1 open"]);
        vehicle.wait_minutes(1);
        signs(vehicle, 12, 0, 0);
        vehicle.wait_minutes(3);
        let shown = ["POD_DAMAGE O1 resolved", "POD_OVER O1 open", "POD_REFUSED O1 resolved", "POD_SHORT O1 resolved"];
        assert_eq!(vehicle.cases(), shown, "who signs again corrects");
    });
}

#[test]
fn a_delivery_that_nobody_signs_for_in_a_day_is_told_and_a_signature_ends_it() {
    riding(|vehicle| {
        arrives(vehicle, 2_000.0);
        vehicle.wait_minutes(23 * 60);
        assert!(vehicle.cases().is_empty());
        vehicle.wait_minutes(61);
        assert_eq!(vehicle.cases(), ["POD_MISSING O1 open"]);
        signs(vehicle, 10, 0, 0);
        vehicle.wait_minutes(3);
        assert_eq!(vehicle.cases(), ["POD_MISSING O1 resolved"]);
    });
}

#[test]
fn where_proof_is_needed_arriving_delivers_nothing_and_leaving_without_it_is_a_failed_delivery() {
    let needed = |rules: &mut Rules| rules.trips.proof = ProofPolicy::Needed;
    both_from(
        |reload| on_the_way(reload, needed),
        |vehicle| {
            arrives(vehicle, 2_000.0);
            assert_eq!(vehicle.state("O1"), "departed");
            vehicle.wait_minutes(1).rides(19_000.0, 0.0, 40.0).wait_minutes(1).rides(18_000.0, 0.0, 40.0);
            assert_eq!(vehicle.cases(), ["DELIVERY_FAILED O1 open"]);
            assert!(vehicle.dispatch("O1").went_on_at.is_some());
            signs(vehicle, 10, 0, 0);
            vehicle.wait_minutes(3);
            assert_eq!(
                (vehicle.state("O1").as_str(), vehicle.cases()),
                ("delivered", vec!["DELIVERY_FAILED O1 resolved".into()])
            );
        },
    );
}

#[test]
fn a_position_that_comes_late_makes_the_arrival_earlier_and_opens_nothing() {
    riding(|vehicle| {
        vehicle.until("08:50").rides(19_000.0, 0.0, 40.0);
        vehicle.until("08:56").rides(20_000.0, 0.0, 0.0).wait_minutes(1).rides(20_000.0, 0.0, 0.0);
        assert_eq!(vehicle.dispatch("O1").arrived_at, Some(time("08:56")));
        let before = vehicle.cases();
        vehicle.rides_at(time("08:53"), 19_900.0, 0.0, 5.0);
        let view = vehicle.dispatch("O1");
        assert_eq!((view.arrived_at, view.delivered.unwrap().at), (Some(time("08:53")), time("08:53")));
        vehicle.rides_at(time("08:45"), 20_000.0, 0.0, 5.0).rides_at(time("08:54"), 5_000.0, 2_000.0, 40.0);
        assert_eq!(vehicle.dispatch("O1").arrived_at, Some(time("08:53")), "it was seen elsewhere after that");
        assert_eq!(vehicle.cases(), before);
    });
}

#[test]
fn a_buffer_of_old_positions_opens_nothing_by_what_it_tells_of_the_past() {
    riding(|vehicle| {
        vehicle.until("09:20");
        let before = vehicle.cases();
        for n in 0_i32..40 {
            let at = time("08:12").plus(i64::from(n) * 60_000);
            vehicle.rides_at(at, 3_000.0 + f64::from(n % 3) * 10.0, 1_500.0, 1.0);
        }
        assert_eq!(vehicle.cases(), before, "off the route and standing, but that is past");
        vehicle.rides(3_000.0, 0.0, 40.0).wait_minutes(1).rides(3_700.0, 0.0, 40.0);
        let told = vehicle.cases();
        assert!(!told.iter().any(|c| c.starts_with("ROUTE_DEVIATION") || c.starts_with("UNPLANNED_STOP")), "{told:?}");
    });
}

#[test]
fn at_the_page_of_the_vehicle_goods_are_handed_over_and_at_that_of_the_depot_they_are_not() {
    let prove = |quantity| Act::Prove {
        dispatch: Depot::id("O1"),
        lines: vec![ProofLine { line: 1, delivered: quantity, refused: 0, damaged: 0 }],
        signed_by: Some(" Kim ".into()),
        photo: None,
    };
    riding(|vehicle| {
        arrives(vehicle, 2_000.0);
        vehicle.tap("driver", prove(10)).unwrap();
        assert_eq!(vehicle.dispatch("O1").proof.unwrap().signed_by.as_deref(), Some("Kim"));
    });
    let mut depot = Depot::new(true, None);
    depot.released("O1", 10);
    let refused = depot.tap("driver", prove(10)).unwrap_err();
    assert!(refused.to_string().contains("use the vehicle's page"), "{refused}");
}
