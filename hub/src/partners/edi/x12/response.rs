//! 990: a carrier answers a tender.

use super::write::Body;
use crate::partners::edi::{Message, Segment};

/// What it answers (B104, element 558).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// `A`: accepted.
    Accepted,
    /// `B`: accepted on a condition that a person reads.
    Conditional,
    /// `C`: another offer.
    Counter,
    /// `D` or `E`: declined. 4010 has `D` for a cancelled offer and later releases `E`; carriers send either.
    Declined,
    /// Another code, or none, as it came.
    Other(String),
}

/// An answer to a tender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Standard carrier alpha code.
    pub carrier: String,
    /// The shipper's number of the shipment.
    pub shipment: String,
    /// `CCYYMMDD`; empty where none was given.
    pub day: String,
    /// What it answers.
    pub action: Action,
    /// Why (V901, element 304), as it came; empty where none was given.
    pub reason: String,
    /// The carrier's own number (N9 with qualifier CN); empty where none was given.
    pub own_number: String,
}

impl Response {
    /// Reads a 990 that has no faults.
    #[must_use]
    pub fn read(message: &Message) -> Self {
        let mut read = Self {
            carrier: String::new(),
            shipment: String::new(),
            day: String::new(),
            action: Action::Other(String::new()),
            reason: String::new(),
            own_number: String::new(),
        };
        for segment in message.body() {
            let get = |n| segment.get(n).to_owned();
            match segment.tag.as_str() {
                "B1" => {
                    (read.carrier, read.shipment, read.day) = (get(1), get(2), get(3));
                    read.action = match segment.get(4) {
                        "A" => Action::Accepted,
                        "B" => Action::Conditional,
                        "C" => Action::Counter,
                        "D" | "E" => Action::Declined,
                        other => Action::Other(other.to_owned()),
                    };
                }
                "V9" => read.reason = get(1),
                "N9" if segment.get(1) == "CN" => read.own_number = get(2),
                _ => {}
            }
        }
        read
    }

    /// The same as segments.
    #[must_use]
    pub fn body(&self) -> Body {
        let action = match &self.action {
            Action::Accepted => "A",
            Action::Conditional => "B",
            Action::Counter => "C",
            Action::Declined => "D",
            Action::Other(code) => code,
        };
        let mut out = vec![Segment::new("B1", [self.carrier.as_str(), &self.shipment, &self.day, action])];
        if !self.own_number.is_empty() {
            out.push(Segment::new("N9", ["CN", self.own_number.as_str()]));
        }
        if !self.reason.is_empty() {
            out.push(Segment::new("V9", [self.reason.as_str()]));
        }
        ("990", out)
    }
}
