//! That `./run test` counts each skip once, and that no test skips in a way that it does not see.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Set for the children of these tests only: to them the two tests below are tests that skip.
const CHILD: &str = "GATEHOUSE_SKIP_CONTROL";

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

#[test]
fn child_that_skips_as_it_should() {
    if is_child() {
        gatehouse_skipped::skipped("a control, which is to be counted");
    }
}

#[test]
fn child_that_skips_into_what_the_harness_swallows() {
    if is_child() {
        println!("SKIPPED: a control that nobody sees");
    }
}

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What `./run` counts in what one test of this file prints: passed, failed, skipped.
fn counted(test: &str, harness: &[&str]) -> String {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .args(harness)
        .env(CHILD, "1")
        .output()
        .unwrap();
    let mut count = Command::new(checkout().join("run"))
        .arg("counts")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = count.stdin.take().unwrap();
    log.write_all(&[child.stdout, child.stderr].concat()).unwrap();
    drop(log);
    String::from_utf8(count.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

#[test]
fn a_test_that_skips_is_counted_once_whether_its_output_is_captured_or_not() {
    assert_eq!(counted("child_that_skips_as_it_should", &[]), "1 0 1");
    assert_eq!(counted("child_that_skips_as_it_should", &["--nocapture"]), "1 0 1");
}

#[test]
fn a_skip_that_is_only_printed_is_not_counted_which_is_why_no_test_may_do_that() {
    assert_eq!(counted("child_that_skips_into_what_the_harness_swallows", &[]), "1 0 0");
}

#[test]
fn no_test_says_that_it_skips_by_a_line_of_its_own() {
    let mut folders = ["agent", "common", "hub", "tests"].map(|folder| checkout().join(folder)).to_vec();
    let (mut read, mut own) = (0, Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() && !entry.ends_with("node_modules") {
                folders.push(entry);
            } else if entry.extension().is_some_and(|ending| ending == "rs") {
                read += 1;
                if std::fs::read_to_string(&entry).unwrap().contains("ln!(\"SKIPPED") {
                    own.push(entry.file_name().unwrap().to_owned());
                }
            }
        }
    }
    assert!(read > 300, "only {read} files were read");
    // This file holds the control.
    assert_eq!(own, ["counted.rs"]);
}
