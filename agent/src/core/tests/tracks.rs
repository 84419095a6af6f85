//! Where the vehicle was, as the hub is told.

use gatehouse_common::{bundle::Rules, sync::Upward, sync::message::DeviceStatus, telemetry::Track};

use super::{
    Depot,
    depot::{both_from, time},
};
use crate::core::input::Line;

fn unit(reload: bool, rules: impl Fn(&mut Rules)) -> Depot {
    let mut vehicle = Depot::new(reload, Some("V1"));
    vehicle.rules(rules);
    vehicle
}

/// A fix every twenty seconds for so many hours, on a road that winds.
fn rides_for(vehicle: &mut Depot, hours: u64) {
    for minute in 0..hours * 60 {
        for third in 0..3_i64 {
            let n = f64::from(u32::try_from(minute * 3).unwrap()) + third as f64;
            let at = vehicle.now().plus(third * 20_000 - 40_000);
            vehicle.rides_at(at, n * 150.0, (n * 0.7).sin() * 200.0, 40.0);
        }
        vehicle.wait_minutes(1);
    }
}

fn told(vehicle: &mut Depot) -> Vec<Track> {
    let statuses = vehicle.hub_hears().into_iter().filter_map(|says| match says {
        Upward::Status(json) => serde_json::from_str::<DeviceStatus>(&json).ok(),
        _ => None,
    });
    statuses.flat_map(|status| status.tracks).collect()
}

#[test]
fn while_the_line_is_down_tracks_wait_and_then_the_newest_are_told_first_and_each_once() {
    both_from(
        |reload| unit(reload, |_| {}),
        |vehicle| {
            vehicle.line(Line::Lost);
            rides_for(vehicle, 3);
            assert!(told(vehicle).is_empty());
            vehicle.online().wait_minutes(60);
            let tracks = told(vehicle);
            assert!(tracks.len() > 5, "{}", tracks.len());
            let newest_first = tracks.windows(2).all(|pair| pair[0].from > pair[1].from);
            assert!(newest_first, "{:?}", tracks.iter().map(|t| t.from).collect::<Vec<_>>());
            let (seen, kept) =
                (tracks.iter().map(|t| t.seen).sum::<u32>(), tracks.iter().map(|t| t.fixes.len()).sum::<usize>());
            assert!(seen > 450 && kept < seen as usize, "{seen} {kept}");
            vehicle.wait_minutes(120);
            assert!(told(vehicle).is_empty(), "each is told once");
        },
    );
}

#[test]
fn no_more_is_told_in_an_hour_than_the_budget_has_and_in_the_end_everything_is() {
    let poor = |rules: &mut Rules| {
        rules.trips.tracks.told_bytes_per_hour = 6_000;
        rules.trips.tracks.error_m = 1;
    };
    let mut vehicle = unit(false, poor);
    vehicle.line(Line::Lost);
    rides_for(&mut vehicle, 4);
    vehicle.online();
    let mut sums = Vec::new();
    for _ in 0..24 {
        vehicle.wait_minutes(60);
        sums.push(told(&mut vehicle).iter().map(Track::bytes).sum::<usize>());
    }
    assert!(sums.iter().all(|bytes| *bytes <= 12_000), "an hour's budget, and what was saved up of one: {sums:?}");
    assert!(sums[0] > 0 && sums[1] > 0 && sums.last() == Some(&0), "{sums:?}");
}

#[test]
fn days_without_a_line_stay_within_the_bytes_kept_and_no_event_is_lost() {
    let small = |rules: &mut Rules| rules.trips.tracks.kept_bytes = 20_000;
    let mut vehicle = unit(false, small);
    vehicle.line(Line::Lost);
    for hour in 0..30 {
        rides_for(&mut vehicle, 1);
        vehicle.seal("V1", hour % 2 == 0);
    }
    let kept: usize = vehicle.kept_tracks().iter().map(Track::bytes).sum();
    assert!(kept <= 24_000, "{kept}");
    vehicle.online();
    let mut tracks = Vec::new();
    for _ in 0..10 {
        vehicle.wait_minutes(30);
        tracks.extend(told(&mut vehicle));
    }
    tracks.extend(vehicle.kept_tracks());
    let seals = tracks.iter().flat_map(|t| &t.events).filter(|e| e.what.starts_with("seal")).count();
    assert_eq!(seals, 30);
    assert_eq!(tracks.iter().map(|t| t.seen).sum::<u32>(), 30 * 180);
    assert!(tracks.iter().map(|t| u64::from(t.dropped())).sum::<u64>() > 1_000);
    assert!(tracks.iter().any(|t| t.from <= time("08:05")), "the oldest are thinned, not gone");
}
