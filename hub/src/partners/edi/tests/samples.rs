//! Messages that others wrote, some of them malformed on purpose or by accident.
//!
//! They lie beside the checkout, in `../shared/data/edi-samples`, or where `GATEHOUSE_SHARED_DATA` names. Which of them are
//! malformed, and where first, was found by reading the files beside the standards; everything else must be taken.

use std::path::{Path, PathBuf};

use crate::partners::edi::{Fault, read};

/// File, segment, tag, element.
#[rustfmt::skip]
const MALFORMED: [(&str, u32, &str, Option<u16>); 47] = [
    // Messages without an envelope: no delimiters, no sender, no number.
    ("apimeister/d95b_coprar.edi", 1, "", None),
    ("apimeister/test_204_1.edi", 1, "", None),
    ("apimeister/test_301_1.edi", 1, "", None),
    ("apimeister/test_810_3.edi", 1, "", None),
    ("apimeister/test_997_1.edi", 1, "", None),
    ("apimeister/test_997_2.edi", 1, "", None),
    ("apimeister/test_iftsta_1.edi", 1, "", None),
    ("apimeister/test_iftsta_2.edi", 1, "", None),
    // ISA with its blanks lost, or without its last element.
    ("apimeister/test_214_2.edi", 1, "ISA", Some(2)),
    ("apimeister/test_322_1.edi", 1, "ISA", Some(2)),
    ("apimeister/test_322_2.edi", 1, "ISA", Some(2)),
    ("apimeister/test_322_3.edi", 1, "ISA", Some(2)),
    ("apimeister/test_322_4.edi", 1, "ISA", Some(2)),
    ("apimeister/test_810_1.edi", 1, "ISA", Some(2)),
    ("apimeister/test_856_2.edi", 1, "ISA", Some(2)),
    ("apimeister/test_856_8.edi", 1, "ISA", Some(2)),
    ("apimeister/test_940_8.edi", 1, "ISA", Some(2)),
    ("apimeister/test_940_6.edi", 1, "ISA", Some(10)),
    ("apimeister/test_940_4.edi", 1, "ISA", Some(16)),
    ("apimeister/test_940_5.edi", 1, "ISA", Some(16)),
    ("apimeister/test_940_7.edi", 1, "ISA", Some(16)),
    ("apimeister/test_940_9.edi", 1, "ISA", Some(16)),
    ("apimeister/test_940_10.edi", 1, "ISA", Some(16)),
    ("apimeister/test_940_11.edi", 1, "ISA", Some(16)),
    // Counts and numbers that differ between header and trailer.
    ("apimeister/004010_310.edi", 50, "IEA", Some(2)),
    ("apimeister/test_310_1.edi", 50, "IEA", Some(2)),
    ("apimeister/test_214_1.edi", 31, "IEA", Some(2)),
    ("apimeister/test_322_5.edi", 15, "IEA", Some(2)),
    ("apimeister/test_940_1.edi", 33, "IEA", Some(2)),
    ("apimeister/test_309_1.edi", 297, "SE", Some(1)),
    ("apimeister/test_315_3.edi", 15, "SE", Some(2)),
    ("apimeister/test_856_1.edi", 5, "SE", Some(1)),
    ("apimeister/test_856_4.edi", 16, "SE", Some(1)),
    ("apimeister/test_856_5.edi", 20, "SE", Some(1)),
    ("apimeister/test_856_6.edi", 19, "SE", Some(1)),
    ("apimeister/test_856_3.edi", 47, "GE", Some(1)),
    ("apimeister/test_856_7.edi", 47, "GE", Some(1)),
    ("apimeister/d00b_iftsta.edi", 33, "UNZ", Some(2)),
    // Eight digits where syntax version 2 has six; an empty segment; a name of one letter.
    ("apimeister/d04b_baplie.edi", 1, "UNB", Some(4)),
    ("apimeister/test_iftmin_1.edi", 55, "", None),
    ("apimeister/test_940_12.edi", 2, "GS", Some(2)),
    // Content, most of it on purpose.
    ("staedi/EDIFACT/invoic_d93a_una.edi", 6, "DTM", Some(1)),
    ("staedi/EDIFACT/invoic_d97b_bad.edi", 6, "NAD", Some(1)),
    ("staedi/EDIFACT/orders-with-group.edi", 2, "UNG", Some(7)),
    ("staedi/x12/nonnumeric_BIN01.edi", 4, "BIN", Some(1)),
    ("staedi/x12/sample275_with_HL7_invalid_BIN01.edi", 17, "BIN", Some(1)),
    ("staedi/x12/empty997.edi", 4, "SE", None),
];

/// Malformed on purpose, in more places than one: all of them must be told.
#[rustfmt::skip]
const IN_MANY_PLACES: [(&str, &[(u32, &str, Option<u16>)]); 4] = [
    ("staedi/x12/extraDelimiter997.edi", &[(6, "AK3", Some(2)), (6, "AK3", Some(4)), (7, "AK4", Some(4))]),
    ("staedi/x12/invalid997.edi", &[(4, "AK1", Some(1)), (7, "AK4", Some(2))]),
    ("staedi/x12/invalid997_min.edi", &[(2, "GS", Some(4)), (2, "GS", Some(5)), (7, "GE", Some(2)), (4, "AK1", Some(1))]),
    ("staedi/x12/invalid999.edi", &[(4, "IK5", None), (5, "AK1", Some(1)), (6, "AK2", Some(4)), (7, "IK5", Some(1)),
        (8, "IK5", None), (20, "SE", Some(1))]),
];

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "edi") {
            found.push(path);
        }
    }
}

/// Each sample under its name; none where they are not there.
fn samples() -> Option<Vec<(String, Vec<u8>)>> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = std::env::var_os("GATEHOUSE_SHARED_DATA").map_or_else(beside, PathBuf::from);
    let root = data.join("edi-samples");
    if !root.is_dir() {
        gatehouse_skipped::skipped("../shared/data/edi-samples is not beside the checkout");
        return None;
    }
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    let named = |path: &PathBuf| path.strip_prefix(&root).unwrap().display().to_string();
    Some(files.iter().map(|path| (named(path), std::fs::read(path).unwrap())).collect())
}

fn faults(bytes: &[u8]) -> Vec<Fault> {
    match read(bytes) {
        Err(fault) => vec![fault],
        Ok(read) => read.iter().flat_map(|i| i.faults().cloned().collect::<Vec<_>>()).collect(),
    }
}

#[test]
fn every_well_formed_sample_is_taken_and_every_malformed_one_refused_at_its_place() {
    let Some(samples) = samples() else { return };
    let (mut taken, mut refused) = (0, 0);
    for (name, bytes) in &samples {
        let found = faults(bytes);
        let place = |f: &Fault| (f.segment, f.tag.clone(), f.element);
        let found_at: Vec<_> = found.iter().map(place).collect();
        if let Some((_, places)) = IN_MANY_PLACES.iter().find(|(malformed, _)| malformed == name) {
            for (segment, tag, element) in *places {
                let expected = (*segment, (*tag).to_owned(), *element);
                assert!(found_at.contains(&expected), "{name}: {expected:?} is not told among {found:?}");
            }
            refused += 1;
        } else if let Some((_, segment, tag, element)) = MALFORMED.iter().find(|(malformed, ..)| malformed == name) {
            let expected = (*segment, (*tag).to_owned(), *element);
            assert_eq!(found_at.first(), Some(&expected), "{name}: {found:?}");
            refused += 1;
        } else {
            assert!(found.is_empty(), "{name} is well-formed: {found:?}");
            taken += 1;
        }
    }
    println!("{taken} samples taken, {refused} refused at their place");
    assert_eq!(refused, MALFORMED.len() + IN_MANY_PLACES.len(), "a malformed sample is missing");
    assert!(taken >= 45, "{taken}");
}

#[test]
fn a_message_without_an_envelope_is_taken_once_it_has_one() {
    let Some(samples) = samples() else { return };
    let text = |name: &str| {
        let (_, bytes) = samples.iter().find(|(found, _)| found == name).unwrap();
        String::from_utf8(bytes.clone()).unwrap()
    };
    let x12 = |name: &str, group: &str, count: u32| {
        let text = text(name);
        faults(format!("ISA*00*          *00*          *ZZ*A              *ZZ*B              *261123*2000*U*00401*000000007*0*P*>~GS*{group}*AA*BB*20261123*2000*7*X*004010~{text}GE*{count}*7~IEA*1*000000007~").as_bytes())
    };
    assert_eq!(x12("apimeister/test_997_1.edi", "FA", 1), []);
    assert_eq!(x12("apimeister/test_997_2.edi", "FA", 2), []);
    assert_eq!(x12("apimeister/test_301_1.edi", "RO", 1), []);
    // Its SE says 37 where 30 are.
    assert_eq!(
        x12("apimeister/test_204_1.edi", "SM", 1).first().map(|f| (f.tag.clone(), f.element)),
        Some(("SE".into(), Some(1)))
    );
    let edifact = |name: &str| faults(format!("UNB+UNOC:3+A+B+261123:2000+7'{}UNZ+1+7'", text(name)).as_bytes());
    assert_eq!(edifact("apimeister/test_iftsta_1.edi"), []);
}
