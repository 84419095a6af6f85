//! Who sends and fetches EDI files, and how each is called in envelopes.

use std::{collections::BTreeSet, path::PathBuf};

use gatehouse_common::id::{ActorName, CarrierId};
use serde::Deserialize;

use super::read::{Problem, Section};
use crate::partners::edi::Party;

/// `[[partners]]`
#[derive(Debug, Clone, PartialEq)]
pub struct PartnerConfig {
    /// `name`: how it is called here. A token of the same name with the scope `edi` may leave its files by HTTP.
    pub name: ActorName,
    /// `qualifier`, default `ZZ`, and `id`: how it calls itself in envelopes. Files of another sender are refused.
    pub party: Party,
    /// `own_qualifier`, default `ZZ`, and `own_id`: how it calls the hub there. Files to another receiver are refused.
    pub own: Party,
    /// `folder_in`: where its files appear. Read every few seconds; each file is moved to `done` or `refused` in it.
    pub folder_in: Option<PathBuf>,
    /// `folder_out`: where files for it are put. Without one they are kept, and read at `/v1/edi`.
    pub folder_out: Option<PathBuf>,
    /// `utc_offset_minutes`: how far its local time is ahead of UTC, -840 to 840. Default 0.
    pub utc_offset_minutes: i16,
    /// `carrier`: the carrier that it is; messages about a carrier's work go to that one. Default: none.
    pub carrier: Option<CarrierId>,
    /// `scac`: the carrier's standard code in messages, 2 to 4 letters. Default: `carrier`.
    pub scac: Option<String>,
    /// `sends`: which messages go to it by themselves, of `204` (a cancellation), `214` and `945`. Default: none.
    pub sends: BTreeSet<Sends>,
    /// `test`: whether what is written to it is marked as a test. Default false.
    pub test: bool,
}

/// A message that is written by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Sends {
    /// A load is taken back from its carrier.
    #[serde(rename = "204")]
    Cancel,
    /// A load has left, or was handed over.
    #[serde(rename = "214")]
    Status,
    /// What was shipped of an order.
    #[serde(rename = "945")]
    Advice,
}

impl PartnerConfig {
    pub(super) fn read(section: &mut Section, problems: &mut Vec<Problem>) -> Option<Self> {
        const ID: &str = "give the name in envelopes, at most 15 letters and digits";
        const OFFSET: &str = "give minutes from -840 to 840, such as 60";
        let name = section.required("name", "give the partner's name, such as \"acme\"", problems);
        let mut party = |qualifier, id| {
            let code: Option<String> = section.optional(qualifier, "give two characters, such as \"ZZ\"", problems);
            let found: Option<String> = section.required(id, ID, problems);
            let code = code.unwrap_or_else(|| "ZZ".to_owned());
            if code.chars().count() != 2 {
                problems.push(section.problem(qualifier, "has not two characters", "give two, such as \"ZZ\""));
            }
            if found.as_ref().is_some_and(|id| id.is_empty() || id.len() > 15 || !id.is_ascii()) {
                problems.push(section.problem(id, "cannot stand in an envelope", ID));
            }
            Some(Party { qualifier: code, id: found? })
        };
        let (own, party) = (party("own_qualifier", "own_id"), party("qualifier", "id"));
        let folder_in = section.optional_path("folder_in", problems);
        let folder_out = section.optional_path("folder_out", problems);
        let offset: i16 = section.optional("utc_offset_minutes", OFFSET, problems).unwrap_or_default();
        if !(-840..=840).contains(&offset) {
            problems.push(section.problem("utc_offset_minutes", format!("is {offset}"), OFFSET));
        }
        let carrier = section.optional("carrier", "give the carrier's name in orders", problems);
        let scac: Option<String> = section.optional("scac", "give 2 to 4 letters", problems);
        if scac.as_ref().is_some_and(|s| !(2..=4).contains(&s.len()) || !s.chars().all(|c| c.is_ascii_alphanumeric())) {
            problems.push(section.problem("scac", "is no carrier code", "give 2 to 4 letters"));
        }
        let sends = section.optional("sends", "list some of \"204\", \"214\" and \"945\"", problems);
        let test = section.optional("test", "give true or false", problems).unwrap_or(false);
        section.finish(problems);
        Some(Self {
            name: name?,
            party: party?,
            own: own?,
            folder_in,
            folder_out,
            utc_offset_minutes: offset,
            carrier,
            scac,
            sends: sends.unwrap_or_default(),
            test,
        })
    }

    /// The carrier's code in messages.
    #[must_use]
    pub fn carrier_code(&self) -> String {
        let carrier = self.carrier.as_ref().map_or("", CarrierId::as_str);
        self.scac.clone().unwrap_or_else(|| carrier.to_owned())
    }
}

/// Tells names that occur twice, and folders that two share.
pub(super) fn refuse_twins<'a>(partners: impl Iterator<Item = &'a PartnerConfig>, problems: &mut Vec<Problem>) {
    let (mut names, mut folders) = (BTreeSet::new(), BTreeSet::new());
    for partner in partners {
        if !names.insert(&partner.name) {
            let what = format!("{} is listed twice", partner.name);
            problems.push(Problem::new("partners", what, "give each partner a name of its own"));
        }
        for folder in [&partner.folder_in, &partner.folder_out].into_iter().flatten() {
            if !folders.insert(folder) {
                let what = format!("{} is the folder of two", folder.display());
                problems.push(Problem::new("partners", what, "give each partner and direction a folder of its own"));
            }
        }
    }
}
