//! Words of a condition, each with its place.

use std::ops::Range;

use super::Fault;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    Name(String),
    Int(i64),
    Text(String),
    /// An operator or bracket.
    Sign(&'static str),
    End,
}

pub(super) type Placed = (Word, Range<usize>);

/// Longest first, so that `<=` is not read as `<`.
const SIGNS: [&str; 22] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "/", "%", "(", ")", "[", "]", ",", ".", "?", ":",
];

pub(super) fn words(text: &str) -> Result<Vec<Placed>, Fault> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (word, length) = one(text, at, first)?;
        found.push((word, at..at + length));
        at += length;
    }
    found.push((Word::End, text.len()..text.len()));
    Ok(found)
}

fn one(text: &str, at: usize, first: char) -> Result<(Word, usize), Fault> {
    let rest = &text[at..];
    if first == '"' || first == '\'' {
        return quoted(rest, at, first);
    }
    if first.is_ascii_alphabetic() || first == '_' {
        let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        return Ok((Word::Name(rest[..length].to_owned()), length));
    }
    if first.is_ascii_digit() {
        let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let digits = &rest[..length];
        let whole =
            rest[length..].strip_prefix('.').is_none_or(|after| !after.starts_with(|c: char| c.is_ascii_digit()));
        return match digits.parse() {
            Ok(number) if whole => Ok((Word::Int(number), length)),
            _ => Err(Fault::new(
                at..at + length,
                format!("{digits} is not a whole number as rules use them; write digits only, in the fact's own unit"),
            )),
        };
    }
    match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
        Some(sign) => Ok((Word::Sign(sign), sign.len())),
        None => {
            let hint = match first {
                '=' => "; write == to compare",
                '&' => "; write && for and",
                '|' => "; write || for or",
                _ => "",
            };
            Err(Fault::new(at..at + first.len_utf8(), format!("{first:?} means nothing here{hint}")))
        }
    }
}

fn quoted(rest: &str, at: usize, quote: char) -> Result<(Word, usize), Fault> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((place, c)) = chars.next() {
        match c {
            c if c == quote => return Ok((Word::Text(text), place + 1)),
            '\\' => match chars.next() {
                Some((_, escaped @ ('\\' | '\'' | '"'))) => text.push(escaped),
                _ => {
                    let here = at + place;
                    return Err(Fault::new(here..here + 1, "only \\\\, \\' and \\\" may follow a backslash"));
                }
            },
            c => text.push(c),
        }
    }
    Err(Fault::new(at..at + rest.len(), format!("the text that begins with {quote} has no end; close it with {quote}")))
}
