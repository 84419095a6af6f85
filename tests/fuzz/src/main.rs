//! One reader under libFuzzer; `GATEHOUSE_FUZZ_TARGET` names it.
//!
//! With `GATEHOUSE_FUZZ_SEEDS=DIR` it writes the seeds of that reader into the directory and ends.

#![no_main]
#![allow(missing_docs, reason = "the macro writes the functions that the fuzzer calls")]

use std::sync::LazyLock;

use gatehouse_tests::fuzz::{TARGETS, Target, target};

static CHOSEN: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("GATEHOUSE_FUZZ_TARGET").unwrap_or_default();
    target(&name).unwrap_or_else(|| {
        let names: Vec<&str> = TARGETS.iter().map(|t| t.name).collect();
        eprintln!("GATEHOUSE_FUZZ_TARGET={name:?} is no reader; there are {}", names.join(", "));
        std::process::exit(2);
    })
});

libfuzzer_sys::fuzz_target!(
    init: {
        if let Ok(directory) = std::env::var("GATEHOUSE_FUZZ_SEEDS") {
            for (n, seed) in (CHOSEN.seeds)().into_iter().enumerate() {
                let path = std::path::Path::new(&directory).join(format!("seed-{n:03}"));
                if let Err(error) = std::fs::write(&path, seed) {
                    eprintln!("{} cannot be written: {error}", path.display());
                    std::process::exit(2);
                }
            }
            std::process::exit(0);
        }
        // The fuzzer's own hook ends the program at each panic, also at those that the gate for chunks
        // catches. One that reaches the fuzzer still ends it.
        std::panic::set_hook(Box::new(|_| {}));
    },
    |bytes: &[u8]| (CHOSEN.run)(bytes)
);
