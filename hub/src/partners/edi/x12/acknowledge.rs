//! 997: what became of a group and of each message in it.

use super::write::Body;
use crate::partners::edi::{Fault, Group, Message, Segment};

/// Most notes that are written for one message.
const NOTES_MAX: usize = 20;

/// What a partner says of one message of ours.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OfMessage {
    /// Such as `204`.
    pub kind: String,
    /// Our control number of it.
    pub control: String,
    /// Element 717: `A` and `E` are good, all else is not.
    pub code: String,
    /// What is wrong, in its segments and elements, as it came.
    pub notes: Vec<String>,
}

/// What a partner says of a group of ours.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Acknowledgement {
    /// Kind of our group, such as `SM`.
    pub group: String,
    /// Our control number of it.
    pub control: String,
    /// Element 715: `A` and `E` are good, `P` in part, all else is not.
    pub code: String,
    /// Message by message, where the partner tells.
    pub messages: Vec<OfMessage>,
}

impl Acknowledgement {
    /// Reads a 997 or 999 that has no faults.
    #[must_use]
    pub fn read(message: &Message) -> Self {
        let mut read = Self::default();
        for segment in message.body() {
            let get = |n| segment.get(n).to_owned();
            match (segment.tag.as_str(), read.messages.last_mut()) {
                ("AK1", _) => (read.group, read.control) = (get(1), get(2)),
                ("AK2", _) => {
                    read.messages.push(OfMessage { kind: get(1), control: get(2), ..OfMessage::default() });
                }
                ("AK3" | "IK3", Some(of)) => {
                    of.notes.push(format!("segment {} ({}), code {}", segment.get(2), segment.get(1), segment.get(4)));
                }
                ("AK4" | "IK4", Some(of)) => {
                    let value = segment.get(4);
                    of.notes.push(format!("element {}, code {}: {value:?}", segment.get(1), segment.get(3)));
                }
                ("AK5" | "IK5", Some(of)) => of.code = get(1),
                ("AK9", _) => read.code = get(1),
                _ => {}
            }
        }
        read
    }
}

/// The answer to a group.
#[must_use]
pub fn answer(group: &Group) -> Body {
    let mut out = vec![Segment::new("AK1", [kind_of(group), number_of(group).as_str()])];
    let mut accepted = 0_usize;
    for message in &group.messages {
        let (Some(kind), Some(control)) = (within(&message.kind, 3, 3), within(&message.control, 4, 9)) else {
            continue;
        };
        out.push(Segment::new("AK2", [kind, control]));
        for fault in message.faults.iter().take(NOTES_MAX) {
            notes(message, fault, &mut out);
        }
        if group.is_good(message) {
            accepted = accepted.saturating_add(1);
            out.push(Segment::new("AK5", ["A"]));
        } else {
            let mut codes: Vec<&str> = message.faults.iter().map(Fault::x12_message_code).collect();
            codes.dedup();
            codes.truncate(5);
            out.push(Segment::new("AK5", ["R"].into_iter().chain(codes)));
        }
    }
    let code = match accepted {
        0 if group.messages.is_empty() && group.faults.is_empty() => "A",
        0 => "R",
        n if n == group.messages.len() => "A",
        _ => "P",
    };
    let received = group.messages.len().to_string();
    let mut last = vec![code.to_owned(), group.said.min(999_999).to_string(), received, accepted.to_string()];
    last.extend(group.faults.iter().take(5).map(|fault| fault.x12_group_code().to_owned()));
    out.push(Segment::new("AK9", last.iter().map(String::as_str)));
    ("997", out)
}

/// What stands in an answer must itself be good, whatever the sender wrote.
fn within(text: &str, min: usize, max: usize) -> Option<&str> {
    let good = (min..=max).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric());
    good.then_some(text)
}

fn kind_of(group: &Group) -> &str {
    within(&group.kind, 2, 2).unwrap_or("ZZ")
}

fn number_of(group: &Group) -> String {
    let number = group.control.parse::<u64>().ok().filter(|n| *n <= 999_999_999);
    number.unwrap_or_default().to_string()
}

fn notes(message: &Message, fault: &Fault, out: &mut Vec<Segment>) {
    let about_message = matches!(fault.tag.as_str(), "ST" | "SE" | "GE" | "GS" | "IEA" | "ISA");
    let (Some(tag), false) = (within(&fault.tag, 2, 3), about_message) else { return };
    let place = message.place_of(fault.segment).to_string();
    out.push(Segment::new("AK3", [tag, place.as_str(), "", fault.x12_segment_code()]));
    let Some(element) = fault.element.filter(|n| *n <= 99) else { return };
    let element = element.to_string();
    let component = fault.component.filter(|c| *c <= 99).map(|c| c.to_string());
    let mut parts = vec![element.as_str()];
    parts.extend(component.as_deref());
    out.push(Segment::composed("AK4", &[&parts, &[], &[fault.x12_element_code()]]));
}
