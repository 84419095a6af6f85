//! `GET /metrics`: how the agent is, in the text form that Prometheus reads (version 0.0.4).
//!
//! In: what the driver counts, the state of the lines, sums over the store. Out: text. Each label has a fixed, short
//! list of values: ids of orders, devices and topics never become labels. `docs/metrics.md` lists every name; a test
//! compares.

use std::{
    fmt::Write,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use super::{App, Problem};
use crate::{
    core::bounds::BOUNDS,
    driver::QUEUE_MAX,
    meters::{Histogram, Holdup, TurnedAway},
    store::{Releases, SourceAge, Status, Totals},
};

/// Systems of the hub's that get a line of their own; a hub tells of a few.
const SYSTEMS_MAX: usize = 16;
/// Ages by which devices are counted: the label and its upper bound in seconds.
const AGES: [(&str, u64); 4] = [("1m", 60), ("10m", 600), ("1h", 3_600), ("1d", 86_400)];

/// What is remembered from one call to the next.
#[derive(Debug, Default)]
pub struct Remembered {
    /// Decisions that are counted already.
    releases: Releases,
    /// The oldest record of the outbox, and since when it has been the oldest.
    oldest: Option<(u64, Instant)>,
}

impl Remembered {
    /// How long, in seconds, record `n` has been seen to be the oldest that waits.
    fn waits_s(&mut self, n: Option<u64>) -> f64 {
        self.oldest = match (n, self.oldest) {
            (None, _) => None,
            (Some(n), Some((before, since))) if n == before => Some((n, since)),
            (Some(n), _) => Some((n, Instant::now())),
        };
        self.oldest.map_or(0.0, |(_, since)| since.elapsed().as_secs_f64())
    }
}

/// `GET /metrics`
pub async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    let counted = remembered(&app.remembered).releases.clone();
    let (status, totals) = app.look(move |store| Ok((store.status()?, store.totals(counted)?))).await?;
    let waits_s = {
        let mut remembered = remembered(&app.remembered);
        remembered.releases = totals.releases.clone();
        remembered.waits_s(totals.outbox_oldest)
    };
    let mut text = Text::default();
    readings(&mut text, &app, &status);
    commits(&mut text, &app);
    outbox(&mut text, &status, &totals, waits_s);
    work(&mut text, &app, &status, &totals);
    waiting(&mut text, &app, &status);
    sources(&mut text, &app, &status.sources);
    lines(&mut text, &app);
    room(&mut text, &totals);
    damage(&mut text, &app, &status);
    bounds(&mut text, &app, &totals);
    process(&mut text);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text.0).into_response())
}

fn remembered(held: &Mutex<Remembered>) -> std::sync::MutexGuard<'_, Remembered> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The text as it grows.
#[derive(Default)]
struct Text(String);

impl Text {
    /// Begins a metric. `kind` is `counter`, `gauge` or `histogram`.
    fn metric(&mut self, name: &str, kind: &str, help: &str) -> Metric<'_> {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Metric { text: &mut self.0, name: name.to_owned() }
    }

    /// A metric of one value without labels.
    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Into<f64>) {
        self.metric(name, kind, help).value(&[], value);
    }

    fn histogram(&mut self, name: &str, help: &str, held: &Histogram, unit: f64) {
        let mut metric = self.metric(name, "histogram", help);
        for (bound, count) in held.cumulated() {
            metric.line("_bucket", &[("le", &(bound as f64 / unit).to_string())], count as f64);
        }
        let count = held.count() as f64;
        metric.line("_bucket", &[("le", "+Inf")], count);
        metric.line("_sum", &[], held.sum() as f64 / unit);
        metric.line("_count", &[], count);
    }
}

/// One metric whose lines are written.
struct Metric<'a> {
    text: &'a mut String,
    name: String,
}

impl Metric<'_> {
    fn value(&mut self, labels: &[(&str, &str)], value: impl Into<f64>) {
        self.line("", labels, value.into());
    }

    fn line(&mut self, ending: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> = labels.iter().map(|(key, text)| format!("{key}=\"{}\"", escaped(text))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.text, "{}{ending}{labels} {value}", self.name);
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn flag(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

fn readings(text: &mut Text, app: &App, status: &Status) {
    let meters = app.page.driver.meters();
    let mut received = text.metric(
        "gatehouse_readings_received_total",
        "counter",
        "Readings committed since the start, by kind; repeats included.",
    );
    for (kind, count) in meters.readings() {
        received.value(&[("kind", kind)], count as f64);
    }
    for (name, counter, help) in [
        ("gatehouse_readings_stored_total", "readings_stored", "Readings stored since the store was made."),
        ("gatehouse_readings_duplicate_total", "duplicates_dropped", "Readings that came before and were dropped."),
        ("gatehouse_readings_conflict_total", "conflicts", "Readings whose id came before with another payload."),
        ("gatehouse_quarantined_total", "quarantined", "Messages and items put into quarantine, conflicts included."),
    ] {
        text.one(name, "counter", help, status.counters.get(counter).copied().unwrap_or(0) as f64);
    }
    let mut noticed = text.metric(
        "gatehouse_intake_noticed_total",
        "counter",
        "What befell messages and the line to the broker since the store was made.",
    );
    for name in [
        "messages_empty",
        "messages_oversized",
        "messages_unreadable",
        "messages_again",
        "messages_retained",
        "messages_of_no_concern",
        "values_refused",
        "readings_late",
        "readings_ahead_let_go",
        "readings_beyond_bounds",
        "senders_beyond_bounds",
        "changes_of_forgotten",
        "stale_wills",
        "connections",
        "connections_lost",
        "sessions_gone",
    ] {
        noticed.value(&[("what", name)], status.counters.get(name).copied().unwrap_or(0) as f64);
    }
    let mut unreadable = text.metric(
        "gatehouse_messages_unreadable_total",
        "counter",
        "Messages since the start that could not be read, by class of reason.",
    );
    for (class, count) in meters.unreadable() {
        unreadable.value(&[("reason", class)], count as f64);
    }
}

fn commits(text: &mut Text, app: &App) {
    let driver = &app.page.driver;
    let meters = driver.meters();
    text.histogram(
        "gatehouse_commit_seconds",
        "Seconds to decide and commit a batch.",
        &meters.commit_micros,
        1_000_000.0,
    );
    text.histogram(
        "gatehouse_commit_inputs",
        "Inputs in a batch, the passing of time included.",
        &meters.batch_inputs,
        1.0,
    );
    text.one("gatehouse_queue_inputs", "gauge", "Inputs that wait for the driver.", driver.queued() as f64);
    text.one("gatehouse_queue_inputs_max", "gauge", "Inputs that may wait; senders beyond wait.", QUEUE_MAX as f64);
    let (full, busy) = meters.refusals();
    let mut refused =
        text.metric("gatehouse_commits_refused_total", "counter", "Commits that the store refused, tried again since.");
    refused.value(&[("reason", "disk_full")], full as f64);
    refused.value(&[("reason", "store_busy")], busy as f64);
    let holdup = meters.holdup();
    let mut held = text.metric(
        "gatehouse_backpressure",
        "gauge",
        "1 while nothing is acknowledged for this reason, so that the broker keeps what comes.",
    );
    held.value(&[("reason", "disk_full")], flag(holdup == Holdup::Full));
    held.value(&[("reason", "store_busy")], flag(holdup == Holdup::Busy));
    held.value(&[("reason", "queue_full")], flag(driver.queued() >= QUEUE_MAX));
}

fn outbox(text: &mut Text, status: &Status, totals: &Totals, waits_s: f64) {
    text.one("gatehouse_outbox_records", "gauge", "Records that wait to be told to the hub.", totals.outbox as f64);
    text.one(
        "gatehouse_outbox_oldest_seconds",
        "gauge",
        "Seconds that the oldest of them has been seen to wait by calls of this run; at least that long it waits.",
        waits_s,
    );
    text.one(
        "gatehouse_outbox_rejected_records",
        "gauge",
        "Records that the hub did not let in.",
        status.rejected as f64,
    );
}

fn work(text: &mut Text, app: &App, status: &Status, totals: &Totals) {
    let mut cases =
        text.metric("gatehouse_cases_open", "gauge", "Cases that are not resolved, closed or cancelled, by severity.");
    for severity in ["S1", "S2", "S3", "S4"] {
        cases.value(&[("severity", severity)], totals.open_cases.get(severity).copied().unwrap_or(0) as f64);
    }
    let mut releases =
        text.metric("gatehouse_releases_total", "counter", "Releases in the store's decision records, by mode.");
    for mode in ["normal", "degraded", "offline", "override"] {
        releases.value(&[("mode", mode)], totals.releases.by_mode.get(mode).copied().unwrap_or(0) as f64);
    }
    text.one("gatehouse_decisions_total", "counter", "Decision records in the store.", status.decisions as f64);
    let held = status.lease.as_ref();
    let value_left = held.map_or(0, |l| l.lease.value_ceiling_minor.saturating_sub(l.used.value_minor));
    text.one(
        "gatehouse_lease_value_left_minor",
        "gauge",
        "What the newest lease still allows to release, in minor units of its currency; 0 without a lease.",
        value_left as f64,
    );
    let left_ms = held.map_or(0, |l| l.lease.expires_at.since(app.page.clock.wall()).max(0));
    text.one(
        "gatehouse_lease_left_seconds",
        "gauge",
        "Seconds until the newest lease expires by the wall clock; 0 without a lease.",
        left_ms as f64 / 1000.0,
    );
}

/// Documents of which a part has not come.
fn waiting(text: &mut Text, app: &App, status: &Status) {
    text.one(
        "gatehouse_documents_waiting",
        "gauge",
        "Documents that have changes whose past has not come in.",
        status.waiting.len() as f64,
    );
    let waits_ms = status.waits_ms(app.page.clock.wall()).unwrap_or(0);
    text.one(
        "gatehouse_documents_waiting_oldest_seconds",
        "gauge",
        "Seconds that the first of them has waited; 0 if none does.",
        waits_ms as f64 / 1000.0,
    );
}

fn sources(text: &mut Text, app: &App, sources: &[SourceAge]) {
    let now = app.page.clock.wall();
    let age_s = |source: &SourceAge| now.since(source.heard).max(0) as f64 / 1000.0;
    let (devices, systems): (Vec<_>, Vec<_>) = sources.iter().partition(|source| source.readings.is_some());
    let mut ages = text.metric(
        "gatehouse_system_age_seconds",
        "gauge",
        "Seconds since the hub last heard each of its systems, such as the ERP.",
    );
    for system in systems.into_iter().take(SYSTEMS_MAX) {
        ages.value(&[("system", &system.source)], age_s(system));
    }
    let mut heard = text.metric(
        "gatehouse_devices_heard",
        "gauge",
        "Devices of this depot that were heard within this time; any for all there are.",
    );
    for (label, limit_s) in AGES {
        let count = devices.iter().filter(|device| age_s(device) <= limit_s as f64).count();
        heard.value(&[("within", label)], count as f64);
    }
    heard.value(&[("within", "any")], devices.len() as f64);
}

fn lines(text: &mut Text, app: &App) {
    let now = app.page.clock.wall();
    let age_s = |at: Option<gatehouse_common::time::UtcMs>| at.map(|at| now.since(at).max(0) as f64 / 1000.0);
    let broker = app.page.broker.borrow().clone();
    text.one("gatehouse_broker_connected", "gauge", "1 while the broker is connected.", flag(broker.connected));
    text.one(
        "gatehouse_broker_messages_total",
        "counter",
        "Messages of the broker since the start.",
        broker.received as f64,
    );
    text.one(
        "gatehouse_broker_messages_ignored_total",
        "counter",
        "Messages since the start of which nothing is to be kept.",
        broker.ignored as f64,
    );
    text.one(
        "gatehouse_broker_filters_refused",
        "gauge",
        "Topic filters that the broker does not let the agent have.",
        broker.refused.len() as f64,
    );
    let mut heard = text.metric("gatehouse_broker_heard_seconds", "gauge", "Seconds since a message last came.");
    if let Some(age_s) = age_s(broker.heard) {
        heard.value(&[], age_s);
    }
    let hub = app.page.hub.borrow().clone();
    text.one("gatehouse_hub_configured", "gauge", "1 when the configuration names a hub.", flag(hub.url.is_some()));
    text.one("gatehouse_hub_connected", "gauge", "1 while the hub answers.", flag(hub.connected));
    let mut heard = text.metric("gatehouse_hub_heard_seconds", "gauge", "Seconds since the hub last answered.");
    if let Some(age_s) = age_s(hub.heard) {
        heard.value(&[], age_s);
    }
    text.one(
        "gatehouse_clock_confirmed",
        "gauge",
        "1 once something trusted has confirmed the clock since boot.",
        flag(app.page.clock.now().trusted),
    );
    text.metric("gatehouse_build_info", "gauge", "1, with the program's version.")
        .value(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
}

fn room(text: &mut Text, totals: &Totals) {
    text.one("gatehouse_store_bytes", "gauge", "Bytes of the store's file.", totals.store_bytes as f64);
    text.one("gatehouse_store_wal_bytes", "gauge", "Bytes of its write-ahead log.", totals.wal_bytes as f64);
}

fn damage(text: &mut Text, app: &App, status: &Status) {
    let rows = app.page.damaged.borrow().len() + status.put_aside.len();
    let help = "Rows of the store that are damaged and not whole again; of many the first.";
    text.one("gatehouse_damaged_rows", "gauge", help, rows as f64);
    let help = "Cases and dispatches that this program cannot fold and that are left out of decisions.";
    text.one("gatehouse_unfoldable_documents", "gauge", help, status.unfoldable.len() as f64);
}

/// How full that is which devices and pages could fill.
fn bounds(text: &mut Text, app: &App, totals: &Totals) {
    let mut rows = text.metric(
        "gatehouse_remembered_rows",
        "gauge",
        "Doors, vehicles, senders and other things named by devices that are remembered.",
    );
    for (word, count) in &totals.remembered {
        rows.value(&[("of", word)], *count as f64);
    }
    let mut most = text.metric(
        "gatehouse_remembered_rows_max",
        "gauge",
        "How many may be; what orders name is remembered beyond that, nothing else is.",
    );
    for (word, _, max) in BOUNDS {
        most.value(&[("of", word)], max as f64);
    }
    text.one("gatehouse_page_live", "gauge", "Pages that are told of changes now.", app.live_pages() as f64);
    let mut refused = text.metric(
        "gatehouse_page_turned_away_total",
        "counter",
        "Requests since the start that were refused because too many were being answered.",
    );
    for (what, word) in TurnedAway::ALL {
        refused.value(&[("what", word)], app.page.driver.meters().times_turned_away(what) as f64);
    }
}

/// What the operating system counts of this process; left out where it cannot be read.
fn process(text: &mut Text) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = |name: &str| -> Option<f64> {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    if let Some(rss) = kilobytes("VmRSS:") {
        text.one("process_resident_memory_bytes", "gauge", "Resident memory in bytes.", rss * 1024.0);
    }
    if let Some(seconds) = cpu_seconds(&std::fs::read_to_string("/proc/self/stat").unwrap_or_default()) {
        text.one("process_cpu_seconds_total", "counter", "Seconds of user and system time used.", seconds);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        text.one("process_open_fds", "gauge", "Open file descriptors.", open.count() as f64);
    }
}

/// User and system time of a line of `/proc/PID/stat`. Linux counts hundredths there for every program.
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The name stands in brackets and may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_holds_whatever_a_name_holds() {
        let mut text = Text::default();
        text.metric("m", "gauge", "h").value(&[("system", "a\"b\\c\nd")], 1.0);
        assert_eq!(text.0.lines().last(), Some(r#"m{system="a\"b\\c\nd"} 1"#));
    }

    #[test]
    fn the_oldest_record_waits_as_long_as_it_is_the_oldest() {
        let mut remembered = Remembered::default();
        assert_eq!(remembered.waits_s(None), 0.0);
        let first = remembered.waits_s(Some(7));
        std::thread::sleep(std::time::Duration::from_millis(20));
        let later = remembered.waits_s(Some(7));
        assert!(later >= first + 0.02, "{first} {later}");
        assert!(remembered.waits_s(Some(8)) < 0.02);
    }

    #[test]
    fn processor_time_is_read_whatever_the_program_is_called() {
        let stat = "1 (a) b) S 1 1 1 0 -1 4194304 1 2 3 4 150 50 0 0 20 0 4 0 1 2 3";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("nothing"), None);
    }
}
