//! Documents that are put into a folder, each with its heads and the state that is expected of it. Another program can
//! load them and compare; `tests/js-fold` does.

#![allow(dead_code, reason = "each program that includes it uses a part")]
#![allow(clippy::unwrap_used, reason = "a tool for tests: what goes wrong is told as it is")]

use std::{cell::Cell, path::Path};

use gatehouse_common::{case, dispatch, document::Document, id::DocumentKind};
use serde_json::{Value, json};

/// The state of a document as JSON; of what lost or does not count only which entries it is.
pub fn state(kind: DocumentKind, document: &Document) -> Value {
    let mut state = match kind {
        DocumentKind::Case => serde_json::to_value(case::fold(document)).unwrap(),
        DocumentKind::Dispatch => serde_json::to_value(dispatch::fold(document)).unwrap(),
    };
    for list in ["superseded", "void"] {
        for pair in state.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            *pair = pair[0].take();
        }
    }
    state
}

/// Writes `NAME.automerge` and `NAME.json` into `folder`, which is made if it is not there.
pub fn write(folder: &Path, name: &str, kind: DocumentKind, document: &Document) {
    let expected = json!({ "kind": kind.as_str(), "heads": document.heads(), "state": state(kind, document) });
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join(format!("{name}.automerge")), document.export()).unwrap();
    std::fs::write(folder.join(format!("{name}.json")), expected.to_string()).unwrap();
}

/// Puts a document that the test of a row of a table looks at into the folder that `GATEHOUSE_ROWS` names, under the
/// name of the test and a number; nothing where no folder is named, or in a test of no row.
pub fn keep(kind: DocumentKind, document: &Document) {
    thread_local! {
        static KEPT: Cell<u32> = const { Cell::new(0) };
    }
    let Some(folder) = std::env::var_os("GATEHOUSE_ROWS") else { return };
    // The harness runs each test on a thread of its name.
    let thread = std::thread::current();
    let test = thread.name().and_then(|name| name.rsplit("::").next()).unwrap();
    if !["row_", "step_"].iter().any(|row| test.starts_with(row)) {
        return;
    }
    KEPT.set(KEPT.get() + 1);
    write(Path::new(&folder), &format!("{test}-{}", KEPT.get()), kind, document);
}
