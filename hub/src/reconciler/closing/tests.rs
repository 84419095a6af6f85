//! Cases at rest, as the reconciler closes them, on both engines.

use gatehouse_common::{
    bundle::Bundle,
    case::{CaseState, CaseType},
    decision::{DecidedBy, DecisionKind, DecisionRecord, Mode},
    document::{Document, Entry, History},
    seal::PrivateKey,
    sync::{Push, Upward},
    time::Hlc,
};

use super::*;
use crate::{
    core::reconcile::{Outcome, ReconItem, ReconPolicy},
    fixture,
    reconciler::Reconciler,
    store::contract::Ground,
};

const HOUR_MS: i64 = 3_600_000;

/// Both engines, as far as they are installed.
fn grounds() -> Vec<Ground> {
    [Some(Ground::sqlite()), Ground::postgresql()].into_iter().flatten().collect()
}

fn id_of(subject: &str) -> DocumentId {
    case::document_id(&case::dedup_key(CaseType::DockBlocked, subject, "-"), 1)
}

struct Hub {
    store: Store,
    reconciler: Reconciler,
    runtime: tokio::runtime::Runtime,
    now: UtcMs,
}

impl Hub {
    fn on(ground: &Ground) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let store = ground.open();
        let reconciler = Self::reconciler(&store);
        Self { store, reconciler, runtime, now: Clock::system().wall() }
    }

    fn reconciler(store: &Store) -> Reconciler {
        let bundle = Bundle { hash: Hash32::of(b""), rules: Default::default() };
        Reconciler::new(store.clone(), Clock::system(), bundle, ReconPolicy::default())
    }

    fn looks(&mut self) {
        self.runtime.block_on(self.reconciler.once()).unwrap();
    }

    /// Another replica goes on; its first look is not a minute away.
    fn looks_anew(&mut self) {
        self.reconciler = Self::reconciler(&self.store);
        self.looks();
    }

    fn ago(&self, hours: i64) -> UtcMs {
        self.now.plus(-hours * HOUR_MS)
    }

    fn says(&self, subject: &str, hours_ago: i64, says: Vec<Says>) {
        let (id, at) = (id_of(subject), self.ago(hours_ago));
        let says = DocumentSays::Case(says);
        self.store.write_now(move |tx| tx.write_entries(&id, says, "test", Lane::Documents, at)).unwrap();
    }

    /// A case that was opened 40 hours ago and resolved so many hours ago.
    fn rests(&self, subject: &str, order: Option<&str>, hours_ago: i64) {
        let opened = Says::Opened {
            case_type: CaseType::DockBlocked,
            subject: subject.to_owned(),
            leg: "-".into(),
            occurrence: 1,
            site: "D1".parse().unwrap(),
            since: self.ago(40),
            summary: format!("{subject} is blocked"),
            order: order.map(|order| order.parse().unwrap()),
            blocks: None,
            follows: None,
        };
        self.says(subject, 40, vec![opened]);
        self.says(subject, hours_ago, vec![self.moved(CaseState::Resolved, hours_ago)]);
    }

    fn moved(&self, to: CaseState, hours_ago: i64) -> Says {
        let auto_cleared = to == CaseState::Resolved;
        Says::Moved { to, since: self.ago(hours_ago), reason: "so it is".into(), auto_cleared, how: None }
    }

    /// An item about order SO-1, open or settled.
    fn keeps_item(&self, outcome: Option<Outcome>) {
        let device = "gw-1".parse().unwrap();
        let record = DecisionRecord {
            v: 1,
            id: DecisionId::of(&device, 1, 1),
            device,
            site: "D1".parse().unwrap(),
            epoch: 1,
            position: 1,
            previous: Hash32::ZERO,
            kind: DecisionKind::Release,
            mode: Some(Mode::Normal),
            dispatch: None,
            order: Some(("SO-1".parse().unwrap(), 1)),
            load: Vec::new(),
            gates: Vec::new(),
            bundle: Hash32::ZERO,
            lease: None,
            by: DecidedBy::Rule { rule: "auto".into() },
            reason: "all gates met".into(),
            at: Clock::system().now(),
            begins: None,
            drills: Vec::new(),
        };
        let item = ReconItem { outcome, ..ReconItem::open(&record, None, self.now) };
        self.store.write_now(move |tx| tx.put_recon_item(&item)).unwrap();
    }

    fn state(&self, subject: &str) -> CaseState {
        let id = id_of(subject);
        let view = self.store.read_now(move |r| r.case_view(&id)).unwrap().unwrap();
        assert_eq!(view.void, [], "whatever is said counts");
        view.state
    }

    /// What a gateway says in its copy of a case, which is of before whatever the hub said since.
    fn is_told(&self, subject: &str, copy: &Document, number: u64, says: Says) {
        let now = Clock::system().now();
        let mut document = Document::load(&copy.save()).unwrap();
        let after = History::new(document.entries::<Says>().0).heads();
        let hlc = Hlc { ms: now.wall.0, n: 0 };
        let entry = Entry { after, at: now.wall, hlc, by: "rule".into(), says };
        let (_, chunk) = document.append(&"site/D1/gw-1/1".parse().unwrap(), &[entry]).unwrap();
        let says = Upward::Chunk { document: id_of(subject), kind: DocumentKind::Case, bytes: chunk.bytes };
        let push = Push { outbox_epoch: 1, records: vec![(number, says)] };
        let (key, name) = (PrivateKey::from_seed([1; 32]), "gw-1".parse().unwrap());
        let reply = self.store.write_now(move |tx| crate::sync::handle_push(tx, &key, &name, &push, &now)).unwrap();
        assert_eq!((reply.taken_through, reply.rejected), (number, Vec::new()));
    }

    fn copy(&self, subject: &str) -> Document {
        let id = id_of(subject);
        self.store.read_now(move |r| r.document(&id)).unwrap().unwrap().1
    }
}

#[test]
fn a_resolved_case_closes_after_a_day_unless_something_of_its_order_is_open() {
    for ground in grounds() {
        let mut hub = Hub::on(&ground);
        hub.rests("door 1", None, 25);
        hub.rests("door 2", None, 23);
        hub.rests("door 3", Some("SO-1"), 25);
        hub.rests("SO-1", None, 25);
        hub.rests("door 4", Some("SO-2"), 25);
        hub.rests("door 5", None, 30);
        hub.says("door 5", 25, vec![hub.moved(CaseState::Reopened, 25)]);
        hub.keeps_item(None);
        hub.looks();
        let open = ["door 2", "door 3", "SO-1"].map(|subject| hub.state(subject));
        assert_eq!(open, [CaseState::Resolved; 3], "23 hours, and an open item of the order that it names or is about");
        assert_eq!(["door 1", "door 4"].map(|subject| hub.state(subject)), [CaseState::Closed; 2]);
        assert_eq!(hub.state("door 5"), CaseState::Reopened);

        hub.keeps_item(Some(Outcome::Matched));
        hub.looks();
        assert_eq!(hub.state("door 3"), CaseState::Resolved, "it looks once a minute");
        hub.looks_anew();
        assert_eq!(["door 3", "SO-1"].map(|subject| hub.state(subject)), [CaseState::Closed; 2]);
        let last = hub.copy("door 1").heads();
        hub.looks_anew();
        assert_eq!((hub.copy("door 1").heads(), hub.state("door 2")), (last, CaseState::Resolved), "once");
    }
}

#[test]
fn many_cases_that_are_due_close_a_few_to_a_commit_and_others_have_the_turn_between() {
    let ground = Ground::sqlite();
    let mut hub = Hub::on(&ground);
    let subjects: Vec<String> = (0..BATCH * 2 + 20).map(|n| format!("door {n}")).collect();
    subjects.iter().for_each(|subject| hub.rests(subject, None, 30));
    let mut closed = Vec::new();
    for _ in 0..3 {
        hub.looks();
        hub.looks(); // Too soon after the other.
        std::thread::sleep(std::time::Duration::from_millis(PAUSE_MS.unsigned_abs() + 20));
        closed.push(subjects.iter().filter(|subject| hub.state(subject) == CaseState::Closed).count());
    }
    assert_eq!(closed, [BATCH, BATCH * 2, BATCH * 2 + 20]);
    let now = Clock::system().wall();
    assert!(hub.reconciler.closing.looks_at(now) > now, "all is done, so it waits");
}

#[test]
fn what_a_depot_said_before_it_knew_of_the_closing_takes_the_case_up_again_if_it_fired_later() {
    for ground in grounds() {
        let mut hub = Hub::on(&ground);
        crate::sync::devices::add(&hub.store, fixture::gateway("gw-1", "D1", 7), "test", hub.now).unwrap();
        let subjects = ["door 1", "door 2"];
        subjects.iter().for_each(|subject| hub.rests(subject, None, 30));
        let copies = subjects.map(|subject| hub.copy(subject));
        hub.looks();
        assert_eq!(subjects.map(|subject| hub.state(subject)), [CaseState::Closed; 2]);
        // Cut off since, the depot saw one blocked again after it had been free, and learned late of the other.
        for (n, (subject, hours_ago)) in (1..).zip([("door 1", 20), ("door 2", 31)]) {
            let says = Says::Triggered { since: hub.ago(hours_ago), evidence: "blocked".into() };
            hub.is_told(subject, &copies[usize::from(hours_ago == 31)], n, says);
        }
        assert_eq!(hub.state("door 1"), CaseState::Closed, "the fold leaves it to the hub");
        hub.looks_anew();
        assert_eq!(subjects.map(|subject| hub.state(subject)), [CaseState::Reopened, CaseState::Closed]);
        let said = hub.copy("door 1").heads();
        hub.looks_anew();
        assert_eq!(hub.copy("door 1").heads(), said, "once");
    }
}

/// As an older program left them, which closed nothing.
#[test]
fn a_case_that_has_rested_for_long_closes_without_news_and_counts_as_unchanged() {
    for ground in grounds() {
        let mut hub = Hub::on(&ground);
        let subjects = ["door 1", "door 2"];
        hub.rests(subjects[0], None, 30);
        hub.rests(subjects[1], None, 72);
        hub.looks();
        assert_eq!(subjects.map(|subject| hub.state(subject)), [CaseState::Closed; 2]);
        let ids = subjects.map(id_of);
        let seen = hub.store.read_now(move |r| {
            let since = [r.rests_since(&ids[0])?, r.rests_since(&ids[1])?];
            let told = [r.hook_told(&format!("case/{}", ids[0]))?, r.hook_told(&format!("case/{}", ids[1]))?];
            Ok((since, told.map(|told| told.map(|(state, _)| state))))
        });
        let (since, told) = seen.unwrap();
        assert_eq!(since, [Some(hub.ago(30)), Some(hub.ago(72))], "no device that forgot it is sent it again");
        assert_eq!(told, [None, Some("case.closed".to_owned())], "the first is told in its turn");
    }
}

#[test]
fn a_case_that_was_resolved_while_the_clock_was_ahead_rests_no_longer_than_others() {
    for ground in grounds() {
        let mut hub = Hub::on(&ground);
        hub.rests("door 1", None, -72);
        hub.looks();
        let id = id_of("door 1");
        let since = hub.store.read_now(move |r| r.rests_since(&id)).unwrap().unwrap();
        assert!(since <= Clock::system().wall(), "{since}");
        assert_eq!(hub.state("door 1"), CaseState::Resolved);
    }
}
