//! What a subscriber wants to hear of.

use std::collections::BTreeSet;

use gatehouse_common::id::SiteId;

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
