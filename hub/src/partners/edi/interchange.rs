//! What a file holds: interchanges, groups and messages.

use gatehouse_common::time::UtcMs;

use super::{Fault, Segment};

/// Which syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// ASC X12.
    X12,
    /// UN/EDIFACT (ISO 9735).
    Edifact,
}

/// Who sends or receives: a qualifier and a name within it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Party {
    /// Such as `ZZ` or `14`; empty where none was given.
    pub qualifier: String,
    /// The name, without the blanks that fill it.
    pub id: String,
}

/// One interchange, its frame checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Interchange {
    /// In which syntax.
    pub syntax: Syntax,
    /// Who sent it.
    pub sender: Party,
    /// To whom.
    pub receiver: Party,
    /// Its control number at that sender.
    pub control: String,
    /// Whether it is a test.
    pub test: bool,
    /// Whether the sender asks for an answer to each (UNB 0031); an X12 group is answered always.
    pub asks_answer: bool,
    /// The groups; an EDIFACT interchange without any has one without a kind.
    pub groups: Vec<Group>,
}

/// One functional group.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Group {
    /// Such as `QM`; empty where EDIFACT has none.
    pub kind: String,
    /// Who sent it (GS02).
    pub sender: String,
    /// To whom (GS03).
    pub receiver: String,
    /// Its control number.
    pub control: String,
    /// Version (GS08).
    pub version: String,
    /// How many messages its trailer says; what is there where it says none.
    pub said: usize,
    /// Its messages in order.
    pub messages: Vec<Message>,
    /// What is wrong with the group itself; its messages are refused with it.
    pub faults: Vec<Fault>,
}

/// One message, called transaction set in X12.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Message {
    /// Such as `214` or `IFTSTA`.
    pub kind: String,
    /// Its control number.
    pub control: String,
    /// EDIFACT: version, release, agency and association as they came, with colons.
    pub version: String,
    /// From its header to its trailer.
    pub segments: Vec<Segment>,
    /// What is wrong with it; it is refused then.
    pub faults: Vec<Fault>,
}

impl Message {
    /// Its segments without header and trailer.
    #[must_use]
    pub fn body(&self) -> &[Segment] {
        let end = match self.segments.last() {
            Some(last) if matches!(last.tag.as_str(), "SE" | "UNT") => self.segments.len().saturating_sub(1),
            _ => self.segments.len(),
        };
        self.segments.get(1..end).unwrap_or_default()
    }

    /// Where a segment of the file stands in this message, its header being 1.
    #[must_use]
    pub fn place_of(&self, segment: u32) -> u32 {
        let first = self.segments.first().map_or(segment, |s| s.number);
        segment.saturating_sub(first).saturating_add(1)
    }
}

impl Group {
    /// Whether this message is to be acted on.
    #[must_use]
    pub fn is_good(&self, message: &Message) -> bool {
        self.faults.is_empty() && message.faults.is_empty()
    }
}

impl Interchange {
    /// Everything that is wrong anywhere in it.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.groups.iter().flat_map(|g| g.faults.iter().chain(g.messages.iter().flat_map(|m| m.faults.iter())))
    }
}

/// What an interchange that is written says of itself: who writes to whom, when, under which number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Who writes.
    pub sender: Party,
    /// To whom.
    pub receiver: Party,
    /// When, written in UTC.
    pub at: UtcMs,
    /// Its number, and in X12 its group's, 1 to 999999999; never one that went out before.
    pub control: u32,
    /// Marked as a test.
    pub test: bool,
}
