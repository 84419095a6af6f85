//! Transactions that cannot be put in a row, and those that wait for each other: between hubs there are none of either,
//! and one that somebody else brings about undoes nothing but itself.

use std::{sync::mpsc::channel, thread, time::Duration};

use super::*;
use crate::store::sql::params;

/// A row that a person beside the hub holds.
const ROW: &str = "test.row";

fn isolation(sql: &Connection) -> String {
    sql.one("SELECT current_setting('transaction_isolation')", params![], |r| r.get::<String>(0)).unwrap()
}

/// Whatever the database would choose, who writes has the turn and sees what was committed before it, and who reads
/// only reads: neither can meet another that it could not be put in a row with.
#[test]
fn hubs_over_a_database_that_puts_all_in_a_row_are_never_told_to_try_again() {
    let Some(ground) = Ground::postgresql() else { return };
    let Location::Postgresql(options) = &ground.location else { return };
    let mut client = ground.server.as_ref().unwrap().client("postgres").unwrap();
    let strict = format!("ALTER DATABASE {} SET default_transaction_isolation = 'serializable'", options.database);
    client.batch_execute(&strict).unwrap();
    let (one, two) = (ground.open(), ground.open());
    assert_eq!(isolation(&ground.beside()), "serializable", "it is as it was set");
    assert_eq!(one.write_now(|tx| Ok(isolation(tx.sql))).unwrap(), "read committed");
    assert_eq!(one.read_now(|r| Ok(isolation(r.sql))).unwrap(), "repeatable read");
    thread::scope(|scope| {
        for (replica, store) in [&one, &two, &one, &two].into_iter().enumerate() {
            scope.spawn(move || {
                for n in 0..20 {
                    assert!(store.write_now(move |tx| publish(tx, &format!("{replica}-{n}"))).unwrap());
                    store.read_now(|r| r.feed_head()).unwrap();
                }
            });
        }
    });
    assert_eq!(feed(&one, 0).len(), 4 * 20);

    // The control: one that saw the turn before another had it, and goes on by that, is refused here; and such an error
    // counts as one that passes.
    let beside = ground.beside();
    beside.postgres().unwrap().batch("BEGIN").unwrap();
    beside.one("SELECT turns FROM turn WHERE id = 1", params![], |r| r.get::<i64>(0)).unwrap();
    one.write_now(|tx| publish(tx, "between")).unwrap();
    let refused = beside.execute("UPDATE turn SET turns = turns WHERE id = 1", params![]).unwrap_err();
    let refused = StoreError::from(refused);
    assert!(matches!(&refused, StoreError::NotWritten(why) if why.contains("could not serialize")), "{refused:?}");
}

/// No two hubs can wait for each other: each takes the turn before anything else. A person at the database can hold a
/// row and ask for the turn. Whoever wrote then hears that nothing was written, and may try again.
#[test]
fn a_write_that_waits_for_somebody_who_waits_for_it_is_undone_alone_and_can_be_made_again() {
    let Some(ground) = Ground::postgresql() else { return };
    let store = ground.open();
    store.write_now(|tx| tx.set_cursor(ROW, "before")).unwrap();
    let person = ground.beside();
    let says = |sql: &str| person.postgres().unwrap().batch(sql).unwrap();
    // It is the hub that finds out, and so the hub that is told to give way.
    says("SET deadlock_timeout = '1min'");
    says("BEGIN");
    says(&format!("SELECT value FROM cursors WHERE name = '{ROW}' FOR UPDATE"));
    let (begins, begun) = channel::<()>();
    let ended = thread::scope(|scope| {
        let store = &store;
        let writes = scope.spawn(move || {
            store.write_now(move |tx| {
                publish(tx, "lost")?;
                begins.send(()).unwrap();
                // Until the other one waits for the turn.
                thread::sleep(Duration::from_millis(500));
                tx.set_cursor(ROW, "after")
            })
        });
        begun.recv().unwrap();
        let other = scope.spawn(move || store.write_now(|tx| publish(tx, "kept")));
        // The turn is free once the hub has given way.
        says("SELECT id FROM turn WHERE id = 1 FOR UPDATE");
        says("COMMIT");
        assert!(other.join().unwrap().unwrap(), "whoever came beside it is served");
        writes.join().unwrap()
    });
    assert!(matches!(&ended, Err(StoreError::NotWritten(why)) if why.contains("deadlock")), "{ended:?}");
    assert!(!store.is_broken());
    let row = |store: &Store| store.read_now(|r| r.cursor(ROW)).unwrap();
    assert_eq!(row(&store).as_deref(), Some("before"));
    assert_eq!(feed(&store, 0).into_iter().map(|(_, says)| says).collect::<Vec<_>>(), [note("kept")]);
    store.write_now(|tx| tx.set_cursor(ROW, "after")).unwrap();
    assert_eq!(row(&ground.open()).as_deref(), Some("after"));
}
