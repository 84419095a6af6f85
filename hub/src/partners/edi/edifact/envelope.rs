//! UNB, UNG, UNH and their trailers: counts, references, order.

use super::{layout, lex::Lexer};
use crate::partners::edi::{
    Fault, Group, Interchange, Message, Party, Segment, Syntax, Wrong,
    check::{self, FAULTS_MAX},
};

/// Reads a text that begins with UNA or UNB.
pub(in crate::partners::edi) fn read(text: &str) -> Result<Vec<Interchange>, Fault> {
    let mut lexer = Lexer::new(text);
    let mut read = Vec::new();
    while let Some(first) = lexer.next()? {
        read.push(interchange(&mut lexer, first)?);
    }
    if read.is_empty() {
        return Err(Fault::of_segment(1, "UNB", Wrong::SegmentMissing, "nothing follows UNA"));
    }
    Ok(read)
}

fn unexpected(segment: &Segment, expected: &str) -> Fault {
    let tag: String = segment.tag.chars().take(10).collect();
    Fault::of_segment(segment.number, &tag, Wrong::SegmentUnexpected, format!("{expected} is expected here"))
}

fn cut(after: u32, missing: &str) -> Fault {
    let detail = format!("the file ends without {missing}");
    Fault::of_segment(after.saturating_add(1), missing, Wrong::SegmentMissing, detail)
}

fn must(segment: &Segment) -> Result<(), Fault> {
    let mut faults = Vec::new();
    layout::check_segment(segment, &mut faults);
    faults.into_iter().next().map_or(Ok(()), Err)
}

fn party(segment: &Segment, n: usize) -> Party {
    Party { qualifier: segment.part(n, 2).to_owned(), id: segment.part(n, 1).trim_end().to_owned() }
}

fn interchange(lexer: &mut Lexer<'_>, unb: Segment) -> Result<Interchange, Fault> {
    if unb.tag != "UNB" {
        return Err(unexpected(&unb, "UNB"));
    }
    must(&unb)?;
    let version: u8 = unb.part(1, 2).parse().unwrap_or_default();
    let length = unb.part(4, 1).len();
    if length != if version >= 4 { 8 } else { 6 } {
        let detail = format!("a date has {} digits in syntax version {version}", if version >= 4 { 8 } else { 6 });
        return Err(Fault::of_segment(unb.number, "UNB", Wrong::BadDate, detail).at(4).within(1));
    }
    let mut found = Interchange {
        syntax: Syntax::Edifact,
        sender: party(&unb, 2),
        receiver: party(&unb, 3),
        control: unb.get(5).to_owned(),
        test: unb.get(11) == "1",
        asks_answer: unb.get(9) == "1",
        groups: Vec::new(),
    };
    let mut plain = Group::default();
    let mut last = unb.number;
    loop {
        let Some(segment) = lexer.next()? else { return Err(cut(last, "UNZ")) };
        last = segment.number;
        match segment.tag.as_str() {
            "UNH" if found.groups.is_empty() => plain.messages.push(message(lexer, segment)?),
            "UNG" if plain.messages.is_empty() => found.groups.push(group(lexer, segment)?),
            "UNZ" => {
                must(&segment)?;
                let count = found.groups.len().max(plain.messages.len());
                closes(&segment, count, &found.control).map_or(Ok(()), Err)?;
                if found.groups.is_empty() {
                    plain.said = plain.messages.len();
                    found.groups.push(plain);
                }
                return Ok(found);
            }
            _ => return Err(unexpected(&segment, "UNH, UNG or UNZ")),
        }
    }
}

/// Whether a trailer says what is there: its count, then its reference.
fn closes(trailer: &Segment, count: usize, reference: &str) -> Option<Fault> {
    let wrong = |kind, detail: String| Fault::of_segment(trailer.number, &trailer.tag, kind, detail);
    if trailer.get(1).parse() != Ok(count) {
        return Some(wrong(Wrong::Count, format!("says {}; {count} are there", trailer.get(1))).at(1));
    }
    if trailer.get(2) != reference {
        let detail = format!("is {:?}; the header has {reference:?}", trailer.get(2));
        return Some(wrong(Wrong::Reference, detail).at(2));
    }
    None
}

fn group(lexer: &mut Lexer<'_>, ung: Segment) -> Result<Group, Fault> {
    let mut found = Group {
        kind: ung.get(1).to_owned(),
        sender: party(&ung, 2).id,
        receiver: party(&ung, 3).id,
        control: ung.get(5).to_owned(),
        version: ung.part(7, 1).to_owned(),
        ..Group::default()
    };
    layout::check_segment(&ung, &mut found.faults);
    let mut last = ung.number;
    loop {
        let Some(segment) = lexer.next()? else { return Err(cut(last, "UNE")) };
        last = segment.number;
        match segment.tag.as_str() {
            "UNH" => found.messages.push(message(lexer, segment)?),
            "UNE" => {
                found.said = segment.get(1).parse().unwrap_or(found.messages.len());
                let before = found.faults.len();
                layout::check_segment(&segment, &mut found.faults);
                if found.faults.len() == before {
                    found.faults.extend(closes(&segment, found.messages.len(), &found.control));
                }
                return Ok(found);
            }
            _ => return Err(unexpected(&segment, "UNH or UNE")),
        }
    }
}

fn message(lexer: &mut Lexer<'_>, unh: Segment) -> Result<Message, Fault> {
    let version: Vec<&str> = (2..=5).map(|c| unh.part(2, c)).collect();
    let mut found = Message {
        kind: unh.part(2, 1).to_owned(),
        control: unh.get(1).to_owned(),
        version: version.join(":").trim_end_matches(':').to_owned(),
        segments: vec![unh],
        faults: Vec::new(),
    };
    loop {
        let Some(segment) = lexer.next()? else {
            return Err(cut(found.segments.last().map_or(0, |s| s.number), "UNT"));
        };
        match segment.tag.as_str() {
            "UNT" => {
                found.segments.push(segment);
                judge(&mut found);
                return Ok(found);
            }
            // Unlike in X12, nothing but UNT can be told from content for sure.
            "UNH" | "UNE" | "UNZ" | "UNB" | "UNG" => {
                return Err(unexpected(&segment, &format!("UNT of message {}", found.control)));
            }
            _ => found.segments.push(segment),
        }
    }
}

fn judge(message: &mut Message) {
    let (Some(first), Some(last)) = (message.segments.first(), message.segments.last()) else { return };
    let mut faults = Vec::new();
    layout::check_segment(first, &mut faults);
    let before = faults.len();
    layout::check_segment(last, &mut faults);
    if faults.len() == before {
        faults.extend(closes(last, message.segments.len(), &message.control));
    }
    for segment in message.body() {
        if !check::is_tag(&segment.tag) {
            let tag: String = segment.tag.chars().take(10).collect();
            faults.push(Fault::of_segment(segment.number, &tag, Wrong::SegmentUnknown, "is no tag of a segment"));
        }
    }
    if first.part(2, 4) == "UN" {
        layout::check_message(message, last, &mut faults);
    }
    faults.sort_by_key(|fault| fault.segment);
    faults.truncate(FAULTS_MAX);
    message.faults = faults;
}
