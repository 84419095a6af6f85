//! The hub's processes in a trial: where they are kept, how they are started, and when they are killed.

use std::{
    fmt::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use anyhow::Context;
use gatehouse_common::{id::DeviceId, seal::PrivateKey};
use gatehouse_hub::{
    config::key,
    store::{Location, PostgresOptions, Store},
};

use crate::demo::programs::{Program, free_port, wait_for};

const TOKEN: &str = "erp-token-of-the-trial";
const START_MAX: Duration = Duration::from_secs(60);

/// How to run the hub: a program and what its command line begins with.
#[derive(Debug, Clone)]
pub struct HubProgram {
    /// The file.
    pub path: PathBuf,
    /// Arguments before the hub's own.
    pub first: Vec<String>,
}

/// Where the hub keeps everything.
#[derive(Debug, Clone)]
pub enum Ground {
    /// A file, which one process serves at a time.
    Sqlite,
    /// A database on `127.0.0.1` that replicas share: port, user and name.
    Postgresql {
        /// The server's port.
        port: u16,
        /// Who owns the database.
        user: String,
        /// Its name.
        name: String,
    },
}

/// How postings are tried in a trial: as configured by default, only quicker.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// `erp.posting.at_once`.
    pub at_once: u32,
    /// `erp.answer_within_ms`.
    pub answer_within_ms: u64,
    /// `erp.posting.doubt_ms`.
    pub doubt_ms: u64,
    /// `erp.poll_ms`.
    pub poll_ms: u64,
}

/// The processes of one hub: one for each of its doors to the ERP.
pub struct Hubs {
    programs: Vec<(Program, SocketAddr)>,
    location: Location,
    http: reqwest::Client,
    /// The key that signs its receipts.
    pub key: PrivateKey,
}

impl Hubs {
    /// Writes the configuration of a process for each of `doors`, which lead to the ERP. Nothing is started yet.
    /// # Errors
    /// If the folder cannot be written.
    pub fn set_up(
        folder: &Path,
        program: &HubProgram,
        ground: &Ground,
        doors: &[SocketAddr],
        pace: Pace,
    ) -> anyhow::Result<Self> {
        let (database, location) = match ground {
            Ground::Sqlite => {
                let path = folder.join("hub.db");
                (format!("sqlite:{}", path.display()), Location::Sqlite(path))
            }
            Ground::Postgresql { port, user, name } => {
                let options = PostgresOptions {
                    host: "127.0.0.1".to_owned(),
                    port: *port,
                    user: user.clone(),
                    database: name.clone(),
                    password: None,
                    ca_file: None,
                };
                (format!("postgresql://{user}@127.0.0.1:{port}/{name}"), Location::Postgresql(options))
            }
        };
        std::fs::write(folder.join("erp-token"), TOKEN)?;
        let mut programs = Vec::new();
        for (n, door) in doors.iter().enumerate() {
            let mut text = "[hub]\nname = \"hub\"\nkey_file = \"hub.key\"\n".to_owned();
            write!(
                text,
                "[tls]\nplain_on_loopback = true\nauthority_file = \"hub.authority.pem\"\n\
                 [devices]\nwithout_certificate = true\n\
                 [erp]\nkind = \"rest\"\nurl = \"http://{door}\"\ntoken_file = \"erp-token\"\npoll_ms = {}\n\
                 answer_within_ms = {}\n\
                 [erp.posting]\nat_once = {}\nretry_first_ms = 100\nretry_max_ms = 2000\ndoubt_ms = {}\n",
                pace.poll_ms, pace.answer_within_ms, pace.at_once, pace.doubt_ms
            )?;
            let config = folder.join(format!("hub-{n}.toml"));
            std::fs::write(&config, text)?;
            let listen = free_port()?;
            let mut arguments = program.first.clone();
            let own = ["serve", "--listen", &listen.to_string(), "--database", &database, "--config"];
            arguments.extend(own.map(str::to_owned));
            arguments.push(config.display().to_string());
            programs.push((Program::new(&format!("hub-{n}"), program.path.clone(), arguments, folder), listen));
        }
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { programs, location, http, key: key::load_or_make(&folder.join("hub.key"))? })
    }

    /// The token that the ERP asks for.
    #[must_use]
    pub fn token() -> String {
        TOKEN.to_owned()
    }

    /// Works with the store before a process serves it.
    /// # Errors
    /// If it cannot be made, and those of the work.
    pub async fn with_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(Store) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let location = self.location.clone();
        apart(move || work(Store::open_at(&location, &name()?).context("making the store")?)).await
    }

    /// Looks at the store beside the processes.
    /// # Errors
    /// If it cannot be opened, and those of the look.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Store) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let location = self.location.clone();
        apart(move || look(&Store::open_beside(&location, &name()?).context("opening the store")?)).await
    }

    /// Whether several may run at the same time.
    #[must_use]
    pub fn are_replicas(&self) -> bool {
        self.location.is_shared()
    }

    /// Starts one and waits until it answers.
    /// # Errors
    /// If it does not; the message names its log.
    pub async fn start(&self, n: usize) -> anyhow::Result<()> {
        let (program, address) = &self.programs[n];
        program.start().await?;
        wait_for(&self.http, &format!("http://{address}/healthz"), program, START_MAX).await
    }

    /// Starts one by way of another program, and waits until it answers; false if it ends before.
    /// # Errors
    /// If it neither answers nor ends; the message names its log.
    pub async fn start_through(&self, n: usize, through: &[String]) -> anyhow::Result<bool> {
        let (program, address) = &self.programs[n];
        program.start_through(through).await?;
        match wait_for(&self.http, &format!("http://{address}/healthz"), program, START_MAX).await {
            Ok(()) => Ok(true),
            Err(_) if program.ended().await.is_some() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Where one listens.
    #[must_use]
    pub fn address(&self, n: usize) -> SocketAddr {
        self.programs[n].1
    }

    /// The store, as errands are told of it.
    #[must_use]
    pub fn database(&self) -> String {
        self.location.to_string()
    }

    /// Ends one as a power cut would.
    pub async fn kill(&self, n: usize) {
        self.programs[n].0.kill().await;
    }

    /// Tells why one ended that nobody ended.
    pub async fn has_ended(&self, n: usize) -> Option<String> {
        self.programs[n].0.has_ended().await
    }

    /// With which status one ended; none while it runs.
    pub async fn ended(&self, n: usize) -> Option<ExitStatus> {
        self.programs[n].0.ended().await
    }

    /// Asks one to end. With which status it ended; none if it was never started.
    pub async fn stop_one(&self, n: usize) -> Option<ExitStatus> {
        self.programs[n].0.stop().await
    }

    /// Asks all to end.
    pub async fn stop(&self) {
        for (program, _) in &self.programs {
            program.stop().await;
        }
    }
}

/// On a thread that may block: opening, working with and closing a store all do.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> anyhow::Result<T> + Send + 'static) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await?
}

fn name() -> anyhow::Result<DeviceId> {
    Ok(DeviceId::new("hub")?)
}
