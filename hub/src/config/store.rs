//! Where the hub's store is: `--database`.
//!
//! One text says it for `serve` and for every errand, so it holds no secret: a password comes from a file that it
//! names, or from the environment.

use std::path::{Path, PathBuf};

use super::read::Problem;
use crate::store::{Location, Password, PostgresOptions};

/// The variable that holds the database's password where no file does.
pub const PASSWORD: &str = "GATEHOUSE_DATABASE_PASSWORD";

const KEY: &str = "--database";
const FORMS: &str = "give sqlite:PATH, such as sqlite:/var/lib/gatehouse/hub.db, or postgresql://USER@HOST:PORT/NAME";

/// Reads `sqlite:PATH` or `postgresql://USER@HOST:PORT/NAME?password_file=PATH&ca_file=PATH`. The problem with it goes
/// among `problems`.
pub(crate) fn read_database(text: &str, problems: &mut Vec<Problem>) -> Option<Location> {
    let read = if let Some(path) = text.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
        read_path(path)
    } else if text.starts_with("postgresql://") || text.starts_with("postgres://") {
        read_url(text, std::env::var(PASSWORD).ok())
    } else {
        Err((format!("{text:?} is not a database that this version knows"), FORMS))
    };
    read.map_err(|(what, remedy)| problems.push(Problem::new(KEY, what, remedy))).ok()
}

type Wrong = (String, &'static str);

fn read_path(path: &str) -> Result<Location, Wrong> {
    let path = PathBuf::from(path);
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() || parent.is_dir() => Ok(Location::Sqlite(path)),
        _ => {
            let what = format!("the directory of {} does not exist", path.display());
            Err((what, "make the directory, or name another"))
        }
    }
}

fn read_url(text: &str, from_environment: Option<String>) -> Result<Location, Wrong> {
    // The text itself is not repeated: it may hold a password.
    let url = reqwest::Url::parse(text).map_err(|e| (format!("is not an address: {e}"), FORMS))?;
    if url.password().is_some() {
        // Everybody on the machine can read a command line.
        return Err(("holds a password".to_owned(), "put it into a file and name that with ?password_file=PATH"));
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let database = url.path().trim_start_matches('/').to_owned();
    if host.is_empty() || url.username().is_empty() || database.is_empty() || database.contains('/') {
        return Err(("lacks user, host or name of the database".to_owned(), FORMS));
    }
    let (mut password, mut ca_file) = (from_environment.filter(|text| !text.is_empty()), None);
    for (key, value) in url.query_pairs() {
        match key.as_ref() {
            "password_file" => password = Some(read_password(Path::new(value.as_ref()))?),
            "ca_file" => ca_file = Some(PathBuf::from(value.as_ref())),
            other => return Err((format!("has {other:?}"), "use password_file and ca_file alone")),
        }
    }
    let options = PostgresOptions {
        host,
        port: url.port().unwrap_or(5432),
        user: url.username().to_owned(),
        database,
        password: password.map(Password),
        ca_file,
    };
    if !options.is_loopback() && options.ca_file.is_none() {
        let remedy = "name the certificates that the database is trusted by, in PEM, with ?ca_file=PATH";
        return Err(("is on another machine, which is spoken to over TLS alone".to_owned(), remedy));
    }
    Ok(Location::Postgresql(options))
}

fn read_password(path: &Path) -> Result<String, Wrong> {
    let remedy = "name a file that holds nothing but the password";
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Err((format!("{} is empty", path.display()), remedy)),
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) => Err((format!("{} cannot be read: {error}", path.display()), remedy)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<PostgresOptions, String> {
        match read_url(text, Some("from the environment".to_owned())) {
            Ok(Location::Postgresql(options)) => Ok(options),
            Ok(other) => Err(other.to_string()),
            Err((what, _)) => Err(what),
        }
    }

    #[test]
    fn a_database_on_this_machine_needs_no_certificate_and_one_elsewhere_does() {
        let near = read("postgresql://gatehouse@127.0.0.1/hub").unwrap();
        assert_eq!((near.port, near.database.as_str(), near.is_loopback()), (5432, "hub", true));
        assert_eq!(near.password, Some(Password("from the environment".to_owned())));
        assert!(read("postgresql://gatehouse@db.example/hub").unwrap_err().contains("TLS"));
        let far = read("postgresql://gatehouse@db.example:6432/hub?ca_file=/etc/ca.pem").unwrap();
        assert_eq!((far.port, far.is_loopback()), (6432, false));
    }

    #[test]
    fn a_password_comes_from_a_file_and_is_refused_on_the_command_line() {
        let refused = read("postgresql://gatehouse:geheim@127.0.0.1/hub").unwrap_err();
        assert!(refused.contains("password") && !refused.contains("geheim"), "{refused}");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        std::fs::write(&file, "geheim\n").unwrap();
        let url = format!("postgresql://gatehouse@127.0.0.1/hub?password_file={}", file.display());
        assert_eq!(read(&url).unwrap().password, Some(Password("geheim".to_owned())));
        assert!(read("postgresql://gatehouse@127.0.0.1/hub?password_file=/none").is_err());
        assert!(read("postgresql://gatehouse@127.0.0.1/hub?sslmode=disable").unwrap_err().contains("sslmode"));
        assert!(read("postgresql://127.0.0.1/hub").is_err());
    }
}
