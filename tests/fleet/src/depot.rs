//! A depot's place: its folder, what its store holds before it starts, and the agent itself.

use std::{
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context;
use gatehouse_agent::store::{Identity as Owner, Store};
use gatehouse_bench::process::Process;
use rusqlite::{Connection, OpenFlags};

use crate::{
    hub::{HubPlace, free_port},
    programs::Programs,
    unit::Unit,
};

/// A depot whose agent can be started.
pub struct DepotPlace {
    directory: PathBuf,
    owner: Owner,
}

impl DepotPlace {
    /// A place in `directory` for the gateway `unit`, which reaches the hub at `url`.
    pub fn make(directory: &Path, unit: &Unit, hub: &HubPlace, url: &str) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let text = format!(
            "[device]\nid = \"{}\"\nkind = \"gateway\"\nsite = \"{}\"\nkey_file = \"device.key\"\n\
             [store]\npath = \"store.db\"\n\
             [mqtt]\nhost = \"127.0.0.1\"\nport = 9\n\
             [site]\nname = \"Bench\"\ngeofence = {{ lat = 30.2672, lon = -97.7431, radius_m = 300 }}\n\
             [[topics]]\nfilter = \"owntracks/+/+\"\ndecoder = \"owntracks\"\nid = \"/_id\"\n\
             [hub]\nidentity = \"hub.identity\"\nurl = \"{url}\"\n\
             [page]\nlisten = \"127.0.0.1:{}\"\n",
            unit.name(),
            unit.site(),
            free_port()?,
        );
        std::fs::write(directory.join("agent.toml"), text)?;
        let file = directory.join("device.key");
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?;
        file.write_all(unit.key_file().as_bytes())?;
        unit.identity(&hub.authority, &hub.key, url).save(&directory.join("hub.identity"))?;
        let (device, site) = (unit.name().clone(), unit.site().clone());
        let owner = Owner { device, site, public_key: unit.key.public() };
        Ok(Self { directory: directory.to_owned(), owner })
    }

    /// Its store, before it runs.
    pub fn store(&self) -> anyhow::Result<Store> {
        Ok(Store::open(&self.directory.join("store.db"), &self.owner)?)
    }

    /// Starts the agent, by way of `through` if it is to run somewhere else.
    pub fn start(&self, programs: &Programs, through: &[&str]) -> anyhow::Result<Process> {
        let log = std::fs::File::create(self.directory.join("agent.log"))?;
        let agent = programs.agent();
        let mut command = match through.split_first() {
            None => agent,
            Some((first, rest)) => {
                let mut outer = Command::new(first);
                outer.args(rest).arg(agent.get_program()).args(agent.get_args());
                outer
            }
        };
        command.args(["run", "--config", "agent.toml"]).current_dir(&self.directory).stdout(Stdio::null()).stderr(log);
        Ok(Process::new(command.spawn().with_context(|| format!("{command:?}"))?))
    }

    /// A connection to its store that only reads.
    pub fn look(&self) -> anyhow::Result<Connection> {
        let conn = Connection::open_with_flags(self.directory.join("store.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        conn.busy_timeout(std::time::Duration::from_secs(5))?;
        Ok(conn)
    }

    /// What the agent has said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("agent.log")).unwrap_or_default()
    }
}
