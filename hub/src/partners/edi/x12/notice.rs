//! 856: what is on the way, before it arrives.

use std::collections::BTreeMap;

use super::write::Body;
use crate::partners::edi::{Message, Segment};

/// One product of a shipment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Item {
    /// The purchase order that it is for (PRF01 of a level above).
    pub order: String,
    /// Its line (LIN01), where told.
    pub line: String,
    /// What, with its qualifier.
    pub product: [String; 2],
    /// How many, as written, and their unit.
    pub quantity: [String; 2],
    /// Marks of what it is packed in (MAN02), the outermost first.
    pub packed_in: Vec<String>,
}

/// An advance ship notice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShipNotice {
    /// Purpose (element 353).
    pub purpose: String,
    /// The sender's number of the shipment.
    pub shipment: String,
    /// `CCYYMMDD` and `HHMM` of when it was written.
    pub written: [String; 2],
    /// References of the shipment with their qualifiers (REF), the qualifier first.
    pub references: Vec<(String, String)>,
    /// Carrier (TD503), where told.
    pub carrier: String,
    /// Equipment and seal (TD303, TD309), where told.
    pub equipment: [String; 2],
    /// What is in it.
    pub items: Vec<Item>,
}

/// What a level passes down to those under it.
#[derive(Clone, Default)]
struct Level {
    order: String,
    marks: Vec<String>,
}

impl ShipNotice {
    /// Reads an 856 that has no faults.
    #[must_use]
    pub fn read(message: &Message) -> Self {
        let mut read = Self::default();
        let mut levels: BTreeMap<String, Level> = BTreeMap::new();
        let mut at = String::new();
        let mut kind = String::new();
        let mut item: Option<Item> = None;
        for segment in message.body() {
            let get = |n| segment.get(n).to_owned();
            match segment.tag.as_str() {
                "BSN" => (read.purpose, read.shipment, read.written) = (get(1), get(2), [get(3), get(4)]),
                "HL" => {
                    read.items.extend(item.take());
                    let above = levels.get(segment.get(2)).cloned().unwrap_or_default();
                    (at, kind) = (get(1), get(3));
                    levels.insert(at.clone(), above);
                }
                "PRF" => {
                    if let Some(level) = levels.get_mut(&at) {
                        level.order = get(1);
                    }
                }
                "MAN" => {
                    if let Some(level) = levels.get_mut(&at) {
                        level.marks.push(get(2));
                    }
                }
                "REF" if kind == "S" => read.references.push((get(1), get(2))),
                "TD5" if kind == "S" => read.carrier = get(3),
                "TD3" if kind == "S" => read.equipment = [get(3), get(9)],
                "LIN" => {
                    let level = levels.get(&at).cloned().unwrap_or_default();
                    read.items.extend(item.take());
                    item = Some(Item {
                        order: level.order,
                        line: get(1),
                        product: [get(2), get(3)],
                        packed_in: level.marks,
                        ..Item::default()
                    });
                }
                "SN1" => {
                    if let Some(item) = &mut item {
                        item.quantity = [get(2), get(3)];
                    }
                }
                _ => {}
            }
        }
        read.items.extend(item);
        read
    }

    /// The same as segments: shipment, orders, and under each its items, those of one package under it.
    #[must_use]
    pub fn body(&self) -> Body {
        let [day, hour] = &self.written;
        let mut out = vec![Segment::new("BSN", [self.purpose.as_str(), &self.shipment, day, hour, "0001"])];
        let mut levels = 0_u32;
        let mut level = |out: &mut Vec<Segment>, above: Option<u32>, kind: &str| {
            levels = levels.saturating_add(1);
            let above = above.map(|n| n.to_string()).unwrap_or_default();
            out.push(Segment::new("HL", [levels.to_string().as_str(), &above, kind]));
            levels
        };
        let top = level(&mut out, None, "S");
        if !self.carrier.is_empty() {
            out.push(Segment::new("TD5", ["B", "2", self.carrier.as_str()]));
        }
        let [trailer, seal] = &self.equipment;
        if !trailer.is_empty() || !seal.is_empty() {
            out.push(Segment::new("TD3", ["TL", "", trailer, "", "", "", "", "", seal]));
        }
        for (qualifier, value) in &self.references {
            out.push(Segment::new("REF", [qualifier.as_str(), value.as_str()]));
        }
        let mut orders: BTreeMap<&str, u32> = BTreeMap::new();
        for item in &self.items {
            let order = *orders.entry(&item.order).or_insert_with(|| {
                let n = level(&mut out, Some(top), "O");
                if !item.order.is_empty() {
                    out.push(Segment::new("PRF", [item.order.as_str()]));
                }
                n
            });
            let mut above = order;
            if let Some(mark) = item.packed_in.last() {
                above = level(&mut out, Some(order), "P");
                out.push(Segment::new("MAN", ["GM", mark.as_str()]));
            }
            level(&mut out, Some(above), "I");
            let [qualifier, product] = &item.product;
            let [quantity, unit] = &item.quantity;
            out.push(Segment::new("LIN", [item.line.as_str(), qualifier, product]));
            out.push(Segment::new("SN1", ["", quantity, unit]));
        }
        out.push(Segment::new("CTT", [levels_in(&out).to_string().as_str()]));
        ("856", out)
    }
}

fn levels_in(segments: &[Segment]) -> usize {
    segments.iter().filter(|s| s.tag == "HL").count()
}
