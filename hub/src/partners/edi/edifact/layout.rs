//! What the segments of EDIFACT look like, and what the messages read here must hold.

use crate::partners::edi::{
    Fault, Message, Segment, Wrong,
    check::{self, Kind, Layout, Spec},
};

const fn an(max: usize) -> Spec {
    Spec::new(Kind::Text, 1, max)
}
const fn n(max: usize) -> Spec {
    Spec::new(Kind::Decimal, 1, max)
}
const fn code(list: &'static [&'static str]) -> Spec {
    Spec::new(Kind::Code(list), 1, 10)
}
const ANY: Spec = Spec::new(Kind::Any, 0, 0);

/// Element 0083, what became of an interchange, a group or a message.
const ACTIONS: &[&str] = &["1", "2", "4", "5", "6", "7", "8"];
const DAY: Spec = Spec::new(Kind::Date, 6, 8);
const HOUR: Spec = Spec::new(Kind::Time, 4, 4);

#[rustfmt::skip]
static SEGMENTS: &[(&str, Layout)] = &[
    ("UNB", &[&[Spec::new(Kind::Text, 4, 4).needed(), n(1).needed(), an(6), an(3), an(3)],
        &[an(35).needed(), an(4), an(35), an(35)], &[an(35).needed(), an(4), an(35), an(35)],
        &[DAY.needed(), HOUR.needed()], &[an(14).needed()], &[an(14), an(2)], &[an(14)], &[an(1)], &[n(1)], &[an(35)], &[n(1)]]),
    ("UNZ", &[&[n(6).needed()], &[an(14).needed()]]),
    ("UNG", &[&[an(6).needed()], &[an(35).needed(), an(4)], &[an(35).needed(), an(4)], &[DAY.needed(), HOUR.needed()],
        &[an(14).needed()], &[an(3).needed()], &[an(3).needed(), an(3).needed(), an(6)], &[an(14)]]),
    ("UNE", &[&[n(6).needed()], &[an(14).needed()]]),
    ("UNH", &[&[an(14).needed()], &[an(6).needed(), an(3).needed(), an(3).needed(), an(3).needed(), an(6), an(6), an(6)],
        &[an(35)], &[n(2), an(1)], &[ANY], &[ANY], &[ANY]]),
    ("UNT", &[&[n(10).needed()], &[an(14).needed()]]),
    ("UNS", &[&[an(1).needed()]]),
    ("BGM", &[&[an(3), an(17), an(3), an(35)], &[an(35), an(9), an(6)], &[an(3)], &[an(3)]]),
    ("DTM", &[&[an(3).needed(), an(35), an(3)]]),
    ("RFF", &[&[an(3).needed(), an(70), an(6), an(35), an(6)]]),
    ("NAD", &[&[an(3).needed()], &[an(35).within(), an(17), an(3)], &[an(35), an(35), an(35), an(35), an(35)],
        &[an(70), an(70), an(70), an(70), an(70), an(3)], &[an(35), an(35), an(35), an(35)], &[an(35)],
        &[an(9), an(17), an(3), an(70)], &[an(17)], &[an(3)]]),
    ("LOC", &[&[an(3).needed()], &[an(35), an(17), an(3), an(256)], &[an(25), an(17), an(3), an(70)],
        &[an(25), an(17), an(3), an(70)], &[an(3)]]),
    ("CNI", &[&[an(5)], &[an(35), an(3), an(35), an(3), an(9), an(6)], &[an(5)]]),
    ("STS", &[&[an(3), an(17), an(3)], &[an(3), an(17), an(3), an(35)], &[an(3), an(17), an(3), an(256)],
        &[an(3), an(17), an(3), an(256)], &[an(3), an(17), an(3), an(256)], &[an(3), an(17), an(3), an(256)],
        &[an(3), an(17), an(3), an(256)]]),
    ("EQD", &[&[an(3).needed()], &[an(17), an(17), an(3), an(3)], &[an(10), an(17), an(3), an(35)], &[an(3)], &[an(3)],
        &[an(3)], &[an(3)]]),
    ("SEL", &[&[an(35)], &[an(3), an(17), an(3), an(35)], &[an(3)], &[an(35), an(35)], &[an(3)]]),
    ("CPS", &[&[an(35).needed()], &[an(35)], &[an(3)]]),
    ("LIN", &[&[an(6)], &[an(3)], &[an(35), an(3), an(17), an(3)], &[an(3), an(6)], &[n(2)], &[an(3)]]),
    ("PIA", &[&[an(3).needed()], &[an(35), an(3), an(17), an(3)], &[an(35), an(3), an(17), an(3)],
        &[an(35), an(3), an(17), an(3)], &[an(35), an(3), an(17), an(3)], &[an(35), an(3), an(17), an(3)]]),
    ("QTY", &[&[an(3).needed(), n(35).needed(), an(8)]]),
    ("QVR", &[&[n(15), an(3)], &[an(3)], &[an(3), an(17), an(3), an(256)]]),
    ("CNT", &[&[an(3).needed(), n(18).needed(), an(8)]]),
    ("MOA", &[&[an(3).needed(), n(35), an(3), an(3), an(3)]]),
    ("PRI", &[&[an(3).needed(), n(15), an(3), an(3), n(9), an(8)], &[an(3)]]),
    ("CUX", &[&[an(3).needed(), an(3), an(3), n(4)], &[an(3), an(3), an(3), n(4)], &[n(12)], &[an(3)]]),
    ("UCI", &[&[an(14).needed()], &[an(35).needed(), an(4), an(35), an(35)], &[an(35).needed(), an(4), an(35), an(35)],
        &[code(ACTIONS).needed()], &[an(3)], &[an(3)], &[n(3), n(3)]]),
    ("UCM", &[&[an(14).needed()], &[an(6).needed(), an(3).needed(), an(3).needed(), an(3).needed(), an(6)],
        &[code(ACTIONS).needed()], &[an(3)], &[an(3)], &[n(3), n(3)]]),
    ("UCF", &[&[an(14).needed()], &[an(35), an(4)], &[an(35), an(4)], &[code(ACTIONS).needed()], &[an(3)], &[an(3)],
        &[n(3), n(3)], &[an(3)], &[an(3), an(3), an(6)]]),
    ("UCS", &[&[n(6).needed()], &[an(3)]]),
    ("UCD", &[&[an(3).needed()], &[n(3).needed(), n(3)]]),
];

/// Segments that stand once in any message.
const ONCE: [&str; 2] = ["BGM", "UNS"];

/// What a message must hold: its kind, its first segment, and what else.
static CONTENTS: [(&str, &str, &[&str]); 3] =
    [("IFTSTA", "BGM", &["CNI"]), ("DESADV", "BGM", &["CPS"]), ("CONTRL", "UCI", &[])];

/// Checks a segment, if its layout is known.
pub(super) fn check_segment(segment: &Segment, faults: &mut Vec<Fault>) {
    if let Some((_, layout)) = SEGMENTS.iter().find(|(tag, _)| *tag == segment.tag) {
        check::segment(segment, layout, faults);
    }
}

/// Checks a message of the United Nations' directories.
pub(super) fn check_message(message: &Message, end: &Segment, faults: &mut Vec<Fault>) {
    let body = message.body();
    for segment in body {
        check_segment(segment, faults);
        dates(segment, faults);
    }
    for tag in ONCE {
        for again in body.iter().filter(|s| s.tag == tag).skip(1) {
            faults.push(Fault::of_segment(again.number, tag, Wrong::SegmentUnexpected, "stands once in a message"));
        }
    }
    let Some((_, first, needed)) = CONTENTS.iter().find(|(kind, ..)| *kind == message.kind) else { return };
    let missing = |at: &Segment, tag: &str| {
        let tag_of: String = at.tag.chars().take(10).collect();
        Fault::of_segment(at.number, &tag_of, Wrong::SegmentMissing, format!("{tag} must come before this"))
    };
    let at = body.first().unwrap_or(end);
    if at.tag != *first {
        faults.push(missing(at, first));
    }
    for tag in needed.iter().filter(|tag| !body.iter().any(|s| s.tag == **tag)) {
        faults.push(missing(end, tag));
    }
}

/// A date is one in its format, where the format is one that is read here.
fn dates(segment: &Segment, faults: &mut Vec<Fault>) {
    use crate::partners::edi::when::{Ahead, edifact};
    if segment.tag != "DTM" || segment.part(1, 2).is_empty() {
        return;
    }
    let (text, format) = (segment.part(1, 2), segment.part(1, 3));
    let read = ["101", "102", "201", "202", "203", "204", "303", "304"].contains(&format);
    if read && edifact(text, format, Ahead(0)).is_none() {
        let detail = format!("{text:?} is no date in format {format}");
        faults.push(Fault::of_segment(segment.number, "DTM", Wrong::BadDate, detail).at(1).within(2));
    }
}
