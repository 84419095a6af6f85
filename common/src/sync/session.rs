//! The two ends of the exchange as plain state: what to ask next, what an answer means.

use super::{
    cursor::{Cursor, Lane, LedgerEpoch},
    message::{Downward, FeedItem, Pull, PullReply, Push, PushReply, Upward},
    page::mark,
};
use crate::{
    document::{Document, gate::change_hash},
    id::Hash32,
    seal::Sealed,
};

/// Most records or items in one message.
pub const BATCH_MAX: usize = 500;
/// Most bytes of records or items in one message, before packing.
pub const BATCH_MAX_BYTES: usize = 256 * 1024;
/// A push is not made shorter than this on a line that breaks, in bytes before packing.
const PUSH_MIN_BYTES: usize = 8 * 1024;

/// The device's end.
///
/// It holds no record and no cursor of its own truth: both are in the store, and the caller tells
/// the session what was committed. A crash between commit and answer repeats an exchange, no more.
#[derive(Debug, Clone)]
pub struct DeviceSession {
    cursor: Cursor,
    outbox_epoch: u64,
    push_in_flight: Option<u64>,
    /// Most bytes of the next push: on a line that breaks a short one gets through where a long one never does.
    push_bytes: usize,
    pull_in_flight: bool,
    recalls_known: bool,
}

/// What a pull brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pulled {
    /// Commit the items with the cursor in one transaction, then call [`DeviceSession::committed`].
    Items {
        /// What is new.
        items: Vec<FeedItem>,
        /// Where the device stands once they are committed.
        cursor: Cursor,
        /// Whether to ask again at once.
        more: bool,
    },
    /// The hub's ledger began another life, or the feed of this device did: commit this cursor, push again what the
    /// hub may have forgotten (everything in another life; in the same, what it may hold damaged and gets by no
    /// comparison), and call [`DeviceSession::committed`] with `more`: recalls are unknown until they have been read.
    StartAgain(Cursor),
}

/// An answer that does not fit what was asked. It is dropped, and the question asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// Nothing was asked.
    #[error("an answer came that nothing had asked for")]
    Unasked,
    /// The hub says it took records that were never sent.
    #[error("hub says it took records through {taken}, sent were {sent}")]
    BeyondSent {
        /// What the hub says.
        taken: u64,
        /// The last record sent.
        sent: u64,
    },
}

impl DeviceSession {
    /// A session that goes on from what the store holds.
    #[must_use]
    pub fn resume(cursor: Cursor, outbox_epoch: u64) -> Self {
        Self {
            cursor,
            outbox_epoch,
            push_in_flight: None,
            push_bytes: BATCH_MAX_BYTES,
            pull_in_flight: false,
            recalls_known: false,
        }
    }

    /// The next push of `waiting` (numbers rising), or `None` while one is in flight or nothing waits.
    ///
    /// Takes at most [`BATCH_MAX`] records and [`BATCH_MAX_BYTES`], but always at least one; half as many bytes after each
    /// push that broke off, and twice as many after each that was answered.
    pub fn next_push(&mut self, waiting: impl IntoIterator<Item = (u64, Upward)>) -> Option<Push> {
        if self.push_in_flight.is_some() {
            return None;
        }
        let mut records = Vec::new();
        let mut bytes = 0;
        for (number, record) in waiting.into_iter().take(BATCH_MAX) {
            bytes += record.weight();
            if bytes > self.push_bytes && !records.is_empty() {
                break;
            }
            records.push((number, record));
        }
        let last = records.last()?.0;
        self.push_in_flight = Some(last);
        Some(Push { outbox_epoch: self.outbox_epoch, records })
    }

    /// Takes the answer to the push in flight; the store may mark everything through the returned number.
    /// # Errors
    /// [`SessionError`]; the push is no longer in flight and is sent again.
    pub fn pushed(&mut self, reply: &PushReply) -> Result<u64, SessionError> {
        let sent = self.push_in_flight.take().ok_or(SessionError::Unasked)?;
        self.push_bytes = self.push_bytes.saturating_mul(2).min(BATCH_MAX_BYTES);
        if reply.taken_through > sent {
            return Err(SessionError::BeyondSent { taken: reply.taken_through, sent });
        }
        Ok(reply.taken_through)
    }

    /// The next pull, or `None` while one is in flight. The first after a start or a lost line asks
    /// for recalls alone and does not wait.
    pub fn next_pull(&mut self, wait_ms: u32) -> Option<Pull> {
        if self.pull_in_flight {
            return None;
        }
        self.pull_in_flight = true;
        let recalls_only = !self.recalls_known;
        Some(Pull { cursor: self.cursor, wait_ms: if recalls_only { 0 } else { wait_ms }, recalls_only })
    }

    /// Takes the answer to the pull in flight.
    /// # Errors
    /// [`SessionError::Unasked`].
    pub fn pulled(&mut self, reply: PullReply) -> Result<Pulled, SessionError> {
        if !std::mem::take(&mut self.pull_in_flight) {
            return Err(SessionError::Unasked);
        }
        Ok(match reply {
            PullReply::Page { items, cursor, more } => Pulled::Items { items, cursor, more },
            PullReply::OtherEpoch(epoch) => {
                // What was recalled there has not been read, and what was taken of the outbox before says nothing here.
                self.recalls_known = false;
                self.push_in_flight = None;
                Pulled::StartAgain(Cursor::start(epoch))
            }
        })
    }

    /// The store has committed what a pull brought. `more` is what the page said: while recalls
    /// are still coming, they are not all known.
    pub fn committed(&mut self, cursor: Cursor, more: bool) {
        let same_epoch = cursor.epoch == self.cursor.epoch || self.cursor.epoch == LedgerEpoch::default();
        self.cursor = cursor;
        if !self.recalls_known && same_epoch && !more {
            self.recalls_known = true;
        }
    }

    /// The store has committed what a comparison brought, and stands at `cursor`.
    pub fn alike(&mut self, cursor: Cursor) {
        self.cursor = cursor;
    }

    /// A pull failed, and recalls may have been missed. A push that is in flight may still be answered.
    pub fn line_lost(&mut self) {
        self.pull_in_flight = false;
        self.recalls_known = false;
    }

    /// A push alone failed: it is sent again. A pull that waits meanwhile may never be answered, so recalls
    /// may have been missed until one is.
    pub fn push_failed(&mut self) {
        self.push_in_flight = None;
        self.recalls_known = false;
    }

    /// A push broke off on its way: the next one is shorter. Call [`DeviceSession::push_failed`] as well.
    pub fn push_broke_off(&mut self) {
        self.push_bytes = (self.push_bytes / 2).max(PUSH_MIN_BYTES);
    }

    /// Whether every recall up to the last contact is known. While the line is up and this is
    /// false, no release may leave.
    #[must_use]
    pub fn recalls_known(&self) -> bool {
        self.recalls_known
    }

    /// Where the device stands.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }
}

impl Upward {
    /// Its bytes in a message, roughly.
    #[must_use]
    pub fn weight(&self) -> usize {
        16 + match self {
            Self::Chunk { bytes, .. } => bytes.len() + 20,
            Self::Decision(sealed) => sealed.body.len() + sealed.signature.len(),
            Self::Fact(json) | Self::Status(json) => json.len(),
        }
    }
}

/// The marks of the changes among `items`, in their order. What is no sound change has none.
#[must_use]
pub fn marks(items: &[FeedItem]) -> Vec<Hash32> {
    let of = |item: &FeedItem| match &item.says {
        Downward::Chunk { document, bytes, .. } => {
            change_hash(bytes).map(|change| vec![mark(document, &change)]).unwrap_or_default()
        }
        Downward::Snapshot { document, bytes, .. } => {
            let chunks = Document::load(bytes).map(|whole| whole.chunks()).unwrap_or_default();
            chunks.iter().map(|chunk| mark(document, &chunk.hash)).collect()
        }
        _ => Vec::new(),
    };
    items.iter().flat_map(of).collect()
}

/// The hub's end of a pull: which rows a page takes.
///
/// The hub keeps no session per device. It asks its store for the rows of each lane after the
/// cursor, most urgent lane first, and offers them here until the page is full.
#[derive(Debug, Clone)]
pub struct HubPage {
    cursor: Cursor,
    items: Vec<FeedItem>,
    bytes: usize,
    full: bool,
}

impl HubPage {
    /// Begins a page after `pull`'s cursor.
    /// # Errors
    /// The reply to send at once, when the cursor counts in another life of the ledger.
    pub fn begin(pull: &Pull, epoch: LedgerEpoch) -> Result<Self, PullReply> {
        if pull.cursor.epoch == epoch {
            Ok(Self { cursor: pull.cursor, items: Vec::new(), bytes: 0, full: false })
        } else {
            Err(PullReply::OtherEpoch(epoch))
        }
    }

    /// The lanes to read for `pull`, in order, each with the position after which to read.
    #[must_use]
    pub fn lanes(pull: &Pull) -> Vec<(Lane, u64)> {
        let wanted = if pull.recalls_only { &Lane::ALL[..1] } else { &Lane::ALL[..] };
        wanted.iter().map(|lane| (*lane, pull.cursor.positions[lane.index()])).collect()
    }

    /// Offers the next row of a lane, `weight` bytes heavy. False when the page is full; the rest waits.
    pub fn offer(&mut self, item: FeedItem, weight: usize) -> bool {
        let over = self.items.len() >= BATCH_MAX || self.bytes + weight > BATCH_MAX_BYTES;
        if self.full || (over && !self.items.is_empty()) {
            self.full = true;
            return false;
        }
        self.bytes += weight;
        self.cursor.pass(item.lane, item.position);
        self.items.push(item);
        true
    }

    /// Passes rows of `lane` through `position` that are not for this device (its own chunks).
    pub fn skip(&mut self, lane: Lane, position: u64) {
        if !self.full {
            self.cursor.pass(lane, position);
        }
    }

    /// Adds what the hub signs of the page. It counts as nothing new, and moves no cursor.
    pub fn attest(&mut self, sealed: Sealed) {
        self.items.push(FeedItem { lane: Lane::Rest, position: 0, says: Downward::Page(sealed) });
    }

    /// The marks of the page's changes, in their order, as a [`super::PageDigest`] names them.
    #[must_use]
    pub fn marks(&self) -> Vec<Hash32> {
        marks(&self.items)
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The reply.
    #[must_use]
    pub fn finish(self) -> PullReply {
        PullReply::Page { items: self.items, cursor: self.cursor, more: self.full }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recalls_are_unknown_again_once_the_feed_begins_again() {
        let cursor = Cursor::start(LedgerEpoch(3));
        let mut session = DeviceSession::resume(cursor, 1);
        let mut asks = |reply, more| {
            let pull = session.next_pull(1_000);
            let recalls_only = pull.is_some_and(|p| p.recalls_only);
            let pulled = session.pulled(reply);
            assert!(pulled.is_ok());
            session.committed(cursor, more);
            (recalls_only, session.recalls_known())
        };
        let nothing = || PullReply::Page { items: Vec::new(), cursor, more: false };
        assert_eq!(asks(nothing(), false), (true, true));
        assert_eq!(asks(PullReply::OtherEpoch(LedgerEpoch(3)), true), (false, false), "in the same life too");
        assert_eq!(asks(nothing(), false), (true, true), "asked for before anything else");
    }

    /// How many of a thousand records of 1,000 bytes the next push takes.
    fn taken_of_a_thousand(session: &mut DeviceSession) -> usize {
        let waiting = (1..=1_000).map(|n| (n, Upward::Fact("x".repeat(1_000))));
        session.next_push(waiting).map_or(0, |push| push.records.len())
    }

    #[test]
    fn a_push_that_breaks_off_is_made_shorter_until_one_is_answered() {
        let mut session = DeviceSession::resume(Cursor::start(LedgerEpoch(3)), 1);
        let mut sizes = Vec::new();
        for _ in 0..7 {
            sizes.push(taken_of_a_thousand(&mut session));
            session.push_failed();
            session.push_broke_off();
        }
        assert_eq!(sizes, [258, 129, 64, 32, 16, 8, 8]);
        assert_eq!(taken_of_a_thousand(&mut session), 8);
        let reply = PushReply { taken_through: 8, rejected: Vec::new(), kept_through: 0 };
        assert_eq!(session.pushed(&reply), Ok(8));
        assert_eq!(taken_of_a_thousand(&mut session), 16);
    }

    fn page() -> HubPage {
        let pull = Pull { cursor: Cursor::start(LedgerEpoch(3)), wait_ms: 0, recalls_only: false };
        HubPage::begin(&pull, LedgerEpoch(3)).unwrap()
    }

    fn row(lane: Lane, position: u64) -> FeedItem {
        FeedItem { lane, position, says: Downward::Sources("{}".to_owned()) }
    }

    /// How many rows of this weight a page takes, and what its reply says.
    fn takes(weight: usize) -> (usize, Cursor, bool) {
        let mut page = page();
        let taken = (1..=1_000).take_while(|position| page.offer(row(Lane::Rest, *position), weight)).count();
        assert!(!page.offer(row(Lane::Rest, 2_000), 1), "what comes after it waits as well, however little it is");
        page.skip(Lane::Rest, 3_000);
        let PullReply::Page { items, cursor, more } = page.finish() else { panic!("a page was begun") };
        assert_eq!(items.len(), taken);
        (taken, cursor, more)
    }

    #[test]
    fn a_page_takes_rows_up_to_its_bounds_and_at_least_one_and_says_where_it_ends() {
        let most = BATCH_MAX_BYTES;
        for (weight, fit) in [(1, BATCH_MAX), (most / 4, 4), (most / 4 + 1, 3), (most, 1), (most + 1, 1), (most * 9, 1)]
        {
            let (taken, cursor, more) = takes(weight);
            assert_eq!(taken, fit, "rows of {weight} bytes");
            assert!(more);
            assert_eq!(cursor.positions[Lane::Rest.index()], fit as u64, "it passes what it took and nothing else");
        }
    }

    #[test]
    fn a_page_that_is_not_full_passes_what_is_not_for_the_device_and_says_that_there_is_no_more() {
        let mut page = page();
        assert!(page.offer(row(Lane::Documents, 4), BATCH_MAX_BYTES));
        page.skip(Lane::Documents, 9);
        let PullReply::Page { items, cursor, more } = page.finish() else { panic!("a page was begun") };
        assert_eq!((items.len(), more), (1, false));
        assert_eq!(cursor.positions[Lane::Documents.index()], 9);
    }

    #[test]
    fn lanes_are_read_in_their_order_each_from_its_own_place_and_recalls_alone_where_only_they_are_asked_for() {
        let mut cursor = Cursor::start(LedgerEpoch(3));
        for (at, lane) in Lane::ALL.into_iter().enumerate() {
            cursor.pass(lane, 10 + at as u64);
        }
        let all = Pull { cursor, wait_ms: 0, recalls_only: false };
        let places: Vec<(Lane, u64)> = Lane::ALL.into_iter().zip(10..).collect();
        assert_eq!(HubPage::lanes(&all), places);
        assert_eq!(HubPage::lanes(&Pull { recalls_only: true, ..all }), [(Lane::Recalls, 10)]);
        // Rows leave in the order in which they were offered, and each moves its own lane alone.
        let pull = Pull { cursor, wait_ms: 0, recalls_only: false };
        let mut page = HubPage::begin(&pull, LedgerEpoch(3)).unwrap();
        for (lane, after) in &places {
            assert!(page.offer(row(*lane, after + 100), 1));
        }
        let PullReply::Page { items, cursor, .. } = page.finish() else { panic!("a page was begun") };
        assert_eq!(items.iter().map(|item| item.lane).collect::<Vec<_>>(), Lane::ALL);
        assert_eq!(cursor.positions.to_vec(), places.iter().map(|(_, after)| after + 100).collect::<Vec<_>>());
    }

    #[test]
    fn a_pull_that_fails_does_not_throw_away_the_answer_to_a_push() {
        let mut session = DeviceSession::resume(Cursor::start(LedgerEpoch(3)), 1);
        assert_eq!(taken_of_a_thousand(&mut session), 258);
        assert!(session.next_pull(1_000).is_some());
        session.line_lost();
        assert_eq!(taken_of_a_thousand(&mut session), 0, "it is on its way");
        let reply = PushReply { taken_through: 258, rejected: Vec::new(), kept_through: 0 };
        assert_eq!(session.pushed(&reply), Ok(258));
        assert!(session.next_pull(1_000).is_some_and(|pull| pull.recalls_only));
    }
}
