//! The hub's place: its folder, its authority, what its store holds before it starts, and the program itself.

use std::{
    net::{IpAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use gatehouse_bench::process::Process;
use gatehouse_common::{id::DeviceId, seal::PrivateKey, time::UtcMs};
use gatehouse_hub::{
    config::key,
    identity::Authority,
    store::{Location, PostgresOptions, Store, moving},
};

use crate::{
    programs::{Programs, now},
    server::{Server, USER},
    unit::Unit,
};

/// What may tell the hub events of WMS and TMS.
pub const TOKEN: &str = "a token of the bench";
/// Devices written in one transaction.
const BATCH: usize = 500;
/// Longest wait until the hub listens.
const START_MAX: Duration = Duration::from_secs(60);

/// A hub that can be started.
pub struct HubPlace {
    directory: PathBuf,
    location: Location,
    /// Where it listens.
    pub host: IpAddr,
    /// Port of people and programs.
    pub people: u16,
    /// Port of devices.
    pub devices: u16,
    /// What signs its answers.
    pub key: PrivateKey,
    /// What signs certificates.
    pub authority: Authority,
}

/// A port that nobody listens on at this moment.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A database of a PostgreSQL.
pub fn on(server: &Server, database: String) -> Location {
    let (host, user) = ("127.0.0.1".to_owned(), USER.to_owned());
    Location::Postgresql(PostgresOptions { host, port: server.port, user, database, password: None, ca_file: None })
}

impl HubPlace {
    /// A place in `directory` for a hub that listens at `host`. Devices may ask as often as they like: it is the hub that
    /// is measured, not its quota.
    pub fn make(directory: &Path, host: IpAddr) -> anyhow::Result<Self> {
        Self::with(directory, host, "requests_per_minute = 1000000\nkib_per_minute = 16777216\n")
    }

    /// The same with these lines about devices, and the usual quota.
    pub fn with(directory: &Path, host: IpAddr, devices_too: &str) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let (people, devices) = (free_port()?, free_port()?);
        let hash = gatehouse_common::id::Hash32::of(TOKEN.as_bytes());
        let text = format!(
            "[hub]\nkey_file = \"hub.key\"\n[tls]\nauthority_file = \"hub.authority.pem\"\n\
             [devices]\nlisten = \"{host}:{devices}\"\n{devices_too}\
             [[tokens]]\nname = \"bench\"\nsha256 = \"{hash}\"\nscopes = [\"events:wms\", \"events:tms\", \"read\"]\n"
        );
        std::fs::write(directory.join("hub.toml"), text)?;
        let key = key::load_or_make(&directory.join("hub.key"))?;
        let authority = Authority::load_or_make(&directory.join("hub.authority.pem"), &name()?, now())?;
        let location = Location::Sqlite(directory.join("hub.db"));
        Ok(Self { directory: directory.to_owned(), location, host, people, devices, key, authority })
    }

    /// Moves its store, while it does not run, to a database of PostgreSQL.
    pub fn move_to(&mut self, server: &Server) -> anyhow::Result<()> {
        let to = on(server, server.database());
        if let Location::Sqlite(file) = &self.location {
            moving::move_to(file, &to)?;
        }
        self.location = to;
        Ok(())
    }

    /// Its store, before it runs.
    pub fn store(&self) -> anyhow::Result<Store> {
        Ok(Store::open_at(&self.location, &name()?)?)
    }

    /// Its store while it runs, for looks.
    pub fn beside(&self) -> anyhow::Result<Store> {
        Ok(Store::open_beside(&self.location, &name()?)?)
    }

    /// How many signed exchanges it has let in so far.
    pub fn exchanges(&self) -> anyhow::Result<u64> {
        let count = "SELECT count(*) FROM nonces";
        let found: i64 = match &self.location {
            Location::Sqlite(file) => rusqlite::Connection::open(file)?.query_row(count, [], |row| row.get(0))?,
            Location::Postgresql(at) => Server::client_of(at.port, &at.database)?.query_one(count, &[])?.get(0),
        };
        Ok(u64::try_from(found)?)
    }

    /// Lets `units` speak.
    pub fn list(store: &Store, units: &[Unit], now: UtcMs) -> anyhow::Result<()> {
        for units in units.chunks(BATCH) {
            let listed: Vec<_> = units.iter().map(|unit| (unit.device.clone(), unit.certificate.clone())).collect();
            store.write_now(move |tx| {
                for (device, certificate) in &listed {
                    tx.put_device(device, now)?;
                    tx.put_certificate(certificate)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Starts it and waits until it listens.
    pub fn start(&self, programs: &Programs) -> anyhow::Result<Process> {
        let log = std::fs::File::create(self.directory.join("hub.log"))?;
        let (listen, database) = (format!("{}:{}", self.host, self.people), self.location.to_string());
        let mut command = programs.hub();
        command
            .args(["serve", "--listen", &listen, "--database", &database, "--config", "hub.toml"])
            .current_dir(&self.directory)
            .env("GATEHOUSE_LOG", "warn")
            .stdout(Stdio::null())
            .stderr(log);
        let mut process = Process::new(command.spawn().with_context(|| format!("{command:?}"))?);
        let begun = Instant::now();
        while TcpStream::connect((self.host, self.devices)).is_err() {
            if !process.runs() || begun.elapsed() > START_MAX {
                bail!("the hub does not listen; its log:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("hub.log")).unwrap_or_default()
    }
}

fn name() -> anyhow::Result<DeviceId> {
    Ok("hub".parse()?)
}
