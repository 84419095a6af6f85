//! One thing wrong at a time.

use crate::partners::edi::{Wrong, read};

const GOOD: &str = "ISA*00*          *00*          *ZZ*CARRIER        *ZZ*HUB            *261123*2000*U*00401*000000007*0*P*>~\nGS*QM*CARRIER*HUB*20261123*2000*7*X*004010~\nST*214*0001~\nB10*PRO1*DSP1001*ABCD~\nLX*1~\nAT7*SD*AI***20261123*1958*UT~\nSE*5*0001~\nGE*1*7~\nIEA*1*000000007~\n";
const REPORT: &str = "UNA:+.? 'UNB+UNOC:3+A:14+B:14+261123:2000+7'UNH+1+IFTSTA:D:01B:UN'BGM+23+N1+9'CNI+1+DSP?+1'STS+1+24'UNT+5+1'UNZ+1+7'";

/// Where a text is wrong: segment, tag, element, component.
fn place(text: &str) -> (u32, String, Option<u16>, Option<u16>, Wrong) {
    let fault = match read(text.as_bytes()) {
        Err(fault) => fault,
        Ok(read) => read.iter().flat_map(|i| i.faults()).next().unwrap_or_else(|| panic!("taken: {text}")).clone(),
    };
    assert!(!fault.detail.is_empty());
    (fault.segment, fault.tag, fault.element, fault.component, fault.wrong)
}

fn x12(from: &str, to: &str) -> (u32, String, Option<u16>, Option<u16>, Wrong) {
    assert_eq!(GOOD.matches(from).count(), 1, "{from}");
    place(&GOOD.replacen(from, to, 1))
}

fn edifact(from: &str, to: &str) -> (u32, String, Option<u16>, Option<u16>, Wrong) {
    assert_eq!(REPORT.matches(from).count(), 1, "{from}");
    place(&REPORT.replacen(from, to, 1))
}

#[test]
fn what_is_good_is_taken() {
    for text in [GOOD, REPORT] {
        let read = read(text.as_bytes()).unwrap();
        assert_eq!(read[0].faults().next(), None);
        assert_eq!(read[0].control.trim_start_matches('0'), "7");
    }
    let read = read(REPORT.as_bytes()).unwrap();
    let cni = &read[0].groups[0].messages[0].segments[2];
    assert_eq!(cni.get(2), "DSP+1", "a released character stands for itself");
}

#[test]
fn each_count_and_number_of_an_envelope_is_held_against_what_is_there() {
    let at = |n, tag: &str, element, wrong| (n, tag.to_owned(), Some(element), None, wrong);
    assert_eq!(x12("SE*5*", "SE*6*"), at(7, "SE", 1, Wrong::Count));
    assert_eq!(x12("SE*5*0001", "SE*5*0002"), at(7, "SE", 2, Wrong::Reference));
    assert_eq!(x12("GE*1*7", "GE*2*7"), at(8, "GE", 1, Wrong::Count));
    assert_eq!(x12("GE*1*7", "GE*1*8"), at(8, "GE", 2, Wrong::Reference));
    assert_eq!(x12("IEA*1*000000007", "IEA*1*000000008"), at(9, "IEA", 2, Wrong::Reference));
    assert_eq!(x12("IEA*1", "IEA*2"), at(9, "IEA", 1, Wrong::Count));
    assert_eq!(edifact("UNT+5", "UNT+6"), at(6, "UNT", 1, Wrong::Count));
    assert_eq!(edifact("UNT+5+1", "UNT+5+2"), at(6, "UNT", 2, Wrong::Reference));
    assert_eq!(edifact("UNZ+1+7", "UNZ+1+8"), at(7, "UNZ", 2, Wrong::Reference));
    assert_eq!(edifact("UNZ+1", "UNZ+2"), at(7, "UNZ", 1, Wrong::Count));
}

#[test]
fn bad_codes_and_short_dates_are_told_with_their_element() {
    assert_eq!(x12("20261123*1958", "2026112*1958").4, Wrong::BadDate);
    assert_eq!(x12("20261123*1958", "20261323*1958").2, Some(5));
    assert_eq!(x12("20261123*1958", "20261123*2558"), (6, "AT7".to_owned(), Some(6), None, Wrong::BadTime));
    assert_eq!(x12("AT7*SD*AI**", "AT7*SD*AI*AA*").4, Wrong::Exclusion);
    assert_eq!(x12("AT7*SD*AI", "AT7**").4, Wrong::ConditionMissing);
    assert_eq!(x12("AT7*SD", "AT7*SDX").4, Wrong::TooLong);
    assert_eq!(x12("DSP1001*ABCD", "DSP1001*A"), (4, "B10".to_owned(), Some(3), None, Wrong::TooShort));
    assert_eq!(x12("DSP1001*ABCD", "DSP1001").4, Wrong::ElementMissing);
    assert_eq!(x12("LX*1", "LX*one").4, Wrong::BadCharacter);
    assert_eq!(x12("GS*QM", "GS*SM").4, Wrong::NotOfGroup);
    assert_eq!(x12("LX*1", "l*1").4, Wrong::SegmentUnknown);
    assert_eq!(edifact("STS+1+24'", "STS+1+24+LONG'").2, Some(3));
    assert_eq!(edifact("CNI+1+DSP?+1'", "RFF+BN:1'").4, Wrong::SegmentMissing);
    assert_eq!(edifact("BGM+23+N1+9'", "BGM+23+N1+9'DTM+137:2026:203'").3, Some(2));
}

#[test]
fn a_file_that_is_cut_off_is_refused_at_every_length() {
    for text in [GOOD, REPORT] {
        for end in 0..text.trim_end().len() {
            assert!(read(&text.as_bytes()[..end]).is_err(), "{:?}", &text[..end]);
        }
    }
}

#[test]
fn a_message_without_its_trailer_does_not_take_the_next_one_with_it() {
    let two = GOOD.replacen("SE*5*0001~\n", "ST*214*0002~\nB10*PRO1*DSP1002*ABCD~\nSE*3*0002~\n", 1);
    let read = read(two.replacen("GE*1*7", "GE*2*7", 1).as_bytes()).unwrap();
    let group = &read[0].groups[0];
    assert_eq!(group.messages[0].faults[0].wrong, Wrong::TrailerMissing);
    assert!(group.is_good(&group.messages[1]));
}

#[test]
fn lines_may_be_broken_anywhere_and_delimiters_are_the_senders() {
    for (text, marks) in [(GOOD, ["*", "~", ">"]), (REPORT, ["+", "'", ":"])] {
        let flat = text.replace('\n', "");
        let broken: String =
            flat.chars().enumerate().flat_map(|(n, c)| [Some(c), (n % 70 == 69).then_some('\n')]).flatten().collect();
        let whole = read(flat.as_bytes()).unwrap();
        assert_eq!(read(broken.as_bytes()).unwrap(), whole, "{marks:?}");
    }
    let other = GOOD.replace('*', "|").replace('~', "\u{2026}");
    assert_eq!(read(other.as_bytes()).unwrap()[0].faults().next(), None);
    let line = GOOD.replace("~\n", "\n");
    assert_eq!(read(line.as_bytes()).unwrap()[0].faults().next(), None, "the end of a line ends a segment");
    let windows = GOOD.replace("~\n", "\r\n");
    assert_eq!(read(windows.as_bytes()).unwrap()[0].faults().next(), None);
    let quiet = REPORT.replace("?+", "").replace("UNA:+.? '", "UNA:+,  '");
    assert_eq!(read(quiet.as_bytes()).unwrap()[0].faults().next(), None, "without a release character");
}

#[test]
fn what_is_too_large_is_refused_before_it_is_read() {
    let big = vec![b'A'; crate::partners::edi::FILE_MAX_BYTES + 1];
    assert!(read(&big).unwrap_err().detail.contains("more than"));
    let wide = GOOD.replacen("LX*1", &format!("LX*{}", "*".repeat(500)), 1);
    assert_eq!(place(&wide).4, Wrong::TooMany);
}
