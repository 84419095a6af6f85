//! The map is true: what ARCHITECTURE.md names is there.

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
