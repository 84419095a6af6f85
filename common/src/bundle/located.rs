//! Values that remember where they stand in the bundle's text, so that what is wrong can be shown there.

use std::ops::Range;

use serde::{Deserialize, Deserializer};

use crate::rule::{Binding, Outcome, Program, Scope, Why};

use super::BundleProblem;

/// A value and its place in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// Bytes of the bundle's text.
    pub at: Range<usize>,
    /// The value.
    pub it: T,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Located<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let spanned = toml::Spanned::<T>::deserialize(from)?;
        Ok(Self { at: spanned.span(), it: spanned.into_inner() })
    }
}

impl<T> Located<T> {
    /// What is wrong with it.
    pub(super) fn problem(&self, text: &str, message: impl Into<String>) -> BundleProblem {
        problem(text, self.at.start, message)
    }
}

pub(super) fn problem(text: &str, at: usize, message: impl Into<String>) -> BundleProblem {
    let (line, column) = line_and_column(text, at);
    BundleProblem { line: Some(line), column: Some(column), message: message.into() }
}

/// Line and column of a byte, both from 1; columns count characters.
pub(super) fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// A condition of the bundle; once the bundle is read, it is checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    written: Located<String>,
    program: Option<Program>,
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self { written: Located::deserialize(from)?, program: None })
    }
}

impl Condition {
    /// A condition that a row of a table stands for.
    pub(super) fn generated(text: String, at: Range<usize>) -> Self {
        Self { written: Located { at, it: text }, program: None }
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.written.it
    }

    /// The facts it speaks of.
    #[must_use]
    pub fn names(&self) -> &[&'static str] {
        self.program.as_ref().map_or(&[], Program::names)
    }

    /// Whether it holds.
    #[must_use]
    pub fn evaluate(&self, binding: &dyn Binding) -> Outcome {
        self.program.as_ref().map_or(Outcome::Unknown(Why::Missing), |program| program.evaluate(binding))
    }

    /// Checks it; `whose` begins each message.
    pub(super) fn prepare(&mut self, whose: &str, scope: Scope, text: &str) -> Vec<BundleProblem> {
        match Program::compile(&self.written.it, scope) {
            Ok(program) => {
                self.program = Some(program);
                Vec::new()
            }
            Err(faults) => {
                let start = self.text_start(text);
                let place = |offset: usize| start.map_or(self.written.at.start, |start| start + offset);
                let told = |fault: crate::rule::Fault| {
                    problem(text, place(fault.at.start), format!("{whose}: {}", fault.message))
                };
                faults.into_iter().map(told).collect()
            }
        }
    }

    /// Where the condition's own text begins, if it stands in the bundle as it is, without escapes.
    fn text_start(&self, text: &str) -> Option<usize> {
        let raw = text.get(self.written.at.clone())?;
        let quotes = raw.len() - raw.trim_start_matches(['"', '\'']).len();
        let quotes = if quotes >= 3 { 3 } else { quotes.min(1) };
        let inner = raw.get(quotes..)?;
        let newline = if quotes == 3 && inner.starts_with("\r\n") {
            2
        } else {
            usize::from(quotes == 3 && inner.starts_with('\n'))
        };
        let start = quotes + newline;
        raw.get(start..)?.starts_with(&self.written.it).then_some(self.written.at.start + start)
    }
}
