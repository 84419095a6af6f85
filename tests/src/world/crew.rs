//! What crews and drivers do in the pretend world, and what sensors, scanners and trackers say of it.

use std::collections::BTreeMap;

use gatehouse_agent::core::input::{Act as Touch, Tap};
use gatehouse_common::id::{ActorName, DocumentId, OrderId};
use serde_json::{Value, json};

use super::{
    Event, World,
    clock::{MINUTE, SECOND},
    lens::Seen,
    yard::{Act, Place},
};

/// The yards of the shipped example.
const YARD: (f64, f64) = (30.2672, -97.7431);
/// How far the destination of a unit's orders lies north of the yard, in metres.
pub const DESTINATION_M: f64 = 6_000.0;
/// Metres per degree of latitude.
const DEGREE_M: f64 = 111_195.0;

/// So many metres north of the yard.
#[must_use]
pub fn north_of_yard(metres: f64) -> (f64, f64) {
    (YARD.0 + metres / DEGREE_M, YARD.1)
}

impl World {
    /// The crew looks at the page and does one thing for each order.
    pub(super) fn crew_looks(&mut self, place: usize) {
        // Without the agent there is no page, and nobody does anything that it might forbid.
        if !self.agents[place].is_gateway() || self.agents[place].running.is_none() {
            return;
        }
        if self.page_is_behind(place) {
            return self.crew_looks_after(place, 3 * MINUTE);
        }
        let page = self.agents[place].page();
        let mut by_order: BTreeMap<&OrderId, Vec<&(DocumentId, Seen)>> = BTreeMap::new();
        for row in &page {
            by_order.entry(&row.1.order).or_default().push(row);
        }
        let mut busy = false;
        for (order, rows) in by_order {
            let Some((_, seen)) = rows.iter().max_by_key(|(_, s)| s.occurrence) else { continue };
            self.yards[place].watch(seen, self.now);
            let Some(act) = self.yards[place].next(&rows, self.now, &mut self.dice) else { continue };
            self.acts(place, order, seen, &act);
            busy = true;
        }
        let pause =
            if busy { self.dice.between(20 * SECOND, 90 * SECOND) } else { self.dice.between(3 * MINUTE, 6 * MINUTE) };
        self.crew_looks_after(place, pause);
    }

    /// The crew looks again then, or earlier if it was about to.
    pub(super) fn crew_looks_after(&mut self, place: usize, ms: i64) {
        let at = self.now.plus(ms);
        let due = &mut self.yards[place].looks_at;
        if due.is_none_or(|due| due > at || due <= self.now) {
            *due = Some(at);
            self.after(ms, Event::CrewLooks { agent: place });
        }
    }

    fn acts(&mut self, place: usize, order: &OrderId, seen: &Seen, act: &Act) {
        let site = self.agents[place].site.clone();
        self.say(&format!("{site}: {order}/{} is {}, the crew does {act:?}", seen.occurrence, seen.state.as_str()));
        self.changes();
        let loaded = self.yards[place].jobs.get(order).map(|j| j.loaded.clone()).unwrap_or_default();
        let was_at_door = self.yards[place].jobs.get(order).is_some_and(|j| matches!(j.place, Place::AtDoor(_)));
        self.yards[place].did(order, seen, act, self.now);
        match act {
            Act::Stage(line, n) => self.scans(place, "staged", order, *line, *n),
            Act::Load(line, n) => self.scans(place, "loaded", order, *line, *n),
            Act::Unload(line, n) => self.scans(place, "unloaded", order, *line, *n),
            Act::Papers => {
                let says = self.reading(json!({ "order": order, "complete": true }));
                self.publishes(place, &format!("depot/{site}/documents"), &says);
            }
            Act::Arrive => {
                self.fix(place, seen.vehicle.as_str(), 0.0);
                self.after(40 * SECOND, Event::OnTheRoad { agent: place, order: order.clone(), leg: 0 });
            }
            Act::Dock => {
                self.occupied(place, seen, true);
                self.door(place, seen, true);
            }
            Act::MakeRoom => {
                self.door(place, seen, false);
                self.occupied(place, seen, false);
            }
            Act::Close => {
                let says = self.reading(json!({ "state": "intact", "number": "S1" }));
                self.publishes(place, &format!("depot/{site}/seal/{}", seen.vehicle), &says);
                self.door(place, seen, false);
            }
            Act::DriveOff | Act::DriveOffEmpty => {
                if was_at_door {
                    self.door(place, seen, false);
                    self.occupied(place, seen, false);
                }
                if loaded.values().any(|n| *n > 0) {
                    self.book.goods_left(order, &loaded);
                }
                self.yards[place].vehicles.insert(order.clone(), seen.vehicle.clone());
                self.after(MINUTE, Event::OnTheRoad { agent: place, order: order.clone(), leg: 1 });
            }
            Act::SeenRecall(id) => {
                self.touch(place, "ana", "warehouse", Touch::RecallSeen { dispatch: *id });
            }
            Act::Override(id) => {
                let reason = "the customer was told and agrees".to_owned();
                self.touch(place, "ana", "supervisor", Touch::Override { dispatch: *id, reason });
                // Some need a second person, who is not always there.
                if self.dice.chance(500) {
                    self.touch(place, "ben", "supervisor", Touch::Confirm { dispatch: *id });
                }
            }
        }
    }

    fn touch(&mut self, place: usize, who: &str, role: &str, act: Touch) {
        let who = ActorName::new(who).expect("a name");
        let answer = self.tap(place, Tap { who, role: role.to_owned(), act });
        match answer {
            Some(Ok(done)) => self.say(&format!("the page says: {}", done.message)),
            Some(Err(refused)) => self.say(&format!("the page refuses: {refused}")),
            None => {}
        }
    }

    /// A vehicle on its way: in the yard, out of it, to where it delivers, and back to the pool.
    pub(super) fn on_the_road(&mut self, place: usize, order: &OrderId, leg: u32) {
        let vehicle = self.yards[place].vehicles.get(order).cloned();
        let next = |world: &mut Self, ms: i64| {
            world.after(ms, Event::OnTheRoad { agent: place, order: order.clone(), leg: leg + 1 });
        };
        let Some(vehicle) = vehicle else {
            // It only came in: the second fix there.
            if let Some((_, seen)) = self.agents[place].page().into_iter().find(|(_, s)| s.order == *order) {
                self.fix(place, seen.vehicle.as_str(), 5.0);
            }
            return;
        };
        match leg {
            0 => self.fix(place, vehicle.as_str(), 5.0),
            1 => {
                self.fix(place, vehicle.as_str(), 1_000.0);
                next(self, MINUTE);
            }
            2 => {
                self.fix(place, vehicle.as_str(), 3_000.0);
                next(self, 3 * MINUTE);
            }
            3 => {
                self.fix(place, vehicle.as_str(), DESTINATION_M);
                next(self, 2 * MINUTE);
            }
            4 => {
                self.fix(place, vehicle.as_str(), DESTINATION_M + 20.0);
                next(self, 6 * MINUTE);
            }
            _ => {
                if let Some(job) = self.yards[place].jobs.get_mut(order) {
                    job.place = Place::Away;
                }
                self.crew_looks_after(place, MINUTE);
            }
        }
    }

    fn scans(&mut self, place: usize, step: &str, order: &OrderId, line: u16, quantity: u32) {
        let says = self.reading(json!({ "order": order, "line": line, "quantity": quantity }));
        let topic = format!("depot/{}/scan/{step}", self.agents[place].site);
        self.publishes(place, &topic, &says);
    }

    fn door(&mut self, place: usize, seen: &Seen, open: bool) {
        let says = self.reading(json!({ "open": open }));
        let topic = format!("depot/{}/door/{}", self.agents[place].site, seen.door);
        self.publishes(place, &topic, &says);
    }

    fn occupied(&mut self, place: usize, seen: &Seen, occupied: bool) {
        let vehicle = occupied.then_some(&seen.vehicle);
        let says = self.reading(json!({ "occupied": occupied, "vehicle": vehicle }));
        let topic = format!("depot/{}/occupancy/{}", self.agents[place].site, seen.door);
        self.publishes(place, &topic, &says);
    }

    /// The doors' sensors say that nothing stands there.
    pub fn doors_are_free(&mut self, place: usize) {
        for door in ["1", "2", "3", "4"] {
            let says = self.reading(json!({ "occupied": false }));
            let topic = format!("depot/{}/occupancy/{door}", self.agents[place].site);
            self.publishes(place, &topic, &says);
        }
    }

    /// A tracker tells a position: to the depot, and to the vehicle's own unit if it has one.
    fn fix(&mut self, place: usize, vehicle: &str, metres: f64) {
        let (lat, lon) = north_of_yard(metres);
        let says = json!({ "_type": "location", "lat": lat, "lon": lon, "acc": 5, "tst": self.now.0 / 1000 });
        let topic = format!("owntracks/fleet/{vehicle}");
        let unit = self.agents.iter().position(|a| a.vehicle.as_ref().is_some_and(|v| v.as_str() == vehicle));
        for place in std::iter::once(place).chain(unit) {
            self.publishes(place, &topic, &says);
        }
    }

    /// A reading with an id of its own and the time of its measurement.
    pub(super) fn reading(&mut self, mut says: Value) -> Value {
        self.counter += 1;
        says["id"] = format!("r{}", self.counter).into();
        says["time"] = self.now.0.into();
        says
    }
}
