//! EDI: X12 and EDIFACT, read, checked, answered and written.
//!
//! In: the bytes of a file. Out: [`Interchange`]s with their messages, each checked against the layouts here, or the
//! [`Fault`] that keeps the whole file from being read, with segment and element. What a message means for an order is in
//! [`mapping`]; what is answered to it in [`answer`]. Nothing here opens a file, a socket or a store.
//!
//! Messages that are not among those of [`x12`] and [`edifact`] pass with their envelope checked and their content as it
//! came. Segments that a layout does not know are kept and left alone: partners add their own.

pub mod answer;
pub mod check;
pub mod edifact;
pub mod fault;
pub mod interchange;
pub mod mapping;
pub mod segment;
#[cfg(test)]
mod tests;
pub mod when;
pub mod x12;

pub use fault::{Fault, Wrong};
pub use interchange::{Frame, Group, Interchange, Message, Party, Syntax};
pub use segment::Segment;

/// Most bytes of a file.
pub const FILE_MAX_BYTES: usize = 2 * 1024 * 1024;
/// Most segments of a file.
pub const SEGMENTS_MAX: u32 = 100_000;
/// Most elements of a segment, and components of an element.
pub const ELEMENTS_MAX: usize = 200;

/// Reads a file: one interchange or several, of either syntax.
/// # Errors
/// The [`Fault`] that keeps it from being read at all. What is wrong with one group or message stands there instead, in
/// [`Group::faults`] and [`Message::faults`], and the others are good.
pub fn read(bytes: &[u8]) -> Result<Vec<Interchange>, Fault> {
    if bytes.len() > FILE_MAX_BYTES {
        return Err(Fault::of_file(format!("the file has {} bytes, more than {FILE_MAX_BYTES}", bytes.len())));
    }
    let text = decode(bytes);
    let text = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
    if text.starts_with("ISA") {
        x12::read(text)
    } else if text.starts_with("UNA") || text.starts_with("UNB") {
        edifact::read(text)
    } else {
        let head: String = text.chars().take(3).filter(|c| !c.is_control()).collect();
        Err(Fault::of_file(format!("begins with {head:?}; an interchange begins with ISA, UNA or UNB")))
    }
}

/// UTF-8 where it is that, else Latin-1, of which every byte is a character.
fn decode(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|b| char::from(*b)).collect(),
    }
}
