//! `./run bench hub`: how many changes the hub takes in, beside the least that writing them down can cost.
//!
//! Changes are pushed as devices push them, past signature and connection: what is measured is the gate, the trial, the
//! ledger, the feeds and the commit. The floor appends the same bytes to a table of the same database, as many to a sync.
//! Of PostgreSQL the processor's time is the client's: what its server takes is not the hub's to save.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use gatehouse_bench::lines::{Aim, Printer, rounded};
use gatehouse_common::{
    id::{DeviceId, Hash32},
    seal::PrivateKey,
    sync::{Push, Upward},
};
use gatehouse_hub::{
    store::{Device, DeviceKind, Location, Store},
    sync::handle_push,
};
use postgres::Client;
use rusqlite::{Connection, params};
use serde_json::json;

use crate::{
    cases::{Case, writer},
    hub::on,
    look::process_cpu_s,
    programs::{moment, now},
    server::Server,
    words::Words,
};

/// Changes in one push.
const PUSH: usize = 100;
/// Changes of one case.
const CHANGES: usize = 5;
/// Why the least share of the floor is what it is stands in NUMBERS of the design.
const SHARE: f64 = 0.25;
/// Changes folded in a second of one core, at least.
const FOLDED: f64 = 8_000.0;

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Changes; a multiple of 1000
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = thousands)]
    changes: usize,
}

fn thousands(text: &str) -> Result<usize, String> {
    let changes: usize = text.parse().map_err(|_| "give a number".to_owned())?;
    if changes > 0 && changes.is_multiple_of(1000) { Ok(changes) } else { Err("give a multiple of 1000".to_owned()) }
}

/// What something took.
#[derive(Debug, Clone, Copy)]
struct Took {
    wall_s: f64,
    cpu_s: f64,
    syncs: u64,
}

impl Took {
    fn of<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(Self, T)> {
        let (begun, cpu) = (Instant::now(), process_cpu_s());
        let done = work()?;
        let (wall_s, cpu_s) = (begun.elapsed().as_secs_f64(), process_cpu_s() - cpu);
        Ok((Self { wall_s, cpu_s, syncs: 0 }, done))
    }
}

/// One device and what it pushes, in order.
struct Sender {
    device: Device,
    pushes: Vec<Push>,
}

/// Which engine the hub's store and the floor are over.
enum Engine {
    Sqlite,
    Postgresql(Arc<Server>),
}

impl Engine {
    fn name(&self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgresql(_) => "PostgreSQL",
        }
    }

    /// A new database: the file `path`, or one of the server's.
    fn database(&self, path: PathBuf) -> Location {
        match self {
            Self::Sqlite => Location::Sqlite(path),
            Self::Postgresql(server) => on(server, server.database()),
        }
    }
}

/// Measures; says whether all aims hold.
pub fn run(arguments: &Arguments, printer: Printer) -> anyhow::Result<bool> {
    let mut engines = vec![Engine::Sqlite];
    engines.extend(Server::alone().map(Engine::Postgresql));
    let mut holds = true;
    for together in [100, 1000] {
        let senders = senders(arguments.changes, together / PUSH)?;
        for engine in &engines {
            printer.say(&format!("{} changes, {together} to a sync, {}", arguments.changes, engine.name()));
            holds &= measure(engine, &senders, together, printer)?;
        }
    }
    Ok(holds)
}

fn measure(engine: &Engine, senders: &[Sender], together: usize, printer: Printer) -> anyhow::Result<bool> {
    let chunks: Vec<&[u8]> = senders
        .iter()
        .flat_map(|sender| sender.pushes.iter().flat_map(|push| push.records.iter()))
        .filter_map(|(_, record)| if let Upward::Chunk { bytes, .. } = record { Some(bytes.as_slice()) } else { None })
        .collect();
    let directory = tempfile::tempdir()?;
    let floor = append(&engine.database(directory.path().join("floor.db")), &chunks, together)?;
    let store = Store::open_at(&engine.database(directory.path().join("hub.db")), &"hub".parse()?)?;
    let (accepted, folded) = accept_and_fold(&store, senders)?;
    for (what, took) in [("raw append", floor), ("accepted", accepted), ("folded", folded)] {
        line(printer, &format!("{what}, {}", engine.name()), together, chunks.len(), took);
    }
    let per_cpu_s = |took: Took| chunks.len() as f64 / took.cpu_s.max(0.001);
    let (ours, theirs) = (per_cpu_s(accepted), per_cpu_s(floor));
    let case = format!("accepted per s of CPU, {together} to a sync, {}", engine.name());
    let peer = Some(("raw append", theirs));
    let kept = ours >= SHARE * theirs;
    let mut holds =
        printer.aim(&Aim { bench: "hub", case: &case, ours, peer, aim: ">= 0.25 of the peer", holds: kept });
    let both = Took { cpu_s: accepted.cpu_s + folded.cpu_s, ..accepted };
    let ours = per_cpu_s(both);
    let case = format!("accepted and folded per s of CPU, {together} to a sync, {}", engine.name());
    let kept = ours >= FOLDED;
    holds &= printer.aim(&Aim { bench: "hub", case: &case, ours, peer, aim: ">= 8000", holds: kept });
    Ok(holds)
}

fn line(printer: Printer, what: &str, together: usize, changes: usize, took: Took) {
    printer.line(&json!({
        "bench": "hub", "case": what, "to_a_sync": together, "changes": changes, "seconds": rounded(took.wall_s),
        "cpu_s": rounded(took.cpu_s), "per_s": (changes as f64 / took.wall_s.max(0.001)).round(),
        "per_cpu_s": (changes as f64 / took.cpu_s.max(0.001)).round(), "syncs": took.syncs,
    }));
}

/// So many senders, who together push `changes`, each of its own depot; five changes a case, taken in turns.
fn senders(changes: usize, count: usize) -> anyhow::Result<Vec<Sender>> {
    let each = changes / count;
    (0..count).map(|n| sender(n, each)).collect()
}

fn sender(n: usize, changes: usize) -> anyhow::Result<Sender> {
    let (name, site) = (DeviceId::new(format!("gw-{n}").as_str())?, format!("D{n}").parse()?);
    let (actor, now) = (writer(&site, &name), now());
    let mut words = Words::of(n as u64);
    let mut cases = Vec::new();
    let mut records = Vec::new();
    let upward = |case: &Case, bytes: Vec<u8>| Upward::Chunk {
        document: case.id,
        kind: gatehouse_common::id::DocumentKind::Case,
        bytes,
    };
    for case in 0..changes / CHANGES {
        let (case, chunk) = Case::open(&actor, case, &mut words, now)?;
        records.push(upward(&case, chunk.bytes));
        cases.push(case);
    }
    for _ in 1..CHANGES {
        for case in &mut cases {
            let chunk = case.acted(&actor, &mut words, now)?;
            records.push(upward(case, chunk.bytes));
        }
    }
    let numbered: Vec<(u64, Upward)> = (1..).zip(records).collect();
    let pushes = numbered.chunks(PUSH).map(|records| Push { outbox_epoch: 1, records: records.to_vec() }).collect();
    let key = PrivateKey::from_seed(Hash32::of(name.as_str().as_bytes()).0);
    let (kind, sites) = (DeviceKind::Gateway, vec![site]);
    Ok(Sender { device: Device { device: name, kind, public_key: key.public(), sites, vehicles: Vec::new() }, pushes })
}

/// The floor: the same bytes, appended, so many to a commit.
fn append(to: &Location, chunks: &[&[u8]], together: usize) -> anyhow::Result<Took> {
    match to {
        Location::Sqlite(path) => append_to_sqlite(path, chunks, together),
        Location::Postgresql(at) => append_to_postgresql(Server::client_of(at.port, &at.database)?, chunks, together),
    }
}

fn append_to_sqlite(path: &Path, chunks: &[&[u8]], together: usize) -> anyhow::Result<Took> {
    let mut conn = Connection::open(path)?;
    conn.pragma_update(None, "journal_mode", "wal")?;
    conn.pragma_update(None, "synchronous", "full")?;
    conn.execute_batch("CREATE TABLE log (position INTEGER PRIMARY KEY, body BLOB NOT NULL)")?;
    let (took, syncs) = Took::of(|| {
        let mut syncs = 0;
        for chunks in chunks.chunks(together) {
            let tx = conn.transaction()?;
            let mut insert = tx.prepare_cached("INSERT INTO log (body) VALUES (?1)")?;
            for chunk in chunks {
                insert.execute(params![chunk])?;
            }
            drop(insert);
            tx.commit()?;
            syncs += 1;
        }
        Ok(syncs)
    })?;
    Ok(Took { syncs, ..took })
}

fn append_to_postgresql(mut client: Client, chunks: &[&[u8]], together: usize) -> anyhow::Result<Took> {
    client.batch_execute(
        "CREATE TABLE log (position BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body BYTEA NOT NULL)",
    )?;
    let insert = client.prepare("INSERT INTO log (body) VALUES ($1)")?;
    let (took, syncs) = Took::of(|| {
        let mut syncs = 0;
        for chunks in chunks.chunks(together) {
            let mut tx = client.transaction()?;
            for chunk in chunks {
                tx.execute(&insert, &[chunk])?;
            }
            tx.commit()?;
            syncs += 1;
        }
        Ok(syncs)
    })?;
    Ok(Took { syncs, ..took })
}

/// What it takes to accept everything, and then to fold it.
fn accept_and_fold(store: &Store, senders: &[Sender]) -> anyhow::Result<(Took, Took)> {
    let devices: Vec<Device> = senders.iter().map(|sender| sender.device.clone()).collect();
    store.write_now(move |tx| devices.iter().try_for_each(|device| tx.put_device(device, now())))?;
    let before = store.commits();
    let (accepted, ()) = Took::of(|| {
        // Each device has one push under way, so that so many meet in a commit.
        std::thread::scope(|scope| {
            let running: Vec<_> = senders.iter().map(|sender| scope.spawn(|| push_all(store, sender))).collect();
            running
                .into_iter()
                .try_for_each(|thread| thread.join().ok().context("a sender panicked").and_then(|outcome| outcome))
        })
    })?;
    let accepted = Took { syncs: store.commits() - before, ..accepted };
    let before = store.commits();
    let (folded, count) = Took::of(|| Ok(store.fold_now()?))?;
    ensure!(count > 0, "nothing was folded");
    Ok((accepted, Took { syncs: store.commits() - before, ..folded }))
}

fn push_all(store: &Store, sender: &Sender) -> anyhow::Result<()> {
    let key = PrivateKey::from_seed([9; 32]);
    for push in &sender.pushes {
        let last = push.records.last().map_or(0, |(n, _)| *n);
        let reply = loop {
            let (key, device, push) = (key.clone(), sender.device.device.clone(), push.clone());
            match store.write_now(move |tx| handle_push(tx, &key, &device, &push, &moment())) {
                Err(gatehouse_hub::store::StoreError::NotWritten(_)) => std::thread::sleep(Duration::from_millis(10)),
                answered => break answered?,
            }
        };
        let all = reply.rejected.is_empty() && reply.taken_through == last;
        ensure!(all, "not everything was let in: {:?}", reply.rejected.first());
    }
    Ok(())
}
