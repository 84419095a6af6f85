//! How numbers are written by those who send them, and what they come to in ours.
//!
//! In: a number and its unit. Out: degrees Celsius, grams, km/h, milliseconds. The only place where
//! a unit is turned into another: speeds come in four of them, and nothing in a message says which.

use serde::Deserialize;

/// How a time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeUnit {
    /// Milliseconds since 1970.
    Ms,
    /// Seconds since 1970, whole or not.
    S,
    /// Text such as `2015-03-10T08:00:00Z`.
    Rfc3339,
}

/// How a speed is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpeedUnit {
    /// Kilometres per hour: OwnTracks.
    Kmh,
    /// Metres per second: OsmAnd's JSON.
    Ms,
    /// Knots: Traccar, NMEA, OsmAnd's query.
    Knots,
    /// Miles per hour.
    Mph,
}

impl SpeedUnit {
    /// `speed` in km/h; `None` for one below zero, which is what some send for "not known", and for no number.
    #[must_use]
    pub fn to_kmh(self, speed: f64) -> Option<f64> {
        let kmh = speed
            * match self {
                Self::Kmh => 1.0,
                Self::Ms => 3.6,
                Self::Knots => 1.852,
                Self::Mph => 1.609_344,
            };
        (kmh.is_finite() && kmh >= 0.0).then_some(kmh)
    }
}

/// How a temperature or a weight is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Degrees Celsius.
    C,
    /// Degrees Fahrenheit.
    F,
    /// Kelvin.
    K,
    /// Grams.
    G,
    /// Kilograms.
    Kg,
    /// Pounds.
    Lb,
}

impl Unit {
    /// `degrees` in Celsius; `None` if this is no unit of temperature or it is no temperature of this world.
    #[must_use]
    pub fn to_celsius(self, degrees: f64) -> Option<f64> {
        let celsius = match self {
            Self::C => degrees,
            Self::F => (degrees - 32.0) / 1.8,
            Self::K => degrees - 273.15,
            Self::G | Self::Kg | Self::Lb => return None,
        };
        (-273.15..=1000.0).contains(&celsius).then_some(celsius)
    }

    /// `weight` in grams, rounded; `None` if this is no unit of weight, or for less than nothing or over 1,000 tonnes.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    pub fn to_grams(self, weight: f64) -> Option<u64> {
        let grams = match self {
            Self::G => weight,
            Self::Kg => weight * 1_000.0,
            Self::Lb => weight * 453.592_37,
            Self::C | Self::F | Self::K => return None,
        };
        (0.0..=1e9).contains(&grams).then(|| grams.round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_speed_unit_comes_to_the_same_kmh() {
        for (unit, speed) in [
            (SpeedUnit::Kmh, 72.0),
            (SpeedUnit::Ms, 20.0),
            (SpeedUnit::Knots, 38.876_889_8),
            (SpeedUnit::Mph, 44.738_725_8),
        ] {
            let kmh = unit.to_kmh(speed).unwrap();
            assert!((kmh - 72.0).abs() < 1e-5, "{unit:?}: {kmh}");
        }
        assert_eq!(SpeedUnit::Ms.to_kmh(-1.0), None);
        assert_eq!(SpeedUnit::Ms.to_kmh(f64::NAN), None);
    }

    #[test]
    fn degrees_and_weights_come_to_celsius_and_grams_and_nonsense_to_nothing() {
        assert_eq!(Unit::F.to_celsius(-0.4), Some(-18.0));
        assert_eq!(Unit::K.to_celsius(273.15), Some(0.0));
        assert_eq!((Unit::C.to_celsius(-300.0), Unit::Kg.to_celsius(1.0)), (None, None));
        assert_eq!((Unit::Kg.to_grams(12.4), Unit::Lb.to_grams(1.0)), (Some(12_400), Some(454)));
        assert_eq!((Unit::G.to_grams(-1.0), Unit::C.to_grams(1.0), Unit::Kg.to_grams(f64::NAN)), (None, None, None));
    }
}
