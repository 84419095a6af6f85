//! Positions of the feed: in the order in which they can be seen, so that no reader passes one.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use super::*;

on_both!(
    a_reader_passes_no_row_however_many_write,
    who_writes_while_another_writes_gets_the_later_position,
    a_number_is_given_out_once_though_the_last_rows_are_taken_away,
);

/// Reads the feed again and again behind a cursor, as a depot does, until `done` and nothing is new.
fn read_behind_a_cursor(store: &Store, done: &AtomicBool) -> Vec<(u64, Downward)> {
    let mut found: Vec<(u64, Downward)> = Vec::new();
    loop {
        let last = done.load(Ordering::Acquire);
        let rows = feed(store, found.last().map_or(0, |(position, _)| *position));
        if rows.is_empty() && last {
            return found;
        }
        found.extend(rows);
    }
}

fn a_reader_passes_no_row_however_many_write(ground: &Ground) {
    const WRITERS: usize = 3;
    const EACH: usize = 25;
    let replicas: Vec<Store> = (0..WRITERS).map(|_| ground.open()).collect();
    let done = AtomicBool::new(false);
    let read = thread::scope(|scope| {
        let reader = scope.spawn(|| read_behind_a_cursor(&replicas[0], &done));
        let writers: Vec<_> = replicas
            .iter()
            .enumerate()
            .flat_map(|(replica, store)| (0..2).map(move |thread| (replica, thread, store)))
            .map(|(replica, thread, store)| {
                scope.spawn(move || {
                    for n in 0..EACH {
                        store
                            .write_now(move |tx| {
                                publish(tx, &format!("{replica}-{thread}-{n}"))?;
                                // Others have time to commit between the number and its commit.
                                thread::sleep(Duration::from_micros(200));
                                Ok(())
                            })
                            .unwrap();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Release);
        reader.join().unwrap()
    });
    assert_eq!(read.len(), WRITERS * 2 * EACH, "what was read behind a cursor");
    assert!(read.is_sorted_by(|a, b| a.0 < b.0), "a position was given twice or went back");
    assert_eq!(read, feed(&replicas[1], 0), "what a reader from the start finds");
}

fn who_writes_while_another_writes_gets_the_later_position(ground: &Ground) {
    let (slow, quick) = (ground.open(), ground.open());
    let numbered = Barrier::new(2);
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            let (said, heard) = std::sync::mpsc::channel();
            thread::scope(|inner| {
                inner.spawn(|| {
                    slow.write_now(move |tx| {
                        publish(tx, "first")?;
                        said.send(()).unwrap();
                        thread::sleep(Duration::from_millis(300));
                        Ok(())
                    })
                });
                heard.recv().unwrap();
                numbered.wait();
            });
        });
        numbered.wait();
        quick.write_now(|tx| publish(tx, "second")).unwrap();
        first.join().unwrap();
    });
    let order: Vec<Downward> = feed(&quick, 0).into_iter().map(|(_, says)| says).collect();
    assert_eq!(order, [note("first"), note("second")]);
}

/// The control: numbers from a bare sequence, in the same situation. The checker of this file must see what is passed.
#[test]
fn a_bare_sequence_lets_a_reader_pass_a_row() {
    let Some(ground) = Ground::postgresql() else { return };
    let (first, second, reader) = (ground.beside(), ground.beside(), ground.beside());
    let batch = |connection: &Connection, sql: &str| connection.postgres().unwrap().batch(sql).unwrap();
    batch(&first, "CREATE TABLE bare (position BIGSERIAL PRIMARY KEY)");
    batch(&first, "BEGIN; INSERT INTO bare DEFAULT VALUES");
    batch(&second, "INSERT INTO bare DEFAULT VALUES");
    let after = |cursor: i64| {
        let sql = "SELECT position FROM bare WHERE position > ?1 ORDER BY position";
        reader.query(sql, crate::store::sql::params![cursor], |r| r.get::<i64>(0)).unwrap()
    };
    let mut read = after(0);
    batch(&first, "COMMIT");
    read.extend(after(*read.last().unwrap()));
    assert_ne!(read, after(0), "a cursor over a bare sequence misses nothing here, so this control shows nothing");
}

fn a_number_is_given_out_once_though_the_last_rows_are_taken_away(ground: &Ground) {
    let store = ground.open();
    store.write_now(|tx| publish(tx, "one")).unwrap();
    let before = feed(&store, 0)[0].0;
    ground.beside().execute("DELETE FROM feed", &[]).unwrap();
    store.write_now(|tx| publish(tx, "two")).unwrap();
    assert!(feed(&store, 0)[0].0 > before);
}
