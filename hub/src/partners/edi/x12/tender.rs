//! 204: a load is offered to a carrier, changed, or taken back.

use super::write::Body;
use crate::partners::edi::{Message, Segment};

/// What a tender is for (B2A01, element 353).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// `00`: it is offered.
    Original,
    /// `01`: it is taken back.
    Cancel,
    /// `04`: it is changed.
    Change,
    /// `05`: this takes the place of what was sent.
    Replace,
    /// Another code, as it came.
    Other(String),
}

impl Purpose {
    fn of(code: &str) -> Self {
        match code {
            "00" => Self::Original,
            "01" => Self::Cancel,
            "04" => Self::Change,
            "05" => Self::Replace,
            other => Self::Other(other.to_owned()),
        }
    }

    fn code(&self) -> &str {
        match self {
            Self::Original => "00",
            Self::Cancel => "01",
            Self::Change => "04",
            Self::Replace => "05",
            Self::Other(code) => code,
        }
    }
}

/// A date with its qualifier (G62); which qualifiers mean what differs by partner.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dated {
    /// Element 432, such as `37` pick up not before, `38` not after.
    pub qualifier: String,
    /// `CCYYMMDD`.
    pub day: String,
    /// `HHMM`; empty where none was given.
    pub hour: String,
    /// Element 623; empty where none was given.
    pub zone: String,
}

/// One stop of a load (S5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stop {
    /// Its place in the way, from 1.
    pub number: u16,
    /// Element 163, such as `CL` load all, `CU` unload all, `LD`, `UL`.
    pub reason: String,
    /// When.
    pub dates: Vec<Dated>,
    /// Who is there (N1): kind, name, qualifier and code of it.
    pub party: [String; 4],
    /// Street, city, state, postal code, country.
    pub address: [String; 5],
}

/// A load tender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tender {
    /// Standard carrier alpha code.
    pub carrier: String,
    /// The shipper's number of the shipment, which the carrier's answers name.
    pub shipment: String,
    /// Element 146: who pays.
    pub payment: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Reference and its qualifier (L11).
    pub references: Vec<(String, String)>,
    /// The way.
    pub stops: Vec<Stop>,
    /// Gross weight in pounds (L3), as written; empty where none was given.
    pub weight: String,
}

impl Tender {
    /// Reads a 204 that has no faults.
    #[must_use]
    pub fn read(message: &Message) -> Self {
        let mut tender = Self {
            carrier: String::new(),
            shipment: String::new(),
            payment: String::new(),
            purpose: Purpose::Original,
            references: Vec::new(),
            stops: Vec::new(),
            weight: String::new(),
        };
        for segment in message.body() {
            let get = |n| segment.get(n).to_owned();
            match (segment.tag.as_str(), tender.stops.last_mut()) {
                ("B2", _) => {
                    tender.carrier = get(2);
                    tender.shipment = get(4);
                    tender.payment = get(6);
                }
                ("B2A", _) => tender.purpose = Purpose::of(segment.get(1)),
                ("L11", None) => tender.references.push((get(1), get(2))),
                ("L3", _) => tender.weight = get(1),
                ("S5", _) => tender.stops.push(Stop {
                    number: segment.get(1).parse().unwrap_or_default(),
                    reason: get(2),
                    ..Stop::default()
                }),
                ("G62", Some(stop)) => {
                    stop.dates.push(Dated { qualifier: get(1), day: get(2), hour: get(4), zone: get(5) });
                }
                ("N1", Some(stop)) if stop.party[0].is_empty() => stop.party = [1, 2, 3, 4].map(get),
                ("N3", Some(stop)) => stop.address[0] = get(1),
                ("N4", Some(stop)) => {
                    let [street, ..] = &stop.address;
                    stop.address = [street.clone(), get(1), get(2), get(3), get(4)];
                }
                _ => {}
            }
        }
        tender
    }

    /// The same as segments.
    #[must_use]
    pub fn body(&self) -> Body {
        let mut out = vec![
            Segment::new("B2", ["", &self.carrier, "", &self.shipment, "", &self.payment]),
            Segment::new("B2A", [self.purpose.code(), "LT"]),
        ];
        for (value, qualifier) in &self.references {
            out.push(Segment::new("L11", [value.as_str(), qualifier.as_str()]));
        }
        for stop in &self.stops {
            out.push(Segment::new("S5", [stop.number.to_string().as_str(), &stop.reason]));
            for at in &stop.dates {
                let kind = if at.hour.is_empty() { "" } else { "X" };
                out.push(Segment::new("G62", [at.qualifier.as_str(), &at.day, kind, &at.hour, &at.zone]));
            }
            if let [kind, ..] = &stop.party
                && !kind.is_empty()
            {
                out.push(Segment::new("N1", stop.party.iter().map(String::as_str)));
            }
            let [street, city, state, postal, country] = &stop.address;
            if !street.is_empty() {
                out.push(Segment::new("N3", [street.as_str()]));
            }
            if !city.is_empty() || !country.is_empty() {
                out.push(Segment::new("N4", [city.as_str(), state, postal, country]));
            }
        }
        if !self.weight.is_empty() {
            out.push(Segment::new("L3", [self.weight.as_str(), "G"]));
        }
        ("204", out)
    }
}
