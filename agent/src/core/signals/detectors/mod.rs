//! The detectors: what the state of one thing says of its matters.
//!
//! In: doors, vehicles, dispatches, devices and feeds, each when something was read or said of it or when its time
//! has come. Out: a [`super::watch::Condition`] per matter, to the frame. None keeps state of its own but in rows.

mod departures;
mod doors;
mod seals;

use gatehouse_common::time::Moment;

use super::watch::Watched;
use crate::core::Core;

impl Core {
    /// Runs every detector that looks at `watched`.
    pub(in crate::core) fn detect(&mut self, now: &Moment, watched: &Watched) {
        let gateway = self.profile.is_gateway();
        match watched {
            Watched::Door(door) if gateway => self.watch_door(now, watched, door),
            Watched::Dispatch(id) if gateway => {
                let Some(view) = self.view(*id).filter(|v| v.site == self.profile.site).cloned() else { return };
                self.watch_departure(now, watched, &view);
            }
            Watched::Vehicle(vehicle) if gateway || self.profile.vehicle.as_ref() == Some(vehicle) => {
                self.watch_seal(now, watched, vehicle);
                if !gateway {
                    self.watch_motion(now, watched, vehicle);
                }
            }
            Watched::Dispatch(id) => {
                let own = self.profile.vehicle.as_ref();
                let Some(view) = self.view(*id).filter(|v| own == Some(&v.vehicle)).cloned() else { return };
                self.watch_trip(now, watched, *id, &view);
            }
            // What other devices look after.
            Watched::Door(_) | Watched::Vehicle(_) => {}
            Watched::Sender(_) | Watched::Feed(_) => {}
        }
    }
}
