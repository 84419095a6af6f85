//! How a test says that it was skipped, so that people see it and `./run test` counts it.
//!
//! In: why. Out: one line on the standard error of the process. A test that returns early passes, and of a test that
//! passes the test harness swallows what `println!` and `eprintln!` say; what is written to the stream itself it does
//! not.

use std::{
    fmt::Display,
    io::{Write, stderr},
};

/// Says that a test, or one part of it, was skipped, and `why`: what is missing, and how it can be had. One line each.
pub fn skipped(why: impl Display) {
    // Whole lines in one write: other tests write at the same time. Without a stream there is nobody to tell.
    let _ = stderr().write_all(format!("SKIPPED: {why}\n").as_bytes());
}
