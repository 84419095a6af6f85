//! Changes of one document that come in one push.

use super::*;

/// What a depot wants to tell: five changes of one dispatch, and a decision between them.
fn outbox(hub: &Hub) -> Depot {
    let mut depot = hub.gateway("gw-1", "D1", 7);
    depot.plan();
    depot.say(Says::Ready);
    let decision = depot.decide(1, Hash32::ZERO, "held");
    depot.queue(Upward::Decision(decision));
    for _ in 0..3 {
        depot.say(Says::RecallSeen);
    }
    depot
}

/// What a hub has of it.
fn has(hub: &Hub, depot: &Depot, rejected: Vec<(u64, String)>) -> impl PartialEq + std::fmt::Debug {
    let rows = hub.store.read_now(|r| Ok((r.feed_head()?, r.decision_count()?))).unwrap();
    let id = depot.id();
    let known = hub.store.read_now(move |r| r.dispatch_view(&id)).unwrap().is_some();
    (rejected, hub.quarantined(), rows, known.then(|| stored_heads(hub, &depot.id())))
}

#[test]
fn what_comes_in_one_push_is_taken_as_if_it_came_record_by_record_whichever_of_it_is_damaged() {
    for damaged in [None, Some(0), Some(1), Some(3), Some(5)] {
        let (at_once, one_by_one) = (Hub::new(), Hub::new());
        let (mut depot, _) = (outbox(&at_once), outbox(&one_by_one));
        if let Some(Upward::Chunk { bytes, .. }) = damaged.map(|n: usize| &mut depot.outbox[n].1) {
            *bytes.last_mut().unwrap() ^= 1;
        }
        let refused = |reply: PushReply| reply.rejected.into_iter().map(|r| (r.number, r.reason)).collect::<Vec<_>>();
        let all = refused(depot.push(&at_once));
        let each =
            depot.outbox.iter().flat_map(|record| refused(one_by_one.push_records(&depot, vec![record.clone()])));
        let each: Vec<_> = each.collect();
        assert_eq!(all.is_empty(), damaged.is_none(), "{all:?}");
        assert_eq!(has(&at_once, &depot, all), has(&one_by_one, &depot, each), "damaged: {damaged:?}");
    }
}
