//! Every call to the disk fails once, in turn: input/output error, no room, program killed.

use std::time::Duration;

use gatehouse_agent::{
    clock::Clock,
    core::{
        Core,
        input::{Input, Receipt},
    },
    driver::Driver,
    store::Before,
};
use gatehouse_common::{
    id::{Hash32, ReadingId},
    reading::{Reading, ReadingValue},
    time::UtcMs,
};
use gatehouse_power::{
    depot::profile,
    disk::{Disk, Fault, Keeps},
    faults::{Answer, Played, Script},
    machine::open,
    vfs::Mounted,
};
use rand::{SeedableRng, rngs::StdRng};
use tokio::sync::mpsc;

fn every_call(fault: Fault, answer: Answer) -> (Vec<Played>, Vec<String>) {
    let script = Script::of(3, 14).unwrap();
    let (mut played, mut lost) = (Vec::new(), Vec::new());
    for nth in 1.. {
        match script.play(nth, fault, answer) {
            Ok(session) if !session.fired => break,
            Ok(session) => played.push(session),
            Err(what) => lost.push(format!("call {nth}: {what}")),
        }
    }
    let restarts: u32 = played.iter().map(|p| p.restarts).sum();
    let again: u32 = played.iter().map(|p| p.tried_again).sum();
    println!(
        "{fault:?}, {answer:?}: {} sessions, {restarts} restarts, {again} steps tried again, {} lost something",
        played.len() + lost.len(),
        lost.len()
    );
    (played, lost)
}

#[test]
fn after_an_error_at_any_call_nothing_acknowledged_is_lost() {
    let (played, lost) = every_call(Fault::Io, Answer::EndAndWriteLogAnew);
    assert_eq!(lost, Vec::<String>::new());
    assert!(played.iter().any(|p| p.restarts > 0), "no error ever ended the program");
}

#[test]
fn a_disk_full_at_any_call_is_waited_for_and_loses_nothing() {
    let (played, lost) = every_call(Fault::Full, Answer::EndAndWriteLogAnew);
    assert_eq!(lost, Vec::<String>::new());
    assert!(played.iter().any(|p| p.tried_again > 0), "a full disk never made it wait");
}

#[test]
fn a_program_killed_in_any_call_loses_nothing() {
    let (_, lost) = every_call(Fault::Kill, Answer::EndAndWriteLogAnew);
    assert_eq!(lost, Vec::<String>::new());
}

#[test]
fn a_program_that_believes_the_cache_after_a_failed_sync_loses_something() {
    let (_, lost) = every_call(Fault::Io, Answer::EndAndBelieveCache);
    println!("for example: {}", lost.first().map_or("nothing", |what| what));
    assert!(!lost.is_empty(), "the checker does not see what a failed sync loses");
}

fn door(n: u64) -> Input {
    let reading = Reading {
        source: "sensor".into(),
        id: ReadingId::new(format!("r{n}")).unwrap(),
        at: UtcMs(1_425_974_400_000),
        payload_hash: Hash32::of(&n.to_be_bytes()),
        value: ReadingValue::Door { door: "3".parse().unwrap(), open: n % 2 == 0 },
    };
    Input::Reading { reading, receipt: Some(Receipt(n)) }
}

/// The driver's own thread over a disk that fails at the `nth` call: the receipts it gave, and whether it ended.
async fn drive(disk: &Mounted, nth: u64) -> (Vec<Receipt>, bool) {
    let (store, _) = open(disk).unwrap();
    let core = Core::load(profile(), store.snapshot().unwrap());
    disk.disk().plan(nth, Fault::Io);
    let (acknowledged, mut receipts) = mpsc::unbounded_channel();
    let (driver, handle) = Driver::start(core, store, Clock::system(), acknowledged).unwrap();
    for n in 0..6 {
        if handle.send(door(n)).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    drop(handle);
    let ended_badly = driver.ended().await.is_err();
    let mut given = Vec::new();
    while let Some(more) = receipts.recv().await {
        given.extend(more);
    }
    (given, ended_badly)
}

#[tokio::test]
async fn the_driver_gives_no_receipt_after_a_failed_commit_and_ends() {
    let (mut ended, mut given) = (0, 0);
    for nth in 1.. {
        let disk = Mounted::new(Disk::default());
        drop(open(&disk).unwrap());
        let (receipts, ended_badly) = drive(&disk, nth).await;
        let fired = disk.disk().fired();
        disk.disk().cut(Keeps::None, &mut StdRng::seed_from_u64(nth));
        let (store, _) = open(&disk).unwrap();
        for Receipt(n) in &receipts {
            let id = ReadingId::new(format!("r{n}")).unwrap();
            let before = store.before("sensor", &id, &Hash32::of(&n.to_be_bytes())).unwrap();
            assert_eq!(before, Some(Before::Repeat), "call {nth}: receipt {n} without its reading");
        }
        assert!(receipts.is_sorted(), "call {nth}: {receipts:?}");
        ended += u32::from(ended_badly);
        given += receipts.len();
        if !fired {
            assert_eq!(receipts.len(), 6, "without a fault everything is acknowledged");
            break;
        }
    }
    println!("{ended} drivers ended by their store, {given} receipts, each with its reading on the medium");
    assert!(ended > 0, "no error ended the driver");
}
