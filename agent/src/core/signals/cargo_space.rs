//! Seals, cargo doors and alarms of vehicles. A late reading never undoes a newer one.

use gatehouse_common::{reading::AlarmKind, time::UtcMs};

use crate::core::state::{Opening, SealNumber, VehicleState};

impl VehicleState {
    /// Takes a word on the seal; false if a newer one is held.
    pub fn reads_seal(&mut self, intact: bool, number: Option<&str>, at: UtcMs) -> bool {
        if self.seal.is_some_and(|(_, held)| at < held) {
            return false;
        }
        let was_broken = self.seal.is_some_and(|(intact, _)| !intact);
        self.seal = Some((intact, at));
        if !intact {
            self.opens(at, false, was_broken);
        }
        if let Some(number) = number {
            self.reads_number(number, at);
        }
        true
    }

    fn reads_number(&mut self, number: &str, at: UtcMs) {
        match &mut self.seal_number {
            Some(held) if held.number == number => held.at = at,
            held => {
                let before = held.take().map(|held| held.number);
                *held = Some(SealNumber { number: number.to_owned(), since: at, at, before });
            }
        }
    }

    /// Takes a word on the cargo door; false if a newer one is held.
    pub fn reads_cargo_door(&mut self, open: bool, at: UtcMs) -> bool {
        if self.cargo_door.is_some_and(|(_, held)| at < held) {
            return false;
        }
        let was_open = self.cargo_door.is_some_and(|(open, _)| open);
        self.cargo_door = Some((open, at));
        if open {
            self.opens(at, true, was_open);
        }
        true
    }

    fn opens(&mut self, at: UtcMs, cargo_door: bool, still: bool) {
        let held = self.opened.filter(|o| o.cargo_door == cargo_door);
        // What was opened where it may be is still the same opening when it is read again further on.
        let same = still && held.is_some_and(|o| o.at_stop == Some(true));
        if !same && self.opened.is_none_or(|o| at >= o.at) {
            self.opened = Some(Opening { at, cargo_door, at_stop: None });
        }
    }

    /// Takes a word on an alarm; false if a newer one is held.
    pub fn reads_alarm(&mut self, kind: AlarmKind, on: bool, at: UtcMs) -> bool {
        if self.alarms.get(&kind).is_some_and(|(_, held)| at < *held) {
            return false;
        }
        self.alarms.insert(kind, (on, at));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_opened_at_its_stop_and_left_open_is_the_same_opening_and_one_opened_again_is_not() {
        let mut vehicle = VehicleState::default();
        vehicle.reads_cargo_door(true, UtcMs(1));
        vehicle.opened.iter_mut().for_each(|o| o.at_stop = Some(true));
        vehicle.reads_cargo_door(true, UtcMs(5));
        assert_eq!(vehicle.opened.unwrap().at, UtcMs(1));
        vehicle.reads_cargo_door(false, UtcMs(6));
        vehicle.reads_cargo_door(true, UtcMs(7));
        assert_eq!(vehicle.opened, Some(Opening { at: UtcMs(7), cargo_door: true, at_stop: None }));
        assert!(!vehicle.reads_cargo_door(true, UtcMs(2)));
    }

    #[test]
    fn another_number_on_the_seal_is_remembered_with_the_one_before() {
        let mut vehicle = VehicleState::default();
        for (number, at) in [("A1", 1), ("A1", 5), ("B2", 9)] {
            vehicle.reads_seal(true, Some(number), UtcMs(at));
        }
        vehicle.reads_seal(true, None, UtcMs(10));
        let held = vehicle.seal_number.unwrap();
        assert_eq!((held.number.as_str(), held.since, held.before.as_deref()), ("B2", UtcMs(9), Some("A1")));
    }
}
