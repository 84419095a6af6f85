//! The trials of bad lines and of bytes that mean harm, in little: what `./run trials network` and `hostile` try at length.

use std::process::Command;

/// Runs the program; it must be content, and its lines are shown.
fn holds(arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_gatehouse-fleet")).args(arguments).output().unwrap();
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}:\n{said}\n{told}");
    assert!(said.contains(" passed, 0 failed"), "{said}");
}

#[test]
fn a_depot_and_the_hub_agree_soon_after_a_bad_line_is_whole_again() {
    holds(&["network", "--short", "--cases", "100"]);
}

#[test]
fn bytes_that_mean_harm_end_nothing_and_take_no_memory_and_nobody_honest_fails() {
    // Other tests run beside it, so it is not judged how long anybody waits.
    holds(&["hostile", "1000", "--peace", "1", "--no-waits"]);
}
