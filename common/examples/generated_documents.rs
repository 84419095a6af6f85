//! Writes generated documents into a folder, with the heads and the state that are expected of each.
//!
//! In: the folder, how many (200), the first seed (1). Out: `N.automerge` and `N.json` for each. Another program can
//! load them and compare; `tests/js-fold` does.

#![allow(clippy::unwrap_used, reason = "a tool for tests: what goes wrong is told as it is")]

#[path = "../tests/generated/mod.rs"]
mod generated;
#[path = "../tests/kept/mod.rs"]
mod kept;

use std::path::PathBuf;

fn main() {
    let mut args = std::env::args().skip(1);
    let folder = PathBuf::from(args.next().unwrap_or_else(|| "generated".to_owned()));
    let count: u64 = args.next().map_or(200, |text| text.parse().unwrap());
    let first: u64 = args.next().map_or(1, |text| text.parse().unwrap());
    for seed in first..first + count {
        let made = generated::generate(seed);
        kept::write(&folder, &seed.to_string(), made.kind, &made.document);
    }
    println!("{count} documents");
}
