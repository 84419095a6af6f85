//! The hub as several replicas over one PostgreSQL: which of them acts, who hears of it, and who cannot be reached.
//!
//! The one that acts sits in [`World::hub`], where one hub would; the others wait here. Requests reach any of them.
//! What only one may do at a time goes by the product's claims, in the pretend world's time: replicas beat for theirs,
//! and one that died or stood still loses them. At the end the database is copied into a file, and looked at there.

use std::collections::BTreeSet;

use gatehouse_hub::store::{PostgresOptions, claims::POST};

use super::{
    Event, World,
    bugs::Bug,
    checks::Broken,
    clock::{HOUR, MINUTE, Machine, SECOND},
    dice::Dice,
    erp::Mood,
    fleet::peopled,
    hub::Hub,
    random::{Played, STORM, change_of_mind, ended},
    weather::Weather,
};
use crate::erp_trial::server::{Server, USER};

/// How many replicas there are.
const REPLICAS: usize = 3;
/// How far the clock of each may be off, in milliseconds: less than the 10 s between two that are allowed.
const OFF_MAX: i64 = 1_000;
/// How often a replica stands still in a storm, in thousandths of its beats: others then take over what it does.
const STANDS_STILL: u64 = 120;
/// How often a replica tries for a claim that another holds, in thousandths: so no one gets all of them.
const TRIES: u64 = 500;
/// Postings that the ERP applies and whose replica dies before the answer, in thousandths; at least so many.
const OUTLIVES: u64 = 50;

/// What is copied out of a database is what it holds.
pub const ONE_STATE: &str = "the database and its copy in a file hold the same";

/// The replicas that do not act at the moment; none where the hub is one.
#[derive(Default)]
pub(super) struct Replicas {
    others: Vec<Hub>,
    /// The database that all share.
    ground: Option<PostgresOptions>,
    /// Replicas and agents that do not reach each other.
    walls: BTreeSet<(usize, usize)>,
    stands_still: u64,
}

impl Replicas {
    /// From now on each is reached from everywhere, and none stands still.
    pub(super) fn calm_down(&mut self) {
        self.walls.clear();
        self.stands_still = 0;
    }

    /// A replica and an agent reach each other no more, or again.
    pub(super) fn wall(&mut self, replica: usize, agent: usize, stands: bool) {
        if stands {
            self.walls.insert((replica, agent));
        } else {
            self.walls.remove(&(replica, agent));
        }
    }

    fn numbers(&self) -> BTreeSet<usize> {
        self.others.iter().map(|hub| hub.number).collect()
    }
}

/// Plays a world of `depots` depots whose hub is three replicas over a database of `server`: each may die or stand
/// still at any moment, and partitions between depots and replicas come and go; to its quiet end, and checks it.
/// # Panics
/// If the server does not do what it is there for.
#[must_use]
pub fn play_replicas(server: &Server, seed: u64, depots: usize, bug: Bug, prints: bool) -> Played {
    play_replicas_with(server, seed, depots, bug, prints, |_| {})
}

/// As [`play_replicas`], with what `more` befalls the world besides.
pub(super) fn play_replicas_with(
    server: &Server,
    seed: u64,
    depots: usize,
    bug: Bug,
    prints: bool,
    more: impl FnOnce(&mut World),
) -> Played {
    let mut dice = Dice::of(seed ^ 0x7265_706c_6963);
    let database = server.database();
    let mut world = World::new(seed, bug, u64::try_from(4 * HOUR).unwrap_or(1), prints);
    let (host, user) = ("127.0.0.1".to_owned(), USER.to_owned());
    let ground =
        PostgresOptions { host, port: server.port, user, database: database.clone(), password: None, ca_file: None };
    world.is_shared_by_replicas(ground, &mut dice);
    let drawn = Weather::drawn(&mut dice);
    let mood = Mood { outlives: drawn.mood.outlives.max(OUTLIVES), ..drawn.mood };
    world.weather = Weather { mood, ..drawn };
    world.erp.set_mood(mood);
    for order in peopled(&mut world, depots, &mut dice) {
        if dice.chance(400) {
            change_of_mind(&mut world, &order, &mut dice);
        }
    }
    // Every replica has heard of every device.
    world.hub_has_changed();
    world.befalls_replicas(&mut dice);
    more(&mut world);
    let played = ended(world, STORM);
    let mut client = server.client("postgres").expect("the server can be reached");
    let drops = format!("DROP DATABASE {database} WITH (FORCE)");
    client.batch_execute(&drops).expect("a database that nobody needs can be dropped");
    played
}

impl World {
    /// In place of the one hub come replicas over a database that is empty.
    fn is_shared_by_replicas(&mut self, ground: PostgresOptions, dice: &mut Dice) {
        for number in 0..REPLICAS {
            let directory = self.directory.path().join(format!("replica-{number}"));
            std::fs::create_dir(&directory).expect("a directory can be made");
            let machine = Machine::new(&format!("hub-{number}"), self.now, dice.between(-OFF_MAX, OFF_MAX));
            let mut replica = self.hub.replica(number, &directory, machine, ground.clone(), self.now);
            replica.start().expect("a replica starts on a database of its own");
            self.replicas.others.push(replica);
        }
        self.hub = self.replicas.others.remove(0);
        self.replicas.ground = Some(ground);
        self.replicas.stands_still = STANDS_STILL;
        self.after(1, Event::ReplicasBeat);
    }

    /// Cuts, partitions, kills and an ERP that is away, all over before the storm is.
    fn befalls_replicas(&mut self, dice: &mut Dice) {
        for agent in 0..self.agents.len() {
            for _ in 0..dice.below(3) {
                let from = dice.between(10 * MINUTE, STORM - 30 * MINUTE);
                self.line_after(from, agent, true);
                self.line_after(from + dice.between(MINUTE, 25 * MINUTE), agent, false);
            }
            for _ in 0..2 {
                let (replica, from) = (dice.place(REPLICAS), dice.between(MINUTE, STORM - 40 * MINUTE));
                self.after(from, Event::Wall { replica, agent, stands: true });
                let until = from + dice.between(MINUTE, 40 * MINUTE);
                self.after(until, Event::Wall { replica, agent, stands: false });
            }
        }
        for replica in 0..REPLICAS {
            for _ in 0..1 + dice.place(3) {
                self.after(dice.between(MINUTE, STORM - MINUTE), Event::ReplicaDies { replica });
            }
        }
        if dice.chance(500) {
            let (mood, from) = (self.weather.mood, dice.between(20 * MINUTE, STORM - 20 * MINUTE));
            self.mood_after(from, Mood { is_away: true, ..mood });
            self.mood_after(from + dice.between(2 * MINUTE, 8 * MINUTE), mood);
        }
    }

    /// From now on the replica of this number acts.
    pub(super) fn turn_to(&mut self, number: usize) {
        if let Some(other) = self.replicas.others.iter_mut().find(|hub| hub.number == number) {
            std::mem::swap(&mut self.hub, other);
            self.hub_tells_time();
        }
    }

    /// Some replica acts, whichever a request happens to reach.
    pub(super) fn at_some_replica(&mut self) {
        if !self.replicas.others.is_empty() {
            let number = self.dice.place(self.replicas.others.len() + 1);
            self.turn_to(number);
        }
    }

    /// Each replica acts once, in any order; the one hub where there are none.
    pub(super) fn each_replica(&mut self, mut acts: impl FnMut(&mut Self)) {
        let mut left: Vec<usize> = self.replicas.numbers().into_iter().collect();
        left.push(self.hub.number);
        while !left.is_empty() {
            let place = if left.len() > 1 { self.dice.place(left.len()) } else { 0 };
            let number = left.swap_remove(place);
            self.turn_to(number);
            acts(self);
        }
    }

    /// The replica acts that keeps this pull waiting.
    pub(super) fn turn_to_who_keeps(&mut self, request: u64) {
        let keeps = |hub: &&Hub| {
            hub.running.as_ref().is_some_and(|running| running.waiting.iter().any(|pull| pull.request == request))
        };
        if let Some(number) = self.replicas.others.iter().find(keeps).map(|hub| hub.number) {
            self.turn_to(number);
        }
    }

    /// Whether the replica that acts and this agent do not reach each other.
    pub(super) fn is_walled_off(&self, agent: usize) -> bool {
        self.replicas.walls.contains(&(self.hub.number, agent))
    }

    /// The others hear of what the one that acts has committed: so many changes.
    pub(super) fn others_hear(&mut self, told: usize) {
        if told == 0 || self.replicas.others.is_empty() {
            return;
        }
        let acted = self.hub.number;
        for number in self.replicas.numbers() {
            self.turn_to(number);
            let news = self.hub.hears(told);
            if news.work {
                self.hub_works_at(self.now.plus(100));
            }
            if news.feed {
                self.answers_who_waits();
            }
        }
        self.turn_to(acted);
    }

    pub(super) fn replica_dies(&mut self, number: usize) {
        self.turn_to(number);
        if self.hub.running.is_some() {
            self.hub_dies();
        }
    }

    /// Replicas beat for their claims, and take over those of others that stand still.
    pub(super) fn replicas_beat(&mut self) {
        self.each_replica(Self::replica_beats);
        let pause = self.dice.between(20 * SECOND, 80 * SECOND);
        self.after(pause, Event::ReplicasBeat);
    }

    fn replica_beats(&mut self) {
        if self.hub.running.is_none() {
            return;
        }
        if self.dice.chance(self.replicas.stands_still) {
            self.book.note("replicas that stood still");
            return;
        }
        let dice = &mut self.dice;
        let gained = self.hub.beats(|| dice.chance(TRIES));
        let Some(gained) = self.must("beating for a claim", gained) else { return };
        for claim in gained {
            self.book.note("claims taken");
            self.say(&format!("{} does {claim} from now on", self.hub.called()));
            if claim == POST && self.bug == Bug::TakenOverUnasked {
                self.sends_unasked();
            }
            self.hub_works_at(self.now.plus(100));
        }
    }

    /// What a wrong replica would do with what another had under way.
    fn sends_unasked(&self) {
        let Some(ground) = &self.replicas.ground else { return };
        let mut beside = Server::client_of(ground.port, &ground.database).expect("the database can be reached");
        let sql = "UPDATE postings SET state = 'queued' WHERE state = 'in_doubt'";
        beside.execute(sql, &[]).expect("postings can be changed");
    }

    /// What replicas share is copied into a file by the product's own means, for all who look at files. What does not
    /// hold of that is returned.
    pub(super) fn comes_into_a_file(&mut self) -> Option<Broken> {
        self.replicas.ground.as_ref()?;
        let file = self.directory.path().join("hub-of-all.db");
        let (held, copied) = self.hub.is_copied(&file).expect("a store that replicas share can be copied");
        (held != copied).then(|| Broken::new(ONE_STATE, format!("{held:?} became {copied:?}")))
    }
}
