//! 945: a warehouse tells what it shipped for an order.

use super::write::Body;
use crate::partners::edi::{Message, Segment};

/// One line (W12).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AdviceLine {
    /// Its number (LX01).
    pub line: u16,
    /// Element 368: `CC` complete, `CP`, `BP`, `SS`, `SC`, `SA`, `SD`, `CU`, `DS` and what else partners send.
    pub status: String,
    /// Ordered, as written; empty where it is not told.
    pub ordered: String,
    /// Shipped, as written.
    pub shipped: String,
    /// What of it, with its qualifier (elements 235 and 234).
    pub product: [String; 2],
    /// Unit (element 355).
    pub unit: String,
}

/// A warehouse ship advice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Advice {
    /// The depositor's order.
    pub order: String,
    /// `CCYYMMDD`.
    pub day: String,
    /// The warehouse's shipment.
    pub shipment: String,
    /// To whom (N1 with ST): name, qualifier and code.
    pub ship_to: [String; 3],
    /// Lines in order.
    pub lines: Vec<AdviceLine>,
    /// Units and weight in all (W03), as written.
    pub totals: [String; 3],
}

impl Advice {
    /// Reads a 945 that has no faults.
    #[must_use]
    pub fn read(message: &Message) -> Self {
        let mut read = Self::default();
        let mut line = 0;
        for segment in message.body() {
            let get = |n| segment.get(n).to_owned();
            match segment.tag.as_str() {
                "W06" => (read.order, read.day, read.shipment) = (get(2), get(3), get(4)),
                "N1" if segment.get(1) == "ST" => read.ship_to = [2, 3, 4].map(get),
                "LX" => line = segment.get(1).parse().unwrap_or_default(),
                "W12" => read.lines.push(AdviceLine {
                    line,
                    status: get(1),
                    ordered: get(2),
                    shipped: get(3),
                    product: [get(7), get(8)],
                    unit: get(5),
                }),
                "W03" => read.totals = [1, 2, 3].map(get),
                _ => {}
            }
        }
        read
    }

    /// The same as segments.
    #[must_use]
    pub fn body(&self) -> Body {
        let mut out = vec![Segment::new("W06", ["J", self.order.as_str(), &self.day, &self.shipment])];
        let [name, qualifier, code] = &self.ship_to;
        if !name.is_empty() || !code.is_empty() {
            out.push(Segment::new("N1", ["ST", name.as_str(), qualifier, code]));
        }
        for line in &self.lines {
            let [qualifier, product] = &line.product;
            let difference = match (line.ordered.parse::<i64>(), line.shipped.parse::<i64>()) {
                (Ok(ordered), Ok(shipped)) => ordered.saturating_sub(shipped).to_string(),
                _ => String::new(),
            };
            out.push(Segment::new("LX", [line.line.to_string().as_str()]));
            out.push(Segment::new(
                "W12",
                [line.status.as_str(), &line.ordered, &line.shipped, &difference, &line.unit, "", qualifier, product],
            ));
        }
        out.push(Segment::new("W03", self.totals.iter().map(String::as_str)));
        ("945", out)
    }
}
