//! IFTSTA: where consignments stand.

use super::write::Body;
use crate::partners::edi::{Message, Segment};

/// One status of one consignment (STS with what follows it).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// The consignment that it is about (CNI).
    pub consignment: String,
    /// References under it with their qualifiers (RFF), the qualifier first.
    pub references: Vec<(String, String)>,
    /// Category (9015): 1 is transport.
    pub category: String,
    /// What happened (C555), as it came.
    pub status: String,
    /// The list that the status is of (1131 and 3055); empty for recommendation 24.
    pub list: String,
    /// The sender's own words for it.
    pub words: String,
    /// Why (C556), as it came.
    pub reason: String,
    /// Date and its format (DTM 334, 7 or 178).
    pub at: [String; 2],
    /// Where (LOC), code and name.
    pub place: [String; 2],
    /// Equipment (EQD).
    pub equipment: String,
    /// Seals and their condition (SEL, element 4517).
    pub seals: Vec<(String, String)>,
}

/// A status report.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatusReport {
    /// Its own number (BGM).
    pub number: String,
    /// When it was written: date and format (DTM 137).
    pub written: [String; 2],
    /// What is told, in order.
    pub statuses: Vec<Status>,
}

impl StatusReport {
    /// Reads an IFTSTA that has no faults.
    #[must_use]
    pub fn read(message: &Message) -> Self {
        let mut read = Self::default();
        let mut consignment = String::new();
        // References before the first consignment are of all; those between a consignment and its first status, of it.
        let (mut of_all, mut of_it) = (Vec::new(), Vec::new());
        let (mut in_status, mut in_consignment) = (false, false);
        for segment in message.body() {
            let part = |n, c| segment.part(n, c).to_owned();
            match (segment.tag.as_str(), read.statuses.last_mut()) {
                ("BGM", _) => read.number = part(2, 1),
                ("DTM", None) if segment.part(1, 1) == "137" => read.written = [part(1, 2), part(1, 3)],
                ("CNI", _) => {
                    (consignment, in_status, in_consignment) = (part(2, 1), false, true);
                    of_it.clear();
                }
                ("STS", _) => {
                    in_status = true;
                    let list = format!("{}:{}", segment.part(2, 2), segment.part(2, 3));
                    read.statuses.push(Status {
                        consignment: consignment.clone(),
                        references: of_all.iter().chain(&of_it).cloned().collect(),
                        category: part(1, 1),
                        status: part(2, 1),
                        list: list.trim_matches(':').to_owned(),
                        words: part(2, 4),
                        reason: part(3, 1),
                        ..Status::default()
                    });
                }
                ("RFF", Some(status)) if in_status => status.references.push((part(1, 1), part(1, 2))),
                ("RFF", _) if in_consignment => of_it.push((part(1, 1), part(1, 2))),
                ("RFF", _) => of_all.push((part(1, 1), part(1, 2))),
                ("DTM", Some(status))
                    if status.at[0].is_empty() && ["334", "7", "178"].contains(&segment.part(1, 1)) =>
                {
                    status.at = [part(1, 2), part(1, 3)];
                }
                ("LOC", Some(status)) if status.place[0].is_empty() => status.place = [part(2, 1), part(2, 4)],
                ("EQD", Some(status)) => status.equipment = part(2, 1),
                ("SEL", Some(status)) => status.seals.push((part(1, 1), part(3, 1))),
                _ => {}
            }
        }
        read
    }

    /// The same as segments (D.01B).
    #[must_use]
    pub fn body(&self) -> Body {
        let [written, format] = &self.written;
        let mut out = vec![
            Segment::composed("BGM", &[&["23"], &[&self.number], &["9"]]),
            Segment::composed("DTM", &[&["137", written, format]]),
        ];
        for (n, status) in (1_u32..).zip(&self.statuses) {
            let list: Vec<&str> = status.list.splitn(2, ':').collect();
            let (list, agency) = (list.first().copied().unwrap_or(""), list.get(1).copied().unwrap_or(""));
            out.push(Segment::composed("CNI", &[&[n.to_string().as_str()], &[&status.consignment]]));
            let code = [status.status.as_str(), list, agency, status.words.as_str()];
            out.push(Segment::composed("STS", &[&[&status.category], &code, &[&status.reason]]));
            for (qualifier, value) in &status.references {
                out.push(Segment::composed("RFF", &[&[qualifier, value]]));
            }
            let [at, format] = &status.at;
            out.push(Segment::composed("DTM", &[&["334", at, format]]));
            let [place, name] = &status.place;
            if !place.is_empty() || !name.is_empty() {
                out.push(Segment::composed("LOC", &[&["175"], &[place, "", "", name]]));
            }
            if !status.equipment.is_empty() {
                out.push(Segment::composed("EQD", &[&["TE"], &[&status.equipment]]));
                for (seal, condition) in &status.seals {
                    out.push(Segment::composed("SEL", &[&[seal], &["CA"], &[condition]]));
                }
            }
        }
        ("IFTSTA", "D:01B:UN", out)
    }
}
