//! One agent of the pretend world: a depot's gateway or a vehicle's unit, with its broker and its machine.
//!
//! Inside it is the product: configuration from the shipped examples, decoders, [`step`], core, store and
//! session. Around it stand the seams at which an intake can be wrong (see [`Bug`]).

use std::path::{Path, PathBuf};

use gatehouse_agent::{
    config::{self, Config, TopicConfig},
    core::{
        Core, Profile,
        input::{Input, Receipt, Unreadable},
    },
    driver::{Outcome, step},
    intake::{
        payload::{Births, Decoded, decode},
        topics::rule_for,
    },
    store::{Identity, Store, StoreError},
    sync::{Due, Mender},
};
use gatehouse_common::{
    id::{DeviceId, Hash32, ReadingId, SiteId, VehicleId},
    seal::{PrivateKey, PublicKey},
    sync::{Comparison, DeviceSession},
    time::UtcMs,
};
use rusqlite::{Connection, OpenFlags};

use super::{
    broker::{Broker, Message},
    bugs::Bug,
    clock::Machine,
    copies::Disk,
    lens::{self, Seen},
    network::Line,
};
use gatehouse_common::id::DocumentId;

const GATEWAY: &str = include_str!("../../../firmware-config/gateway/agent.toml");
const UNIT: &str = include_str!("../../../firmware-config/vehicle/agent.toml");

/// An agent and everything around it.
pub struct Agent {
    /// The device.
    pub device: DeviceId,
    /// Its depot.
    pub site: SiteId,
    /// The vehicle it rides in.
    pub vehicle: Option<VehicleId>,
    /// Its key, as the hub lists it.
    pub public_key: PublicKey,
    /// Where its store is.
    pub path: PathBuf,
    /// Its clock.
    pub machine: Machine,
    /// Its broker.
    pub broker: Broker,
    /// Its line to the hub.
    pub line: Line,
    /// The program, while it runs.
    pub running: Option<Running>,
    /// How often the program was started.
    pub starts: u64,
    /// What to add to its clock so that it shows the hub's time, in milliseconds, as its line has learnt it.
    pub skew_ms: i64,
    /// What became of its disk.
    pub(super) disk: Disk,
    profile: Profile,
    topics: Vec<TopicConfig>,
    bug: Bug,
    outside: Option<Connection>,
}

/// A running agent.
pub struct Running {
    /// Decides.
    pub core: Core,
    /// Remembers.
    pub store: Store,
    /// Speaks with the hub.
    pub session: DeviceSession,
    /// Whether it knows how it stands with the hub. Before, it tells nothing and learns nothing.
    pub stands: bool,
    /// Knows when both sides are made alike again.
    pub mender: Mender,
    /// What is asked for that.
    pub comparison: Option<(Due, Comparison)>,
    /// The push under way.
    pub push: Option<u64>,
    /// Whether a push is about to be tried.
    pub push_is_due: bool,
    /// The pull under way.
    pub pull: Option<u64>,
    /// How often the hub could not be reached in a row.
    pub failures: u32,
    /// Which timer counts; older ones are void.
    pub timer: u64,
}

/// Where and as what an agent is set up.
#[derive(Debug, Clone)]
pub struct Setup<'a> {
    /// The directory of its files.
    pub directory: &'a Path,
    /// Its depot.
    pub site: &'a str,
    /// Its vehicle, for a unit.
    pub vehicle: Option<&'a str>,
    /// The hub's key.
    pub hub: PublicKey,
    /// The bytes of its own key.
    pub seed: [u8; 32],
    /// Its machine.
    pub machine: Machine,
    /// What is planted in it.
    pub bug: Bug,
    /// What stands behind the names of all devices of its world.
    pub lot: &'a str,
}

impl Agent {
    /// Sets an agent up from the shipped example of its kind; it does not run yet.
    /// # Panics
    /// If the example is not a configuration.
    #[must_use]
    pub fn new(setup: Setup<'_>) -> Self {
        let config = configure(&setup);
        let key = PrivateKey::from_seed(setup.seed);
        let device = config.device.id.clone();
        let profile = Profile {
            device: device.clone(),
            site: config.device.site.clone(),
            vehicle: config.device.vehicle.clone(),
            yard: config.site.geofence,
            key: key.clone(),
            hub_key: Some(setup.hub),
            bundle: config.bundle.clone(),
        };
        Self {
            path: setup.directory.join(format!("{device}.db")),
            device,
            site: config.device.site,
            vehicle: config.device.vehicle,
            public_key: key.public(),
            machine: setup.machine,
            broker: Broker::default(),
            line: Line::default(),
            running: None,
            starts: 0,
            skew_ms: 0,
            disk: Disk::default(),
            profile,
            topics: config.topics,
            bug: setup.bug,
            outside: None,
        }
    }

    /// Whether it decides for a depot.
    #[must_use]
    pub fn is_gateway(&self) -> bool {
        self.vehicle.is_none()
    }

    /// Its key.
    pub(super) fn key(&self) -> &PrivateKey {
        &self.profile.key
    }

    /// Starts the program from what its store holds.
    /// # Errors
    /// [`StoreError`]: it would not start.
    pub fn start(&mut self, now: UtcMs) -> Result<(), StoreError> {
        let identity = Identity { device: self.device.clone(), site: self.site.clone(), public_key: self.public_key };
        // At its start the agent writes the store's log anew, in a file of its own: who looks on must open it again.
        self.outside = None;
        let store = Store::open(&self.path, &identity)?;
        let core = Core::load(self.profile.clone(), store.snapshot()?);
        let session = DeviceSession::resume(store.look().cursor()?, store.look().outbox_epoch()?);
        let mender = Mender::resume(store.look().newest_page()?, self.machine.at(now));
        self.starts += 1;
        self.running = Some(Running {
            core,
            store,
            session,
            stands: !self.disk.is_another(),
            mender,
            comparison: None,
            push: None,
            push_is_due: false,
            pull: None,
            failures: 0,
            timer: 0,
        });
        Ok(())
    }

    /// The program is killed, and nobody has a file of its store open any more.
    pub(super) fn lets_go(&mut self) {
        self.dies();
        self.outside = None;
    }

    /// The program is killed. What is in its store stays; everything else is gone.
    pub fn dies(&mut self) {
        self.running = None;
        self.broker.connection_lost();
    }

    /// Decides on `inputs` and commits; the effects are the caller's to perform. None while it is down.
    /// # Errors
    /// [`StoreError`]; nothing was written.
    pub fn step(&mut self, now: UtcMs, inputs: &[Input]) -> Result<Option<Outcome>, StoreError> {
        let at = self.machine.at(now);
        let Some(running) = &mut self.running else { return Ok(None) };
        step(&mut running.core, &mut running.store, &at, inputs).map(Some)
    }

    /// Reads a message as the product's intake does, but for what is planted here.
    #[must_use]
    pub fn read(&self, now: UtcMs, receipt: u64, message: &Message) -> Option<Input> {
        let (topic, payload) = (message.topic.as_str(), message.payload.as_slice());
        let wall = self.machine.at(now).wall;
        let decoded = match rule_for(&self.topics, topic) {
            Some(rule) => decode(&mut Births::default(), rule, topic, payload, wall).map_err(|e| e.to_string()),
            None => Err("no filter of the configuration matches the topic".to_owned()),
        };
        let (number, receipt) = (receipt, Some(Receipt(receipt)));
        match decoded {
            Ok(Decoded { readings, .. }) => {
                // The sensors of this world say one thing in a message.
                let mut reading = readings.into_iter().next()?;
                if self.bug == Bug::DedupeDropped
                    && let Ok(id) = ReadingId::new(format!("delivery-{number}"))
                {
                    reading.id = id;
                }
                Some(Input::Reading { reading, receipt })
            }
            Err(reason) => Some(Input::Unreadable(Unreadable {
                topic: topic.to_owned(),
                reason,
                payload_hash: Hash32::of(payload),
                size: payload.len() as u64,
                head: payload[..payload.len().min(256)].to_vec(),
                receipt,
            })),
        }
    }

    /// Whether messages are acknowledged when they are handed over: only with that bug planted.
    #[must_use]
    pub fn acknowledges_too_early(&self) -> bool {
        self.bug == Bug::CommitAfterAcknowledgement
    }

    /// Every dispatch that its page would show, planned departures first to last.
    /// # Panics
    /// If the store cannot be read from outside.
    pub fn page(&mut self) -> Vec<(DocumentId, Seen)> {
        let bug = self.bug;
        let connection = self.outside.get_or_insert_with(|| open_outside(&self.path));
        let mut statement = connection
            .prepare_cached("SELECT document, view, snapshot FROM documents WHERE kind = 'dispatch'")
            .expect("the table of documents has these columns");
        let rows = statement
            .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, Vec<u8>>(2)?)))
            .expect("documents can be read");
        let mut seen: Vec<(DocumentId, Seen)> = rows
            .map(|row| row.expect("a row of documents can be read"))
            .filter_map(|(id, view, snapshot)| {
                let seen = lens::look(&view, &snapshot, bug).expect("a stored dispatch can be read")?;
                Some((id.parse().expect("a document has an id"), seen))
            })
            .collect();
        seen.sort_by_key(|(id, seen)| (seen.planned_departure, *id));
        seen
    }
}

/// Opens a store's file as a stranger would, for looking only.
/// # Panics
/// If it cannot be opened.
#[must_use]
pub fn open_outside(path: &Path) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).expect("the store's file can be opened")
}

fn configure(setup: &Setup<'_>) -> Config {
    let text = match setup.vehicle {
        None => GATEWAY.replace("D1", setup.site),
        Some(vehicle) => UNIT.replace("2207", vehicle).replace("\"D1\"", &format!("{:?}", setup.site)),
    };
    match config::parse(&text, setup.directory) {
        Ok(mut config) => {
            let name = format!("{}{}", config.device.id, setup.lot);
            config.device.id = DeviceId::new(name).expect("a name");
            config
        }
        Err(problems) => panic!("the shipped example is refused: {problems:?}"),
    }
}
