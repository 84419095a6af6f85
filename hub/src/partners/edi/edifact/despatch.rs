//! DESADV: what is on the way, before it arrives.

use super::write::Body;
use crate::partners::edi::{Message, Segment};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DespatchLine {
    /// Its number.
    pub line: String,
    /// The article and the list it is of.
    pub product: [String; 2],
    /// Despatched (QTY 12), as written, and its unit.
    pub quantity: [String; 2],
    /// Difference to what was ordered and its reason (QVR), as written.
    pub variance: [String; 2],
}

/// A despatch advice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Despatch {
    /// Its own number (BGM).
    pub number: String,
    /// When it was written: date and format (DTM 137).
    pub written: [String; 2],
    /// The order (RFF ON); empty where none was given.
    pub order: String,
    /// Lines in order.
    pub lines: Vec<DespatchLine>,
}

impl Despatch {
    /// Reads a DESADV that has no faults.
    #[must_use]
    pub fn read(message: &Message) -> Self {
        let mut read = Self::default();
        for segment in message.body() {
            let part = |n, c| segment.part(n, c).to_owned();
            match (segment.tag.as_str(), read.lines.last_mut()) {
                ("BGM", _) => read.number = part(2, 1),
                ("DTM", None) if segment.part(1, 1) == "137" => read.written = [part(1, 2), part(1, 3)],
                ("RFF", _) if segment.part(1, 1) == "ON" && read.order.is_empty() => read.order = part(1, 2),
                ("LIN", _) => read.lines.push(DespatchLine {
                    line: part(1, 1),
                    product: [part(3, 1), part(3, 2)],
                    ..DespatchLine::default()
                }),
                ("QTY", Some(line)) if segment.part(1, 1) == "12" => line.quantity = [part(1, 2), part(1, 3)],
                ("QVR", Some(line)) => line.variance = [part(1, 1), part(3, 1)],
                _ => {}
            }
        }
        read
    }

    /// The same as segments (D.96A).
    #[must_use]
    pub fn body(&self) -> Body {
        let [written, format] = &self.written;
        let mut out = vec![
            Segment::composed("BGM", &[&["351"], &[&self.number], &["9"]]),
            Segment::composed("DTM", &[&["137", written, format]]),
        ];
        if !self.order.is_empty() {
            out.push(Segment::composed("RFF", &[&["ON", &self.order]]));
        }
        out.push(Segment::composed("CPS", &[&["1"]]));
        for line in &self.lines {
            let ([product, list], [quantity, unit]) = (&line.product, &line.quantity);
            out.push(Segment::composed("LIN", &[&[&line.line], &[], &[product, list]]));
            out.push(Segment::composed("QTY", &[&["12", quantity, unit]]));
            let [variance, reason] = &line.variance;
            if !variance.is_empty() {
                out.push(Segment::composed("QVR", &[&[variance, "21"], &[], &[reason]]));
            }
        }
        ("DESADV", "D:96A:UN", out)
    }
}
