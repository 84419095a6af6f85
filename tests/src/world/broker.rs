//! The broker of one depot or vehicle: keeps every message until it is acknowledged.
//!
//! It never fails. What it delivered on a connection that ended it delivers again on the next, in
//! the order in which it came, as MQTT says of a persistent session at QoS 1.

use std::collections::VecDeque;

/// A message as a device published it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its number in [`super::book::Book::published`].
    pub number: usize,
    /// On which topic.
    pub topic: String,
    /// Its bytes.
    pub payload: Vec<u8>,
}

#[derive(Debug)]
struct Kept {
    message: Message,
    receipt: Option<u64>,
}

/// A broker with one session: the agent's.
#[derive(Debug, Default)]
pub struct Broker {
    kept: VecDeque<Kept>,
    next: u64,
}

impl Broker {
    /// A device publishes.
    pub fn publish(&mut self, message: Message) {
        self.kept.push_back(Kept { message, receipt: None });
    }

    /// The next messages that were not delivered on this connection, at most `limit`, each with a receipt of its own.
    pub fn deliver(&mut self, limit: usize) -> Vec<(u64, Message)> {
        let mut delivered = Vec::new();
        for kept in self.kept.iter_mut().filter(|k| k.receipt.is_none()).take(limit) {
            self.next += 1;
            kept.receipt = Some(self.next);
            delivered.push((self.next, kept.message.clone()));
        }
        delivered
    }

    /// The agent acknowledges; gives the message that may be forgotten now.
    pub fn acknowledge(&mut self, receipt: u64) -> Option<Message> {
        let place = self.kept.iter().position(|k| k.receipt == Some(receipt))?;
        self.kept.remove(place).map(|k| k.message)
    }

    /// The message that was delivered with this receipt and is not acknowledged.
    #[must_use]
    pub fn delivered(&self, receipt: u64) -> Option<&Message> {
        self.kept.iter().find(|kept| kept.receipt == Some(receipt)).map(|kept| &kept.message)
    }

    /// Messages come once more, before all others and in their order.
    pub fn comes_again(&mut self, messages: Vec<Message>) {
        for message in messages.into_iter().rev() {
            self.kept.push_front(Kept { message, receipt: None });
        }
    }

    /// The connection is gone: what was not acknowledged is delivered again.
    pub fn connection_lost(&mut self) {
        for kept in &mut self.kept {
            kept.receipt = None;
        }
    }

    /// Whether something waits that was not delivered.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.kept.iter().any(|k| k.receipt.is_none())
    }

    /// Whether every message was acknowledged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: usize) -> Message {
        Message { number, topic: "t".into(), payload: vec![] }
    }

    #[test]
    fn what_was_not_acknowledged_comes_again_in_order_on_the_next_connection() {
        let mut broker = Broker::default();
        (0..3).for_each(|n| broker.publish(message(n)));
        let first = broker.deliver(2);
        assert_eq!(broker.acknowledge(first[1].0), Some(message(1)));
        broker.connection_lost();
        let again: Vec<usize> = broker.deliver(9).into_iter().map(|(_, m)| m.number).collect();
        assert_eq!(again, [0, 2]);
        assert_eq!(broker.acknowledge(first[0].0), None);
    }
}
