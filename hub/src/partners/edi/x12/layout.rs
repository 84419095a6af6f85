//! What the segments and messages of X12 look like: lengths, kinds, and the code lists that decide something here.
//!
//! Written down from 004010 as road transport uses it, with the longer lengths of later releases. Code lists that only
//! describe are not checked: an unknown status is a status all the same, kept as it came.

use crate::partners::edi::{
    Fault, Message, Segment, Wrong,
    check::{self, Kind, Layout, Spec},
};

const fn an(min: usize, max: usize) -> Spec {
    Spec::new(Kind::Text, min, max)
}
const fn n0(max: usize) -> Spec {
    Spec::new(Kind::Whole, 1, max)
}
const fn r(max: usize) -> Spec {
    Spec::new(Kind::Decimal, 1, max)
}
const fn code(list: &'static [&'static str]) -> Spec {
    Spec::new(Kind::Code(list), 1, 10)
}
const DATE: Spec = Spec::new(Kind::Date, 8, 8);
const TIME: Spec = Spec::new(Kind::Time, 4, 8);
const ANY: Spec = Spec::new(Kind::Any, 0, 0);

/// Element 353, purpose of a message: original, cancellation, change, replacement, and what else partners send.
const PURPOSES: &[&str] = &["00", "01", "02", "03", "04", "05", "06", "07", "13", "14", "15", "22", "24", "49", "53"];
/// Element 163, why a vehicle stops.
const STOPS: &[&str] =
    &["AL", "CL", "CN", "CU", "DR", "DT", "HT", "IN", "LD", "LE", "PA", "PL", "PU", "RT", "SL", "SU", "TL", "UL", "WL"];
/// Element 558, what a carrier answers to a tender.
const ANSWERS: &[&str] = &["A", "B", "C", "D", "E", "N", "P", "R", "S", "X"];
/// Element 1005, how the levels of a ship notice are nested.
const STRUCTURES: &[&str] = &["0001", "0002", "0003", "0004", "0005", "0006", "0010", "ZZZZ"];
/// Elements 717 and 715, what became of a message and of a group.
const OF_MESSAGE: &[&str] = &["A", "E", "M", "R", "W", "X"];
const OF_GROUP: &[&str] = &["A", "E", "M", "P", "R", "W", "X"];
/// Elements 720, 723 and those of 999.
const OF_SEGMENT: &[&str] = &["1", "2", "3", "4", "5", "6", "7", "8", "I4", "I6", "I7", "I8", "I9"];
const OF_ELEMENT: &[&str] =
    &["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "12", "13", "I6", "I9", "I10", "I11", "I12", "I13"];
const YES: &[&str] = &["0", "1"];
const USAGE: &[&str] = &["P", "T", "I"];

#[rustfmt::skip]
static SEGMENTS: &[(&str, Layout)] = &[
    ("ISA", &[&[an(2, 2).needed()], &[an(0, 10)], &[an(2, 2).needed()], &[an(0, 10)], &[an(2, 2).needed()],
        &[an(1, 15).needed()], &[an(2, 2).needed()], &[an(1, 15).needed()], &[Spec::new(Kind::Date, 6, 6).needed()],
        &[Spec::new(Kind::Time, 4, 4).needed()], &[an(1, 1).needed()], &[n0(5).needed()],
        &[Spec::new(Kind::Whole, 9, 9).needed()], &[code(YES).needed()], &[code(USAGE).needed()], &[ANY]]),
    ("IEA", &[&[n0(5).needed()], &[an(1, 9).needed()]]),
    ("GS", &[&[an(2, 2).needed()], &[an(2, 15).needed()], &[an(2, 15).needed()], &[Spec::new(Kind::Date, 6, 8).needed()],
        &[TIME.needed()], &[n0(9).needed()], &[an(1, 2).needed()], &[an(1, 12).needed()]]),
    ("GE", &[&[n0(6).needed()], &[n0(9).needed()]]),
    ("ST", &[&[an(3, 3).needed()], &[an(4, 9).needed()], &[an(1, 35)]]),
    ("SE", &[&[n0(10).needed()], &[an(4, 9).needed()]]),
    // Parties, references, dates: the same in every message.
    ("L11", &[&[an(1, 50)], &[an(2, 3)], &[an(1, 80)], &[ANY], &[ANY]]),
    ("N1", &[&[an(2, 3).needed()], &[an(1, 60)], &[an(1, 2)], &[an(2, 80)], &[an(2, 2)], &[an(2, 3)]]),
    ("N2", &[&[an(1, 60).needed()], &[an(1, 60)]]),
    ("N3", &[&[an(1, 55).needed()], &[an(1, 55)]]),
    ("N4", &[&[an(2, 30)], &[an(2, 2)], &[an(3, 15)], &[an(2, 3)], &[an(1, 2)], &[an(1, 30)], &[ANY]]),
    ("N9", &[&[an(2, 3).needed()], &[an(1, 50)], &[an(1, 45)], &[DATE], &[TIME], &[an(2, 2)], &[ANY]]),
    ("G61", &[&[an(2, 2).needed()], &[an(1, 60).needed()], &[an(2, 2)], &[an(1, 256)], &[an(1, 20)]]),
    ("G62", &[&[an(2, 2)], &[DATE], &[an(1, 2)], &[TIME], &[an(2, 2)]]),
    ("REF", &[&[an(2, 3).needed()], &[an(1, 50)], &[an(1, 80)], &[ANY]]),
    ("DTM", &[&[an(3, 3).needed()], &[DATE], &[TIME], &[an(2, 2)], &[an(2, 3)], &[an(1, 35)]]),
    ("LX", &[&[n0(6).needed()]]),
    // 204 and 990
    ("B2", &[&[an(1, 6)], &[an(2, 4)], &[an(6, 9)], &[an(1, 30)], &[an(1, 1)], &[an(2, 2).needed()], &[an(1, 3)],
        &[ANY], &[ANY], &[ANY], &[ANY], &[ANY]]),
    ("B2A", &[&[code(PURPOSES).needed()], &[an(2, 2)]]),
    ("S5", &[&[n0(3).needed()], &[code(STOPS).needed()], &[r(10)], &[an(1, 1)], &[r(10)], &[an(2, 2)], &[r(8)],
        &[an(1, 1)], &[an(1, 80)], &[ANY], &[ANY]]),
    ("B1", &[&[an(2, 4)], &[an(1, 30).needed()], &[DATE], &[code(ANSWERS)], &[ANY], &[ANY]]),
    // 214
    ("B10", &[&[an(1, 50)], &[an(1, 30)], &[an(2, 4).needed()], &[n0(3)], &[an(2, 3)], &[an(1, 50)], &[an(1, 1)],
        &[ANY], &[ANY]]),
    ("AT7", &[&[an(2, 2)], &[an(2, 2)], &[an(2, 2)], &[an(2, 2)], &[DATE], &[TIME], &[an(2, 2)]]),
    ("AT8", &[&[an(1, 2)], &[an(1, 1)], &[r(10)], &[n0(7)], &[n0(7)], &[an(1, 1)], &[r(8)]]),
    ("MS1", &[&[an(2, 30)], &[an(2, 2)], &[an(2, 3)], &[an(7, 7)], &[an(6, 7)], &[an(1, 1)], &[an(1, 1)], &[an(3, 15)]]),
    ("MS2", &[&[an(2, 4)], &[an(1, 10)], &[an(2, 2)], &[n0(1)]]),
    ("Q7", &[&[an(1, 1).needed()], &[an(3, 5)], &[n0(7)]]),
    // 945
    ("W06", &[&[an(1, 2).needed()], &[an(1, 22)], &[DATE], &[an(1, 30)], &[an(1, 30)], &[an(1, 22)], &[an(1, 30)],
        &[ANY], &[ANY], &[ANY], &[ANY]]),
    ("W12", &[&[an(2, 2).needed()], &[r(15)], &[r(15)], &[r(15)], &[an(2, 2)], &[an(12, 14)], &[an(2, 2)], &[an(1, 48)],
        &[an(1, 30)], &[r(10)], &[an(1, 2)], &[an(1, 1)], &[ANY], &[ANY], &[ANY], &[ANY], &[ANY], &[ANY], &[ANY],
        &[ANY], &[ANY], &[ANY]]),
    ("W03", &[&[r(10).needed()], &[r(10)], &[an(2, 2)], &[ANY], &[ANY], &[ANY], &[ANY]]),
    // 856
    ("BSN", &[&[code(PURPOSES).needed()], &[an(2, 30).needed()], &[DATE.needed()], &[TIME.needed()], &[code(STRUCTURES)],
        &[an(2, 2)], &[an(3, 3)]]),
    ("HL", &[&[an(1, 12).needed()], &[an(1, 12)], &[an(1, 2).needed()], &[code(YES)]]),
    ("LIN", &[&[an(1, 20)], &[an(2, 2).needed()], &[an(1, 48).needed()], &[an(2, 2)], &[an(1, 48)], &[an(2, 2)],
        &[an(1, 48)], &[an(2, 2)], &[an(1, 48)], &[an(2, 2)], &[an(1, 48)], &[an(2, 2)], &[an(1, 48)], &[an(2, 2)],
        &[an(1, 48)], &[an(2, 2)], &[an(1, 48)], &[an(2, 2)], &[an(1, 48)], &[an(2, 2)], &[an(1, 48)], &[an(2, 2)],
        &[an(1, 48)], &[an(2, 2)], &[an(1, 48)], &[an(2, 2)], &[an(1, 48)], &[an(2, 2)], &[an(1, 48)], &[an(2, 2)],
        &[an(1, 48)]]),
    ("SN1", &[&[an(1, 20)], &[r(10).needed()], &[an(2, 2).needed()], &[r(15)], &[r(15)], &[an(2, 2)], &[an(1, 1)],
        &[an(2, 2)]]),
    ("PRF", &[&[an(1, 22).needed()], &[an(1, 30)], &[an(1, 8)], &[DATE], &[an(1, 20)], &[an(1, 30)], &[an(2, 2)]]),
    ("MAN", &[&[an(1, 2).needed()], &[an(1, 48).needed()], &[an(1, 48)], &[an(1, 2)], &[an(1, 48)], &[an(1, 48)]]),
    ("CTT", &[&[n0(6).needed()], &[r(10)], &[ANY], &[ANY], &[ANY], &[ANY], &[ANY]]),
    // 997, and 999 that takes its place in later releases
    ("AK1", &[&[an(2, 2).needed()], &[n0(9).needed()], &[an(1, 12)]]),
    ("AK2", &[&[an(3, 3).needed()], &[an(4, 9).needed()], &[an(1, 35)]]),
    ("AK3", &[&[an(2, 3).needed()], &[n0(10).needed()], &[an(1, 6)], &[code(OF_SEGMENT)]]),
    ("AK4", &[&[n0(2).needed(), n0(2), n0(2)], &[n0(4)], &[code(OF_ELEMENT).needed()], &[an(1, 99)]]),
    ("AK5", &[&[code(OF_MESSAGE).needed()], &[an(1, 3)], &[an(1, 3)], &[an(1, 3)], &[an(1, 3)], &[an(1, 3)]]),
    ("AK9", &[&[code(OF_GROUP).needed()], &[n0(6).needed()], &[n0(6).needed()], &[n0(6).needed()], &[an(1, 3)],
        &[an(1, 3)], &[an(1, 3)], &[an(1, 3)], &[an(1, 3)]]),
    ("IK3", &[&[an(2, 3).needed()], &[n0(10).needed()], &[an(1, 6)], &[code(OF_SEGMENT).needed()]]),
    ("IK4", &[&[n0(2).needed(), n0(2), n0(2)], &[n0(4)], &[code(OF_ELEMENT).needed()], &[an(1, 99)]]),
    ("IK5", &[&[code(OF_MESSAGE).needed()], &[an(1, 3)], &[an(1, 3)], &[an(1, 3)], &[an(1, 3)], &[an(1, 3)]]),
];

/// Checks a segment, if its layout is known.
pub(super) fn check_segment(segment: &Segment, faults: &mut Vec<Fault>) {
    if let Some((_, layout)) = SEGMENTS.iter().find(|(tag, _)| *tag == segment.tag) {
        check::segment(segment, layout, faults);
    }
}

/// What a message must hold.
pub(super) struct Content {
    kind: &'static str,
    group: &'static str,
    /// The first segment after ST.
    first: &'static str,
    needed: &'static [&'static str],
    once: &'static [&'static str],
}

static CONTENTS: [Content; 7] = [
    Content { kind: "204", group: "SM", first: "B2", needed: &["B2A", "S5"], once: &["B2", "B2A"] },
    Content { kind: "990", group: "GF", first: "B1", needed: &[], once: &["B1"] },
    Content { kind: "214", group: "QM", first: "B10", needed: &[], once: &["B10"] },
    Content { kind: "945", group: "SW", first: "W06", needed: &[], once: &["W06", "W03"] },
    Content { kind: "856", group: "SH", first: "BSN", needed: &["HL"], once: &["BSN", "CTT"] },
    Content { kind: "997", group: "FA", first: "AK1", needed: &["AK9"], once: &["AK1", "AK9"] },
    Content { kind: "999", group: "FA", first: "AK1", needed: &["AK9"], once: &["AK1", "AK9"] },
];

/// The kind of group (GS01) that a message goes in, for those that are known here.
#[must_use]
pub fn group_of(kind: &str) -> Option<&'static str> {
    CONTENTS.iter().find(|c| c.kind == kind).map(|c| c.group)
}

impl Content {
    pub(super) fn of(kind: &str) -> Option<&'static Self> {
        CONTENTS.iter().find(|c| c.kind == kind)
    }

    pub(super) fn check(&self, message: &Message, end: &Segment, faults: &mut Vec<Fault>) {
        let body = message.body();
        let missing = |at: &Segment, tag: &str| {
            Fault::of_segment(at.number, &at.tag, Wrong::SegmentMissing, format!("{tag} must come before this"))
        };
        let first = body.first().unwrap_or(end);
        if first.tag != self.first {
            faults.push(missing(first, self.first));
        }
        for tag in self.needed.iter().filter(|tag| !body.iter().any(|s| s.tag == **tag)) {
            faults.push(missing(end, tag));
        }
        for tag in self.once {
            for again in body.iter().filter(|s| s.tag == *tag).skip(1) {
                let detail = "stands once in a message";
                faults.push(Fault::of_segment(again.number, tag, Wrong::SegmentUnexpected, detail));
            }
        }
        for segment in body {
            check_segment(segment, faults);
            conditions(segment, faults);
        }
        if self.group == "FA" {
            nested(body, faults);
        }
        if self.kind == "856" {
            levels(body, faults);
        }
    }
}

/// What one element says of another.
fn conditions(segment: &Segment, faults: &mut Vec<Fault>) {
    let wrong = |wrong, detail: &str| Fault::of_segment(segment.number, &segment.tag, wrong, detail);
    let given = |n| !segment.get(n).is_empty();
    match segment.tag.as_str() {
        "AT7" => {
            if given(1) && given(3) {
                faults.push(wrong(Wrong::Exclusion, "is a status, and element 3 an appointment: send one").at(1));
            } else if !given(1) && !given(3) {
                faults.push(wrong(Wrong::ConditionMissing, "neither status nor appointment is there").at(1));
            }
            if given(2) && !given(1) {
                faults.push(wrong(Wrong::ConditionMissing, "is missing, though a reason for it is there").at(1));
            }
            if given(6) && !given(5) {
                faults.push(wrong(Wrong::ConditionMissing, "is missing, though a time is there").at(5));
            }
        }
        _ => {}
    }
}

/// In an acknowledgement, what is said of a message comes between its AK2 and its AK5 (IK5 in 999).
fn nested(body: &[Segment], faults: &mut Vec<Fault>) {
    let mut open = false;
    for segment in body {
        let fits = match segment.tag.as_str() {
            "AK2" => {
                let fits = !open;
                open = true;
                fits
            }
            "AK5" | "IK5" => std::mem::replace(&mut open, false),
            "AK3" | "AK4" | "IK3" | "IK4" => open,
            "AK9" => !open,
            _ => true,
        };
        if !fits {
            let detail = "does not follow what comes before it: AK2, then its notes, then its AK5";
            faults.push(Fault::of_segment(segment.number, &segment.tag, Wrong::SegmentUnexpected, detail));
        }
    }
}

/// Each level of a ship notice lies under one that came before.
fn levels(body: &[Segment], faults: &mut Vec<Fault>) {
    let mut known = std::collections::BTreeSet::new();
    for level in body.iter().filter(|s| s.tag == "HL") {
        let above = level.get(2);
        if !above.is_empty() && !known.contains(above) {
            let detail = format!("no level {above:?} came before");
            faults.push(Fault::of_segment(level.number, "HL", Wrong::BadCode, detail).at(2));
        }
        if !known.insert(level.get(1)) {
            let detail = format!("level {:?} is there already", level.get(1));
            faults.push(Fault::of_segment(level.number, "HL", Wrong::BadCode, detail).at(1));
        }
    }
}
