//! ISA, GS, ST and their trailers: counts, control numbers, order.

use super::{
    layout::{self, Content},
    lex::Lexer,
};
use crate::partners::edi::{
    Fault, Group, Interchange, Message, Party, Segment, Syntax, Wrong,
    check::{self, FAULTS_MAX},
};

/// Reads a text that begins with ISA.
pub(in crate::partners::edi) fn read(text: &str) -> Result<Vec<Interchange>, Fault> {
    let mut lexer = Lexer::new(text);
    let mut read = Vec::new();
    while let Some(first) = lexer.next()? {
        read.push(interchange(&mut lexer, first)?);
    }
    Ok(read)
}

fn unexpected(segment: &Segment, expected: &str) -> Fault {
    let detail = format!("{expected} is expected here");
    Fault::of_segment(segment.number, &segment.tag, Wrong::SegmentUnexpected, detail)
}

fn cut(after: u32, missing: &str) -> Fault {
    let detail = format!("the file ends without {missing}");
    Fault::of_segment(after.saturating_add(1), missing, Wrong::SegmentMissing, detail)
}

/// The first fault of a segment against its layout.
fn must(segment: &Segment) -> Result<(), Fault> {
    let mut faults = Vec::new();
    layout::check_segment(segment, &mut faults);
    faults.into_iter().next().map_or(Ok(()), Err)
}

fn interchange(lexer: &mut Lexer<'_>, isa: Segment) -> Result<Interchange, Fault> {
    if isa.tag != "ISA" {
        return Err(unexpected(&isa, "ISA"));
    }
    must(&isa)?;
    let party = |n: usize| Party { qualifier: isa.get(n).to_owned(), id: isa.get(n.saturating_add(1)).to_owned() };
    let mut found = Interchange {
        syntax: Syntax::X12,
        sender: party(5),
        receiver: party(7),
        control: isa.get(13).to_owned(),
        test: isa.get(15) == "T",
        asks_answer: isa.get(14) == "1",
        groups: Vec::new(),
    };
    let mut last = isa.number;
    loop {
        let Some(segment) = lexer.next()? else { return Err(cut(last, "IEA")) };
        last = segment.number;
        match segment.tag.as_str() {
            // Services of an interchange that nobody here asks for.
            "ISB" | "ISE" | "TA1" | "TA3" if found.groups.is_empty() => {}
            "GS" => found.groups.push(group(lexer, segment)?),
            "IEA" => {
                must(&segment)?;
                closes(&segment, found.groups.len(), "groups", &found.control).map_or(Ok(()), Err)?;
                return Ok(found);
            }
            _ => return Err(unexpected(&segment, "GS or IEA")),
        }
    }
}

/// Whether a trailer says what is there: its count, then its number.
fn closes(trailer: &Segment, count: usize, of: &str, control: &str) -> Option<Fault> {
    let wrong = |kind, detail: String| Fault::of_segment(trailer.number, &trailer.tag, kind, detail);
    if trailer.get(1).parse() != Ok(count) {
        let detail = format!("says {} {of}; {count} are there", trailer.get(1));
        return Some(wrong(Wrong::Count, detail).at(1));
    }
    if !same_number(trailer.get(2), control) {
        return Some(wrong(Wrong::Reference, format!("is {:?}; the header has {control:?}", trailer.get(2))).at(2));
    }
    None
}

/// Control numbers are numbers where both are: `000005` is 5.
fn same_number(a: &str, b: &str) -> bool {
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

fn group(lexer: &mut Lexer<'_>, gs: Segment) -> Result<Group, Fault> {
    let mut found = Group {
        kind: gs.get(1).to_owned(),
        sender: gs.get(2).trim_end().to_owned(),
        receiver: gs.get(3).trim_end().to_owned(),
        control: gs.get(6).to_owned(),
        version: gs.get(8).to_owned(),
        ..Group::default()
    };
    layout::check_segment(&gs, &mut found.faults);
    let mut last = gs.number;
    let mut pending = None;
    loop {
        let Some(segment) = (match pending.take() {
            Some(segment) => Some(segment),
            None => lexer.next()?,
        }) else {
            return Err(cut(last, "GE"));
        };
        last = segment.number;
        match segment.tag.as_str() {
            "ST" => {
                let (message, after) = message(lexer, segment, &found)?;
                found.messages.push(message);
                pending = after;
            }
            "GE" => {
                found.said = segment.get(1).parse().unwrap_or(found.messages.len());
                let before = found.faults.len();
                layout::check_segment(&segment, &mut found.faults);
                if found.faults.len() == before {
                    found.faults.extend(closes(&segment, found.messages.len(), "messages", &found.control));
                }
                return Ok(found);
            }
            _ => return Err(unexpected(&segment, "ST or GE")),
        }
    }
}

/// One message; and the segment after it, where its trailer was missing.
fn message(lexer: &mut Lexer<'_>, st: Segment, group: &Group) -> Result<(Message, Option<Segment>), Fault> {
    let (kind, control, first) = (st.get(1).to_owned(), st.get(2).to_owned(), st.number);
    let mut found = Message { kind, control, version: st.get(3).to_owned(), segments: vec![st], faults: Vec::new() };
    loop {
        let Some(segment) = lexer.next()? else {
            return Err(cut(found.segments.last().map_or(first, |s| s.number), "SE"));
        };
        match segment.tag.as_str() {
            "SE" => {
                found.segments.push(segment);
                judge(&mut found, group);
                return Ok((found, None));
            }
            "ST" | "GE" | "GS" | "IEA" | "ISA" => {
                let detail = format!("comes before the SE of message {}", found.control);
                let fault = Fault::of_segment(segment.number, &segment.tag, Wrong::TrailerMissing, detail);
                found.faults.push(fault);
                return Ok((found, Some(segment)));
            }
            _ => found.segments.push(segment),
        }
    }
}

fn judge(message: &mut Message, group: &Group) {
    let (Some(first), Some(last)) = (message.segments.first(), message.segments.last()) else { return };
    let mut faults = Vec::new();
    for end in [first, last] {
        layout::check_segment(end, &mut faults);
    }
    if faults.is_empty() {
        faults.extend(closes(last, message.segments.len(), "segments", &message.control));
    }
    if layout::group_of(&message.kind).is_some_and(|kind| kind != group.kind) {
        let detail = format!("a message {} does not belong in a group {}", message.kind, group.kind);
        faults.push(Fault::of_segment(first.number, "ST", Wrong::NotOfGroup, detail).at(1));
    }
    for segment in message.body() {
        if !check::is_tag(&segment.tag) {
            let tag: String = segment.tag.chars().take(10).collect();
            let detail = "is no tag of a segment";
            faults.push(Fault::of_segment(segment.number, &tag, Wrong::SegmentUnknown, detail));
        }
    }
    if let Some(content) = Content::of(&message.kind) {
        content.check(message, last, &mut faults);
    }
    faults.sort_by_key(|fault| fault.segment);
    faults.truncate(FAULTS_MAX);
    message.faults = faults;
}
