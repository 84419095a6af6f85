//! Cuts text into segments, by the delimiters that ISA itself has.

use crate::partners::edi::{Fault, SEGMENTS_MAX, Segment, Wrong, check::bounded};

/// Characters of ISA before its terminator, and where its separators stand.
const ISA_CHARS: usize = 105;
const SEPARATORS: [usize; 16] = [3, 6, 17, 20, 31, 34, 50, 53, 69, 76, 81, 83, 89, 99, 101, 103];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Marks {
    element: char,
    component: char,
    terminator: char,
}

/// Segments of a text, one after another. Each ISA sets the delimiters anew.
pub(super) struct Lexer<'t> {
    rest: &'t str,
    number: u32,
    marks: Option<Marks>,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { rest: text, number: 0, marks: None }
    }

    fn fault(&self, tag: &str, wrong: Wrong, detail: impl Into<String>) -> Fault {
        Fault::of_segment(self.number, tag, wrong, detail)
    }

    /// The next segment, or none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Segment>, Fault> {
        // Lines may be broken anywhere; where the end of a line is the terminator, empty lines are nothing either.
        self.rest = self.rest.trim_start_matches(['\r', '\n', ' ', '\t']);
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.number = self.number.saturating_add(1);
        if self.number > SEGMENTS_MAX {
            return Err(self.fault("", Wrong::File, format!("the file has more than {SEGMENTS_MAX} segments")));
        }
        match self.marks {
            _ if self.rest.starts_with("ISA") => self.header().map(Some),
            None => Err(self.fault("", Wrong::File, "an interchange begins with ISA")),
            Some(marks) => self.segment(marks).map(Some),
        }
    }

    fn header(&mut self) -> Result<Segment, Fault> {
        let mut chars = self.rest.char_indices().filter(|(_, c)| !matches!(c, '\r' | '\n'));
        let text: String = chars.by_ref().take(ISA_CHARS).map(|(_, c)| c).collect();
        let end = chars.next().map_or(self.rest.len(), |(i, _)| i);
        let isa: Vec<char> = text.chars().collect();
        let Some(element) = isa.get(3).copied() else {
            return Err(self.fault("ISA", Wrong::File, "the file ends within it"));
        };
        // Its elements are of fixed length, so the first separator that is not in its place tells which one is wrong.
        for (n, at) in SEPARATORS.into_iter().enumerate() {
            let from = n.checked_sub(1).and_then(|n| SEPARATORS.get(n)).map_or(0, |before| before.saturating_add(1));
            let within = isa.get(from..at.min(isa.len())).unwrap_or_default();
            if isa.get(at) != Some(&element) || (n > 0 && within.contains(&element)) {
                let length = at.saturating_sub(from);
                return Err(self.fault("ISA", Wrong::TooShort, format!("is not {length} characters long")).at(n));
            }
        }
        let Some(component) = isa.get(104).copied() else {
            return Err(self.fault("ISA", Wrong::ElementMissing, "is missing").at(16));
        };
        // After the last character comes the terminator; that may be the end of a line, which was passed over above.
        let body = self.rest.get(..end).unwrap_or_default();
        let breaks = body.len().saturating_sub(body.trim_end_matches(['\r', '\n']).len());
        let own_line = breaks > 0;
        let terminator =
            if own_line { '\n' } else { self.rest.get(end..).and_then(|r| r.chars().next()).unwrap_or('\n') };
        let marks = Marks { element, component, terminator };
        if own_line {
            let second = self.rest.get(end..).unwrap_or_default().lines().next().unwrap_or_default();
            if second.trim_end().ends_with(component) {
                // Then that is no component separator but the terminator, one place early.
                return Err(self.fault("ISA", Wrong::ElementMissing, "is missing").at(16));
            }
        }
        self.must_differ(marks)?;
        let skip = if own_line { 0 } else { terminator.len_utf8() };
        self.rest = self.rest.get(end.saturating_add(skip)..).unwrap_or_default();
        self.marks = Some(marks);
        let mut elements = Vec::new();
        for (n, at) in SEPARATORS.into_iter().enumerate().skip(1) {
            let from = SEPARATORS.get(n.saturating_sub(1)).map_or(0, |before| before.saturating_add(1));
            let text: String = isa.get(from..at).unwrap_or_default().iter().collect();
            elements.push(vec![text.trim_end().to_owned()]);
        }
        elements.push(vec![component.to_string()]);
        Ok(Segment { number: self.number, tag: "ISA".to_owned(), elements })
    }

    fn must_differ(&self, marks: Marks) -> Result<(), Fault> {
        let Marks { element, component, terminator } = marks;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == ' ';
        if plain(element) || plain(component) || plain(terminator) {
            return Err(self
                .fault("ISA", Wrong::BadCharacter, "a letter, a digit or a blank separates nothing")
                .at(16));
        }
        if element == component || element == terminator || component == terminator {
            return Err(self.fault("ISA", Wrong::BadCharacter, "two delimiters are the same").at(16));
        }
        Ok(())
    }

    fn segment(&mut self, marks: Marks) -> Result<Segment, Fault> {
        let binary = ["BIN", "BDS"]
            .iter()
            .any(|tag| self.rest.strip_prefix(tag).is_some_and(|rest| rest.starts_with(marks.element)));
        if binary {
            return self.binary(marks);
        }
        // A last line without its end is whole all the same.
        let ends = self.rest.find(marks.terminator).or((marks.terminator == '\n').then_some(self.rest.len()));
        let Some(end) = ends else {
            let tag: String = self.rest.chars().take(3).filter(|c| !c.is_control()).collect();
            return Err(self.fault(&tag, Wrong::File, "the file ends within this segment"));
        };
        let text = self.rest.get(..end).unwrap_or_default();
        self.rest = self.rest.get(end.saturating_add(marks.terminator.len_utf8())..).unwrap_or_default();
        let unbroken: String;
        let text = if text.contains(['\r', '\n']) {
            unbroken = text.replace(['\r', '\n'], "");
            &unbroken
        } else {
            text
        };
        let (tag, elements) = match text.split_once(marks.element) {
            Some((tag, elements)) => (tag, Some(elements)),
            None => (text, None),
        };
        let mut found = Vec::new();
        if let Some(elements) = elements {
            for element in bounded(elements.split(marks.element), self.number, tag)? {
                let parts = if element.is_empty() {
                    Vec::new()
                } else {
                    bounded(element.split(marks.component), self.number, tag)?.into_iter().map(str::to_owned).collect()
                };
                found.push(parts);
            }
        }
        Ok(Segment { number: self.number, tag: tag.to_owned(), elements: found })
    }

    /// A segment whose content may hold anything, the terminator too; its length stands before it.
    fn binary(&mut self, marks: Marks) -> Result<Segment, Fault> {
        let tag: String = self.rest.chars().take(3).collect();
        let rest = self.rest.get(4..).unwrap_or_default();
        // BDS names an encoding before the length.
        let mut elements = Vec::new();
        let mut rest = rest;
        if tag == "BDS" {
            let Some((filter, after)) = rest.split_once(marks.element) else {
                return Err(self.fault(&tag, Wrong::ElementMissing, "is missing").at(2));
            };
            elements.push(vec![filter.to_owned()]);
            rest = after;
        }
        let at = elements.len().saturating_add(1);
        let (length, content) = rest.split_once(marks.element).unwrap_or((rest, ""));
        let Some(bytes) = length.parse::<usize>().ok().filter(|_| length.bytes().all(|b| b.is_ascii_digit())) else {
            let head: String = length.chars().take(20).filter(|c| !c.is_control()).collect();
            return Err(self.fault(&tag, Wrong::BadCharacter, format!("{head:?} is not a length in bytes")).at(at));
        };
        let ends = content.get(bytes..).is_some_and(|after| after.starts_with(marks.terminator));
        let Some(content) = content.get(..bytes).filter(|_| ends) else {
            let detail = format!("says {bytes} bytes, but the segment does not end after them");
            return Err(self.fault(&tag, Wrong::Count, detail).at(at));
        };
        elements.push(vec![length.to_owned()]);
        elements.push(vec![content.to_owned()]);
        let used = self.rest.len().saturating_sub(rest.len()).saturating_add(length.len() + 1 + bytes);
        self.rest = self.rest.get(used.saturating_add(marks.terminator.len_utf8())..).unwrap_or_default();
        Ok(Segment { number: self.number, tag, elements })
    }
}
