//! Conditions as data: written in CEL, checked before they are shipped, evaluated with three values.
//!
//! In: the text of a condition and the facts held. Out: true, false or unknown, or a [`Fault`] with its place.
//! It is the part of CEL that rules need: facts by name, `&& || ! ?:`, comparisons, whole-number arithmetic, `in` over
//! a written list, and the functions of [`schema`]. There is no loop, so the cost is the number of nodes, and that is
//! bounded. A fact that is missing or too old is unknown and absorbs as CEL's errors do: `unknown || true` is true.

mod check;
mod eval;
pub mod facts;
pub mod judge;
mod lexer;
pub mod overriding;
mod parser;
pub mod schema;

#[cfg(test)]
mod tests;

use std::ops::Range;

pub use check::nearest;
pub use eval::{Binding, Outcome, Value, Why};
pub use schema::Scope;

/// Longest condition in bytes.
pub const TEXT_MAX_BYTES: usize = 2_000;
/// Most nodes of a condition; its cost.
pub const NODES_MAX: usize = 250;
/// Deepest nesting of a condition.
pub const DEPTH_MAX: usize = 24;

/// What is wrong with a condition, and where in its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// Bytes of the condition's text.
    pub at: Range<usize>,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl Fault {
    fn new(at: Range<usize>, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}

/// A condition that was checked: every name is known, every type fits, the cost is bounded.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    root: check::Typed,
    names: Vec<&'static str>,
}

impl Program {
    /// Reads and checks a condition over the names of `scope`.
    /// # Errors
    /// The first [`Fault`] of its form, or every fault of its names and types.
    pub fn compile(text: &str, scope: Scope) -> Result<Self, Vec<Fault>> {
        if text.len() > TEXT_MAX_BYTES {
            let message = format!("a condition may have {TEXT_MAX_BYTES} bytes, this one has {}", text.len());
            return Err(vec![Fault::new(0..0, message)]);
        }
        let node = parser::parse(text).map_err(|fault| vec![fault])?;
        check::check(&node, scope)
    }

    /// Whether it holds.
    #[must_use]
    pub fn evaluate(&self, binding: &dyn Binding) -> Outcome {
        eval::truth(&self.root, binding)
    }

    /// The facts it speaks of, each once.
    #[must_use]
    pub fn names(&self) -> &[&'static str] {
        &self.names
    }
}
