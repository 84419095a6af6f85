//! Which messages wait for their acknowledgement, in order of arrival.

use std::collections::VecDeque;

use rumqttc::Publish;

use crate::core::input::Receipt;

/// The messages of one connection that are not acknowledged yet.
///
/// MQTT wants acknowledgements in the order of arrival, and an acknowledgement belongs to the
/// connection its message came on: after a reconnect the broker sends the message again, perhaps
/// another under the same number.
#[derive(Debug, Default)]
pub struct Receipts {
    next: u64,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    receipt: Receipt,
    publish: Publish,
    done: bool,
}

impl Receipts {
    /// Takes a message in. Its payload is dropped: only its number is needed to acknowledge it.
    pub fn take(&mut self, mut publish: Publish) -> Receipt {
        let receipt = Receipt(self.next);
        self.next += 1;
        publish.payload.clear();
        self.waiting.push_back(Waiting { receipt, publish, done: false });
        receipt
    }

    /// These are on disk. Gives the messages that may now be acknowledged, in order of arrival.
    pub fn done(&mut self, receipts: &[Receipt]) -> Vec<Publish> {
        for receipt in receipts {
            // One of an earlier connection is no longer here: the broker sends that message again.
            if let Ok(at) = self.waiting.binary_search_by_key(receipt, |w| w.receipt) {
                self.waiting[at].done = true;
            }
        }
        let mut ready = Vec::new();
        while self.waiting.front().is_some_and(|w| w.done) {
            ready.extend(self.waiting.pop_front().map(|w| w.publish));
        }
        ready
    }

    /// The connection is gone: nothing that came on it can be acknowledged any more.
    pub fn connection_lost(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use rumqttc::QoS;

    use super::*;

    fn publish(pkid: u16) -> Publish {
        let mut publish = Publish::new("t", QoS::AtLeastOnce, "x");
        publish.pkid = pkid;
        publish
    }

    fn pkids(publishes: &[Publish]) -> Vec<u16> {
        publishes.iter().map(|p| p.pkid).collect()
    }

    #[test]
    fn messages_are_acknowledged_in_order_of_arrival_whatever_the_order_of_commits() {
        let mut receipts = Receipts::default();
        let [a, b, c] = [1, 2, 3].map(|pkid| receipts.take(publish(pkid)));
        assert!(receipts.done(&[b]).is_empty());
        assert_eq!(pkids(&receipts.done(&[a])), [1, 2]);
        assert_eq!(pkids(&receipts.done(&[c, c])), [3]);
    }

    #[test]
    fn a_commit_that_ends_after_a_reconnect_acknowledges_nothing() {
        let mut receipts = Receipts::default();
        let old = receipts.take(publish(1));
        receipts.connection_lost();
        let new = receipts.take(publish(1));
        assert!(receipts.done(&[old]).is_empty());
        assert_eq!(pkids(&receipts.done(&[new])), [1]);
    }
}
