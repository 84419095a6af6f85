//! Orders from files, with the real program: every line ends as part of an order or among the rejects.

use std::{
    collections::BTreeSet,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use flate2::read::GzDecoder;
use serde_json::Value;
use tempfile::TempDir;

const MAP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/import/usaid-scms.toml");

fn import(folder: &Path, text: &str, rejects: &str) -> Output {
    std::fs::write(folder.join("lines.csv"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse-either"));
    command.args(["hub", "import", "orders", "lines.csv", "--map", MAP, "--rejects", rejects, "--json"]);
    command.args(["--database", "sqlite:hub.db"]).current_dir(folder).output().unwrap()
}

fn counts(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn read_csv(path: &Path) -> Vec<Vec<String>> {
    // Enough of CSV for what is looked at here: the first three columns of our own file have no quotes.
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().skip(1).map(|line| line.splitn(5, ',').map(str::to_owned).collect()).collect()
}

/// The whole file, where the real inputs lie beside the checkout.
fn real_lines() -> Option<String> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("GATEHOUSE_SHARED_DATA").map_or_else(beside, PathBuf::from);
    let path = folder.join("usaid-scms/lines.csv.gz");
    if !path.exists() {
        gatehouse_skipped::skipped("../shared/data/usaid-scms is not beside the checkout");
        return None;
    }
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    Some(text)
}

#[test]
fn every_line_of_a_real_file_with_dirty_references_is_an_order_or_a_reject_with_its_reason() {
    let Some(text) = real_lines() else { return };
    let folder = TempDir::new().unwrap();
    let first = counts(&import(folder.path(), &text, "rejects.csv"));
    let lines = text.lines().count() - 1;
    assert_eq!(first["lines"], lines);
    let sum = first["lines_in_orders"].as_u64().unwrap() + first["lines_rejected"].as_u64().unwrap();
    assert_eq!(sum, lines as u64);
    // Nearly all references lead somewhere; some deliveries were scheduled for two days.
    assert!(first["lines_rejected"].as_u64().unwrap() * 50 < sum, "{first}");
    let rejects = read_csv(&folder.path().join("rejects.csv"));
    assert_eq!(rejects.len() as u64, first["lines_rejected"].as_u64().unwrap());
    assert!(rejects.iter().all(|r| r[0].parse::<u64>().is_ok() && !r[3].is_empty() && !r[4].is_empty()), "{rejects:?}");

    // Asked of the store, not of the importer: the ids of all lines are there or among the rejects.
    let all: BTreeSet<&str> = text.lines().skip(1).map(|line| line.split(',').nth(4).unwrap()).collect();
    let rejected: BTreeSet<&str> = rejects.iter().map(|r| r[2].as_str()).collect();
    let store = rusqlite::Connection::open(folder.path().join("hub.db")).unwrap();
    let mut query = store.prepare("SELECT DISTINCT order_id FROM orders").unwrap();
    let written: BTreeSet<String> =
        query.query_map([], |row| row.get::<_, String>(0)).unwrap().collect::<Result<_, _>>().unwrap();
    let lost: Vec<_> = all.iter().filter(|id| !written.contains(**id) && !rejected.contains(*id)).collect();
    assert!(lost.is_empty(), "{lost:?}");

    let second = counts(&import(folder.path(), &text, "rejects-2.csv"));
    assert_eq!((&second["orders_written"], &second["orders_unchanged"]), (&Value::from(0), &first["orders"]));
    println!("{first}");
}

#[test]
fn rejects_are_never_written_over_and_nothing_is_imported_then() {
    let folder = TempDir::new().unwrap();
    let head = "id,project,asn_dn_no,country,fulfill_via,mode,scheduled,item,qty_packs,pack_price_usd,weight_kg_raw\n";
    let text = format!("{head}1,100-CI,DN-1,Chad,From RDC,Air,2009-09-14,Kit,4,23.70,See DN-9 (ID#:9)\n");
    let told = counts(&import(folder.path(), &text, "rejects.csv"));
    assert_eq!(told["lines_rejected"], 1);
    let rejects = std::fs::read_to_string(folder.path().join("rejects.csv")).unwrap();
    assert!(rejects.ends_with("2,1,DN-1,weight_kg_raw,\"refers to line 9, which is not there\"\n"), "{rejects}");
    let again = import(folder.path(), &text, "rejects.csv");
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("--rejects"));
}
