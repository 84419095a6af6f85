//! The floor: the least that a durable intake with a rule can cost, to measure the agent against.
//!
//! In: door and position messages at QoS 1. Out: rows and alerts in SQLite (`synchronous=FULL`), up to 512 messages per
//! commit, acknowledged after it. It takes repeats as new rows, holds the state of its rule in memory alone, and so
//! misses alerts when it is killed. With `--acknowledge-first` it acknowledges what it has not committed: the
//! control that must lose rows.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Parser;
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, Publish, QoS};
use rusqlite::{Connection, params};
use serde::Deserialize;

/// Most messages in one transaction.
const BATCH_MAX: usize = 512;
/// Longest that the first message of a batch waits for others.
const BATCH_WAIT: Duration = Duration::from_millis(20);

/// The least that a durable intake can cost; the benchmark runs it beside the agent.
#[derive(Parser)]
struct Arguments {
    /// Port of the broker on this machine
    #[arg(long)]
    port: u16,
    /// The SQLite file
    #[arg(long)]
    store: PathBuf,
    /// Acknowledge before the commit: the control that must lose rows when it is killed
    #[arg(long)]
    acknowledge_first: bool,
    /// A door open for longer is an alert, in milliseconds
    #[arg(long, default_value_t = 600_000)]
    open_max_ms: i64,
}

#[derive(Deserialize)]
struct Door<'a> {
    id: &'a str,
    time: i64,
    door: &'a str,
    open: bool,
}

#[derive(Deserialize)]
struct Fix<'a> {
    #[serde(rename = "_id")]
    id: &'a str,
    lat: f64,
    lon: f64,
    tst: i64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut options = MqttOptions::new("floor", "127.0.0.1", arguments.port);
    options.set_clean_session(false).set_manual_acks(true).set_keep_alive(Duration::from_secs(60));
    let (client, mut events) = AsyncClient::new(options, 70_000);
    let (to_writer, messages) = mpsc::channel();
    let acknowledge = client.clone();
    let writer = std::thread::spawn(move || write(&arguments, &messages, &acknowledge));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        loop {
            let publish = match events.poll().await? {
                Event::Incoming(Incoming::Publish(publish)) => publish,
                Event::Incoming(Incoming::ConnAck(_)) => {
                    client.try_subscribe("depot/+/door/+", QoS::AtLeastOnce)?;
                    client.try_subscribe("owntracks/+/+", QoS::AtLeastOnce)?;
                    continue;
                }
                _ => continue,
            };
            if to_writer.send(publish).is_err() {
                break;
            }
        }
        anyhow::Ok(())
    })?;
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?
}

fn write(arguments: &Arguments, messages: &mpsc::Receiver<Publish>, client: &AsyncClient) -> anyhow::Result<()> {
    let mut conn = Connection::open(&arguments.store)?;
    conn.pragma_update(None, "journal_mode", "wal")?;
    conn.pragma_update(None, "synchronous", "full")?;
    conn.pragma_update(None, "wal_autocheckpoint", 4000)?;
    conn.execute_batch(
        "CREATE TABLE IF NOT EXISTS readings (position INTEGER PRIMARY KEY, id TEXT NOT NULL, body BLOB NOT NULL);
         CREATE TABLE IF NOT EXISTS alerts (door TEXT NOT NULL, since_ms INTEGER NOT NULL);",
    )?;
    let mut open_since: HashMap<String, (i64, bool)> = HashMap::new();
    while let Ok(first) = messages.recv() {
        let taken = |publish: Publish| {
            // The control says what is not yet so: the messages that wait here are gone if it is killed now.
            if arguments.acknowledge_first { client.try_ack(&publish).map(|()| publish) } else { Ok(publish) }
        };
        let started = Instant::now();
        let mut batch = vec![taken(first)?];
        while batch.len() < BATCH_MAX {
            match messages.recv_timeout(BATCH_WAIT.saturating_sub(started.elapsed())) {
                Ok(next) => batch.push(taken(next)?),
                Err(_) => break,
            }
        }
        let tx = conn.transaction()?;
        for publish in &batch {
            let row = row(&publish.payload, arguments.open_max_ms, &mut open_since)
                .with_context(|| format!("on {}", publish.topic))?;
            tx.prepare_cached("INSERT INTO readings (id, body) VALUES (?1, ?2)")?.execute(params![row.id, row.body])?;
            if let Some((door, since)) = row.alert {
                tx.prepare_cached("INSERT INTO alerts (door, since_ms) VALUES (?1, ?2)")?
                    .execute(params![door, since])?;
            }
        }
        tx.commit()?;
        if !arguments.acknowledge_first {
            batch.iter().try_for_each(|publish| client.try_ack(publish))?;
        }
    }
    Ok(())
}

struct Row<'a> {
    id: &'a str,
    body: Vec<u8>,
    alert: Option<(&'a str, i64)>,
}

fn row<'a>(
    payload: &'a [u8],
    open_max_ms: i64,
    open_since: &mut HashMap<String, (i64, bool)>,
) -> anyhow::Result<Row<'a>> {
    let mut body = Vec::with_capacity(28);
    if let Ok(fix) = serde_json::from_slice::<Fix<'_>>(payload) {
        body.extend(fix.tst.to_le_bytes());
        body.extend(fix.lat.to_le_bytes());
        body.extend(fix.lon.to_le_bytes());
        return Ok(Row { id: fix.id, body, alert: None });
    }
    let door: Door<'_> = serde_json::from_slice(payload)?;
    body.extend(door.time.to_le_bytes());
    body.push(u8::from(door.open));
    let mut alert = None;
    if door.open {
        let (since, told) = open_since.entry(door.door.to_owned()).or_insert((door.time, false));
        if !*told && door.time - *since > open_max_ms {
            *told = true;
            alert = Some((door.door, *since));
        }
    } else {
        open_since.remove(door.door);
    }
    Ok(Row { id: door.id, body, alert })
}
