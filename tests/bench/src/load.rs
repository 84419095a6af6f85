//! The load: what 200 devices send, and which alerts must come of it.
//!
//! Half of the devices are dock controllers with ten doors each, half are vehicles that send OwnTracks positions. Every
//! fourth door stands open for twenty minutes and more: one alert. All others open and close within the limit: none.

/// Devices in the load.
pub const DEVICES: u32 = 200;
/// A door open for longer is an alert, in milliseconds; the default of the agent's rules.
pub const OPEN_MAX_MS: i64 = 600_000;

const CONTROLLERS: u32 = DEVICES / 2;
const DOORS_EACH: u32 = 10;
const ONE_IN: u32 = 4;
/// The readings of a run lie this far back in time at most, well within the limit.
const SPAN_MS: i64 = 300_000;
/// A door with an alert has stood open this long.
const LONG_OPEN_MS: i64 = 1_200_000;

/// So many messages, sent from `start_ms` on.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// How many messages.
    pub messages: u32,
    /// When it begins, in milliseconds since 1970.
    pub start_ms: i64,
}

/// One message.
#[derive(Debug, Clone)]
pub struct Message {
    /// Where to.
    pub topic: String,
    /// JSON of about 131 bytes.
    pub payload: String,
}

impl Load {
    /// Fewest messages with which every door speaks twice.
    pub const MESSAGES_MIN: u32 = 2 * DOORS_EACH * DEVICES;

    /// A load that begins now.
    pub fn now(messages: u32) -> Self {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        Self { messages, start_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX) }
    }

    /// The `n`-th message, counted from 0.
    pub fn message(&self, n: u32) -> Message {
        let (device, k) = (n % DEVICES, n / DEVICES);
        let each = self.messages.div_ceil(DEVICES);
        let at = self.start_ms - SPAN_MS + i64::from(k) * SPAN_MS / i64::from(each);
        if device < CONTROLLERS { self.door(device, k, each, at) } else { fix(device - CONTROLLERS, k, at) }
    }

    fn door(&self, controller: u32, k: u32, each: u32, at: i64) -> Message {
        let (door, round) = (k % DOORS_EACH, k / DOORS_EACH);
        let stands_open = (controller * DOORS_EACH + door).is_multiple_of(ONE_IN);
        let is_last = k + DOORS_EACH >= each;
        let open = stands_open || (!is_last && !(round + door).is_multiple_of(3));
        let time = if stands_open && round == 0 { self.start_ms - LONG_OPEN_MS } else { at };
        let name = door_name(controller, door);
        Message {
            topic: format!("depot/D1/door/{name}"),
            payload: format!(
                r#"{{"id":"c{controller:03}-{k:05}","time":{time},"door":"{name}","open":{open},"battery_mv":3012,"rssi_dbm":-71,"firmware":"2.4.1"}}"#
            ),
        }
    }

    /// The doors that must raise an alert, each once.
    pub fn expected_alerts(&self) -> Vec<String> {
        (0..CONTROLLERS * DOORS_EACH)
            .filter(|door| door.is_multiple_of(ONE_IN))
            .map(|door| door_name(door / DOORS_EACH, door % DOORS_EACH))
            .collect()
    }
}

fn door_name(controller: u32, door: u32) -> String {
    format!("c{controller:03}-{door}")
}

fn fix(vehicle: u32, k: u32, at: i64) -> Message {
    // About 40 km/h northwards, from south of the yard through it.
    let lat = 30.25 + f64::from(k) * 0.000_1;
    let lon = -97.7431 + f64::from(vehicle) * 0.001;
    Message {
        topic: format!("owntracks/fleet/v{vehicle:03}"),
        payload: format!(
            r#"{{"_type":"location","_id":"v{vehicle:03}-{k:05}","lat":{lat:.6},"lon":{lon:.6},"tst":{},"acc":8,"vel":40,"batt":87,"tid":"{:02}"}}"#,
            at / 1000,
            vehicle % 100
        ),
    }
}

/// A message that is no part of the load: it shows that a program takes messages in.
pub fn probe(n: u32) -> Message {
    let time = Load::now(1).start_ms;
    Message {
        topic: "depot/D1/door/probe".to_owned(),
        payload: format!(r#"{{"id":"probe-{n}","time":{time},"door":"probe","open":false}}"#),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_message_has_an_id_of_its_own_and_about_131_bytes() {
        let load = Load { messages: 60_000, start_ms: 1_764_000_000_000 };
        let mut ids = BTreeSet::new();
        let mut bytes = 0;
        for n in 0..load.messages {
            let message = load.message(n);
            bytes += message.payload.len();
            let json: serde_json::Value = serde_json::from_str(&message.payload).unwrap();
            let id = json.get("id").or_else(|| json.get("_id")).and_then(|id| id.as_str()).unwrap();
            assert!(ids.insert(id.to_owned()), "{id} comes twice");
        }
        assert!((121..=141).contains(&(bytes / 60_000)), "{}", bytes / 60_000);
    }

    #[test]
    fn the_rule_applied_to_the_load_finds_the_expected_alerts_and_no_other() {
        let load = Load { messages: Load::MESSAGES_MIN, start_ms: 1_764_000_000_000 };
        let mut since = std::collections::BTreeMap::<String, i64>::new();
        let mut alerts = BTreeSet::new();
        for n in 0..load.messages {
            let json: serde_json::Value = serde_json::from_str(&load.message(n).payload).unwrap();
            let Some(door) = json["door"].as_str() else { continue };
            let time = json["time"].as_i64().unwrap();
            assert!(time <= load.start_ms);
            if json["open"] == true {
                if time - *since.entry(door.to_owned()).or_insert(time) > OPEN_MAX_MS {
                    alerts.insert(door.to_owned());
                }
            } else {
                since.remove(door);
            }
        }
        assert_eq!(alerts, load.expected_alerts().into_iter().collect());
        assert_eq!(alerts.len(), 250);
    }
}
