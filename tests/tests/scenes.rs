//! The two walks through the house, played in the pretend world step by step.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use gatehouse_common::{dispatch::DispatchState, id::OrderId, time::UtcMs};
use gatehouse_tests::{
    blocks,
    standin::books::{Buyer, Change, Credit, Customer, EffectKind, Line, Order, Place, Status, Tier},
    world::{
        DAWN, Word, World,
        bugs::Bug,
        checks,
        clock::{HOUR, MINUTE},
        depot::open_outside,
    },
};
use serde_json::json;

/// One depot, one hub, calm weather.
struct Scene {
    world: World,
    depot: usize,
}

fn time(at: UtcMs) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(at.0).unwrap()
}

impl Scene {
    fn opens() -> Self {
        let mut world = World::new(1, Bug::None, 24 * HOUR as u64, false);
        let credit = Credit { on_hold: false, limit_minor: 10_000_000, exposure_minor: 0, currency: "EUR".into() };
        let customer = Customer { id: "C1".into(), name: "Customer One".into(), tier: Tier::A, revision: 0, credit };
        world.erp.change(Change::PutCustomer { customer });
        world.erp.change(Change::PutStock { site: "D1".into(), product: "PALLET".into(), available: 500 });
        let depot = world.add("D1", None);
        world.doors_are_free(depot);
        Self { world, depot }
    }

    fn the_erp_releases(&mut self, order: &str, quantity: u32) {
        let id: OrderId = order.parse().unwrap();
        let order = Self::order(order, quantity);
        self.world.erp_after(MINUTE, Change::PutOrder { order });
        for word in [Word::Inventory(1, quantity), Word::Capacity(true), Word::Carrier(true)] {
            self.world.told_after(4 * MINUTE, &id, &word);
        }
    }

    fn order(order: &str, quantity: u32) -> Order {
        Order {
            id: order.into(),
            revision: 0,
            site: "D1".into(),
            customer: Buyer { id: "C1".into(), name: "Customer One".into(), tier: Tier::A },
            lines: vec![Line { line: 1, product: "PALLET".into(), quantity, unit_price_minor: 1_000 }],
            currency: "EUR".into(),
            class: "standard".into(),
            vehicle: "V11".into(),
            carrier: "ACME".into(),
            door: "1".into(),
            planned_departure: time(DAWN.plus(2 * HOUR)),
            window_end: time(DAWN.plus(6 * HOUR)),
            destination: None,
            status: Status::Released,
        }
    }

    /// SO-1 is released and leaves while the line is cut, and the ERP changes it meanwhile; then the line is back.
    fn changed_behind_the_depots_back(change: impl FnOnce(&mut Order)) -> Self {
        let mut scene = Self::opens();
        scene.the_erp_releases("SO-1", 10);
        scene.until(15);
        scene.line(true);
        let mut order = Self::order("SO-1", 10);
        change(&mut order);
        scene.world.erp_after(30 * MINUTE, Change::PutOrder { order });
        scene.until(100);
        assert_eq!(scene.state(), [DispatchState::Departed], "the depot could not know");
        scene.line(false);
        // Long enough for the news to come home, short enough that nobody has chosen yet.
        scene.until(115);
        scene
    }

    /// Family, row and outcome of the item of SO-1.
    fn item(&self) -> Vec<String> {
        let sql = "SELECT family || ' ' || coalesce(row, '-') || ' ' || coalesce(outcome, 'open') FROM recon_items \
             WHERE order_id = 'SO-1'";
        self.ask(true, sql)
    }

    /// What everyone says in the cases and dispatches at the depot.
    fn said_at_the_depot(&self, kind: &str, path: &str) -> Vec<String> {
        let sql = format!(
            "SELECT CAST(coalesce(json_extract(view, '{path}'), '') AS TEXT) FROM documents WHERE kind = '{kind}'"
        );
        self.ask(false, &sql)
    }

    fn until(&mut self, minutes: i64) {
        self.world.run_until(DAWN.plus(minutes * MINUTE));
    }

    fn line(&mut self, is_cut: bool) {
        self.world.line_after(0, self.depot, is_cut);
    }

    fn door(&mut self, id: &str, open: bool) {
        let says = json!({ "id": id, "time": self.world.now.0, "open": open });
        self.world.publishes(self.depot, "depot/D1/door/3", &says);
    }

    /// One text per row of a query on a store's file.
    fn ask(&self, hub: bool, sql: &str) -> Vec<String> {
        let path = if hub { &self.world.hub.path } else { &self.world.agents[self.depot].path };
        let store = open_outside(path);
        let mut statement = store.prepare(sql).unwrap();
        statement.query_map([], |r| r.get(0)).unwrap().map(Result::unwrap).collect()
    }

    fn state(&mut self) -> Vec<DispatchState> {
        self.world.agents[self.depot].page().into_iter().map(|(_, seen)| seen.state).collect()
    }

    fn modes(&self) -> Vec<String> {
        self.ask(
            false,
            "SELECT json_extract(body, '$.mode') FROM decisions WHERE json_extract(body, '$.kind') = 'release'",
        )
    }

    /// `kind quantity` of everything posted at the ERP.
    fn posted(&self) -> Vec<String> {
        let units = |quantity: Option<u32>| quantity.map_or_else(String::new, |n| format!(" {n}"));
        let word = |kind: EffectKind| serde_json::to_value(kind).unwrap().as_str().unwrap_or_default().to_owned();
        self.world.erp.effects().iter().map(|e| format!("{}{}", word(e.kind), units(e.quantity))).collect()
    }

    fn ends(mut self) {
        self.world.heal();
        assert_eq!(self.world.run_to_quiet(), Ok(()));
        assert_eq!(checks::all(&self.world), []);
    }
}

/// The control of "comes to rest": here the ERP changes its mind every ten minutes for longer than anyone is patient.
#[test]
fn a_world_in_which_the_erp_goes_on_changing_its_mind_does_not_come_to_rest() {
    let mut scene = Scene::opens();
    scene.the_erp_releases("SO-1", 10);
    for n in 1..100 {
        let order = Scene::order("SO-1", 10 + n);
        scene.world.erp_after(i64::from(n) * 10 * MINUTE, Change::PutOrder { order });
    }
    scene.world.heal();
    let restless = scene.world.run_to_quiet().unwrap_err();
    assert!(restless.starts_with("the last change was"), "{restless}");
}

const CASES: &str = "SELECT json_extract(view, '$.case_type') || ' ' || json_extract(view, '$.subject') || ' ' || \
     json_extract(view, '$.state') FROM documents WHERE kind = 'case' ORDER BY 1";

#[test]
fn walk_a_a_door_left_open_becomes_one_case_at_the_depot_and_at_the_hub() {
    let mut scene = Scene::opens();
    scene.until(5);
    // The sensor says so twice, as sensors do.
    scene.door("d1", true);
    scene.door("d1", true);
    scene.until(6);
    let store = open_outside(&scene.world.agents[scene.depot].path);
    let doors = blocks::readings(&store).unwrap().into_iter().filter(|r| r.source.contains("/door/"));
    assert_eq!(doors.map(|r| r.id).collect::<Vec<_>>(), ["d1"]);
    assert!(scene.world.agents[scene.depot].broker.is_empty(), "committed, so acknowledged");
    assert_eq!(scene.ask(false, CASES), [""; 0], "an open door is no problem yet");
    scene.until(17);
    let at_depot = scene.ask(false, CASES);
    assert_eq!(at_depot.len(), 1, "{at_depot:?}");
    assert!(at_depot[0].contains("D1/3") && at_depot[0].to_lowercase().contains("dock_blocked"), "{at_depot:?}");
    scene.until(18);
    assert_eq!(scene.ask(true, CASES), at_depot);
    scene.door("d2", false);
    scene.until(30);
    let cleared = scene.ask(true, CASES);
    assert!(cleared[0].ends_with("resolved"), "{cleared:?}");
    scene.ends();
}

#[test]
fn walk_b_an_order_released_offline_comes_home_and_is_posted_once() {
    let mut scene = Scene::opens();
    scene.the_erp_releases("SO-1", 10);
    scene.until(15);
    assert_eq!(scene.state(), [DispatchState::Planned], "the order reached the depot");
    scene.line(true);
    scene.until(100);
    assert_eq!(scene.modes(), ["offline"], "released under the lease");
    assert_eq!(scene.state(), [DispatchState::Departed]);
    assert_eq!(scene.posted(), [""; 0], "the hub knows nothing of it yet");
    scene.line(false);
    scene.until(115);
    assert_eq!(scene.posted(), ["release", "goods_issue 10", "invoice 10"]);
    assert_eq!(scene.ask(true, "SELECT outcome FROM recon_items WHERE order_id = 'SO-1'"), ["matched"]);
    scene.ends();
}

#[test]
fn walk_b_an_order_cancelled_meanwhile_becomes_an_item_a_case_and_a_persons_choice() {
    let mut scene = Scene::opens();
    scene.the_erp_releases("SO-1", 10);
    scene.until(15);
    scene.line(true);
    scene.world.erp_after(30 * MINUTE, Change::CancelOrder { order: "SO-1".into() });
    scene.until(100);
    assert_eq!(scene.state(), [DispatchState::Departed], "the depot could not know");
    scene.line(false);
    // Long enough for the news to come home, short enough that nobody has chosen yet.
    scene.until(115);
    assert_eq!(scene.posted(), ["goods_issue 10"], "what left is issued, and nothing is billed before someone chooses");
    let item = scene
        .ask(true, "SELECT 'row ' || row || ' ' || coalesce(outcome, 'open') FROM recon_items WHERE family = 'cancel'");
    assert_eq!(item, ["row 3 open"]);
    let cases = scene.ask(true, CASES);
    assert!(cases.iter().any(|c| c.to_lowercase().contains("recon_discrepancy")), "{cases:?}");
    assert_eq!(scene.ask(false, CASES), cases, "the depot sees the case too");
    scene.ends();
}

#[test]
fn an_address_that_changed_behind_the_depots_back_is_billed_told_to_the_depot_and_diverted_by_a_person() {
    let away = |order: &mut Order| order.destination = Some(Place { lat: 30.4, lon: -97.7 });
    let scene = Scene::changed_behind_the_depots_back(away);
    assert_eq!(
        scene.posted(),
        ["release", "goods_issue 10", "invoice 10"],
        "an address keeps nothing from being billed"
    );
    assert_eq!(scene.item(), ["address 11 open"]);
    assert_eq!(scene.said_at_the_depot("dispatch", "$.divert"), ["1"], "the depot knows that it went elsewhere");
    let cases = scene.ask(true, CASES);
    assert!(cases.iter().any(|c| c.starts_with("RECON_DISCREPANCY SO-1")), "{cases:?}");
    assert_eq!(scene.ask(false, CASES), cases, "the depot sees the case too");
    // People choose then, and what they chose comes home as an entry of the case and of the dispatch.
    scene.ends();
}

#[test]
fn a_later_window_keeps_both_promises_and_asks_nobody() {
    let later = |order: &mut Order| order.window_end = time(DAWN.plus(9 * HOUR));
    let scene = Scene::changed_behind_the_depots_back(later);
    assert_eq!(scene.item(), ["date 11 accepted_variance"]);
    let promises = scene.said_at_the_depot("dispatch", "$.promises");
    let both = [DAWN.plus(6 * HOUR), DAWN.plus(9 * HOUR)].map(|at| at.0.to_string()).join(",");
    assert_eq!(promises, [format!("[{both}]")]);
    scene.ends();
}

#[test]
fn a_price_that_rose_much_waits_for_a_person_and_ends_with_its_choice() {
    let dearer = |order: &mut Order| order.lines[0].unit_price_minor = 1_200;
    let mut scene = Scene::changed_behind_the_depots_back(dearer);
    assert_eq!(scene.item(), ["price 11 open"]);
    assert_eq!(scene.posted(), ["release", "goods_issue 10", "invoice 10"]);
    scene.world.heal();
    assert_eq!(scene.world.run_to_quiet(), Ok(()));
    let ended = scene.item();
    let credited: Vec<_> =
        scene.world.erp.effects().into_iter().filter(|effect| effect.kind == EffectKind::CreditNote).collect();
    match ended[0].as_str() {
        "price 11 accepted_variance" => assert_eq!(credited, []),
        "price 11 compensated" => {
            assert_eq!(credited.iter().map(|e| e.amount_minor).collect::<Vec<_>>(), [Some(2_000)]);
        }
        other => panic!("{other}"),
    }
    let said = scene.ask(false, "SELECT document FROM documents WHERE kind = 'case' AND view LIKE '%reconciliation:%'");
    assert_eq!(said.len(), 1, "the choice stands in the depot's copy of the case");
    assert_eq!(checks::all(&scene.world), []);
}

#[test]
fn another_carrier_that_was_tendered_meanwhile_is_a_case_and_what_left_stands() {
    let other = |order: &mut Order| order.carrier = "OTHER".into();
    let scene = Scene::changed_behind_the_depots_back(other);
    assert_eq!(scene.item(), ["carrier 14 open"]);
    let owners = scene.ask(true, "SELECT json_extract(view, '$.owner') FROM documents WHERE kind = 'case'");
    assert!(owners.contains(&"carrier_management".to_owned()), "{owners:?}");
    scene.ends();
}
