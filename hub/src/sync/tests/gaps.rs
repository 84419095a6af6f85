//! Chunks whose past has not come in.

use super::*;

#[test]
fn a_change_whose_past_is_missing_is_shown_as_waiting_with_its_age_and_is_told_once_it_has_it() {
    let hub = Hub::new();
    let (mut first, mut second) = (hub.gateway("gw-1", "D1", 7), hub.gateway("gw-2", "D1", 8));
    let plan = first.plan();
    second.document.apply_own(&plan).unwrap();
    second.say(Says::Ready);
    assert_eq!(second.push(&hub).rejected, []);
    let waiting = |hub: &Hub| hub.store.read_now(|r| r.waiting()).unwrap();
    assert_eq!(waiting(&hub), (1, Some(UtcMs(1_000))));
    let id = first.id();
    assert_eq!(hub.store.read_now(move |r| r.waits_since(&id)).unwrap(), Some(UtcMs(1_000)));
    assert!(hub.pull(&mut first).is_empty(), "what waits is not passed on");
    first.push(&hub);
    assert_eq!(waiting(&hub), (0, None));
    hub.pull(&mut first);
    assert_eq!(first.document.heads(), second.document.heads());
}
