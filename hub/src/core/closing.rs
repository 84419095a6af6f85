//! When the hub closes a case by itself, and what becomes of one that it closed before all of it was known.
//!
//! In: a case, since when it is at rest, whether reconciliation has something open. Out: what to say; once it is said,
//! asking again gives nothing. Never reads the clock, the network or the store.

use std::collections::BTreeSet;

use gatehouse_common::{
    case::{
        CaseState, CaseView, Says,
        lifecycle::{REOPEN_WITHIN_DAYS, days_closed},
    },
    document::{Document, EntryKey, History},
    time::UtcMs,
};

use super::opening::Opening;

/// What closes a resolved case; none while it stays as it is.
///
/// `rests_since` is when the hub last learned of something in it, by the hub's own clock: that of the device which
/// resolved it may be wrong by years. It closes once it rests for `after_ms` and reconciliation has nothing open of it.
#[must_use]
pub fn close(view: &CaseView, rests_since: UtcMs, has_open_items: bool, after_ms: i64, now: UtcMs) -> Option<Says> {
    let may_close = view.state == CaseState::Resolved && !view.waits_for_upgrade && !has_open_items;
    let reason = "it is resolved for a while, and nothing of it is left to be reconciled";
    (may_close && now.since(rests_since) >= after_ms).then(|| moved(CaseState::Closed, reason, now))
}

/// Whether a closed case may be taken up again at `now`. What comes later is a new case.
#[must_use]
pub fn may_reopen(view: &CaseView, now: UtcMs) -> bool {
    // Only the hub closes, and of such a move both times are the hub's.
    let is_recent = |closed: UtcMs| days_closed(closed, now) < REOPEN_WITHIN_DAYS;
    view.state == CaseState::Closed && view.continued_in.is_none() && view.moved_at.is_some_and(is_recent)
}

/// How a closed case is taken up again.
#[derive(Debug, Clone, PartialEq)]
pub enum TakenUp {
    /// It goes on: this is said in it.
    Again(Says),
    /// It was closed too long ago: this case follows it.
    Anew(Opening),
}

/// What is to be done about a closed case of whose document something was not known when it was closed, and would have
/// kept it from that: its depot was cut off while its trigger fired again, or a question waited. Where it only
/// was resolved the fold takes it up again; a closed one only the hub can.
#[must_use]
pub fn take_up(document: &Document, view: &CaseView, now: UtcMs) -> Option<TakenUp> {
    if view.state != CaseState::Closed || view.continued_in.is_some() || view.waits_for_upgrade {
        return None;
    }
    let history = History::new(document.entries::<Says>().0);
    let reason = overlooked(&history, view)?;
    Some(if may_reopen(view, now) {
        TakenUp::Again(moved(CaseState::Reopened, reason, now))
    } else {
        TakenUp::Anew(Opening {
            case_type: view.case_type,
            subject: view.subject.clone(),
            leg: view.leg.clone(),
            occurrence: view.occurrence.saturating_add(1),
            site: view.site.clone(),
            summary: view.summary.clone(),
            order: view.order.clone(),
            blocks: view.blocks,
            owner: Some(view.owner),
        })
    })
}

/// What whoever closed the case last had not seen, in words; none if nothing of it mattered.
fn overlooked(history: &History<Says>, view: &CaseView) -> Option<&'static str> {
    let void: BTreeSet<&EntryKey> = view.void.iter().map(|(key, _)| key).collect();
    let last = |wanted: CaseState| {
        let moves = history.iter().filter(|(key, entry)| {
            !void.contains(key) && matches!(&entry.says, Says::Moved { to, .. } if *to == wanted)
        });
        history.last(&moves.map(|(key, _)| key).collect::<Vec<_>>())
    };
    let closing = last(CaseState::Closed)?;
    let resolved = last(CaseState::Resolved).and_then(|key| match &history.get(key)?.says {
        Says::Moved { since, .. } => Some(*since),
        _ => None,
    });
    let mut unseen = history.iter().filter(|(key, _)| !void.contains(key) && !history.is_before(key, closing));
    unseen.find_map(|(_, entry)| match &entry.says {
        Says::Triggered { since, .. } if resolved.is_some_and(|resolved| *since > resolved) => {
            Some("its trigger had fired again, which was not known when it was closed")
        }
        Says::Escalated { question: Some(_), .. } => Some("a question in it was not known when it was closed"),
        _ => None,
    })
}

fn moved(to: CaseState, reason: &str, now: UtcMs) -> Says {
    Says::Moved { to, since: now, reason: reason.to_owned(), auto_cleared: false, how: None }
}

#[cfg(test)]
mod tests {
    use gatehouse_common::{
        case::{CaseType, dedup_key, document_id, fold},
        document::{Actor, Entry, with_fold},
        time::Hlc,
    };

    use super::*;

    const HUB: &str = "hub/HQ/hub-1/1";
    const DEPOT: &str = "site/D1/gw-1/1";
    const HOUR_MS: i64 = 3_600_000;

    fn at(hours: i64) -> UtcMs {
        UtcMs(hours * HOUR_MS)
    }

    fn write(document: &mut Document, actor: &str, hours: i64, says: Vec<Says>) {
        let actor: Actor = actor.parse().unwrap();
        let entries = document.entries::<Says>().0;
        let says = with_fold(&entries, says);
        let mut after = History::new(entries).heads();
        for says in says {
            let hlc = Hlc { ms: at(hours).0, n: 0 };
            let entry = Entry { after, at: at(hours), hlc, by: "test".into(), says };
            after = document.append(&actor, &[entry]).unwrap().0;
        }
    }

    fn resolved(hours: i64) -> Says {
        let reason = "the door is free".to_owned();
        Says::Moved { to: CaseState::Resolved, since: at(hours), reason, auto_cleared: true, how: None }
    }

    fn triggered(hours: i64) -> Says {
        Says::Triggered { since: at(hours), evidence: "blocked again".into() }
    }

    /// Opened by its depot at 0 h and resolved there at 1 h.
    fn at_rest() -> Document {
        let mut document = Document::new().unwrap();
        let opened = Says::Opened {
            case_type: CaseType::DockBlocked,
            subject: "door 3".into(),
            leg: "-".into(),
            occurrence: 1,
            site: "D1".parse().unwrap(),
            since: at(0),
            summary: "door 3 is blocked".into(),
            order: None,
            blocks: None,
            follows: None,
        };
        write(&mut document, DEPOT, 0, vec![opened]);
        write(&mut document, DEPOT, 1, vec![resolved(1)]);
        document
    }

    /// The same at two places: the hub closes it at 30 h, `depot` says something that the hub does not know of.
    fn closed_over(depot: impl Fn(&mut Document)) -> Document {
        let mut here = at_rest();
        let mut there = Document::load(&here.save()).unwrap();
        let says = close(&fold(&here).unwrap(), at(2), false, 24 * HOUR_MS, at(30)).unwrap();
        write(&mut here, HUB, 30, vec![says]);
        depot(&mut there);
        for chunk in there.chunks() {
            here.apply_own(&chunk.bytes).unwrap();
        }
        here
    }

    #[test]
    fn a_case_closes_once_it_rests_for_a_day_by_the_hubs_clock_and_nothing_of_it_is_open() {
        let document = at_rest();
        let view = fold(&document).unwrap();
        let closes = |view: &CaseView, hours: i64, open: bool| {
            // It was taken in at 2 h; by its device's clock it was resolved earlier, which does not matter.
            close(view, at(2), open, 24 * HOUR_MS, at(hours)).is_some()
        };
        assert!(!closes(&view, 25, false), "23 hours are no day");
        assert!(closes(&view, 26, false));
        assert!(!closes(&view, 26, true), "a recon item is open");
        let mut early = document;
        write(&mut early, HUB, 26, vec![close(&view, at(2), false, 24 * HOUR_MS, at(26)).unwrap()]);
        let after = fold(&early).unwrap();
        assert_eq!((after.state, after.void.len()), (CaseState::Closed, 0));
        assert!(!closes(&after, 99, false), "once");
        let mut again = at_rest();
        write(&mut again, DEPOT, 3, vec![triggered(3)]);
        assert!(!closes(&fold(&again).unwrap(), 99, false), "it was taken up again");
    }

    #[test]
    fn a_trigger_that_was_not_known_when_a_case_was_closed_takes_it_up_again_once() {
        let mut document = closed_over(|depot| write(depot, DEPOT, 5, vec![triggered(5)]));
        let view = fold(&document).unwrap();
        assert_eq!(view.state, CaseState::Closed, "the fold leaves it to the hub");
        let Some(TakenUp::Again(says)) = take_up(&document, &view, at(40)) else { panic!() };
        write(&mut document, HUB, 40, vec![says]);
        let view = fold(&document).unwrap();
        assert_eq!((view.state, view.void.len()), (CaseState::Reopened, 0));
        assert_eq!(take_up(&document, &view, at(41)), None);
        // Resolved and closed again by whoever knows of it: that is the end.
        write(&mut document, DEPOT, 42, vec![resolved(42)]);
        let says = close(&fold(&document).unwrap(), at(42), false, 24 * HOUR_MS, at(70)).unwrap();
        write(&mut document, HUB, 70, vec![says]);
        assert_eq!(take_up(&document, &fold(&document).unwrap(), at(71)), None);
    }

    #[test]
    fn what_a_closing_overlooked_and_what_changes_nothing_leaves_the_case_closed() {
        for says in [triggered(1), Says::Acted { action: "looked".into(), outcome: "free".into() }] {
            let document = closed_over(|depot| write(depot, DEPOT, 5, vec![says.clone()]));
            assert_eq!(take_up(&document, &fold(&document).unwrap(), at(40)), None, "{says:?}");
        }
        let mut question = closed_over(|_| {});
        assert_eq!(take_up(&question, &fold(&question).unwrap(), at(40)), None);
        write(&mut question, HUB, 40, vec![Says::Escalated { level: 1, question: Some("whose pallet?".into()) }]);
        assert!(matches!(take_up(&question, &fold(&question).unwrap(), at(41)), Some(TakenUp::Again(_))));
    }

    #[test]
    fn what_comes_after_fourteen_days_is_a_new_case_that_follows_the_closed_one() {
        let document = closed_over(|depot| write(depot, DEPOT, 5, vec![triggered(5)]));
        let view = fold(&document).unwrap();
        let last = at(30 + 14 * 24 - 1);
        assert!(may_reopen(&view, last) && matches!(take_up(&document, &view, last), Some(TakenUp::Again(_))));
        let late = last.plus(HOUR_MS);
        let Some(TakenUp::Anew(opening)) = take_up(&document, &view, late) else { panic!() };
        assert_eq!((opening.occurrence, opening.owner), (2, Some(view.owner)));
        let says = opening.says(Default::default(), Some(view.severity), gatehouse_common::id::Hash32::ZERO, late);
        let first = document_id(&dedup_key(CaseType::DockBlocked, "door 3", "-"), 1);
        assert!(matches!(&says[0], Says::Opened { follows: Some(id), .. } if *id == first));
        // The control: in the closed one nothing would come of it any more.
        let mut closed = document;
        write(&mut closed, HUB, 30 + 14 * 24, vec![moved(CaseState::Reopened, "again", late)]);
        let view = fold(&closed).unwrap();
        assert_eq!((view.state, view.void.len()), (CaseState::Closed, 1));
    }
}
