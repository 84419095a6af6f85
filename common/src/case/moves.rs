//! Where the moves of a case leave it.
//!
//! A move counts if it is a step of the table from where the case stood for its writer: from what
//! follows from the entries before it, and from nothing that came in later. Of moves that did not
//! know of each other the heavier one wins; what was overlooked by it is looked at again.

use super::{
    entry::Says,
    lifecycle::{CaseState, ENTRIES_MAX, Step, days_closed, is_no_step},
};
use crate::{
    document::{Entry, EntryKey, History},
    time::UtcMs,
};

/// What is said with authority, in the order of keys, and where that leaves the case.
pub(super) struct Moves<'a> {
    history: &'a History<Says>,
    version: u32,
    /// Moves that are steps of the table.
    pub(super) steps: Vec<&'a EntryKey>,
    continued: Vec<&'a EntryKey>,
    questions: Vec<&'a EntryKey>,
    triggers: Vec<(&'a EntryKey, UtcMs)>,
}

/// Where the moves leave a case.
pub(super) struct Standing<'a> {
    pub(super) state: CaseState,
    /// The move that counts; none while nobody has moved it.
    pub(super) by: Option<&'a EntryKey>,
    /// Moves that lost against it without knowing of it.
    pub(super) superseded: Vec<&'a EntryKey>,
}

impl<'a> Moves<'a> {
    /// Looks at what is said. Moves that are no steps come back with the reason.
    pub(super) fn of(
        history: &'a History<Says>,
        said: &[(&'a EntryKey, &'a Entry<Says>)],
        version: u32,
    ) -> (Self, Vec<(&'a EntryKey, &'static str)>) {
        let keys = |wanted: fn(&Says) -> bool| -> Vec<&'a EntryKey> {
            said.iter().filter(|(_, entry)| wanted(&entry.says)).map(|(key, _)| *key).collect()
        };
        let mut void = Vec::new();
        let mut continued = Vec::new();
        for key in keys(|s| matches!(s, Says::Continued { .. })) {
            if history.depth(key) >= ENTRIES_MAX {
                continued.push(key);
            } else {
                void.push((key, "the case is not too long to go on here"));
            }
        }
        let mut moves = keys(|s| matches!(s, Says::Moved { .. }));
        let mut this = Self {
            history,
            version,
            steps: Vec::new(),
            continued,
            questions: keys(|s| matches!(s, Says::Escalated { question: Some(_), .. })),
            triggers: said
                .iter()
                .filter_map(|(key, entry)| match &entry.says {
                    Says::Triggered { since, .. } => Some((*key, *since)),
                    _ => None,
                })
                .collect(),
        };
        if version < 2 {
            this.steps = moves;
            return (this, void);
        }
        // Each after those before it, so that it is known which of these are steps.
        moves.sort_by_key(|key| (history.depth(key), *key));
        for key in moves {
            match this.refuses(key) {
                Some(why) => void.push((key, why)),
                None => this.steps.push(key),
            }
        }
        (this, void)
    }

    fn refuses(&self, key: &EntryKey) -> Option<&'static str> {
        let entry = self.history.get(key)?;
        let closings = self.steps.iter().filter(|step| self.leads(step) == Some(CaseState::Closed));
        let closed =
            closings.filter(|step| self.history.is_before(step, key)).filter_map(|step| self.history.get(step));
        let closed_days = closed.map(|closing| days_closed(closing.at, entry.at)).min();
        is_no_step(key.actor.kind, self.standing(Some(key)).state, &Step::of(&entry.says)?, closed_days)
    }

    fn leads(&self, key: &EntryKey) -> Option<CaseState> {
        match &self.history.get(key)?.says {
            Says::Moved { to, .. } => Some(*to),
            _ => None,
        }
    }

    fn since(&self, key: &EntryKey) -> Option<UtcMs> {
        match &self.history.get(key)?.says {
            Says::Moved { since, .. } => Some(*since),
            _ => None,
        }
    }

    /// Where the case stands, or where it stood for the writer of `before`.
    pub(super) fn standing(&self, before: Option<&EntryKey>) -> Standing<'a> {
        let seen = |key: &EntryKey| before.is_none_or(|before| self.history.is_before(key, before));
        let steps: Vec<&EntryKey> = self.steps.iter().copied().filter(|key| seen(key)).collect();
        let mut latest = self.history.latest(&steps);
        latest.sort_by_key(|key| {
            (self.leads(key).map(CaseState::weight), self.history.get(key).map(|entry| entry.hlc), *key)
        });
        let by = latest.pop();
        let mut state = by.and_then(|key| self.leads(key)).unwrap_or(CaseState::Open);
        let works_on = |key: &&EntryKey| matches!(self.leads(key), Some(CaseState::InProgress | CaseState::Waiting));
        if state == CaseState::Closed && self.version >= 2 && latest.iter().any(works_on) {
            // Whoever works on it did not know that it was closed, and the work goes on.
            state = CaseState::Reopened;
        }
        if let Some(by) = by.filter(|_| state == CaseState::Resolved) {
            if self.questions.iter().any(|asked| seen(asked) && !self.history.is_before(asked, by)) {
                // Whoever resolved it had not seen the question, so it is not answered.
                state = CaseState::InProgress;
            } else if self.fired_after(by, seen) {
                state = CaseState::Reopened;
            }
        }
        if self.continued.iter().any(|key| seen(key)) {
            state = CaseState::Closed;
        }
        Standing { state, by, superseded: latest }
    }

    /// Whether the trigger fired again later than the matter was resolved, by fix time. A trigger learned late
    /// but fired earlier is evidence, no reopening.
    fn fired_after(&self, resolve: &EntryKey, seen: impl Fn(&EntryKey) -> bool) -> bool {
        let resolved = self.since(resolve);
        let fired = |(key, since): &(&EntryKey, UtcMs)| {
            seen(key) && resolved.is_some_and(|resolved| *since > resolved) && !self.history.is_before(key, resolve)
        };
        self.triggers.iter().any(fired)
    }

    /// How often it came back: resolves that a later trigger or a person undid.
    pub(super) fn reopens(&self) -> u32 {
        let leading = |to| self.steps.iter().filter(move |key| self.leads(key) == Some(to)).copied();
        let undone = |resolve: &&EntryKey| {
            let reopened = leading(CaseState::Reopened).any(|reopening| {
                let between = |other: &EntryKey| {
                    self.history.is_before(resolve, other) && self.history.is_before(other, reopening)
                };
                self.history.is_before(resolve, reopening) && !leading(CaseState::Resolved).any(between)
            });
            reopened || self.fired_after(resolve, |_| true)
        };
        u32::try_from(leading(CaseState::Resolved).filter(undone).count()).unwrap_or(u32::MAX)
    }
}
