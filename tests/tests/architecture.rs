//! The maps are true: what ARCHITECTURE.md names is there, and so are the tests of every row of the two tables.

use std::path::Path;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Texts between back quotes, with the line they stand on.
fn quoted(map: &str) -> Vec<(usize, Vec<&str>)> {
    map.lines().enumerate().map(|(n, line)| (n + 1, line.split('`').skip(1).step_by(2).collect())).collect()
}

/// What a map names and the project does not have.
fn missing(map: &str) -> Vec<String> {
    let mut missing = Vec::new();
    for (line, names) in quoted(map) {
        for (n, name) in names.iter().enumerate() {
            if !name.contains('/') || name.contains(' ') {
                continue;
            }
            // Rooms are named from their package's `src`.
            let places = ["", "common/src/", "agent/src/", "hub/src/"];
            let Some(found) = places.iter().map(|place| root().join(place).join(name)).find(|path| path.exists())
            else {
                missing.push(format!("line {line}: {name}"));
                continue;
            };
            let function = names.get(n + 1).filter(|_| name.ends_with(".rs"));
            if let Some(function) = function {
                let text = std::fs::read_to_string(found).unwrap_or_default();
                let has = ["(", "<"].iter().any(|next| text.contains(&format!("fn {function}{next}")));
                if !has {
                    missing.push(format!("line {line}: fn {function} in {name}"));
                }
            }
        }
    }
    missing
}

#[test]
fn every_file_and_function_of_the_map_exists() {
    let map = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let walks = map.lines().filter(|line| line.contains(".rs` `")).count();
    assert!(walks >= 30, "two walks are expected, {walks} steps found");
    assert_eq!(missing(&map), Vec::<String>::new());
}

#[test]
fn a_file_or_function_that_is_not_there_is_named() {
    assert_eq!(missing("1. `agent/src/driver.rs` `commit`: there"), Vec::<String>::new());
    assert_eq!(missing("1. `agent/src/driver.rs` `comit`: no"), ["line 1: fn comit in agent/src/driver.rs"]);
    assert_eq!(missing("\n`agent/src/drivers.rs` `commit`"), ["line 2: agent/src/drivers.rs"]);
}

/// The lines of a page's table whose first cell is a number, as `13b`, with that number.
fn numbered(page: &str) -> Vec<(&str, &str)> {
    let rows = page.lines().filter_map(|line| Some((line.strip_prefix("| ")?.split(" |").next()?, line)));
    rows.filter(|(number, _)| number.starts_with(|c: char| c.is_ascii_digit())).collect()
}

/// Whether a file has a test whose name begins so.
fn has_test(file: &str, begins: &str) -> bool {
    let text = std::fs::read_to_string(root().join(file)).unwrap_or_default();
    text.match_indices(&format!("fn {begins}")).any(|(at, _)| {
        let before = text[..at].trim_end();
        before.strip_suffix("async").unwrap_or(before).trim_end().ends_with("test]")
    })
}

/// What is wrong with a page that says of rows 1 to `last` which tests show them.
fn not_shown(page: &str, last: u32) -> Vec<String> {
    let rows = numbered(page);
    let mut wrong = Vec::new();
    for number in (1..=last).map(|n| n.to_string()) {
        let of_row: Vec<&str> = rows.iter().filter(|(n, _)| *n == number).map(|(_, line)| *line).collect();
        let [line] = of_row[..] else {
            wrong.push(format!("row {number} is there {} times", of_row.len()));
            continue;
        };
        let (mut file, mut names) = ("", 0);
        let begins = format!("row_{number}_");
        for quoted in line.split('`').skip(1).step_by(2) {
            if quoted.contains('/') {
                file = quoted;
                if !has_test(file, &begins) {
                    wrong.push(format!("row {number}: no test of it in {file}"));
                }
                continue;
            }
            names += 1;
            if !quoted.starts_with(&begins) || !has_test(file, &format!("{quoted}(")) {
                wrong.push(format!("row {number}: {quoted} is no test of it in {file}"));
            }
        }
        if file.is_empty() || (names == 0 && !line.contains("`common/tests/")) {
            wrong.push(format!("row {number}: no test of the fold and none of the hub by its name"));
        }
    }
    wrong
}

#[test]
fn every_row_of_concurrent_pairs_has_tests_of_its_own_name() {
    let page = std::fs::read_to_string(root().join("docs/rows.md")).unwrap();
    assert_eq!(not_shown(&page, 35), Vec::<String>::new());
    assert_eq!(numbered(&page).len(), 35);
}

#[test]
fn a_row_that_is_missing_or_whose_test_is_not_there_is_named() {
    let fold = "| 12 | a | b | `common/tests/dispatch_pairs.rs` | |";
    let hub = "| 13 | a | b | | `hub/src/core/reconcile/tests/rows.rs` `row_13_what_left_two_depots_is_no_test` |";
    let only = |line: &str, row: &str| -> Vec<String> {
        not_shown(line, 35).into_iter().filter(|wrong| wrong.starts_with(&format!("row {row}"))).collect()
    };
    assert_eq!(only(fold, "12"), Vec::<String>::new());
    assert_eq!(only("", "12"), ["row 12 is there 0 times"]);
    assert_eq!(only(&format!("{fold}\n{fold}"), "12"), ["row 12 is there 2 times"]);
    let elsewhere = fold.replace("dispatch_pairs", "case_pairs");
    assert_eq!(only(&elsewhere, "12"), ["row 12: no test of it in common/tests/case_pairs.rs"]);
    let file = "hub/src/core/reconcile/tests/rows.rs";
    assert_eq!(only(hub, "13"), [format!("row 13: row_13_what_left_two_depots_is_no_test is no test of it in {file}")]);
    let unnamed = format!("| 13 | a | b | | `{file}` |");
    assert_eq!(only(&unnamed, "13"), ["row 13: no test of the fold and none of the hub by its name"]);
}

#[test]
fn every_step_of_a_dispatch_has_a_test_of_its_own_name() {
    let page = std::fs::read_to_string(root().join("docs/documents.md")).unwrap();
    let steps: Vec<&str> = numbered(&page).into_iter().map(|(number, _)| number).collect();
    let expected = "1 2 3 4 5 6 7 8 9 10 11 12 13 13b 14 15";
    assert_eq!(steps.join(" "), expected);
    let file = "common/tests/dispatch_steps.rs";
    let untested: Vec<&str> = steps.into_iter().filter(|n| !has_test(file, &format!("step_{n}_"))).collect();
    assert_eq!(untested, Vec::<&str>::new());
    assert!(!has_test(file, "step_16_") && !has_test(file, "planned("), "what is no test is none");
}
