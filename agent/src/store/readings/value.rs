//! What a reading says, as few bytes.
//!
//! The kinds that come often have a form of their own: the kind's number, then its values in order, each
//! with its type before it, so that another program reads them by a table. Every other kind is its JSON.
//! A number once given stays: stored readings are read for ever.

use gatehouse_common::{
    geo::Point,
    id::{DoorId, OrderId, VehicleId},
    reading::{ReadingValue, ScanStep},
};

use super::bytes::{Bytes, put_int, put_text};

const JSON: u8 = 0;
const DOOR: u8 = 1;
const OCCUPANCY: u8 = 2;
const SCAN: u8 = 3;
const SEAL: u8 = 4;
const TEMPERATURE: u8 = 5;
const DOCUMENTS: u8 = 6;
const POSITION: u8 = 7;

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INT: u8 = 3;
const DECIMAL: u8 = 4;
const FLOAT: u8 = 5;
const TEXT: u8 = 6;
const WHOLE: u8 = 7;

/// Parts of a [`DECIMAL`]: what trackers send has seven digits behind the point at most.
const DECIMAL_PARTS: f64 = 1e7;

/// Writes a value.
pub fn put(out: &mut Vec<u8>, value: &ReadingValue) {
    match value {
        ReadingValue::Door { door, open } => {
            out.push(DOOR);
            text(out, door.as_str());
            truth(out, *open);
        }
        ReadingValue::Occupancy { door, occupied, vehicle } => {
            out.push(OCCUPANCY);
            text(out, door.as_str());
            truth(out, *occupied);
            maybe_text(out, vehicle.as_ref().map(VehicleId::as_str));
        }
        ReadingValue::Scan { step, order, line, quantity } => {
            out.push(SCAN);
            text(out, word(*step));
            text(out, order.as_str());
            int(out, i64::from(*line));
            int(out, i64::from(*quantity));
        }
        ReadingValue::Seal { vehicle, intact, number } => {
            out.push(SEAL);
            text(out, vehicle.as_str());
            truth(out, *intact);
            maybe_text(out, number.as_deref());
        }
        ReadingValue::Temperature { celsius, vehicle } => {
            out.push(TEMPERATURE);
            float(out, Some(*celsius));
            maybe_text(out, vehicle.as_ref().map(VehicleId::as_str));
        }
        ReadingValue::Documents { order, complete } => {
            out.push(DOCUMENTS);
            text(out, order.as_str());
            truth(out, *complete);
        }
        ReadingValue::Position { vehicle, point, accuracy_m, speed_kmh } => {
            out.push(POSITION);
            text(out, vehicle.as_str());
            float(out, Some(point.lat));
            float(out, Some(point.lon));
            float(out, *accuracy_m);
            float(out, *speed_kmh);
        }
        other => {
            out.push(JSON);
            // A reading's value is plain data: it always has a JSON form.
            text(out, &serde_json::to_string(other).unwrap_or_default());
        }
    }
}

/// Reads a value; `None` if it is none.
pub fn read(bytes: &mut Bytes<'_>) -> Option<ReadingValue> {
    Some(match bytes.byte()? {
        DOOR => ReadingValue::Door { door: door(bytes)?, open: read_truth(bytes)? },
        OCCUPANCY => {
            ReadingValue::Occupancy { door: door(bytes)?, occupied: read_truth(bytes)?, vehicle: maybe_vehicle(bytes)? }
        }
        SCAN => ReadingValue::Scan {
            step: step(read_text(bytes)??)?,
            order: order(bytes)?,
            line: u16::try_from(read_int(bytes)?).ok()?,
            quantity: u32::try_from(read_int(bytes)?).ok()?,
        },
        SEAL => ReadingValue::Seal {
            vehicle: maybe_vehicle(bytes)??,
            intact: read_truth(bytes)?,
            number: read_text(bytes)?.map(str::to_owned),
        },
        TEMPERATURE => ReadingValue::Temperature { celsius: read_float(bytes)??, vehicle: maybe_vehicle(bytes)? },
        DOCUMENTS => ReadingValue::Documents { order: order(bytes)?, complete: read_truth(bytes)? },
        POSITION => ReadingValue::Position {
            vehicle: maybe_vehicle(bytes)??,
            point: Point { lat: read_float(bytes)??, lon: read_float(bytes)?? },
            accuracy_m: read_float(bytes)?,
            speed_kmh: read_float(bytes)?,
        },
        JSON => serde_json::from_str(read_text(bytes)??).ok()?,
        _ => return None,
    })
}

fn word(step: ScanStep) -> &'static str {
    match step {
        ScanStep::Staged => "staged",
        ScanStep::Loaded => "loaded",
        ScanStep::Unloaded => "unloaded",
    }
}

fn step(said: &str) -> Option<ScanStep> {
    [ScanStep::Staged, ScanStep::Loaded, ScanStep::Unloaded].into_iter().find(|step| word(*step) == said)
}

fn text(out: &mut Vec<u8>, said: &str) {
    out.push(TEXT);
    put_text(out, said);
}

fn maybe_text(out: &mut Vec<u8>, said: Option<&str>) {
    match said {
        Some(said) => text(out, said),
        None => out.push(NULL),
    }
}

fn truth(out: &mut Vec<u8>, holds: bool) {
    out.push(if holds { TRUE } else { FALSE });
}

fn int(out: &mut Vec<u8>, n: i64) {
    out.push(INT);
    put_int(out, n);
}

/// A float in the shortest form from which exactly the same one comes back.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "what does not come back is not taken"
)]
fn float(out: &mut Vec<u8>, number: Option<f64>) {
    let Some(number) = number else { return out.push(NULL) };
    let comes_back = |read: f64| read.to_bits() == number.to_bits();
    let (whole, parts) = (number.round() as i64, (number * DECIMAL_PARTS).round() as i64);
    if comes_back(whole as f64) {
        out.push(WHOLE);
        put_int(out, whole);
    } else if comes_back(parts as f64 / DECIMAL_PARTS) {
        out.push(DECIMAL);
        put_int(out, parts);
    } else {
        out.push(FLOAT);
        out.extend(number.to_le_bytes());
    }
}

fn read_text<'a>(bytes: &mut Bytes<'a>) -> Option<Option<&'a str>> {
    match bytes.byte()? {
        NULL => Some(None),
        TEXT => bytes.text().map(Some),
        _ => None,
    }
}

fn read_truth(bytes: &mut Bytes<'_>) -> Option<bool> {
    match bytes.byte()? {
        FALSE => Some(false),
        TRUE => Some(true),
        _ => None,
    }
}

fn read_int(bytes: &mut Bytes<'_>) -> Option<i64> {
    (bytes.byte()? == INT).then(|| bytes.int())?
}

#[expect(clippy::cast_precision_loss, reason = "written only if it comes back")]
fn read_float(bytes: &mut Bytes<'_>) -> Option<Option<f64>> {
    match bytes.byte()? {
        NULL => Some(None),
        WHOLE => Some(Some(bytes.int()? as f64)),
        DECIMAL => Some(Some(bytes.int()? as f64 / DECIMAL_PARTS)),
        FLOAT => Some(Some(f64::from_le_bytes(bytes.array()?))),
        _ => None,
    }
}

fn door(bytes: &mut Bytes<'_>) -> Option<DoorId> {
    DoorId::new(read_text(bytes)??).ok()
}

fn order(bytes: &mut Bytes<'_>) -> Option<OrderId> {
    OrderId::new(read_text(bytes)??).ok()
}

fn maybe_vehicle(bytes: &mut Bytes<'_>) -> Option<Option<VehicleId>> {
    read_text(bytes)?.map(VehicleId::new).transpose().ok()
}

#[cfg(test)]
mod tests {
    use gatehouse_common::reading::AlarmKind;

    use super::*;

    fn there_and_back(value: &ReadingValue) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, value);
        let mut bytes = Bytes(&out);
        assert_eq!(read(&mut bytes).as_ref(), Some(value));
        assert!(bytes.0.is_empty());
        for end in 0..out.len() {
            assert_eq!(read(&mut Bytes(&out[..end])), None, "cut at {end}");
        }
        out
    }

    #[test]
    fn every_kind_comes_back_as_it_was() {
        let (vehicle, order) = (VehicleId::new("TRUCK-7").unwrap(), OrderId::new("O 1").unwrap());
        let door = DoorId::new("3").unwrap();
        for value in [
            ReadingValue::Door { door: door.clone(), open: true },
            ReadingValue::Occupancy { door: door.clone(), occupied: true, vehicle: Some(vehicle.clone()) },
            ReadingValue::Occupancy { door, occupied: false, vehicle: None },
            ReadingValue::Scan { step: ScanStep::Unloaded, order: order.clone(), line: 2, quantity: 400 },
            ReadingValue::Seal { vehicle: vehicle.clone(), intact: false, number: Some("S-1".to_owned()) },
            ReadingValue::Temperature { celsius: -18.4, vehicle: None },
            ReadingValue::Documents { order, complete: false },
            ReadingValue::Alarm { vehicle, alarm: AlarmKind::Tow, on: true },
        ] {
            there_and_back(&value);
        }
    }

    #[test]
    fn a_position_comes_back_to_the_last_bit_and_takes_two_dozen_bytes_as_trackers_send_it() {
        let position = |lat: f64, lon: f64, speed| ReadingValue::Position {
            vehicle: VehicleId::new("v003").unwrap(),
            point: Point { lat, lon },
            accuracy_m: Some(8.0),
            speed_kmh: speed,
        };
        assert!(there_and_back(&position(30.2501, -97.743_112, Some(40.0))).len() <= 24);
        there_and_back(&position(1.0 / 3.0, -0.0, Some(f64::MAX)));
        there_and_back(&position(30.123_456_789_012, f64::MIN_POSITIVE, None));
    }
}
