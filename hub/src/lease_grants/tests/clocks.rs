//! The hub's clock was ahead and is right again.

use super::*;

#[tokio::test]
async fn by_figures_that_are_dated_ahead_nothing_is_lent() {
    let (hub, erp) = (Hub::new(), Figured::new(100_000, 1_000));
    hub.order("O1", "D1", 30);
    let asked = hub.ask(&erp, "D1", "gw-1").await.unwrap().unwrap();
    let now = hub.clock.wall();
    assert!(!asked.is_too_old(now) && asked.is_too_old(now.plus(FIGURE_MAX_MS + 1)));
    assert!(asked.is_too_old(now.plus(-WEEK)));
}

#[tokio::test]
async fn a_read_of_the_orders_that_is_dated_ahead_lets_nothing_be_lent() {
    let (hub, erp) = (Hub::new(), Figured { counts_orders: true, ..Figured::new(400, 1_000) });
    hub.order("O1", "D1", 60);
    let asked = hub.ask(&erp, "D1", "gw-1").await.unwrap().unwrap();
    hub.orders_are_read_after(WEEK);
    assert_eq!(hub.grant(asked).await.unwrap(), None);
}

#[test]
fn a_gateway_heard_by_a_clock_that_was_ahead_is_not_taken_for_connected() {
    let (hub, device) = (Hub::new(), fixture::gateway("gw-1", "D1", 2));
    let (name, now) = (device.device.clone(), hub.clock.wall());
    hub.store.write_now(move |tx| tx.put_device(&device, now)).unwrap();
    let connected_if_heard = |at: UtcMs| {
        let name = name.clone();
        hub.store.write_now(move |tx| tx.device_seen(&name, None, at)).unwrap();
        hub.store.read_now(|r| connected_gateways(r, now)).unwrap().len()
    };
    let heard = [now, now.plus(5_000), now.plus(WEEK), now.plus(-WEEK)];
    assert_eq!(heard.map(connected_if_heard), [1, 1, 0, 0]);
}
