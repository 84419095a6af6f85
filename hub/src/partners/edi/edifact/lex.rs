//! Cuts text into segments, elements and components, by the service characters that UNA gives.

use crate::partners::edi::{ELEMENTS_MAX, Fault, SEGMENTS_MAX, Segment, Wrong};

#[derive(Debug, Clone, Copy)]
struct Marks {
    component: char,
    element: char,
    release: Option<char>,
    terminator: char,
}

const DEFAULT: Marks = Marks { component: ':', element: '+', release: Some('?'), terminator: '\'' };

/// Segments of a text, one after another. UNA is no segment and is not counted.
pub(super) struct Lexer<'t> {
    rest: &'t str,
    number: u32,
    marks: Marks,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { rest: text, number: 0, marks: DEFAULT }
    }

    fn fault(&self, tag: &str, wrong: Wrong, detail: impl Into<String>) -> Fault {
        Fault::of_segment(self.number, tag, wrong, detail)
    }

    /// The next segment, or none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Segment>, Fault> {
        self.rest = self.rest.trim_start_matches(['\r', '\n', ' ', '\t']);
        if let Some(advice) = self.rest.strip_prefix("UNA") {
            self.service_characters(advice)?;
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.number = self.number.saturating_add(1);
        if self.number > SEGMENTS_MAX {
            return Err(self.fault("", Wrong::File, format!("the file has more than {SEGMENTS_MAX} segments")));
        }
        self.segment().map(Some)
    }

    fn service_characters(&mut self, advice: &'t str) -> Result<(), Fault> {
        let mut chars = advice.chars();
        let mut six = || chars.next().filter(|c| !c.is_alphanumeric() && !c.is_control());
        let found = (six(), six(), six(), six(), six(), six());
        let (Some(component), Some(element), Some(_), Some(release), Some(_), Some(terminator)) = found else {
            let detail = "six service characters follow, neither letters nor digits";
            return Err(Fault::of_segment(self.number.saturating_add(1), "UNA", Wrong::BadCharacter, detail));
        };
        let marks = Marks { component, element, release: Some(release).filter(|c| *c != ' '), terminator };
        let mut all = vec![component, element, terminator];
        all.extend(marks.release);
        all.sort_unstable();
        all.dedup();
        if all.len() != 3 + usize::from(marks.release.is_some()) || all.contains(&' ') {
            let detail = "two service characters are the same";
            return Err(Fault::of_segment(self.number.saturating_add(1), "UNA", Wrong::BadCharacter, detail));
        }
        self.marks = marks;
        self.rest = chars.as_str().trim_start_matches(['\r', '\n', ' ', '\t']);
        Ok(())
    }

    fn segment(&mut self) -> Result<Segment, Fault> {
        let marks = self.marks;
        let mut elements: Vec<Vec<String>> = vec![vec![String::new()]];
        let mut chars = self.rest.chars();
        loop {
            let tag = || elements.first().and_then(|e| e.first()).map_or("", String::as_str);
            let Some(c) = chars.next() else {
                let tag: String = tag().chars().take(10).collect();
                return Err(self.fault(&tag, Wrong::File, "the file ends within this segment"));
            };
            if elements.len() > ELEMENTS_MAX || elements.last().is_some_and(|e| e.len() > ELEMENTS_MAX) {
                let tag: String = tag().chars().take(10).collect();
                return Err(self.fault(&tag, Wrong::TooMany, format!("has more than {ELEMENTS_MAX} parts")));
            }
            let mut kept = None;
            if matches!(c, '\r' | '\n') {
                // Lines may be broken anywhere.
            } else if marks.release == Some(c) {
                // What follows it stands for itself; the end of a line between the two does not.
                kept = chars.by_ref().find(|c| !matches!(c, '\r' | '\n'));
            } else if c == marks.terminator {
                break;
            } else if c == marks.element {
                elements.push(vec![String::new()]);
            } else if c == marks.component {
                if let Some(element) = elements.last_mut() {
                    element.push(String::new());
                }
            } else {
                kept = Some(c);
            }
            if let (Some(c), Some(part)) = (kept, elements.last_mut().and_then(|e| e.last_mut())) {
                part.push(c);
            }
        }
        self.rest = chars.as_str();
        let tag = elements.first().and_then(|e| e.first()).cloned().unwrap_or_default();
        elements.remove(0);
        for element in &mut elements {
            if element.iter().all(String::is_empty) {
                element.clear();
            }
        }
        Ok(Segment { number: self.number, tag, elements })
    }
}
