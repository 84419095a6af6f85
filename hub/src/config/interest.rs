//! What a subscriber wants to hear of.

use std::collections::BTreeSet;

use gatehouse_common::id::{ActorName, SiteId};

use super::read::{Problem, Section};

/// Who is told of what, whatever the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interest {
    /// How the subscriber is called in the store.
    pub name: String,
    /// Which events, such as `dispatch.departed`, or `case.*` for all that begin so. Empty: all.
    pub types: BTreeSet<String>,
    /// Of which depots. Empty: all.
    pub sites: BTreeSet<SiteId>,
    /// How old news may be when it is told.
    pub expires_minutes: u32,
}

impl Interest {
    /// Whether an event of this type at this depot is for the subscriber.
    #[must_use]
    pub fn wants(&self, kind: &str, site: &SiteId) -> bool {
        let fits = |wanted: &String| match wanted.strip_suffix('*') {
            Some(begin) => kind.starts_with(begin),
            None => kind == wanted,
        };
        (self.types.is_empty() || self.types.iter().any(fits)) && (self.sites.is_empty() || self.sites.contains(site))
    }
}

/// What every subscription says of what it wants to hear.
pub(super) struct Wanted {
    /// `types`.
    pub types: BTreeSet<String>,
    /// `sites`.
    pub sites: BTreeSet<SiteId>,
    /// `expires_minutes`.
    pub expires_minutes: u32,
}

impl Wanted {
    /// Reads it; where nothing is said of how old news may be, that is `usual_minutes`.
    pub fn read(section: &mut Section, usual_minutes: u32, problems: &mut Vec<Problem>) -> Self {
        const MINUTES: &str = "give minutes from 1 to 10080";
        let types = section.optional("types", "list types, such as [\"case.*\"]", problems).unwrap_or_default();
        let sites = section.optional("sites", "list depots, such as [\"D1\"], or leave it out", problems);
        let expires_minutes = section.optional("expires_minutes", MINUTES, problems).unwrap_or(usual_minutes);
        if !(1..=10_080).contains(&expires_minutes) {
            problems.push(section.problem("expires_minutes", format!("is {expires_minutes}"), MINUTES));
        }
        Self { types, sites: sites.unwrap_or_default(), expires_minutes }
    }
}

/// Tells names of subscriptions that occur twice in the list `key`.
pub(super) fn refuse_twins<'a>(key: &str, names: impl Iterator<Item = &'a ActorName>, problems: &mut Vec<Problem>) {
    let mut known = BTreeSet::new();
    for name in names {
        if !known.insert(name) {
            problems.push(Problem::new(
                key,
                format!("{name} is listed twice"),
                "give each subscription a name of its own",
            ));
        }
    }
}
