//! A reading becomes state and facts.

use gatehouse_common::{
    case::CaseType,
    fact::{Fact, FactKey, FactValue, Report, Source},
    geo::Geofence,
    id::{DocumentId, Hash32, OrderId, VehicleId},
    reading::{Reading, ReadingValue, ScanStep},
    time::{Moment, UtcMs},
};

use super::{
    Core,
    decision::{Change, Record},
    ms,
    signals::{position::Taken, watch::Watched},
    trips::{Seen, Signed},
};

impl Core {
    pub(super) fn take_reading(&mut self, now: &Moment, reading: Reading) {
        self.out.records.push(Record::Reading { reading: reading.clone(), received: now.clone() });
        if self.withhold_reading(&reading) {
            return;
        }
        self.compare_clocks(now, &reading.source, now.wall, reading.at);
        self.follow_reading(now, &reading);
    }

    /// What follows from a reading, now, at the end of a drill, or once the clock was set right.
    pub(super) fn follow_reading(&mut self, now: &Moment, reading: &Reading) {
        let (at, evidence) = (reading.at, format!("{} {}", reading.source, reading.id));
        if !self.has_room_for(now, reading) {
            return;
        }
        if now.is_before(at) {
            // As state it would outdate every true reading until that time has come. It stays in the readings, and is
            // followed if it turns out that it is our clock which is behind.
            let source = &reading.source;
            if let ReadingValue::Position { vehicle, .. } = &reading.value {
                self.vehicles.edit(vehicle.as_str(), |v| v.refused_at = Some(now.wall));
            }
            tracing::warn!(source, "{source} sent a reading for {at}, which is yet to come; set its clock");
            self.keep_ahead(now, reading);
            return;
        }
        self.track_reading(reading);
        self.count_if_late(reading);
        match &reading.value {
            ReadingValue::Door { door, open } => {
                let flap = ms(self.profile.bundle.rules.detectors.clear_after_ms(CaseType::DockBlocked));
                if self.doors.edit(door.as_str(), |d| d.reads_open(*open, at, flap)) {
                    self.dock_changed(now, door, evidence);
                }
            }
            ReadingValue::Occupancy { door, occupied, vehicle } => {
                if self.doors.edit(door.as_str(), |d| d.reads_occupied(*occupied, vehicle.as_ref(), at)) {
                    self.dock_changed(now, door, evidence);
                }
            }
            ReadingValue::Scan { step, order, line, quantity } => {
                // What was put in before the newest departure left with it and belongs to no later dispatch.
                let late = *step != ScanStep::Staged && self.left_at(order).is_some_and(|left| at <= left);
                self.counts.edit(order.as_str(), |c| match late {
                    true => c.scanned_late(*step, *line, *quantity),
                    false => c.scanned(*step, *line, *quantity, at),
                });
                self.cargo_changed(now, order, *line, at, evidence);
                self.read_of_order(now, order, at);
                self.changed(Change::Facts);
            }
            ReadingValue::Seal { vehicle, intact, number } => {
                if self.vehicles.edit(vehicle.as_str(), |v| v.reads_seal(*intact, number.as_deref(), at)) {
                    self.read_of(now, Watched::Vehicle(vehicle.clone()), at);
                    self.touch_vehicle(vehicle);
                }
            }
            ReadingValue::CargoDoor { vehicle, open } => {
                if self.vehicles.edit(vehicle.as_str(), |v| v.reads_cargo_door(*open, at)) {
                    self.read_of(now, Watched::Vehicle(vehicle.clone()), at);
                }
            }
            ReadingValue::Alarm { vehicle, alarm, on } => {
                if self.vehicles.edit(vehicle.as_str(), |v| v.reads_alarm(*alarm, *on, at)) {
                    self.read_of(now, Watched::Vehicle(vehicle.clone()), at);
                }
            }
            ReadingValue::DoorFault { door, fault } => {
                if self.doors.edit(door.as_str(), |d| d.reads_fault(fault.as_deref(), at)) {
                    self.read_of(now, Watched::Door(door.clone()), at);
                }
            }
            ReadingValue::Temperature { celsius, vehicle } => {
                self.take_temperature(now, &reading.source, at, *celsius, vehicle.as_ref());
            }
            ReadingValue::Weight { order, grams } => {
                let newer = self.counts.edit(order.as_str(), |c| {
                    let newer = c.weight.is_none_or(|(_, held)| at >= held);
                    if newer {
                        c.weight = Some((*grams, at));
                    }
                    newer
                });
                if newer {
                    self.read_of_order(now, order, at);
                }
            }
            ReadingValue::Documents { order, complete } => {
                let value = FactValue::Documents { complete: *complete };
                self.take_fact(now, FactKey::Documents { order: order.clone() }, value, at, evidence);
                self.read_of_order(now, order, at);
            }
            ReadingValue::Position { vehicle, point, accuracy_m, speed_kmh } => {
                if self.profile.vehicle.as_ref() == Some(vehicle) {
                    self.heed_fix(now, at);
                }
                let seen = Seen { at, point: *point, speed_kmh: *speed_kmh, accuracy_m: *accuracy_m };
                self.take_position(now, vehicle, &seen);
            }
            // Kept as history; no rule of this version rests on them.
            ReadingValue::Ignition { .. } | ReadingValue::Presence { .. } | ReadingValue::Crossing { .. } => {}
            ReadingValue::Proof { order, lines, signed_by, photo } => {
                let (lines, signed_by, photo) = (lines.clone(), signed_by.clone(), *photo);
                self.take_proof(order, Signed { at, lines, signed_by, photo, reading: evidence });
            }
        }
    }

    fn dock_changed(&mut self, now: &Moment, door: &gatehouse_common::id::DoorId, evidence: String) {
        let Some(state) = self.doors.get(door.as_str()) else { return };
        let (value, at) = (state.fact(), state.at());
        let key = FactKey::Dock { door: door.clone() };
        // The state has put the readings in order; a first word on occupancy may be older than the last on the door.
        self.facts.forget(&key);
        self.take_fact(now, key, value, at, evidence);
        let at_door = self.dispatches.iter().filter(|(_, d)| d.view.as_ref().is_some_and(|v| v.door == *door));
        let touched: Vec<DocumentId> = at_door.map(|(id, _)| *id).collect();
        self.touched.extend(touched);
        self.read_of(now, Watched::Door(door.clone()), at);
        self.changed(Change::Facts);
    }

    /// Writes the counts of one line as the fact that the cargo gate rests on.
    pub(super) fn cargo_changed(&mut self, now: &Moment, order: &OrderId, line: u16, at: UtcMs, evidence: String) {
        let Some(counts) = self.counts.get(order.as_str()) else { return };
        let value = counts.fact(line);
        let key = FactKey::Cargo { order: order.clone(), line };
        // A scan that comes late still counts: its fact is as new as the newest scan. What is dated ahead was dated
        // while this clock was another: under that time nobody would know how old it is.
        let held = self.facts.get(&key).map(|held| held.report.at).filter(|held| !now.is_before(*held));
        let at = held.map_or(at, |held| held.max(at));
        self.take_fact(now, key, value, at, evidence);
    }

    pub(super) fn take_fact(&mut self, now: &Moment, key: FactKey, value: FactValue, at: UtcMs, evidence: String) {
        let report = Report { key, value, source: Source::Depot, at, evidence };
        let fact = Fact { report, received: now.clone() };
        if self.facts.take(fact.clone()) {
            self.out.records.push(Record::Fact(fact));
        }
    }

    fn take_position(&mut self, now: &Moment, vehicle: &VehicleId, seen: &Seen) {
        let (rules, yard) = (self.profile.bundle.rules.detectors.clone(), self.profile.yard);
        let (taken, crossed, late) = self.vehicles.edit(vehicle.as_str(), |v| {
            let late = v.fix.is_some_and(|(held, _)| seen.at < held);
            let Taken { fixes: taken, blind } = v.takes_fix(&rules, seen.at, seen.point, seen.accuracy_m);
            let hides = blind.zip(yard).is_some_and(|(b, yard)| b.hides_visit(&yard, rules.missed_pickup.dwell_ms));
            if hides {
                v.hidden = taken.first().map(|(at, _)| *at);
            }
            let mut crossed = false;
            for (at, point) in &taken {
                let near = |fence: &Geofence| fence.centre.distance_m(point) <= fence.radius_m + rules.geofence_ring_m;
                if yard.as_ref().is_some_and(near) {
                    v.glimpsed = Some(*at);
                } else if v.yard.inside != Some(true) {
                    v.outside_at = Some(*at);
                }
                let entered = v.yard.changed_at.filter(|_| v.yard.inside == Some(true));
                crossed |= yard.is_some_and(|fence| v.yard.observe(&fence, &rules, *at, point));
                if let (Some(entered), Some(false), Some(left)) = (entered, v.yard.inside, v.yard.changed_at) {
                    v.visit = Some((entered, left));
                }
            }
            (taken, crossed, late)
        });
        if !taken.is_empty() {
            self.read_of(now, Watched::Vehicle(vehicle.clone()), seen.at);
        }
        if crossed {
            self.touch_vehicle(vehicle);
            self.changed(Change::Facts);
        }
        if self.profile.vehicle.as_ref() != Some(vehicle) {
            return;
        }
        if late && seen.accuracy_m.is_none_or(|m| m <= rules.fix_accuracy_max_m) {
            self.correct(now, seen);
        }
        for (at, point) in taken {
            // A fix that was doubted when it came is believed for its place alone.
            let doubted = Seen { at, point, speed_kmh: None, accuracy_m: None };
            self.follow_fix(now, if at == seen.at { seen } else { &doubted });
        }
    }

    /// A reading about an order came: its dispatches are looked at.
    fn read_of_order(&mut self, now: &Moment, order: &OrderId, at: UtcMs) {
        for id in self.dispatches_of(order).into_iter().map(|(id, _)| id).collect::<Vec<_>>() {
            self.read_of(now, Watched::Dispatch(id), at);
        }
        self.touch_order(order);
    }

    pub(super) fn touch_order(&mut self, order: &OrderId) {
        let ids = self.dispatches.iter().filter(|(_, d)| d.view.as_ref().is_some_and(|v| v.order == *order));
        self.touched.extend(ids.map(|(id, _)| *id).collect::<Vec<_>>());
    }

    pub(super) fn touch_vehicle(&mut self, vehicle: &VehicleId) {
        let ids = self.dispatches.iter().filter(|(_, d)| d.view.as_ref().is_some_and(|v| v.vehicle == *vehicle));
        self.touched.extend(ids.map(|(id, _)| *id).collect::<Vec<_>>());
    }

    /// Puts an item of the feed that cannot be used into quarantine.
    pub(super) fn refuse_item(&mut self, now: &Moment, what: &str, reason: String, bytes: &[u8]) {
        let head = bytes.iter().copied().take(256).collect();
        self.quarantine(now, &format!("hub/{what}"), reason, Hash32::of(bytes), bytes.len() as u64, head);
    }
}
