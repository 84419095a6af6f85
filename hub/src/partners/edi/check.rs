//! Whether elements are what their segment says: there, of their length, of their kind, in their code list.

use super::{ELEMENTS_MAX, Fault, Segment, Wrong};

/// Most faults that are told of one message.
pub const FAULTS_MAX: usize = 50;

/// What an element holds.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Anything; its form is not known here.
    Any,
    /// Printable text.
    Text,
    /// A whole number.
    Whole,
    /// A number with or without a decimal mark.
    Decimal,
    /// `YYMMDD` or `CCYYMMDD`.
    Date,
    /// `HHMM`, `HHMMSS` or `HHMMSSDD`.
    Time,
    /// One of these codes.
    Code(&'static [&'static str]),
}

/// What one element, or one component, must be.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    kind: Kind,
    needed: bool,
    /// Needed only where something of its element is there.
    within: bool,
    min: usize,
    max: usize,
}

impl Spec {
    /// Up to `max` characters of this kind, at least `min`.
    #[must_use]
    pub const fn new(kind: Kind, min: usize, max: usize) -> Self {
        Self { kind, needed: false, within: false, min, max }
    }

    /// The same, and it must be there.
    #[must_use]
    pub const fn needed(self) -> Self {
        Self { needed: true, ..self }
    }

    /// The same, and it must be there if anything of its element is.
    #[must_use]
    pub const fn within(self) -> Self {
        Self { within: true, ..self }
    }

    /// What is wrong with `text` as a value of this element, if anything.
    fn judge(&self, text: &str) -> Option<(Wrong, String)> {
        let length = match self.kind {
            // Neither sign nor decimal mark counts.
            Kind::Whole | Kind::Decimal => text.chars().filter(|c| !matches!(c, '-' | '.' | ',')).count(),
            _ => text.chars().count(),
        };
        if let Some(bad) = text.chars().find(|c| c.is_control()) {
            return Some((Wrong::BadCharacter, format!("contains the control character {bad:?}")));
        }
        match self.kind {
            Kind::Whole if !is_number(text, false) => {
                return Some((Wrong::BadCharacter, format!("{text:?} is not a whole number")));
            }
            Kind::Decimal if !is_number(text, true) => {
                return Some((Wrong::BadCharacter, format!("{text:?} is not a number")));
            }
            Kind::Date if !is_date(text) => return Some((Wrong::BadDate, format!("{text:?} is not a date"))),
            Kind::Time if !is_time(text) => return Some((Wrong::BadTime, format!("{text:?} is not a time"))),
            Kind::Code(codes) if !codes.contains(&text) => {
                return Some((Wrong::BadCode, format!("{text:?} is none of {}", codes.join(", "))));
            }
            _ => {}
        }
        if length < self.min {
            return Some((Wrong::TooShort, format!("{text:?} is shorter than {}", self.min)));
        }
        if length > self.max {
            return Some((Wrong::TooLong, format!("{text:?} is longer than {}", self.max)));
        }
        None
    }
}

/// A segment's elements, each with its components; one component where an element is simple.
pub type Layout = &'static [&'static [Spec]];

/// Checks a segment against its layout.
pub(super) fn segment(segment: &Segment, layout: Layout, faults: &mut Vec<Fault>) {
    let wrong = |wrong, detail: String| Fault::of_segment(segment.number, &segment.tag, wrong, detail);
    if segment.len() > layout.len() {
        let detail = format!("has {} elements, {} has {} at most", segment.len(), segment.tag, layout.len());
        faults.push(wrong(Wrong::TooMany, detail).at(layout.len().saturating_add(1)));
    }
    for (n, specs) in (1..).zip(layout) {
        let parts = segment.parts(n);
        let is_any = matches!(specs, [Spec { kind: Kind::Any, .. }]);
        if parts.iter().all(String::is_empty) {
            if specs.iter().any(|spec| spec.needed) {
                faults.push(wrong(Wrong::ElementMissing, "is missing".to_owned()).at(n));
            }
            continue;
        }
        if is_any {
            continue;
        }
        if parts.len() > specs.len() {
            let detail = format!("has {} components, {} at most", parts.len(), specs.len());
            faults.push(wrong(Wrong::TooMany, detail).at(n));
        }
        for (c, spec) in (1..).zip(*specs) {
            let text = segment.part(n, c);
            let found = if text.is_empty() {
                (spec.needed || spec.within).then(|| (Wrong::ElementMissing, "is missing".to_owned()))
            } else {
                spec.judge(text)
            };
            if let Some((kind, detail)) = found {
                let fault = wrong(kind, detail).at(n);
                faults.push(if specs.len() > 1 { fault.within(c) } else { fault });
            }
        }
    }
    faults.truncate(FAULTS_MAX);
}

fn is_number(text: &str, decimal: bool) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let marks = digits.chars().filter(|c| matches!(c, '.' | ',')).count();
    let only = digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | ','));
    only && digits.chars().any(|c| c.is_ascii_digit()) && marks <= usize::from(decimal)
}

/// Whether this is a day of the calendar, as `YYMMDD` or `CCYYMMDD`.
pub(super) fn is_date(text: &str) -> bool {
    super::when::date(text).is_some()
}

/// Whether this is a time of a day.
pub(super) fn is_time(text: &str) -> bool {
    super::when::time(text).is_some()
}

/// Whether this can be a tag: two or three of `A` to `Z` and digits, a letter first.
pub(super) fn is_tag(tag: &str) -> bool {
    (2..=3).contains(&tag.len())
        && tag.starts_with(|c: char| c.is_ascii_uppercase())
        && tag.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
}

/// Splits `text` into elements within their bound.
pub(super) fn bounded<'t>(parts: impl Iterator<Item = &'t str>, number: u32, tag: &str) -> Result<Vec<&'t str>, Fault> {
    let parts: Vec<&str> = parts.take(ELEMENTS_MAX.saturating_add(1)).collect();
    if parts.len() > ELEMENTS_MAX {
        let detail = format!("has more than {ELEMENTS_MAX} parts");
        return Err(Fault::of_segment(number, tag, Wrong::TooMany, detail));
    }
    Ok(parts)
}
