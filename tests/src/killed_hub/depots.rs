//! Depots with the real agent, whose stores hold what was released while they were cut off.
//!
//! The agent does everything from there on: it tells until it is acknowledged, reads the feed, and gives back what a
//! hub has forgotten. Nothing is at its broker: what happens at the depot has happened.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse_agent::store::{Identity, Store};
use gatehouse_common::{id::DecisionId, seal::PublicKey, time::Moment};
use gatehouse_hub::store::Device;

use super::known::{self, Known};
use crate::{demo::programs::Program, erp_trial::releases};

/// Names of the depots' gateways and of the depots.
pub const DEPOTS: [(&str, &str); 2] = [("gw-1", "D1"), ("gw-2", "D2")];

/// A depot of which the files are there.
pub struct Depot {
    name: &'static str,
    site: &'static str,
    folder: PathBuf,
    program: Program,
}

/// Who was written down, and what it released.
pub struct Written {
    /// As the hub is to list it.
    pub device: Device,
    /// Its decisions.
    pub decisions: Vec<DecisionId>,
}

impl Depot {
    /// The `n`-th depot, with its files in a folder of its own in `folder`. `either` is the program that is an agent
    /// too.
    #[must_use]
    pub fn at(folder: &Path, n: usize, either: &Path) -> Self {
        let (name, site) = DEPOTS[n];
        let own = folder.join(name);
        let arguments = ["agent", "run", "--config"].map(str::to_owned).into_iter();
        let arguments = arguments.chain([own.join("agent.toml").display().to_string()]).collect();
        let program = Program::new(name, either.to_owned(), arguments, folder);
        Self { name, site, folder: own, program }
    }

    /// Writes its key and its store: the orders of these numbers were released, each in a commit of its own.
    /// # Errors
    /// If they cannot be written.
    pub fn write(&self, orders: impl Iterator<Item = usize>, now: &Moment) -> anyhow::Result<Written> {
        fs::create_dir_all(&self.folder)?;
        let mut depot = releases::Depot::new(self.name, self.site)?;
        let mut key =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.folder.join("device.key"))?;
        writeln!(key, "{}", STANDARD.encode(depot.seed))?;
        let device = depot.device.clone();
        let (name, site) = (device.device.clone(), device.sites[0].clone());
        let own = Identity { device: name, site, public_key: device.public_key };
        let mut store = Store::open(&self.store(), &own)?;
        let mut decisions = Vec::new();
        for order in orders {
            let release = depot.releases(order, now)?;
            decisions.push(release.decision.clone());
            store.commit(&release.records()?)?;
        }
        Ok(Written { device, decisions })
    }

    /// Comes back: its agent starts, for a hub at `address` with this key.
    /// # Errors
    /// If it cannot be started.
    pub async fn comes_back(&self, address: SocketAddr, hub: &PublicKey) -> anyhow::Result<()> {
        let Self { name, site, .. } = self;
        let text = format!(
            "[device]\nid = \"{name}\"\nkind = \"gateway\"\nsite = \"{site}\"\nkey_file = \"device.key\"\n\
             [store]\npath = \"agent.db\"\n\
             [mqtt]\nhost = \"127.0.0.1\"\nport = 9\n\
             [site]\nname = \"{site}\"\ngeofence = {{ lat = 30.2672, lon = -97.7431, radius_m = 300 }}\n\
             [[topics]]\nfilter = \"owntracks/+/+\"\ndecoder = \"owntracks\"\nid = \"/_id\"\n\
             [hub]\nurl = \"http://{address}\"\npublic_key = \"{hub}\"\n\
             [page]\nlisten = \"127.0.0.1:0\"\n"
        );
        fs::write(self.folder.join("agent.toml"), text)?;
        self.program.start().await
    }

    /// Ends its agent as a power cut would.
    pub async fn goes(&self) {
        self.program.kill().await;
    }

    /// Tells why its agent ended, which nobody ended.
    pub async fn has_ended(&self) -> Option<String> {
        self.program.has_ended().await
    }

    fn store(&self) -> PathBuf {
        self.folder.join("agent.db")
    }

    /// Which changes of documents and which decisions it has, its own and those of the hub.
    /// # Errors
    /// If its store cannot be read.
    pub fn holds(&self) -> anyhow::Result<Known> {
        Ok(known::by_depot(&self.store())?)
    }

    /// Which of its own the hub has acknowledged, as far as it still keeps them.
    /// # Errors
    /// If its store cannot be read.
    pub fn acknowledged(&self) -> anyhow::Result<Known> {
        known::acknowledged(&self.store())
    }

    /// How many of its own are still to be told.
    /// # Errors
    /// If its store cannot be read.
    pub fn waiting(&self) -> anyhow::Result<u64> {
        Ok(known::waiting(&self.store())?)
    }

    /// Why the hub did not let in what it told.
    /// # Errors
    /// If its store cannot be read.
    pub fn refused(&self) -> anyhow::Result<Vec<String>> {
        Ok(known::refused(&self.store())?)
    }
}
