//! Connections that are lost, servers that go away, and writers that die with the turn in hand.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::*;

const PASSES: u8 = 0;
/// The commit arrives, its answer does not.
const LOSES_THE_ANSWER: u8 = 1;
/// The commit does not arrive.
const LOSES_THE_COMMIT: u8 = 2;

/// A line to the server that can be cut where it hurts most, once.
struct Line {
    port: u16,
    mode: Arc<AtomicU8>,
}

impl Line {
    fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, mode) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU8::new(PASSES)));
        let shared = mode.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (mode, server) = (shared.clone(), TcpStream::connect(("127.0.0.1", server)).unwrap());
                thread::spawn(move || carry(client, server, &mode));
            }
        });
        Self { port, mode }
    }
}

fn carry(mut client: TcpStream, mut server: TcpStream, mode: &AtomicU8) {
    let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    thread::spawn(move || std::io::copy(&mut from, &mut to));
    let mut buffer = [0; 8192];
    while let Ok(n @ 1..) = client.read(&mut buffer) {
        let is_commit = buffer[..n].windows(7).any(|word| word == b"COMMIT\0");
        let cut = if is_commit { mode.swap(PASSES, Ordering::AcqRel) } else { PASSES };
        if cut != PASSES {
            // The way back ends first, so that no answer slips through.
            let _ = client.shutdown(std::net::Shutdown::Both);
        }
        if cut != LOSES_THE_COMMIT && server.write_all(&buffer[..n]).is_err() {
            break;
        }
        if cut != PASSES {
            thread::sleep(Duration::from_millis(200));
            break;
        }
    }
    let _ = (client.shutdown(std::net::Shutdown::Both), server.shutdown(std::net::Shutdown::Both));
}

fn over_a_line() -> Option<(Ground, Line, Store)> {
    let ground = Ground::postgresql()?;
    let Location::Postgresql(options) = &ground.location else { return None };
    let line = Line::to(options.port);
    let far = Location::Postgresql(PostgresOptions { port: line.port, ..options.clone() });
    let store = Store::open_at(&far, &"hub".parse().unwrap()).unwrap();
    Some((ground, line, store))
}

#[test]
fn a_commit_whose_answer_was_lost_is_found_to_have_happened() {
    let Some((ground, line, store)) = over_a_line() else { return };
    line.mode.store(LOSES_THE_ANSWER, Ordering::Release);
    assert!(store.write_now(|tx| publish(tx, "a")).unwrap(), "the caller hears that it was written");
    assert_eq!(line.mode.load(Ordering::Acquire), PASSES, "the line was never cut");
    assert_eq!(feed(&ground.open(), 0).len(), 1);
    assert!(store.write_now(|tx| publish(tx, "b")).unwrap());
}

#[test]
fn a_commit_that_did_not_arrive_is_told_and_can_be_made_again() {
    let Some((ground, line, store)) = over_a_line() else { return };
    line.mode.store(LOSES_THE_COMMIT, Ordering::Release);
    let lost = store.write_now(|tx| publish(tx, "a"));
    assert!(matches!(lost, Err(StoreError::NotWritten(_))), "{lost:?}");
    assert!(feed(&ground.open(), 0).is_empty());
    assert!(store.write_now(|tx| publish(tx, "a")).unwrap());
    assert_eq!(feed(&ground.open(), 0).len(), 1);
    assert!(!store.is_broken());
}

#[test]
fn connections_that_the_server_ends_are_opened_anew() {
    let Some(ground) = Ground::postgresql() else { return };
    let store = ground.open();
    store.write_now(|tx| publish(tx, "a")).unwrap();
    assert_eq!(feed(&store, 0).len(), 1);
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()";
    ground.beside().one(end, &[], |r| r.get::<i64>(0)).unwrap();
    thread::sleep(Duration::from_millis(100));
    assert!(store.write_now(|tx| publish(tx, "b")).unwrap());
    assert_eq!(feed(&store, 0).len(), 2);
}

#[test]
fn who_dies_with_the_turn_in_hand_holds_it_for_seconds() {
    let Some(ground) = Ground::postgresql() else { return };
    let store = ground.open();
    let dead = ground.beside();
    dead.begin_writing().unwrap();
    let begun = Instant::now();
    assert!(store.write_now(|tx| publish(tx, "a")).unwrap());
    let waited = begun.elapsed();
    assert!((Duration::from_secs(5)..Duration::from_secs(15)).contains(&waited), "{waited:?}");
    assert!(dead.commit(|| Ok(false)).is_err(), "its own transaction is gone");
}

#[test]
fn a_server_that_may_lose_what_it_confirmed_is_refused() {
    let Some(ground) = Ground::postgresql() else { return };
    let Location::Postgresql(options) = &ground.location else { return };
    let mut client = ground.server.as_ref().unwrap().client("postgres").unwrap();
    client.batch_execute(&format!("ALTER DATABASE {} SET synchronous_commit = off", options.database)).unwrap();
    let refused = Store::open_at(&ground.location, &"hub".parse().unwrap()).err().unwrap().to_string();
    assert!(refused.contains("synchronous_commit is off"), "{refused}");
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let Some(ground) = Ground::postgresql() else { return };
    ground.beside().postgres().unwrap().batch("CREATE TABLE theirs (n INT)").unwrap();
    let refused = Store::open_at(&ground.location, &"hub".parse().unwrap()).err().unwrap().to_string();
    assert!(refused.contains("another program's tables"), "{refused}");
}

#[test]
fn replicas_that_start_together_make_the_tables_once() {
    let Some(ground) = Ground::postgresql() else { return };
    let stores: Vec<Store> = thread::scope(|scope| {
        let starting: Vec<_> = (0..4).map(|_| scope.spawn(|| ground.open())).collect();
        starting.into_iter().map(|start| start.join().unwrap()).collect()
    });
    let epochs: std::collections::BTreeSet<u32> = stores.iter().map(|store| store.actor().epoch).collect();
    assert_eq!(epochs.len(), 4);
}
