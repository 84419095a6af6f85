//! The day that the demo replays: buses, where they were, and when they left the two depots.
//!
//! In: the files of `tests/data/buses` (their README says whose they are). Out: plain rows, by time.
//! They are buses, not trucks; a terminus plays a depot and a trip plays a dispatch.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    path::Path,
    rc::Rc,
};

use anyhow::{Context, bail};
use flate2::read::GzDecoder;
use gatehouse_common::{geo::Point, time::UtcMs};
use serde::Deserialize;

/// One of the two depots.
#[derive(Debug, Clone, Deserialize)]
pub struct Depot {
    /// Name for people.
    pub name: String,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
    /// Radius of the geofence in metres.
    pub radius_m: f64,
}

/// One bus leaving one depot on one trip.
#[derive(Debug, Clone)]
pub struct Departure {
    /// Which depot.
    pub depot: String,
    /// Which bus.
    pub vehicle: String,
    /// Which trip.
    pub trip: String,
    /// When it had come within the radius, if it was seen to come.
    pub arrived: Option<UtcMs>,
    /// When it left the radius.
    pub departed: UtcMs,
    /// When the timetable wanted it at its first stop that was seen.
    pub planned: UtcMs,
    /// Its last stop.
    pub destination: Point,
    /// When it came there, if that was seen.
    pub delivered: Option<UtcMs>,
}

/// One position of one bus.
#[derive(Debug, Clone)]
pub struct Fix {
    /// Which bus.
    pub vehicle: String,
    /// When.
    pub at: UtcMs,
    /// Where.
    pub point: Point,
    /// Speed in km/h as the unit stated it.
    pub speed_kmh: f64,
}

/// The whole day.
#[derive(Debug)]
pub struct Day {
    /// Depots by id.
    pub depots: BTreeMap<String, Depot>,
    /// Departures by time.
    pub departures: Vec<Departure>,
    /// Fixes by time.
    pub fixes: Vec<Fix>,
}

impl Day {
    /// Reads the files in `folder`.
    /// # Errors
    /// If a file is missing or a row is not as its README says; the message names file and row.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let depots_path = folder.join("depots.json");
        let text = fs::read_to_string(&depots_path).with_context(|| format!("reading {}", depots_path.display()))?;
        let depots = serde_json::from_str(&text).with_context(|| format!("reading {}", depots_path.display()))?;
        let planned = planned_times(&folder.join("arrivals.csv.gz"))?;
        let mut departures = Vec::new();
        for row in Table::open(&folder.join("departures.csv"))?.rows()? {
            let departed = seconds(row.get("departed_unix")?)?;
            let trip = row.get("trip_id")?.to_owned();
            let timetable = planned.get(&trip).copied().unwrap_or(departed);
            // A bus that left far from its timetable was on another errand: its own departure is the plan then.
            let planned = if departed.since(timetable).abs() > 20 * 60_000 { departed } else { timetable };
            departures.push(Departure {
                depot: row.get("depot")?.to_owned(),
                vehicle: row.get("vehicle")?.to_owned(),
                trip,
                arrived: row.optional("arrived_unix")?.map(seconds).transpose()?,
                departed,
                planned,
                destination: Point { lat: row.number("dest_lat")?, lon: row.number("dest_lon")? },
                delivered: row.optional("dest_arrived_unix")?.map(seconds).transpose()?,
            });
        }
        departures.sort_by_key(|d| d.departed);
        let mut fixes = Vec::new();
        for row in Table::open(&folder.join("positions.csv.gz"))?.rows()? {
            fixes.push(Fix {
                vehicle: row.get("vehicle")?.to_owned(),
                at: row.get("time_utc")?.parse().context("time_utc")?,
                point: Point { lat: row.number("lat")?, lon: row.number("lon")? },
                speed_kmh: row.number("speed_kmh").unwrap_or(0.0),
            });
        }
        fixes.sort_by_key(|f| f.at);
        Ok(Self { depots, departures, fixes })
    }
}

fn planned_times(path: &Path) -> anyhow::Result<BTreeMap<String, UtcMs>> {
    let mut first: BTreeMap<String, (u32, UtcMs)> = BTreeMap::new();
    for row in Table::open(path)?.rows()? {
        let seq: u32 = row.get("seq")?.parse().context("seq")?;
        let planned = seconds(row.get("planned_unix")?)?;
        let trip = row.get("trip_id")?.to_owned();
        match first.get(&trip) {
            Some((held, _)) if *held <= seq => {}
            // Later stops say when the bus should be there, not when it should leave the terminus.
            _ if seq > 1 => {}
            _ => {
                first.insert(trip, (seq, planned));
            }
        }
    }
    Ok(first.into_iter().map(|(trip, (_, planned))| (trip, planned)).collect())
}

fn seconds(text: &str) -> anyhow::Result<UtcMs> {
    let seconds: i64 = text.parse().with_context(|| format!("{text:?} is not a time in seconds"))?;
    Ok(UtcMs(seconds * 1000))
}

/// A small CSV: a head, then rows without quotes (the files here have none where we read).
struct Table {
    name: String,
    text: String,
}

struct Row<'a> {
    name: &'a str,
    line: usize,
    head: Rc<[&'a str]>,
    cells: Vec<&'a str>,
}

impl Table {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let mut text = String::new();
        let file = File::open(path).with_context(|| format!("opening {name}"))?;
        if name.ends_with(".gz") {
            GzDecoder::new(file).read_to_string(&mut text).with_context(|| format!("unpacking {name}"))?;
        } else {
            let mut file = file;
            file.read_to_string(&mut text).with_context(|| format!("reading {name}"))?;
        }
        Ok(Self { name, text })
    }

    fn rows(&self) -> anyhow::Result<Vec<Row<'_>>> {
        let mut lines = self.text.lines();
        let Some(head) = lines.next() else { bail!("{} is empty", self.name) };
        let head: Rc<[&str]> = head.split(',').collect();
        Ok(lines
            .enumerate()
            .filter(|(_, line)| !line.is_empty())
            .map(|(i, line)| Row {
                name: &self.name,
                line: i + 2,
                head: head.clone(),
                cells: line.split(',').collect(),
            })
            .collect())
    }
}

impl Row<'_> {
    fn get(&self, column: &str) -> anyhow::Result<&str> {
        let at = self.head.iter().position(|c| *c == column);
        at.and_then(|at| self.cells.get(at).copied())
            .with_context(|| format!("{} line {}: no column {column}", self.name, self.line))
    }

    fn optional(&self, column: &str) -> anyhow::Result<Option<&str>> {
        self.get(column).map(|text| Some(text).filter(|text| !text.is_empty()))
    }

    fn number(&self, column: &str) -> anyhow::Result<f64> {
        let text = self.get(column)?;
        text.parse().with_context(|| format!("{} line {}: {column} {text:?} is not a number", self.name, self.line))
    }
}
