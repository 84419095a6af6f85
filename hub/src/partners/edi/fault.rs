//! What is wrong, and where, with the code that an answer gives for it.

use std::fmt;

/// What is wrong with a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// The file is no interchange, too large, cut off, or its frame does not hold.
    File,
    /// A segment that cannot stand here.
    SegmentUnexpected,
    /// A segment that must be there is not.
    SegmentMissing,
    /// A tag that is none.
    SegmentUnknown,
    /// An element that must be there is not.
    ElementMissing,
    /// An element that another one asks for is not there.
    ConditionMissing,
    /// More elements than the segment has.
    TooMany,
    /// Fewer characters than the element has at least.
    TooShort,
    /// More characters than the element has at most.
    TooLong,
    /// A character that this kind of element cannot hold.
    BadCharacter,
    /// A code that is not in its list.
    BadCode,
    /// No date of the calendar.
    BadDate,
    /// No time of a day.
    BadTime,
    /// Two elements of which only one may be there.
    Exclusion,
    /// The trailer of a message is missing.
    TrailerMissing,
    /// A number in a trailer is not that of its header.
    Reference,
    /// A count in a trailer is not what is there.
    Count,
    /// A message that the group or its version cannot hold.
    NotOfGroup,
}

/// A place of a file that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which segment of the file, from 1.
    pub segment: u32,
    /// Its tag, as it came.
    pub tag: String,
    /// Which element of it, from 1, where it is one.
    pub element: Option<u16>,
    /// Which component of that, from 1, where it is one.
    pub component: Option<u16>,
    /// What is wrong.
    pub wrong: Wrong,
    /// The same for people, with what is expected.
    pub detail: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {} ({})", self.segment, self.tag)?;
        if let Some(element) = self.element {
            write!(f, ", element {element}")?;
        }
        if let Some(component) = self.component {
            write!(f, ", component {component}")?;
        }
        write!(f, ": {}", self.detail)
    }
}

impl std::error::Error for Fault {}

impl Fault {
    pub(super) fn of_file(detail: String) -> Self {
        Self { segment: 1, tag: String::new(), element: None, component: None, wrong: Wrong::File, detail }
    }

    pub(super) fn of_segment(segment: u32, tag: &str, wrong: Wrong, detail: impl Into<String>) -> Self {
        Self { segment, tag: tag.to_owned(), element: None, component: None, wrong, detail: detail.into() }
    }

    pub(super) fn at(mut self, element: usize) -> Self {
        self.element = u16::try_from(element).ok();
        self
    }

    pub(super) fn within(mut self, component: usize) -> Self {
        self.component = u16::try_from(component).ok();
        self
    }

    /// The code of X12 element 723 (of an element, in AK403).
    #[must_use]
    pub fn x12_element_code(&self) -> &'static str {
        match self.wrong {
            Wrong::ElementMissing => "1",
            Wrong::ConditionMissing => "2",
            Wrong::TooMany => "3",
            Wrong::TooShort => "4",
            Wrong::TooLong => "5",
            Wrong::BadCharacter => "6",
            Wrong::BadDate => "8",
            Wrong::BadTime => "9",
            Wrong::Exclusion => "10",
            _ => "7",
        }
    }

    /// The code of X12 element 720 (of a segment, in AK304).
    #[must_use]
    pub fn x12_segment_code(&self) -> &'static str {
        match self.wrong {
            Wrong::SegmentUnknown => "1",
            Wrong::SegmentUnexpected => "2",
            Wrong::SegmentMissing => "3",
            _ => "8",
        }
    }

    /// The code of X12 element 718 (of a message, in AK502).
    #[must_use]
    pub fn x12_message_code(&self) -> &'static str {
        match self.wrong {
            Wrong::NotOfGroup => "1",
            Wrong::TrailerMissing => "2",
            Wrong::Reference => "3",
            Wrong::Count => "4",
            _ => "5",
        }
    }

    /// The code of X12 element 716 (of a group, in AK905).
    #[must_use]
    pub fn x12_group_code(&self) -> &'static str {
        match self.wrong {
            Wrong::TrailerMissing => "3",
            Wrong::Reference => "4",
            Wrong::Count => "5",
            _ => "6",
        }
    }

    /// The code of EDIFACT element 0085.
    #[must_use]
    pub fn edifact_code(&self) -> &'static str {
        match self.wrong {
            Wrong::ElementMissing | Wrong::ConditionMissing | Wrong::SegmentMissing | Wrong::TrailerMissing => "13",
            Wrong::SegmentUnexpected | Wrong::SegmentUnknown | Wrong::NotOfGroup => "15",
            Wrong::TooMany => "16",
            Wrong::BadCharacter => "37",
            Wrong::Reference => "28",
            Wrong::Count => "29",
            Wrong::TooLong => "39",
            Wrong::TooShort => "40",
            Wrong::File => "18",
            Wrong::BadCode | Wrong::BadDate | Wrong::BadTime | Wrong::Exclusion => "12",
        }
    }
}
