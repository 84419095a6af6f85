//! PostgreSQL: one connection, opened anew when it was lost; short time-outs, so that who dies blocks nobody.
//!
//! Whoever writes locks the row `turn` at the beginning and holds it to the commit. A server that does not keep
//! what it confirms (`synchronous_commit` or `fsync` off) is refused.

use std::{
    cell::RefCell,
    collections::HashMap,
    error::Error as StdError,
    fmt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use postgres::{
    Client, Config, NoTls, Statement,
    config::SslMode,
    types::{FromSql, IsNull, ToSql, Type, to_sql_checked},
};
use rustls::{
    pki_types::{CertificateDer, pem::PemObject},
    version::TLS13,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Error, Kind, NotCommitted, Place, Row, Value, ValueRef};

/// How long a connection is waited for.
const CONNECT: Duration = Duration::from_secs(5);
/// How long it may be silent at the other end before it counts as lost.
const SILENT: Duration = Duration::from_secs(10);
/// How soon after that, and after each try, it is asked whether it is still there; three times.
const PROBE: Duration = Duration::from_secs(3);
/// Most statements that are kept prepared.
const PREPARED_MAX: usize = 512;
/// What every connection asks of the server. Who holds the turn and says nothing more is cut off.
const SETTINGS: &str = "SET lock_timeout = '10s'; SET statement_timeout = '30s';
     SET idle_in_transaction_session_timeout = '10s'; SET timezone = 'UTC'; SET client_min_messages = 'warning'";

/// What is asked of a server that knows it: as we do of it, it notices within seconds that we vanished while it spoke, and
/// lets go of what we held.
const NOTICES: &str = "SET tcp_user_timeout = '10s'; SET tcp_keepalives_idle = '10s';
     SET tcp_keepalives_interval = '3s'; SET tcp_keepalives_count = 3";

/// Something that must not be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Where a PostgreSQL is and how one gets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresOptions {
    /// Its host; on this machine no TLS is spoken.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// As whom.
    pub user: String,
    /// Which database. It is ours alone.
    pub database: String,
    /// With which password, if one is asked for.
    pub password: Option<Password>,
    /// Whom to trust that the server is who it says, in PEM. Needed for another machine.
    pub ca_file: Option<PathBuf>,
}

impl fmt::Display for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgresql://{}@{}:{}/{}", self.user, self.host, self.port, self.database)
    }
}

impl PostgresOptions {
    /// Whether the server is on this machine, so that what is said crosses no network.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    pub(super) fn connect(&self) -> Result<Client, Error> {
        let mut config = Config::new();
        config.host(&self.host).port(self.port).user(&self.user).dbname(&self.database);
        config.application_name("gatehouse-hub").connect_timeout(CONNECT).tcp_user_timeout(SILENT);
        // Also one that took the question and then vanished.
        config.keepalives_idle(SILENT).keepalives_interval(PROBE).keepalives_retries(3);
        if let Some(Password(password)) = &self.password {
            config.password(password);
        }
        let mut client = if self.is_loopback() {
            config.ssl_mode(SslMode::Disable).connect(NoTls)?
        } else {
            config.ssl_mode(SslMode::Require).connect(MakeRustlsConnect::new(self.tls()?))?
        };
        client.batch_execute(SETTINGS)?;
        // Servers of the same language need not know these; then they find out later.
        if let Err(error) = client.batch_execute(NOTICES) {
            tracing::debug!(%error, "the server notices by itself when we vanish");
        }
        Ok(client)
    }

    fn tls(&self) -> Result<rustls::ClientConfig, Error> {
        let unusable = |why: String| Error::Tls(why);
        let path = self.ca_file.as_ref().ok_or_else(|| unusable("ca_file is missing".to_owned()))?;
        let mut roots = rustls::RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(path).map_err(|e| unusable(e.to_string()))?;
        for certificate in certificates {
            let added = certificate.map_err(|e| e.to_string()).and_then(|c| roots.add(c).map_err(|e| e.to_string()));
            added.map_err(|e| unusable(format!("{}: {e}", path.display())))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]);
        Ok(config.map_err(|e| unusable(e.to_string()))?.with_root_certificates(roots).with_no_client_auth())
    }
}

/// A connection.
pub(in crate::store) struct Postgres {
    options: PostgresOptions,
    state: RefCell<State>,
}

struct State {
    client: Client,
    prepared: HashMap<String, Statement>,
    /// The transaction cannot be kept: a savepoint in it could not be ended.
    is_spoilt: bool,
}

impl Postgres {
    pub(super) fn open(options: &PostgresOptions) -> Result<Self, Error> {
        let client = options.connect()?;
        let state = State { client, prepared: HashMap::new(), is_spoilt: false };
        Ok(Self { options: options.clone(), state: RefCell::new(state) })
    }

    /// What is carried out as it stands, without parameters.
    pub(in crate::store) fn batch(&self, sql: &str) -> Result<(), Error> {
        Ok(self.state.borrow_mut().client.batch_execute(sql)?)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.borrow().client.is_closed()
    }

    fn run<T>(
        &self,
        sql: &str,
        values: &[Value],
        run: impl FnOnce(&mut Client, &Statement, &[&(dyn ToSql + Sync)]) -> Result<T, postgres::Error>,
    ) -> Result<T, Error> {
        let state = &mut *self.state.borrow_mut();
        let statement = match state.prepared.get(sql) {
            Some(statement) => statement.clone(),
            None => {
                let types: Vec<Type> = values.iter().map(|value| column_type(value.kind())).collect();
                let statement = state.client.prepare_typed(&numbered(sql), &types)?;
                if state.prepared.len() >= PREPARED_MAX {
                    state.prepared.clear();
                }
                state.prepared.insert(sql.to_owned(), statement.clone());
                statement
            }
        };
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        Ok(run(&mut state.client, &statement, &values)?)
    }

    pub(super) fn execute(&self, sql: &str, values: &[Value]) -> Result<usize, Error> {
        let changed = self.run(sql, values, |client, statement, values| client.execute(statement, values))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    pub(super) fn query<T, E: From<Error>>(
        &self,
        sql: &str,
        values: &[Value],
        mut read: impl FnMut(&Row<'_>) -> Result<T, E>,
    ) -> Result<Vec<T>, E> {
        // All rows first, so that what reads one may ask for others over the same connection.
        let rows = self.run(sql, values, |client, statement, values| client.query(statement, values))?;
        rows.iter().map(|row| read(&Row { at: Place::Postgres(row) })).collect()
    }

    /// Opens the connection anew if it was lost.
    fn revive(&self) -> Result<(), Error> {
        if self.is_closed() {
            let client = self.options.connect()?;
            *self.state.borrow_mut() = State { client, prepared: HashMap::new(), is_spoilt: false };
        }
        Ok(())
    }

    pub(super) fn begin_reading(&self) -> Result<(), Error> {
        const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        self.revive()?;
        // A connection that was ended while nobody used it shows only now.
        match self.batch(BEGIN) {
            Err(_) if self.is_closed() => {
                self.revive()?;
                self.batch(BEGIN)
            }
            begun => begun,
        }
    }

    /// Takes the turn. Every statement after it sees all that was committed before.
    pub(super) fn begin_writing(&self) -> Result<(), Error> {
        self.revive()?;
        self.state.borrow_mut().is_spoilt = false;
        let begun = self.batch("BEGIN ISOLATION LEVEL READ COMMITTED; SELECT id FROM turn WHERE id = 1 FOR UPDATE");
        if begun.is_err() {
            self.give_up();
        }
        begun
    }

    pub(super) fn end_savepoint(&self, keep: bool, sql: &str) -> Result<(), Error> {
        let ended = self.batch(sql);
        if ended.is_err() && keep {
            self.state.borrow_mut().is_spoilt = true;
        }
        ended
    }

    pub(super) fn is_undone(&self) -> bool {
        self.state.borrow().is_spoilt || self.is_closed()
    }

    pub(super) fn give_up(&self) {
        // It fails only where nothing is left to undo.
        drop(self.batch("ROLLBACK"));
    }

    /// `settled` says, on a new connection that has the turn, whether the one that was lost had committed.
    pub(super) fn commit(&self, settled: impl Fn() -> Result<bool, Error>) -> Result<(), NotCommitted> {
        let Err(error) = self.batch("COMMIT") else { return Ok(()) };
        if !self.is_closed() {
            self.give_up();
            return Err(NotCommitted { is_lost: false, why: told(&error) });
        }
        // The answer was lost, not necessarily the commit. Whoever has the turn after it can tell.
        let until = Instant::now() + 2 * SILENT;
        let mut why = told(&error);
        while Instant::now() < until {
            match self.begin_writing().and_then(|()| settled()) {
                Ok(kept) => {
                    self.give_up();
                    return if kept { Ok(()) } else { Err(NotCommitted { is_lost: false, why }) };
                }
                Err(e) => why = told(&e),
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Err(NotCommitted { is_lost: false, why: format!("it may have been written, and nobody could be asked: {why}") })
    }

    /// Waits for a notification, at most `wait`.
    pub(super) fn listen(&self, wait: Duration) -> Result<(), Error> {
        use postgres::fallible_iterator::FallibleIterator;

        let state = &mut *self.state.borrow_mut();
        let mut notifications = state.client.notifications();
        notifications.timeout_iter(wait).next()?;
        // One look answers all of them.
        while notifications.iter().next()?.is_some() {}
        Ok(())
    }
}

/// An error with its causes: the crate's own text is only "db error".
pub(super) fn told(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

/// Whether it may pass by itself, by the classes of PostgreSQL's manual, appendix A.
pub(super) fn may_pass(error: &postgres::Error) -> bool {
    match error.code() {
        // Rolled back for others' sake; out of resources; ended or not yet there; a lock or a silence took too long.
        Some(code) => {
            let code = code.code();
            ["40", "53", "57", "08"].iter().any(|class| code.starts_with(class)) || ["55P03", "25P03"].contains(&code)
        }
        None => error.is_closed() || error.source().is_some_and(|source| source.is::<std::io::Error>()),
    }
}

fn column_type(kind: Kind) -> Type {
    match kind {
        Kind::Integer => Type::INT8,
        Kind::Text => Type::TEXT,
        Kind::Blob => Type::BYTEA,
    }
}

/// `?1` as `$1`; what stands between quotes stays.
fn numbered(sql: &str) -> String {
    let (mut text, mut is_quoted) = (String::with_capacity(sql.len()), false);
    for c in sql.chars() {
        is_quoted ^= c == '\'';
        text.push(if c == '?' && !is_quoted { '$' } else { c });
    }
    text
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self {
            Self::Null(_) => Ok(IsNull::Yes),
            Self::Integer(n) => n.to_sql(ty, out),
            Self::Text(text) => text.to_sql(ty, out),
            Self::Blob(bytes) => bytes.to_sql(ty, out),
        }
    }

    fn accepts(ty: &Type) -> bool {
        [Type::INT8, Type::TEXT, Type::BYTEA].contains(ty)
    }

    to_sql_checked!();
}

struct Raw<'a>(ValueRef<'a>);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(match *ty {
            Type::INT8 => ValueRef::Integer(i64::from_sql(ty, raw)?),
            Type::INT4 => ValueRef::Integer(i64::from(i32::from_sql(ty, raw)?)),
            Type::BOOL => ValueRef::Integer(i64::from(bool::from_sql(ty, raw)?)),
            Type::TEXT | Type::VARCHAR => ValueRef::Text(<&str>::from_sql(ty, raw)?),
            Type::BYTEA => ValueRef::Blob(raw),
            _ => return Err(format!("it is {ty}, which this store does not keep").into()),
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(ValueRef::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// The value at a place that the row has.
pub(super) fn value(row: &postgres::Row, place: usize) -> Result<ValueRef<'_>, String> {
    row.try_get::<_, Raw<'_>>(place).map(|raw| raw.0).map_err(|e| told(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_numbered_in_the_way_of_postgresql_and_a_quoted_mark_stays() {
        assert_eq!(numbered("SELECT '?' WHERE a = ?1 AND b = ?12"), "SELECT '?' WHERE a = $1 AND b = $12");
    }

    #[test]
    fn a_password_is_never_printed() {
        let options = PostgresOptions {
            host: "db.example".to_owned(),
            port: 5432,
            user: "gatehouse".to_owned(),
            database: "gatehouse".to_owned(),
            password: Some(Password("geheim".to_owned())),
            ca_file: None,
        };
        assert!(!format!("{options} {options:?}").contains("geheim"));
        assert_eq!(options.to_string(), "postgresql://gatehouse@db.example:5432/gatehouse");
        assert!(options.connect().err().unwrap().to_string().contains("ca_file"), "no word without TLS");
    }

    #[test]
    fn a_server_on_another_machine_is_offered_tls_1_3_and_no_older_one() {
        let ca = rcgen::generate_simple_self_signed(["db.example".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ca_file = folder.path().join("ca.pem");
        std::fs::write(&ca_file, ca.cert.pem()).unwrap();
        let options = PostgresOptions {
            host: "db.example".to_owned(),
            port: 5432,
            user: "gatehouse".to_owned(),
            database: "gatehouse".to_owned(),
            password: None,
            ca_file: Some(ca_file),
        };
        let offered = offers(options.tls().unwrap());
        assert!(offered.contains(&[0x03, 0x04]) && !offered.contains(&[0x03, 0x03]), "{offered:x?}");
        // The control: with what rustls would choose by itself the older one is offered too.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let usual = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let usual = usual.unwrap().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
        assert!(offers(usual).contains(&[0x03, 0x03]));
    }

    /// The versions in the first word of a client (RFC 8446, 4.2.1): the extension 43, its length, and a list of pairs.
    fn offers(config: rustls::ClientConfig) -> Vec<[u8; 2]> {
        let name = "db.example".try_into().unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        let at = (0..hello.len() - 5).find(|at| {
            let &[0, 43, 0, length, list] = &hello[*at..*at + 5] else { return false };
            (2..=4).contains(&list) && length == list + 1
        });
        let at = at.unwrap();
        let list = usize::from(hello[at + 4]);
        hello[at + 5..at + 5 + list].chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect()
    }
}
