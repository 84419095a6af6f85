//! Three replicas over one PostgreSQL, one of them killed, the server crashed meanwhile: the same state as one hub on
//! SQLite that nothing befell.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::store::{
    Location,
    contract::{options, server::Server},
};

const REPLICAS: usize = 3;
/// How long one seed may take.
const WITHIN: Duration = Duration::from_secs(120);
const DEPOTS: usize = 6;
/// Changes of each depot, and as many decisions.
const CHANGES: usize = 12;
/// The variable that makes a replica of a process of this test: port and name of the database.
const REPLICA: &str = "GATEHOUSE_TEST_REPLICA";
/// How many seeds are played; one if it is not set.
const SEEDS: &str = "GATEHOUSE_REPLICA_SEEDS";
const NAME: &str = "sync::tests::replicas::replicas_that_are_killed_over_a_server_that_crashes_lose_and_repeat_nothing";

type Work = (DeviceId, Push);

/// A process that takes pushes, a line each.
struct Replica {
    process: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Replica {
    fn start(port: u16, database: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture", "--test-threads", "1"])
            .env(REPLICA, format!("{port} {database}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (ask, answers) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        Self { process, ask, answers }
    }

    /// How far the device is taken; none if nothing is known of it.
    fn push(&mut self, work: &Work) -> Option<u64> {
        writeln!(self.ask, "{}", serde_json::to_string(work).unwrap()).ok()?;
        loop {
            let mut line = String::new();
            if self.answers.read_line(&mut line).ok()? == 0 {
                return None;
            }
            // The harness of the tests writes to the same place, and even to the same line.
            if let Some((_, answer)) = line.trim().split_once("ANSWER ") {
                return answer.parse().ok();
            }
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What runs in a process of its own.
fn be_a_replica(place: &str) {
    let (port, database) = place.split_once(' ').unwrap();
    let location = Location::Postgresql(options(port.parse().unwrap(), database));
    let store = Store::open_at(&location, &"hub".parse().unwrap()).unwrap();
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let (device, push): Work = serde_json::from_str(&line).unwrap();
        let taken = store.write_now(move |tx| handle_push(tx, &hub_key(), &device, &push, &at(1_000)));
        match taken {
            Ok(reply) => println!("ANSWER {}", reply.taken_through),
            Err(error) => println!("ANSWER {error}"),
        }
        if rand::random::<u8>() < 16 {
            // Views follow at any replica, at any time.
            let _ = store.fold_now();
        }
    }
}

/// Depots with all that they have to say.
fn depots(hub: &Hub) -> Vec<Depot> {
    (0..DEPOTS)
        .map(|n| {
            let (name, site) = (format!("gw-{n}"), format!("D{n}"));
            let mut depot = hub.gateway(&name, &site, u8::try_from(n + 10).unwrap());
            depot.plan();
            let mut previous = Hash32::ZERO;
            for change in 0..CHANGES {
                depot.say(Says::Lifted { holds: Vec::new(), why: format!("{change}") });
                let decision = depot.decide(change as u64 + 1, previous, "held");
                previous = decision.hash();
                depot.queue(Upward::Decision(decision));
            }
            depot
        })
        .collect()
}

/// Pushes everything a depot has, a few records at a time, until each is taken; some of it twice.
fn push_all(depot: &Depot, replicas: &[Mutex<Replica>], taken_of_all: &AtomicUsize, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut taken, until) = (0_u64, Instant::now() + WITHIN);
    while usize::try_from(taken).unwrap() < depot.outbox.len() {
        assert!(Instant::now() < until, "{} was taken up to {taken} only", depot.device);
        let count = rng.random_range(1..4);
        let records = depot.outbox.iter().filter(|(n, _)| *n > taken).take(count).cloned().collect();
        let work = (depot.device.clone(), Push { outbox_epoch: 1, records });
        let mut answer = None;
        for _ in 0..rng.random_range(1..3) {
            let replica = &replicas[rng.random_range(0..replicas.len())];
            answer = replica.lock().unwrap_or_else(PoisonError::into_inner).push(&work).or(answer);
        }
        match answer {
            Some(through) => {
                taken_of_all.fetch_add(usize::try_from(through.saturating_sub(taken)).unwrap(), Ordering::Relaxed);
                taken = taken.max(through);
            }
            None => thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn over(store: Store) -> Hub {
    Hub { store, path: PathBuf::new(), _directory: tempfile::tempdir().unwrap() }
}

fn play(server: &Server, seed: u64) {
    let database = server.database();
    let location = Location::Postgresql(options(server.port, &database));
    let shared = over(Store::open_at(&location, &"hub".parse().unwrap()).unwrap());
    let depots = depots(&shared);
    let replicas: Vec<_> = (0..REPLICAS).map(|_| Mutex::new(Replica::start(server.port, &database))).collect();
    let all: usize = depots.iter().map(|depot| depot.outbox.len()).sum();
    let taken = AtomicUsize::new(0);
    thread::scope(|scope| {
        for (n, depot) in depots.iter().enumerate() {
            let (replicas, taken) = (&replicas, &taken);
            scope.spawn(move || push_all(depot, replicas, taken, seed * 100 + n as u64));
        }
        let until = Instant::now() + WITHIN;
        let reached = |part: usize| {
            while taken.load(Ordering::Relaxed) * 3 < all * part && Instant::now() < until {
                thread::sleep(Duration::from_millis(2));
            }
        };
        reached(1);
        let victim = usize::try_from(seed).unwrap() % REPLICAS;
        let pid = replicas[victim].lock().unwrap_or_else(PoisonError::into_inner).process.id();
        // Whatever it has under way.
        assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
        reached(2);
        server.crash();
    });
    let same = Hub::new();
    for depot in self::depots(&same) {
        let reply = depot.push(&same);
        assert_eq!((reply.taken_through, reply.rejected.len()), (depot.outbox.len() as u64, 0));
    }
    let state = |hub: &Hub| {
        // The first look after the crash may meet connections that were ended by it.
        hub.store.fold_now().or_else(|_| hub.store.fold_now()).unwrap();
        hub.store.read_now(|r| Ok((r.state_hash()?, r.decision_count()?))).unwrap()
    };
    let decisions = (DEPOTS * CHANGES) as u64;
    assert_eq!(state(&shared), state(&same), "seed {seed}: state and number of decisions");
    assert_eq!(state(&same).1, decisions);
    // The control: one change more is another state.
    let before = state(&same).0;
    let mut one_more = self::depots(&same).remove(0);
    one_more.say(Says::Lifted { holds: Vec::new(), why: "one more".into() });
    one_more.push(&same);
    assert_ne!(state(&same).0, before);
}

#[test]
fn replicas_that_are_killed_over_a_server_that_crashes_lose_and_repeat_nothing() {
    if let Ok(place) = std::env::var(REPLICA) {
        return be_a_replica(&place);
    }
    let seeds = std::env::var(SEEDS).ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let Some(server) = Server::alone() else { return };
    for seed in 1..=seeds {
        play(&server, seed);
        println!("seed {seed}: {REPLICAS} replicas, one killed, the server crashed: the same state");
    }
}
