//! Writes interchanges, and reads each again before it is let out.

use super::group_of;
use crate::partners::edi::{Fault, Frame, Segment, Wrong, when};

/// Delimiters that are written.
const ELEMENT: char = '*';
const COMPONENT: char = '>';
const TERMINATOR: char = '~';

/// One message to be written: its kind and its segments without ST and SE.
pub type Body = (&'static str, Vec<Segment>);

/// Writes messages of one kind into one group of one interchange (004010, one segment a line).
/// # Errors
/// A [`Fault`] if something cannot be written as it is: too long, not in its list, or with a delimiter in it. Nothing that
/// a reader here would refuse is let out.
pub fn interchange(frame: &Frame, bodies: &[Body]) -> Result<String, Fault> {
    let kind = bodies.first().map_or("", |(kind, _)| kind);
    let Some(group) = group_of(kind) else {
        return Err(Fault::of_file(format!("a message {kind:?} is not written")));
    };
    let (day, hour) = when::written(frame.at);
    let number = format!("{:09}", frame.control);
    let mut out = header(frame, &day, &hour, &number)?;
    let control = frame.control.to_string();
    let gs =
        [group, &frame.sender.id, &frame.receiver.id, day.as_str(), hour.as_str(), control.as_str(), "X", "004010"];
    put(&mut out, &Segment::new("GS", gs))?;
    for (n, (kind, body)) in (1_u32..).zip(bodies) {
        let own = format!("{n:04}");
        put(&mut out, &Segment::new("ST", [*kind, own.as_str()]))?;
        for segment in body {
            put(&mut out, segment)?;
        }
        let count = body.len().saturating_add(2).to_string();
        put(&mut out, &Segment::new("SE", [count.as_str(), own.as_str()]))?;
    }
    put(&mut out, &Segment::new("GE", [bodies.len().to_string().as_str(), control.as_str()]))?;
    put(&mut out, &Segment::new("IEA", ["1", number.as_str()]))?;
    let read = super::read(&out)?;
    match read.iter().flat_map(|interchange| interchange.faults()).next() {
        Some(fault) => Err(fault.clone()),
        None => Ok(out),
    }
}

fn header(frame: &Frame, day: &str, hour: &str, number: &str) -> Result<String, Fault> {
    let usage = if frame.test { "T" } else { "P" };
    let day = day.get(2..).unwrap_or_default();
    let (from, to) = (&frame.sender, &frame.receiver);
    for (n, (text, most)) in (5..).zip([(&from.qualifier, 2), (&from.id, 15), (&to.qualifier, 2), (&to.id, 15)]) {
        writable("ISA", n, text)?;
        if text.chars().count() > most {
            let detail = format!("{text:?} is longer than {most}");
            return Err(Fault::of_segment(1, "ISA", Wrong::TooLong, detail).at(n));
        }
    }
    let blank = "";
    Ok(format!(
        "ISA*00*{blank:10}*00*{blank:10}*{:2}*{:15}*{:2}*{:15}*{day:6}*{hour:4}*U*00401*{number}*0*{usage}*{COMPONENT}{TERMINATOR}\n",
        from.qualifier, from.id, to.qualifier, to.id
    ))
}

fn put(out: &mut String, segment: &Segment) -> Result<(), Fault> {
    out.push_str(&segment.tag);
    for (n, parts) in (1..).zip(segment.trimmed()) {
        out.push(ELEMENT);
        for (c, part) in parts.iter().enumerate() {
            writable(&segment.tag, n, part)?;
            if c > 0 {
                out.push(COMPONENT);
            }
            out.push_str(part);
        }
    }
    out.push(TERMINATOR);
    out.push('\n');
    Ok(())
}

/// X12 has no way to write its own delimiters as text.
fn writable(tag: &str, element: usize, text: &str) -> Result<(), Fault> {
    let bad = text.chars().find(|c| matches!(*c, ELEMENT | COMPONENT | TERMINATOR) || c.is_control() || !c.is_ascii());
    match bad {
        Some(bad) => {
            let detail = format!("{text:?} holds {bad:?}, which X12 cannot write");
            Err(Fault::of_segment(0, tag, Wrong::BadCharacter, detail).at(element))
        }
        None => Ok(()),
    }
}

/// Free text for people, with what cannot be written left as a blank or `?`, and cut to `most` characters. Not for names
/// that a program compares.
#[must_use]
pub fn free_text(text: &str, most: usize) -> String {
    let plain = |c: char| match c {
        ELEMENT | COMPONENT | TERMINATOR => ' ',
        c if c.is_control() => ' ',
        c if c.is_ascii() => c,
        _ => '?',
    };
    text.chars().map(plain).take(most).collect::<String>().trim().to_owned()
}
