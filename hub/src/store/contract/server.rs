//! A PostgreSQL of the tests' own: on a free port of this machine, in a temporary folder, ended with its tests.

use std::{
    fs::File,
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak, atomic},
    time::{Duration, Instant},
};

/// A server that runs as long as someone holds it.
pub struct Server {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    folder: tempfile::TempDir,
    running: Mutex<Option<Child>>,
    databases: atomic::AtomicU32,
}

/// The user that owns every database.
pub const USER: &str = "gatehouse";

fn programs() -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> =
        std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|version| version.path().join("bin")).collect();
    versions.retain(|bin| bin.join("initdb").exists());
    versions.sort();
    versions.pop()
}

/// A command that PostgreSQL will take: it refuses to run as root.
fn as_its_user(program: &Path) -> Command {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|of| std::os::unix::fs::MetadataExt::uid(&of) == 0);
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program);
    command
}

impl Server {
    /// The server that the tests of this process share; none if PostgreSQL is not installed, after saying so.
    pub fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Some(server);
        }
        let server = Self::alone()?;
        *shared = Arc::downgrade(&server);
        Some(server)
    }

    /// A server that nobody else uses, for tests that end it; none as for [`Self::shared`].
    pub fn alone() -> Option<Arc<Self>> {
        let Some(bin) = programs() else {
            gatehouse_skipped::skipped("PostgreSQL is missing; install the package postgresql");
            return None;
        };
        Some(Arc::new(Self::start(&bin)))
    }

    fn start(bin: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("gatehouse-pg-").tempdir().unwrap();
        // Its own user must reach the folder, and write in it.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(folder.path(), mode).unwrap();
        let cluster = folder.path().join("cluster");
        let made = as_its_user(&bin.join("initdb"))
            .arg(format!("--pgdata={}", cluster.display()))
            .args([&format!("--username={USER}"), "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { port, folder, running: Mutex::default(), databases: atomic::AtomicU32::new(0) };
        server.up(bin);
        server
    }

    fn up(&self, bin: &Path) {
        let (cluster, log) = (self.folder.path().join("cluster"), self.folder.path().join("server.log"));
        let log = File::options().create(true).append(true).open(log).unwrap();
        // It ends with the process that started it, however that ends: then the pipe that is read here is closed.
        let script = r#""$@" & server=$!; read -r how; kill -"${how:-INT}" $server; wait $server"#;
        let mut command = as_its_user(Path::new("/bin/sh"));
        command.args(["-c", script, "sh"]).arg(bin.join("postgres")).arg("-D").arg(cluster);
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-k"]).arg(self.folder.path());
        let (out, err) = (log.try_clone().unwrap(), log);
        let child = command.current_dir("/").stdin(Stdio::piped()).stdout(out).stderr(err).spawn().unwrap();
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        let until = Instant::now() + Duration::from_secs(60);
        while self.client("postgres").is_err() {
            assert!(Instant::now() < until, "PostgreSQL does not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn down(&self, signal: &str) {
        if let Some(mut child) = self.running.lock().unwrap_or_else(PoisonError::into_inner).take() {
            if let Some(mut input) = child.stdin.take() {
                let _ = writeln!(input, "{signal}");
            }
            let _ = child.wait();
        }
    }

    /// Ends it without a word to anyone, as a crash would, and starts it again.
    pub fn crash(&self) {
        self.down("QUIT");
        self.up(&programs().unwrap());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }

    /// A connection of the test's own.
    pub fn client(&self, database: &str) -> Result<postgres::Client, postgres::Error> {
        Self::client_of(self.port, database)
    }

    /// The same, of one that listens on `port`.
    pub fn client_of(port: u16, database: &str) -> Result<postgres::Client, postgres::Error> {
        let mut config = postgres::Config::new();
        config.host("127.0.0.1").port(port).user(USER).dbname(database);
        config.connect_timeout(Duration::from_secs(5)).connect(postgres::NoTls)
    }

    /// Makes a database and returns its name.
    pub fn database(&self) -> String {
        let name = format!("hub{}", self.databases.fetch_add(1, atomic::Ordering::Relaxed));
        self.client("postgres").unwrap().batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        name
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.down("INT");
    }
}
