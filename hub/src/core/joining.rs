//! Joins cases that run beside each other about one matter.
//!
//! Depot and hub give a case of one matter the same document, unless one of them knew of a closing that the other did not:
//! then two occurrences run. The earlier one goes on, the other is part of it from then on. In: what runs under one dedup
//! key. Out: what to say in which case; running it again after it was said gives nothing.

use gatehouse_common::{
    case::{CaseState, CaseView, How, Says},
    id::DocumentId,
    time::UtcMs,
};

/// What to say so that of the cases under one dedup key, by occurrence, one runs.
#[must_use]
pub fn join(cases: &[(DocumentId, CaseView)], now: UtcMs) -> Vec<(DocumentId, Vec<Says>)> {
    let runs = |(_, view): &&(DocumentId, CaseView)| !view.state.is_over() && !view.waits_for_upgrade;
    let mut running = cases.iter().filter(runs);
    let Some((first, _)) = running.next() else { return Vec::new() };
    let mut says = Vec::new();
    for (other, view) in running {
        says.push((*first, vec![Says::Aliased { case: *other, opened_at: view.opened_at, touches: view.touches }]));
        let reason = "another case about the same matter was open already".to_owned();
        let how = Some(How::DuplicateOf(*first));
        let moved = Says::Moved { to: CaseState::Cancelled, since: now, reason, auto_cleared: false, how };
        says.push((*other, vec![moved]));
    }
    says
}

#[cfg(test)]
mod tests {
    use gatehouse_common::{
        case::{CaseType, dedup_key, document_id, fold},
        document::{Actor, Document, Entry, History, with_fold},
        time::Hlc,
    };

    use super::*;

    fn write(document: &mut Document, says: Vec<Says>) {
        let actor: Actor = "hub/HQ/hub-1/1".parse().unwrap();
        let (entries, _) = document.entries::<Says>();
        let says = with_fold(&entries, says);
        let mut after = History::new(entries).heads();
        for says in says {
            let entry = Entry { after, at: UtcMs(5), hlc: Hlc::default(), by: "test".into(), says };
            after = document.append(&actor, &[entry]).unwrap().0;
        }
    }

    fn opened(occurrence: u32) -> (DocumentId, Document) {
        let mut document = Document::new().unwrap();
        let says = Says::Opened {
            case_type: CaseType::DockBlocked,
            subject: "door 3".into(),
            leg: "-".into(),
            occurrence,
            site: "D1".parse().unwrap(),
            since: UtcMs(0),
            summary: "door 3 is blocked".into(),
            order: None,
            blocks: None,
            follows: None,
        };
        write(&mut document, vec![says]);
        (document_id(&dedup_key(CaseType::DockBlocked, "door 3", "-"), occurrence), document)
    }

    #[test]
    fn of_two_cases_that_run_about_one_matter_the_earlier_goes_on_and_knows_the_other() {
        let mut cases = vec![opened(1), opened(2)];
        let views = |cases: &[(DocumentId, Document)]| -> Vec<(DocumentId, CaseView)> {
            cases.iter().map(|(id, document)| (*id, fold(document).unwrap())).collect()
        };
        for (id, says) in join(&views(&cases), UtcMs(9)) {
            write(&mut cases.iter_mut().find(|(other, _)| *other == id).unwrap().1, says);
        }
        let after = views(&cases);
        assert!(after[0].1.aliases.contains(&after[1].0) && after[0].1.state == CaseState::Open);
        assert_eq!((after[1].1.state, after[1].1.duplicate_of), (CaseState::Cancelled, Some(after[0].0)));
        assert_eq!(join(&after, UtcMs(9)), []);
    }
}
