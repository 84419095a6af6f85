//! The detectors: what the state of one thing says of its matters.
//!
//! In: doors, vehicles, dispatches, devices and feeds, each when something was read or said of it or when its time
//! has come. Out: a [`super::watch::Condition`] per matter, to the frame. None keeps state of its own but in rows.

mod cargo;
mod departures;
mod devices;
mod doors;
mod seals;
mod temperature;
mod vehicles;

use gatehouse_common::time::Moment;

use super::watch::Watched;
use crate::core::Core;

impl Core {
    /// Runs every detector that looks at `watched`.
    pub(in crate::core) fn detect(&mut self, now: &Moment, watched: &Watched) {
        let gateway = self.profile.is_gateway();
        match watched {
            Watched::Door(door) if gateway => {
                self.watch_door(now, watched, door);
                self.watch_slots(now, watched, door);
            }
            Watched::Dispatch(id) if gateway => {
                let Some(view) = self.view(*id).filter(|v| v.site == self.profile.site).cloned() else { return };
                self.watch_departure(now, watched, *id, &view);
                self.watch_load(now, watched, *id, &view);
            }
            Watched::Vehicle(vehicle) if gateway || self.profile.vehicle.as_ref() == Some(vehicle) => {
                self.watch_seal(now, watched, vehicle);
                self.watch_alarms(now, watched, vehicle);
                self.watch_cargo_temperature(now, watched, vehicle);
                if gateway {
                    self.watch_detention(now, watched, vehicle);
                } else {
                    self.watch_motion(now, watched, vehicle);
                }
            }
            Watched::Dispatch(id) => {
                let own = self.profile.vehicle.as_ref();
                let Some(view) = self.view(*id).filter(|v| own == Some(&v.vehicle)).cloned() else { return };
                self.watch_trip(now, watched, *id, &view);
            }
            Watched::Sender(source) => {
                self.watch_clock(now, watched, source);
                self.watch_place_temperature(now, watched, source);
            }
            Watched::Feed(feed) => self.watch_feed(now, watched, feed),
            // What other devices look after.
            Watched::Door(_) | Watched::Vehicle(_) => {}
        }
    }
}
