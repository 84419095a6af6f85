//! CONTRL: what became of an interchange and of each message in it.

use super::write::Body;
use crate::partners::edi::{Fault, Interchange, Message, Segment};

/// Most notes that are written for one message.
const NOTES_MAX: usize = 20;

/// What a partner says of an interchange of ours.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Control {
    /// Our number of it.
    pub interchange: String,
    /// Element 0083: 7 and 8 are good, 4 is not.
    pub action: String,
    /// What is said of single messages: number, action, and notes as they came.
    pub messages: Vec<(String, String, Vec<String>)>,
}

impl Control {
    /// Reads a CONTRL that has no faults.
    #[must_use]
    pub fn read(message: &Message) -> Self {
        let mut read = Self::default();
        for segment in message.body() {
            match (segment.tag.as_str(), read.messages.last_mut()) {
                ("UCI", _) => {
                    (read.interchange, read.action) = (segment.get(1).to_owned(), segment.get(4).to_owned());
                }
                ("UCM", _) => {
                    let error = segment.get(4);
                    let notes = if error.is_empty() { Vec::new() } else { vec![format!("code {error}")] };
                    read.messages.push((segment.get(1).to_owned(), segment.get(3).to_owned(), notes));
                }
                ("UCS", Some((.., notes))) => {
                    notes.push(format!("segment {}, code {}", segment.get(1), segment.get(2)));
                }
                ("UCD", Some((.., notes))) => {
                    notes.push(format!("element {}, code {}", segment.get(2), segment.get(1)));
                }
                _ => {}
            }
        }
        read
    }
}

/// The answer to an interchange. Messages that are good are named too.
#[must_use]
pub fn answer(interchange: &Interchange) -> Body {
    let (from, to) = (&interchange.sender, &interchange.receiver);
    // Refusing the whole would leave no place to say what is wrong with which message.
    let holds_any = interchange.groups.iter().any(|group| !group.messages.is_empty());
    let refused = interchange.faults().next().filter(|_| !holds_any);
    let mut out = vec![Segment::composed(
        "UCI",
        &[
            &[interchange.control.as_str()],
            &[from.id.as_str(), from.qualifier.as_str()],
            &[to.id.as_str(), to.qualifier.as_str()],
            &[if refused.is_some() { "4" } else { "7" }],
            &[refused.map_or("", Fault::edifact_code)],
        ],
    )];
    for group in &interchange.groups {
        for message in &group.messages {
            of_message(message, group.is_good(message), group.faults.first(), &mut out);
        }
    }
    ("CONTRL", "D:3:UN", out)
}

fn of_message(message: &Message, good: bool, of_group: Option<&Fault>, out: &mut Vec<Segment>) {
    let Some(header) = message.segments.first() else { return };
    let kind: Vec<&str> = (1..=5).map(|c| header.part(2, c)).collect();
    let number = message.control.as_str();
    if good {
        out.push(Segment::composed("UCM", &[&[number], &kind, &["7"]]));
        return;
    }
    let ends = |fault: &&Fault| matches!(fault.tag.as_str(), "UNH" | "UNT");
    let code = message.faults.iter().find(ends).or(of_group).map_or("", Fault::edifact_code);
    let tag = if code.is_empty() { "" } else { header_or_trailer(message) };
    out.push(Segment::composed("UCM", &[&[number], &kind, &["4"], &[code], &[tag]]));
    let mut last = 0;
    for fault in message.faults.iter().filter(|f| !ends(f)).take(NOTES_MAX) {
        let place = message.place_of(fault.segment);
        if place != last {
            let own = if fault.element.is_none() { fault.edifact_code() } else { "" };
            out.push(Segment::new("UCS", [place.to_string().as_str(), own]));
            last = place;
        }
        if let Some(element) = fault.element {
            // The tag of a segment counts as its first element.
            let element = element.saturating_add(1).to_string();
            let component = fault.component.map(|c| c.to_string());
            let mut at = vec![element.as_str()];
            at.extend(component.as_deref());
            out.push(Segment::composed("UCD", &[&[fault.edifact_code()], &at]));
        }
    }
}

fn header_or_trailer(message: &Message) -> &str {
    message.faults.iter().map(|f| f.tag.as_str()).find(|tag| matches!(*tag, "UNH" | "UNT")).unwrap_or("UNH")
}
