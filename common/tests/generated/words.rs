//! What the writers of generated documents say.

use gatehouse_common::{
    case::{self, Axes, CaseState, CaseType, How, Mark, Severity, Team, WaitsFor, lifecycle::way_to},
    decision::Mode,
    dispatch::{self, Changed, Evidence, HoldReason, TransitAction},
    document::EntryKey,
    id::{DocumentId, DocumentKind, Hash32},
    order::LineQuantity,
    reading::ProofLine,
    time::UtcMs,
};

use super::Dice;

const TYPES: [CaseType; 6] = [
    CaseType::DockBlocked,
    CaseType::CreditHold,
    CaseType::CustomsHold,
    CaseType::EtaRisk,
    CaseType::PodShort,
    CaseType::InvShortfall,
];
const STATES: [CaseState; 8] = [
    CaseState::Open,
    CaseState::Acknowledged,
    CaseState::InProgress,
    CaseState::Waiting,
    CaseState::Resolved,
    CaseState::Reopened,
    CaseState::Closed,
    CaseState::Cancelled,
];
const TEAMS: [Team; 4] = [Team::Dispatch, Team::Warehouse, Team::Finance, Team::CustomerService];
const SEVERITIES: [Severity; 4] = [Severity::S1, Severity::S2, Severity::S3, Severity::S4];
const WAITS: [WaitsFor; 4] = [WaitsFor::Carrier, WaitsFor::Customer, WaitsFor::Approval, WaitsFor::Connectivity];

fn id(n: usize) -> DocumentId {
    DocumentId::of(DocumentKind::Case, "another", u32::try_from(n).unwrap())
}

fn near(dice: &mut Dice, clock: i64) -> UtcMs {
    UtcMs(clock - 500_000 + i64::try_from(dice.below(1_000_000)).unwrap())
}

fn opened(dice: &mut Dice, clock: i64) -> case::Says {
    case::Says::Opened {
        case_type: *dice.of(&TYPES),
        subject: "door 3".into(),
        leg: "-".into(),
        occurrence: 1,
        site: "D1".parse().unwrap(),
        since: UtcMs(clock),
        summary: "door 3 is blocked".into(),
        order: dice.one_in(2).then(|| "SO-1".parse().unwrap()),
        blocks: dice.one_in(4).then(|| id(9)),
        follows: dice.one_in(4).then(|| id(8)),
    }
}

fn how(dice: &mut Dice, to: CaseState) -> Option<How> {
    if dice.one_in(12) {
        return None;
    }
    match to {
        CaseState::Waiting => Some(How::WaitsFor(*dice.of(&WAITS))),
        CaseState::Resolved => Some(How::Resolved { code: "swap".into(), cause: "flat tyre".into() }),
        CaseState::Cancelled if dice.one_in(2) => Some(How::FalseAlarm),
        CaseState::Cancelled => Some(How::DuplicateOf(id(dice.below(3)))),
        _ => None,
    }
}

/// Something about a case that stands at `state` for its writer.
pub fn of_case(dice: &mut Dice, clock: i64, state: Option<CaseState>, keys: &[EntryKey]) -> Vec<case::Says> {
    let Some(state) = state.filter(|_| !dice.one_in(25)) else {
        return if keys.is_empty() && dice.one_in(6) { Vec::new() } else { vec![opened(dice, clock)] };
    };
    let mark = if dice.one_in(2) { Mark::Watcher } else { Mark::Tag };
    let value = (*dice.of(&["ann", "bob", "urgent"])).to_owned();
    vec![match dice.below(30) {
        24..=29 | 0..=7 => {
            // Mostly a step that can be taken, sometimes any.
            let mut any = *dice.of(&STATES);
            if any == CaseState::Cancelled && !dice.one_in(4) {
                any = *dice.of(&[CaseState::Waiting, CaseState::Resolved, CaseState::Closed]);
            }
            let next = if dice.one_in(6) { None } else { way_to(state, any).and_then(|way| way.first().copied()) };
            let to = next.unwrap_or(any);
            let auto_cleared = to == CaseState::Resolved && dice.one_in(3);
            let reason = if dice.one_in(10) { String::new() } else { "because".to_owned() };
            case::Says::Moved { to, since: near(dice, clock), reason, auto_cleared, how: how(dice, to) }
        }
        8..=9 => case::Says::Classified {
            severity: *dice.of(&SEVERITIES),
            axes: Axes::default(),
            owner: *dice.of(&TEAMS),
            actions: vec!["look".into(), (*dice.of(&["call", "swap"])).to_owned()],
            acknowledge_by: UtcMs(clock + 300_000),
            resolve_by: UtcMs(clock + 900_000),
            bundle: Hash32::of(b"bundle"),
        },
        10..=12 => case::Says::Triggered { since: near(dice, clock), evidence: "seen again".into() },
        13..=14 => case::Says::Assigned { owner: *dice.of(&TEAMS) },
        15 => case::Says::SeverityLowered { severity: *dice.of(&SEVERITIES), reason: "not so bad".into() },
        16 => case::Says::Escalated {
            level: u8::try_from(dice.below(3)).unwrap() + 1,
            question: dice.one_in(2).then(|| "may it leave?".to_owned()),
        },
        17 => case::Says::Acted { action: "called".into(), outcome: "no answer".into() },
        18..=19 => case::Says::Marked { mark, value },
        20 => case::Says::Unmarked { mark, value },
        21 => case::Says::Attached { name: "photo".into(), hash: Hash32::of(b"photo") },
        22 => case::Says::Aliased { case: id(dice.below(3)), opened_at: near(dice, clock), touches: 2 },
        _ if dice.one_in(5) => case::Says::Fold { version: 3 },
        _ => case::Says::Continued { case: id(7) },
    }]
}

fn load(dice: &mut Dice) -> Vec<LineQuantity> {
    let quantity = *dice.of(&[8, 10, 10]);
    vec![LineQuantity { line: 1, product: "P1".parse().unwrap(), quantity }]
}

fn evidence(dice: &mut Dice, clock: i64) -> Evidence {
    Evidence { at: UtcMs(clock - i64::try_from(dice.below(1_500_000)).unwrap()), readings: vec!["seen".into()] }
}

fn planned(dice: &mut Dice, clock: i64) -> dispatch::Says {
    dispatch::Says::Planned {
        order: "SO-1".parse().unwrap(),
        order_version: dice.roll() % 3 + 1,
        site: "D1".parse().unwrap(),
        occurrence: 1,
        vehicle: dice.of(&["V1", "V2"]).parse().unwrap(),
        carrier: "C1".parse().unwrap(),
        door: "3".parse().unwrap(),
        load: load(dice),
        planned_departure: UtcMs(clock + 3_600_000),
    }
}

/// Something about a dispatch.
pub fn of_dispatch(dice: &mut Dice, clock: i64, keys: &[EntryKey]) -> Vec<dispatch::Says> {
    use dispatch::Says;
    if keys.is_empty() || dice.one_in(25) {
        return if keys.is_empty() && dice.one_in(6) { Vec::new() } else { vec![planned(dice, clock)] };
    }
    let some_keys = |dice: &mut Dice| vec![dice.of(keys).clone(), dice.of(keys).clone()];
    let order_version = dice.roll() % 4 + 1;
    let (why, seen) = ("because".to_owned(), evidence(dice, clock));
    let carrier = dice.of(&["C1", "C2", "C3"]).parse().unwrap();
    vec![match dice.below(34) {
        0..=2 => Says::Ready,
        3..=6 => Says::Held {
            reason: *dice.of(&[
                HoldReason::Gate,
                HoldReason::Gate,
                HoldReason::Credit,
                HoldReason::Customer,
                HoldReason::Quality,
                HoldReason::Person,
                HoldReason::Customs,
            ]),
            why,
            cases: Vec::new(),
            decision: None,
        },
        7 => Says::Lifted { holds: some_keys(dice), why },
        8..=11 => {
            let overrides = if dice.one_in(3) { some_keys(dice) } else { Vec::new() };
            Says::Released {
                mode: if overrides.is_empty() { Mode::Offline } else { Mode::Override },
                decision: format!("gw-1-1-{}", dice.below(9) + 1).parse().unwrap(),
                order_version,
                load: load(dice),
                overrides,
            }
        }
        12..=13 => Says::Terms { order_version, load: load(dice), why },
        14 if dice.one_in(2) => Says::Cancelled { order_version, why },
        14 | 15 => Says::Changed {
            order_version,
            what: vec![*dice.of(&[Changed::Price, Changed::Address, Changed::Date]), Changed::Date],
            promised: UtcMs(5_000),
            promises: UtcMs(*dice.of(&[5_000, 6_000])),
            why,
        },
        16..=18 => Says::Loading { evidence: seen },
        19 => Says::Loaded { load: load(dice), evidence: seen },
        20..=21 => Says::Departed { load: load(dice), evidence: seen },
        22 => Says::Delivered { load: load(dice), evidence: seen },
        23 => Says::Proved {
            lines: vec![ProofLine { line: 1, delivered: 8, refused: u32::from(dice.one_in(2)), damaged: 0 }],
            load: load(dice),
            signed_by: dice.one_in(2).then(|| "a neighbour".to_owned()),
            photo: None,
            evidence: seen,
        },
        24 if dice.one_in(2) => Says::Arrived { evidence: seen },
        24 => Says::Left { evidence: seen },
        25 => Says::Aborted { evidence: seen },
        26 => Says::RecallSeen,
        27 => Says::Settled { documents: vec!["DN-1".into()] },
        28 => Says::Confirmed { holds: some_keys(dice), why },
        29 => Says::Carrier { carrier, why },
        30 => Says::Reassigned { to: dice.of(&["D2", "D3"]).parse().unwrap(), order_version, why },
        31 => Says::CancelAsked { why, absence: dice.one_in(2).then_some(seen) },
        32 => Says::CancelDeclined { asked: some_keys(dice), why },
        _ if dice.one_in(5) => Says::Fold { version: 3 },
        _ => Says::InTransit { action: *dice.of(&[TransitAction::Divert, TransitAction::Return]), why },
    }]
}
