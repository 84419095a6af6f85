//! Who wins when depot and hub worked on one case apart: every row of the table of concurrent pairs that a case tells,
//! each folded on both sides and in both orders of arrival; and what its table of transitions forbids. With
//! `GATEHOUSE_ROWS` each row's documents are kept for the fold in JavaScript.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure report")]

mod kept;

use gatehouse_common::{
    case::{
        Axes, CaseState, CaseType, CaseView, How, Mark, Says, Severity, Team, WaitsFor, dedup_key, document_id, fold,
        lifecycle::way_to,
    },
    document::{Actor, Document, Entry, EntryKey, History, gate::inspect, with_fold},
    id::{DocumentKind, Hash32},
    time::{Hlc, UtcMs},
};

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

#[derive(Clone)]
struct Side {
    actor: Actor,
    document: Document,
    /// Minutes since the case began.
    clock: i64,
}

impl Side {
    fn new(actor: &str) -> Self {
        Self { actor: actor.parse().unwrap(), document: Document::new().unwrap(), clock: 0 }
    }

    fn says(&mut self, says: Says) -> EntryKey {
        self.clock += 1;
        let at = UtcMs(self.clock * MINUTE);
        let (entries, _) = self.document.entries::<Says>();
        let says = with_fold(&entries, vec![says]);
        let mut after = History::new(entries).heads();
        for says in says {
            let entry = Entry { after, at, hlc: Hlc { ms: at.0, n: 0 }, by: "test".into(), says };
            after = self.document.append(&self.actor, &[entry]).unwrap().0;
        }
        after.into_iter().next().unwrap()
    }

    fn at(&mut self, minutes: i64) -> &mut Self {
        self.clock = minutes - 1;
        self
    }

    /// Moves it there by the steps that lead there.
    fn moves(&mut self, to: CaseState) -> &mut Self {
        for to in way_to(self.view().state, to).unwrap() {
            self.says(step(to, self.clock + 1));
        }
        self
    }

    fn hears(&mut self, other: &Self) {
        for chunk in other.document.chunks() {
            self.document.admit(&inspect(&chunk.bytes).unwrap()).unwrap();
        }
    }

    /// Where it stands here. What a row's test looks at so, the fold in JavaScript looks at as well.
    fn view(&self) -> CaseView {
        kept::keep(DocumentKind::Case, &self.document);
        fold(&self.document).unwrap()
    }
}

fn step(to: CaseState, since_minutes: i64) -> Says {
    let how = How::of_move(to, "because", Some(WaitsFor::Customer), None, None).unwrap();
    let since = UtcMs(since_minutes * MINUTE);
    Says::Moved { to, since, reason: "because".into(), auto_cleared: false, how }
}

fn opened(case_type: CaseType) -> Says {
    Says::Opened {
        case_type,
        subject: "door 3".into(),
        leg: "-".into(),
        occurrence: 1,
        site: "D1".parse().unwrap(),
        since: UtcMs(0),
        summary: "door 3 is blocked".into(),
        order: None,
        blocks: None,
        follows: None,
    }
}

fn classified(severity: Severity, owner: Team) -> Says {
    let (acknowledge_by, resolve_by) = (UtcMs(9 * MINUTE), UtcMs(99 * MINUTE));
    let (axes, bundle) = (Axes::default(), Hash32::of(b""));
    Says::Classified { severity, axes, owner, actions: vec![], acknowledge_by, resolve_by, bundle }
}

fn triggered(since_minutes: i64) -> Says {
    Says::Triggered { since: UtcMs(since_minutes * MINUTE), evidence: "seen again".into() }
}

/// Opens a case that both know and work on, lets both act apart, then brings them together in either order.
fn apart(edge: impl FnOnce(&mut Side), hub: impl FnOnce(&mut Side)) -> (CaseView, Side, Side) {
    let mut depot = Side::new("site/D1/gw-1/1");
    let mut central = Side::new("hub/H/H/1");
    depot.says(opened(CaseType::DockBlocked));
    depot.says(classified(Severity::S3, Team::Warehouse));
    depot.moves(CaseState::InProgress);
    central.hears(&depot);
    central.clock = depot.clock;
    bring_together(depot, central, edge, hub)
}

fn bring_together(
    mut depot: Side,
    mut central: Side,
    edge: impl FnOnce(&mut Side),
    hub: impl FnOnce(&mut Side),
) -> (CaseView, Side, Side) {
    edge(&mut depot);
    hub(&mut central);
    let before = depot.clone();
    depot.hears(&central);
    central.hears(&before);
    assert_eq!(depot.document.heads(), central.document.heads());
    assert_eq!(depot.view(), central.view());
    (depot.view(), depot, central)
}

#[test]
fn row_22_a_case_that_a_delivery_settles_is_resolved_by_itself_from_wherever_it_stands() {
    let clears = |h: &mut Side| {
        let reason = "delivered 35 minutes late".to_owned();
        h.says(Says::Moved { to: CaseState::Resolved, since: UtcMs(0), reason, auto_cleared: true, how: None });
    };
    let (view, ..) = apart(
        |d| {
            d.says(step(CaseState::Waiting, 5));
        },
        clears,
    );
    assert_eq!((view.state, view.reason.as_deref()), (CaseState::Resolved, Some("delivered 35 minutes late")));
}

#[test]
fn row_23_resolved_stays_resolved_over_a_comment_and_goes_on_over_a_question() {
    let resolves = |d: &mut Side| _ = d.moves(CaseState::Resolved);
    let (view, ..) = apart(resolves, |h| {
        let (actor, at) = (h.actor.clone(), UtcMs(MINUTE));
        h.document.add_note(&actor, at, "looks good").unwrap();
        h.says(Says::Escalated { level: 1, question: None });
    });
    assert_eq!((view.state, view.notes.as_str()), (CaseState::Resolved, "looks good\n"));
    let (view, ..) = apart(resolves, |h| {
        h.says(Says::Escalated { level: 1, question: Some("who pays?".into()) });
    });
    assert_eq!(view.state, CaseState::InProgress);
}

#[test]
fn row_24_a_trigger_that_fired_after_the_resolve_reopens() {
    let (view, ..) = apart(|d| _ = d.moves(CaseState::Resolved), |h| _ = h.says(triggered(50)));
    assert_eq!((view.state, view.reopens, view.triggers), (CaseState::Reopened, 1, 2));
}

#[test]
fn row_25_a_trigger_that_fired_before_the_resolve_and_is_learned_later_is_evidence() {
    let (view, ..) = apart(|d| _ = d.moves(CaseState::Resolved), |h| _ = h.says(triggered(1)));
    assert_eq!((view.state, view.reopens, view.evidence.len()), (CaseState::Resolved, 0, 1));
}

#[test]
fn row_26_of_two_owners_the_hubs_counts_and_the_other_watches() {
    let (view, ..) = apart(
        |d| _ = d.at(30).says(Says::Assigned { owner: Team::Warehouse }),
        |h| _ = h.at(20).says(Says::Assigned { owner: Team::Finance }),
    );
    assert_eq!(view.owner, Team::Finance);
    assert!(view.watching_teams.contains(&Team::Warehouse));
    assert_eq!(view.superseded.len(), 1);
}

#[test]
fn row_27_a_raise_outweighs_a_lowering_that_had_not_seen_it() {
    let lowers = |d: &mut Side| _ = d.says(Says::SeverityLowered { severity: Severity::S4, reason: "calm".into() });
    let (view, mut depot, _) = apart(lowers, |h| _ = h.says(classified(Severity::S1, Team::Warehouse)));
    assert_eq!((view.severity, view.superseded.len()), (Severity::S1, 1), "the lowering stays visible");
    lowers(&mut depot);
    assert_eq!(depot.view().severity, Severity::S4, "who lowers it knowing of the raise begins a new epoch");
}

#[test]
fn row_28_two_that_open_a_case_of_one_matter_open_one_case_and_the_earlier_keeps_the_clock() {
    let key = dedup_key(CaseType::DockBlocked, "door 3", "-");
    assert_eq!(document_id(&key, 1), document_id(&key, 1));
    let opens = |at: i64| move |side: &mut Side| _ = side.at(at).says(opened(CaseType::DockBlocked));
    let (depot, central) = (Side::new("site/D1/gw-1/1"), Side::new("hub/H/H/1"));
    let (view, depot, mut central) = bring_together(depot, central, opens(10), opens(7));
    assert_eq!((view.opened_at, view.triggers), (UtcMs(7 * MINUTE), 2));

    // Another one ran beside it under a later occurrence: it is joined by alias.
    let other = document_id(&key, 2);
    central.says(Says::Aliased { case: other, opened_at: UtcMs(3 * MINUTE), touches: 4 });
    let touches = central.view().touches;
    assert_eq!((central.view().opened_at, touches), (UtcMs(3 * MINUTE), depot.view().touches + 4));
    assert!(central.view().aliases.contains(&other));
}

#[test]
fn row_29_the_earlier_of_two_acknowledgements_counts() {
    let mut depot = Side::new("site/D1/gw-1/1");
    depot.says(opened(CaseType::DockBlocked));
    let mut central = Side::new("hub/H/H/1");
    central.hears(&depot);
    let seen = |at: i64| move |side: &mut Side| _ = side.at(at).says(step(CaseState::Acknowledged, at));
    let (view, ..) = bring_together(depot, central, seen(65), seen(62));
    assert_eq!(view.acknowledged_at, Some(UtcMs(62 * MINUTE)));
}

#[test]
fn row_30_an_escalation_that_fired_on_both_sides_is_one() {
    let fires = |side: &mut Side| _ = side.says(Says::Escalated { level: 2, question: None });
    let (view, ..) = apart(fires, fires);
    assert_eq!(view.escalations.into_iter().collect::<Vec<_>>(), [2]);
}

#[test]
fn row_31_a_closed_case_is_reopened_by_work_that_did_not_know_and_only_noted_by_the_rest() {
    let closes = |h: &mut Side| _ = h.moves(CaseState::Resolved).moves(CaseState::Closed);
    let (view, mut depot, _) = apart(|d| _ = d.says(step(CaseState::Waiting, 5)), closes);
    assert_eq!(view.state, CaseState::Reopened);
    assert_eq!(depot.moves(CaseState::InProgress).view().state, CaseState::InProgress);
    let acts = |d: &mut Side| _ = d.says(Says::Acted { action: "called".into(), outcome: "moved the trailer".into() });
    let (view, ..) = apart(acts, closes);
    assert_eq!((view.state, view.taken.len()), (CaseState::Closed, 1));
}

#[test]
fn a_mark_that_was_set_again_elsewhere_outlives_its_removal() {
    let mark = || Says::Marked { mark: Mark::Watcher, value: "ann".into() };
    let removes = |side: &mut Side| _ = side.says(Says::Unmarked { mark: Mark::Watcher, value: "ann".into() });
    let (view, _, central) = apart(
        |d| _ = d.says(mark()),
        |h| {
            h.says(mark());
            removes(h);
        },
    );
    assert!(view.watchers.contains("ann"));
    let mut knowing = central;
    removes(&mut knowing);
    assert!(knowing.view().watchers.is_empty());
}

#[test]
fn a_step_that_does_not_begin_where_the_case_stood_counts_for_nothing() {
    let (view, ..) = apart(
        |d| {
            d.says(step(CaseState::Acknowledged, 1));
            d.says(step(CaseState::Closed, 2));
        },
        |h| {
            h.says(Says::Moved {
                to: CaseState::Resolved,
                since: UtcMs(1),
                reason: "no code".into(),
                auto_cleared: false,
                how: None,
            });
        },
    );
    assert_eq!((view.state, view.void.len()), (CaseState::InProgress, 3));
}

#[test]
fn the_clock_of_a_resolution_stands_still_for_a_customer_and_for_no_carrier() {
    let waits = |whom| {
        move |d: &mut Side| {
            let how = Some(How::WaitsFor(whom));
            d.at(10);
            d.says(Says::Moved {
                to: CaseState::Waiting,
                since: UtcMs(0),
                reason: "asked".into(),
                auto_cleared: false,
                how,
            });
        }
    };
    let (view, mut depot, _) = apart(waits(WaitsFor::Customer), |_| {});
    assert_eq!((view.waits_for, view.paused_since), (Some(WaitsFor::Customer), Some(UtcMs(10 * MINUTE))));
    depot.at(25).moves(CaseState::InProgress);
    assert_eq!((depot.view().paused_ms, depot.view().paused_since), (15 * MINUTE, None));
    let (view, mut depot, _) = apart(waits(WaitsFor::Carrier), |_| {});
    assert_eq!(view.paused_since, None);
    assert_eq!(depot.at(25).moves(CaseState::InProgress).view().paused_ms, 0);
}

#[test]
fn a_case_closed_for_two_weeks_is_not_taken_up_again_and_one_closed_yesterday_is() {
    for (days, state) in [(1, CaseState::Reopened), (14, CaseState::Closed)] {
        let (_, _, mut central) = apart(|_| {}, |h| _ = h.moves(CaseState::Resolved).moves(CaseState::Closed));
        let later = central.clock + 1 + days * DAY / MINUTE;
        central.at(later).says(step(CaseState::Reopened, later));
        assert_eq!(central.view().state, state, "{days} days");
    }
}

#[test]
fn a_case_goes_on_elsewhere_only_once_it_is_too_long() {
    let next = document_id("next", 2);
    let (view, mut depot, _) = apart(|d| _ = d.says(Says::Continued { case: next }), |_| {});
    assert_eq!((view.state, view.continued_in, view.void.len()), (CaseState::InProgress, None, 1));
    while depot.view().length < 200 {
        depot.says(triggered(1));
    }
    depot.says(Says::Continued { case: next });
    assert_eq!((depot.view().state, depot.view().continued_in), (CaseState::Closed, Some(next)));
}
