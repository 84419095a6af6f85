//! Writes interchanges, and reads each again before it is let out.

use crate::partners::edi::{Fault, Frame, Segment, Wrong, when};

/// One message to be written: its kind, its version such as `D:01B:UN`, and its segments without UNH and UNT.
pub type Body = (&'static str, &'static str, Vec<Segment>);

/// Writes messages into one interchange (syntax UNOC:3, one segment a line).
/// # Errors
/// A [`Fault`] if something cannot be written as it is. Nothing that a reader here would refuse is let out.
pub fn interchange(frame: &Frame, bodies: &[Body]) -> Result<String, Fault> {
    let (day, hour) = when::written(frame.at);
    let control = frame.control.to_string();
    let short = day.get(2..).unwrap_or_default();
    let (from, to) = (&frame.sender, &frame.receiver);
    let mut out = String::new();
    let mut header = Segment::composed(
        "UNB",
        &[
            &["UNOC", "3"],
            &[from.id.as_str(), from.qualifier.as_str()],
            &[to.id.as_str(), to.qualifier.as_str()],
            &[short, hour.as_str()],
            &[control.as_str()],
        ],
    );
    if frame.test {
        header.elements.extend([vec![], vec![], vec![], vec![], vec![], vec!["1".to_owned()]]);
    }
    put(&mut out, &header)?;
    for (n, (kind, version, body)) in (1_u32..).zip(bodies) {
        let own = n.to_string();
        let parts: Vec<&str> = [*kind].into_iter().chain(version.split(':')).collect();
        put(&mut out, &Segment::composed("UNH", &[&[own.as_str()], &parts]))?;
        for segment in body {
            put(&mut out, segment)?;
        }
        let count = body.len().saturating_add(2).to_string();
        put(&mut out, &Segment::new("UNT", [count.as_str(), own.as_str()]))?;
    }
    put(&mut out, &Segment::new("UNZ", [bodies.len().to_string().as_str(), control.as_str()]))?;
    let read = super::read(&out)?;
    match read.iter().flat_map(|interchange| interchange.faults()).next() {
        Some(fault) => Err(fault.clone()),
        None => Ok(out),
    }
}

fn put(out: &mut String, segment: &Segment) -> Result<(), Fault> {
    out.push_str(&segment.tag);
    for (n, parts) in (1..).zip(segment.trimmed()) {
        out.push('+');
        for (c, part) in parts.iter().enumerate() {
            if c > 0 {
                out.push(':');
            }
            for character in part.chars() {
                if character.is_control() {
                    let detail = format!("{part:?} holds a control character");
                    return Err(Fault::of_segment(0, &segment.tag, Wrong::BadCharacter, detail).at(n));
                }
                if matches!(character, '+' | ':' | '\'' | '?') {
                    out.push('?');
                }
                out.push(character);
            }
        }
    }
    out.push_str("'\n");
    Ok(())
}

/// The bytes of what was written: UNOC is Latin-1. Characters outside of it become `?`.
#[must_use]
pub fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u8::try_from(u32::from(c)) {
            Ok(byte) => out.push(byte),
            // Released, so that it stands for itself.
            Err(_) => out.extend(b"??"),
        }
    }
    out
}
