//! A device that was let in and means harm: it has a key and a place on the hub's list, and says what it may not.
//!
//! It speaks the real way, by pushes and repair, at moments of its own, and knows all that stands at the hub, which is
//! more than any thief would. The honest must stay whole beside it. What it forged it notes down: no store may hold any
//! of that, and the hub's quarantine names it.

mod check;
pub(super) mod forge;

use gatehouse_common::{
    document::{Actor, Document, gate::inspect},
    id::{DeviceId, DocumentId, DocumentKind, Hash32, SiteId},
    seal::PrivateKey,
    sync::{Push, PushReply, Repair, Repaired, Upward, decode, encode, page::mark, repair::Given},
    time::UtcMs,
};
use gatehouse_hub::{
    store::{Device, DeviceKind},
    sync::devices,
};

pub(super) use self::check::holds;
pub use self::check::{FORGED, REFUSED};
use self::forge::Target;
use super::{
    Event, World,
    bugs::Bug,
    clock::MINUTE,
    depot::open_outside,
    dice::Dice,
    hub::HubError,
    random::{Played, STORM, drawn, ended},
};
use crate::fuzz::mutate::Mutator;

/// How often it means harm in a world.
const HARMS: usize = 60;

/// Something that it forged and the hub answered.
struct Forged {
    /// What quarantine calls it.
    what: &'static str,
    document: Option<DocumentId>,
    /// By what it is known in quarantine; none where that keeps nothing of it.
    quarantined: Option<Hash32>,
    /// The change that it would be.
    change: Option<Hash32>,
}

impl Forged {
    fn change(document: DocumentId, bytes: &[u8]) -> Self {
        let change = inspect(bytes).ok().map(|inspected| inspected.hash);
        let quarantined = Some(change.unwrap_or_else(|| Hash32::of(bytes)));
        Self { what: "chunk", document: Some(document), quarantined, change }
    }

    fn text(what: &'static str, text: &str) -> Self {
        Self { what, document: None, quarantined: Some(Hash32::of(text.as_bytes())), change: None }
    }
}

/// The device.
pub(super) struct Hostile {
    device: DeviceId,
    kind: DeviceKind,
    site: SiteId,
    key: PrivateKey,
    actor: Actor,
    dice: Dice,
    mutator: Mutator,
    /// How many records it has pushed.
    pushed: u64,
    /// Its last push, and what it was answered.
    last: Option<(Vec<u8>, PushReply)>,
    /// A case of its own depot.
    own: Option<(DocumentId, Document)>,
    forged: Vec<Forged>,
}

/// Plays the world of `seed` with a device that means harm, a gateway of another depot or a vehicle's unit, to its
/// quiet end, and checks it.
#[must_use]
pub fn play_hostile(seed: u64, bug: Bug, prints: bool) -> Played {
    let mut world = drawn(seed, bug, prints);
    let mut dice = Dice::of(seed ^ 0x6861_726d);
    for _ in 0..HARMS {
        world.after(dice.between(MINUTE, STORM - MINUTE), Event::Harm);
    }
    world.lets_in(Hostile::new(seed, bug, dice));
    ended(world, STORM - MINUTE)
}

impl Hostile {
    fn new(seed: u64, bug: Bug, mut dice: Dice) -> Self {
        let is_gateway = bug == Bug::GateOpen || dice.chance(500);
        let (kind, site, actor) = if is_gateway {
            (DeviceKind::Gateway, "D9", "site/D9/thief/1")
        } else {
            (DeviceKind::Vehicle, "D1", "vehicle/D1/thief/1")
        };
        Self {
            device: "thief".parse().expect("a name"),
            kind,
            site: site.parse().expect("a name"),
            key: PrivateKey::from_seed([66; 32]),
            actor: actor.parse().expect("an actor"),
            dice,
            mutator: Mutator::new(seed),
            pushed: 0,
            last: None,
            own: None,
            forged: Vec::new(),
        }
    }

    /// Whether it may write into documents of this kind of a depot.
    fn may_write(&self, kind: DocumentKind, site: &SiteId) -> bool {
        *site == self.site && (kind == DocumentKind::Case || self.kind == DeviceKind::Gateway)
    }

    /// A time that is long gone, or now, or far ahead.
    fn any_time(&mut self, now: UtcMs) -> UtcMs {
        match self.dice.below(3) {
            0 => UtcMs(0),
            1 => now,
            _ => now.plus(365 * 24 * 60 * MINUTE),
        }
    }

    /// Somebody else's document, as it stands at the hub; none while nobody has any.
    fn target(&mut self, hub: &rusqlite::Connection) -> Option<Target> {
        let sql = "SELECT document, kind, site, order_id, snapshot FROM documents
                    WHERE site IS NOT NULL AND folded_through >= last_chunk ORDER BY document";
        let mut statement = hub.prepare_cached(sql).expect("the table of documents has these columns");
        let rows = statement.query_map([], |row| {
            let order = row.get::<_, Option<String>>(3)?;
            let snapshot = row.get::<_, Vec<u8>>(4)?;
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?, order, snapshot))
        });
        let rows: Vec<(String, String, String, Option<String>, Vec<u8>)> = rows
            .expect("documents can be read")
            .map(|row| row.expect("a row of documents can be read"))
            .filter(|(_, kind, site, ..)| !self.may_write(kind_of(kind), &site.parse().expect("a name")))
            .collect();
        let (id, kind, site, order, snapshot) = rows.get(self.dice.place(rows.len()))?;
        Some(Target {
            id: id.parse().expect("a document has an id"),
            kind: kind_of(kind),
            site: site.parse().expect("a name"),
            order: order.as_ref().map(|order| order.parse().expect("an order has a number")),
            document: Document::load(snapshot).expect("a stored document can be read"),
        })
    }

    /// A change for somebody else's document.
    fn change(&mut self, target: &Target, now: UtcMs) -> Option<Vec<u8>> {
        let (at, document) = (self.any_time(now), &target.document);
        Some(match self.dice.below(6) {
            0 | 1 => forge::mutated(document, &mut self.mutator, &mut self.dice),
            2 => forge::headless(document, &mut self.dice)?,
            3 => {
                let other = forge::writer_of(document, &mut self.dice)?;
                forge::says_in(target.kind, &mut document.clone(), &other, at, &mut self.dice).bytes
            }
            // An opening that claims to be the earliest makes a case its writer's, where it is let in.
            4 if target.kind == DocumentKind::Case => forge::opens(&self.site, &self.actor, UtcMs(0)).2.bytes,
            _ => forge::says_in(target.kind, &mut document.clone(), &self.actor, at, &mut self.dice).bytes,
        })
    }

    /// A decision that does not follow from those before it, or is another's.
    fn decision(&mut self, world: &World) -> Upward {
        let agent = &world.agents[self.dice.place(world.agents.len())];
        let at = agent.machine.at(world.now);
        let (own, others) = ((&self.device, &self.site), (&agent.device, &agent.site));
        let place = match self.dice.below(3) {
            0 => (own, (7, Hash32::ZERO)),
            1 => (own, (1, Hash32::of(b"nothing"))),
            _ => (others, (1, Hash32::ZERO)),
        };
        Upward::Decision(forge::decision(place.0, place.1, at, &self.key))
    }
}

fn kind_of(word: &str) -> DocumentKind {
    if word == "case" { DocumentKind::Case } else { DocumentKind::Dispatch }
}

fn chunk(document: DocumentId, kind: DocumentKind, bytes: Vec<u8>) -> Upward {
    Upward::Chunk { document, kind, bytes }
}

/// A record, and what is forged in it if anything is.
type Record = (Upward, Option<Forged>);

fn forged_chunk(document: DocumentId, kind: DocumentKind, bytes: Vec<u8>) -> Record {
    let forged = Forged::change(document, &bytes);
    (chunk(document, kind, bytes), Some(forged))
}

impl World {
    /// Puts the device on the hub's list.
    fn lets_in(&mut self, hostile: Hostile) {
        let mut sites = vec![hostile.site.clone()];
        if self.bug == Bug::GateOpen {
            sites.extend(self.agents.iter().filter(|agent| agent.is_gateway()).map(|agent| agent.site.clone()));
        }
        let vehicles = match hostile.kind {
            DeviceKind::Gateway => Vec::new(),
            DeviceKind::Vehicle => vec!["V99".parse().expect("a name")],
        };
        let (name, public_key) = (hostile.device.clone(), hostile.key.public());
        let device = Device { device: name, kind: hostile.kind, public_key, sites, vehicles };
        let hub = self.hub.running.as_ref().expect("the hub runs");
        devices::add(&hub.store, device, "admin", self.now).expect("a device can be listed");
        self.hostile = Some(hostile);
    }

    /// It does one thing, if the hub is there.
    pub(super) fn harm(&mut self) {
        if self.hub.running.is_none() {
            return;
        }
        let Some(mut hostile) = self.hostile.take() else { return };
        self.harms(&mut hostile);
        self.hub_has_changed();
        self.hostile = Some(hostile);
    }

    fn harms(&mut self, hostile: &mut Hostile) {
        let target = hostile.target(&open_outside(&self.hub.path));
        match (hostile.dice.below(10), target) {
            (0, _) => self.sends_no_frame(hostile),
            (1, _) => {
                let decision = hostile.decision(self);
                let Upward::Decision(sealed) = &decision else { return };
                let forged = Forged::text("decision", &sealed.body);
                self.pushes_harm(hostile, vec![(decision, Some(forged))]);
            }
            (2, target) => {
                let others = target.filter(|target| target.site != hostile.site);
                let text = forge::fact(others.and_then(|target| target.order), self.now);
                let forged = Forged::text("fact", &text);
                self.pushes_harm(hostile, vec![(Upward::Fact(text), Some(forged))]);
            }
            (3, _) if hostile.kind == DeviceKind::Gateway => self.numbers_wrongly(hostile),
            (4, Some(target)) => self.gives_back(hostile, target),
            (5, _) => self.shows_a_page(hostile),
            (6, target) => self.repeats(hostile, target),
            (_, Some(target)) => {
                let Some(bytes) = hostile.change(&target, self.now) else { return };
                let stands = target.document.chunks();
                // A mutation may come out as it was.
                if !inspect(&bytes).is_ok_and(|seen| stands.iter().any(|known| known.hash == seen.hash)) {
                    self.pushes_harm(hostile, vec![forged_chunk(target.id, target.kind, bytes)]);
                }
            }
            (_, None) => {}
        }
    }

    fn pushes_harm(&mut self, hostile: &mut Hostile, records: Vec<Record>) {
        let (says, forged): (Vec<Upward>, Vec<Option<Forged>>) = records.into_iter().unzip();
        let records: Vec<(u64, Upward)> = (hostile.pushed + 1..).zip(says).collect();
        let first = hostile.pushed + 1;
        hostile.pushed += forged.len() as u64;
        let Some(frame) = self.must("writing harm", encode(&Push { outbox_epoch: 1, records })) else { return };
        let answered = self.hub.push(&hostile.device, &frame);
        let Some(answer) = self.must("taking harm in", answered) else { return };
        let Some(reply) = self.must("reading the answer to harm", decode::<PushReply>(&answer)) else { return };
        for (number, forged) in (first..).zip(forged) {
            let refused = reply.rejected.iter().find(|refused| refused.number == number);
            match (forged, refused) {
                (Some(forged), refused) => {
                    if refused.is_some() {
                        self.book.note(match forged.what {
                            "chunk" => "forged changes that were refused",
                            "decision" => "forged decisions that were refused",
                            _ => "forged facts that were refused",
                        });
                    }
                    hostile.forged.push(forged);
                }
                (None, Some(refused)) => {
                    self.failures.push(format!("a device may not say what is its to say: {}", refused.reason));
                }
                (None, None) => {}
            }
        }
        hostile.last = Some((frame, reply));
    }

    /// A change of its own case under a number that is not due, and two under one.
    fn numbers_wrongly(&mut self, hostile: &mut Hostile) {
        let (now, actor, case) = (self.now, hostile.actor.clone(), DocumentKind::Case);
        let Some((id, mut document)) = hostile.own.take() else {
            let (id, document, opened) = forge::opens(&hostile.site, &actor, now);
            hostile.own = Some((id, document));
            return self.pushes_harm(hostile, vec![(chunk(id, case, opened.bytes), None)]);
        };
        let mut ahead = document.clone();
        let mut says = |document: &mut Document| forge::says_in(case, document, &actor, now, &mut hostile.dice).bytes;
        let (second, skipped) = (says(&mut ahead.clone()), says(&mut ahead));
        let gapped = says(&mut ahead);
        let next = says(&mut document);
        hostile.own = Some((id, document));
        let mut records = vec![forged_chunk(id, case, gapped), (chunk(id, case, next), None)];
        records.extend([second, skipped].map(|bytes| forged_chunk(id, case, bytes)));
        self.pushes_harm(hostile, records);
    }

    /// Gives back what it says that it was sent: a change in another's name with a page that it signed itself, and one
    /// of its own in a document that is not.
    fn gives_back(&mut self, hostile: &mut Hostile, target: Target) {
        let Target { id: document, kind, document: stands, .. } = target;
        let Some(other) = forge::writer_of(&stands, &mut hostile.dice) else { return };
        let mut says = |actor: &Actor| forge::says_in(kind, &mut stands.clone(), actor, self.now, &mut hostile.dice);
        let (stolen, foreign) = (says(&other), says(&hostile.actor));
        let page = forge::signed_page(&hostile.device, vec![mark(&document, &stolen.hash)], &hostile.key);
        // What may be proved by another is not put aside.
        hostile.forged.push(Forged { quarantined: None, ..Forged::change(document, &stolen.bytes) });
        hostile.forged.push(Forged::change(document, &foreign.bytes));
        let changes = vec![
            Given { document, kind, bytes: stolen.bytes, page: Some(0) },
            Given { document, kind, bytes: foreign.bytes, page: None },
        ];
        match self.asks_harm(hostile, &Repair::Give { pages: vec![page], changes }) {
            Some(Repaired::Given(refused)) => {
                refused.iter().for_each(|_| self.book.note("changes given back that were refused"));
            }
            Some(other) => self.failures.push(format!("what is given back is answered by {other:?}")),
            None => {}
        }
    }

    /// A page that the hub did not sign does not begin another life of its ledger.
    fn shows_a_page(&mut self, hostile: &mut Hostile) {
        let page = forge::signed_page(&hostile.device, Vec::new(), &hostile.key).digest;
        let Some(running) = &self.hub.running else { return };
        let before = running.store.read_now(|r| r.ledger_epoch());
        let Some(before) = self.must("reading the life of the ledger", before) else { return };
        let answer = self.asks_harm(hostile, &Repair::Prove { page, outbox_epoch: 1, taken_through: 1_000_000 });
        if answer.as_ref().is_some_and(|answer| *answer != Repaired::Ledger(before)) {
            self.failures.push(format!("a page of nobody's is answered by {answer:?}"));
        }
        self.book.note("pages that prove nothing");
    }

    fn asks_harm(&mut self, hostile: &Hostile, asked: &Repair) -> Option<Repaired> {
        let frame = self.must("writing harm", encode(asked))?;
        let answered = self.hub.repair(&hostile.device, &frame);
        let answer = self.must("answering harm", answered)?;
        self.must("reading the answer to harm", decode(&answer))
    }

    /// What was said already is said again: by itself, or in its name by somebody who wrote it.
    fn repeats(&mut self, hostile: &mut Hostile, target: Option<Target>) {
        self.book.note("pushes that came again");
        if let Some((frame, reply)) = &hostile.last {
            let again = self.hub.push(&hostile.device, frame).map(|answer| decode::<PushReply>(&answer));
            if !matches!(&again, Ok(Ok(again)) if again == reply) {
                self.failures.push(format!("a push was answered by {reply:?} and then by {again:?}"));
            }
        }
        if let Some(target) = target {
            let known = target.document.chunks().into_iter();
            let records = known.map(|known| (chunk(target.id, target.kind, known.bytes), None)).collect();
            self.pushes_harm(hostile, records);
        }
    }

    /// What is no frame is not read, however small it is and however much it holds.
    fn sends_no_frame(&mut self, hostile: &mut Hostile) {
        let mangles = hostile.dice.chance(500);
        let frame = match &hostile.last {
            Some((frame, _)) if mangles => forge::mangled(frame, &mut hostile.mutator),
            _ => forge::inflated().ok(),
        };
        let Some(frame) = frame else { return };
        match self.hub.push(&hostile.device, &frame) {
            Err(HubError::Frame(_)) => self.book.note("frames that were refused"),
            other => self.failures.push(format!("what is no frame is answered by {other:?}")),
        }
    }
}
