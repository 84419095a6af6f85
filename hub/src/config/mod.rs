//! What the hub is told before it starts: the command line and one TOML file, one struct per room.
//!
//! In: texts. Out: a [`Config`] in which every value makes sense, or every problem at once, each with
//! its key and what to do about it. Reads the files that the text names (tokens, passwords), opens no
//! port and writes nothing. Paths that are not absolute count from the directory of the file.

mod erp;
mod identity;
mod interest;
pub mod key;
mod mail;
mod nats;
mod partners;
mod people;
mod policy;
mod read;
mod store;
#[cfg(test)]
mod tests;
mod webhooks;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use gatehouse_common::id::DeviceId;

pub use erp::{ErpConfig, ErpKind, SaleTerms, Secret};
pub use identity::{DevicesConfig, TlsConfig};
pub use interest::Interest;
pub use mail::{MailConfig, MailTls, NoticeConfig};
pub use nats::{NatsConfig, NatsLogin};
pub use partners::{PartnerConfig, Sends};
pub use people::{EVENTS_PER_MINUTE, Operator, Token, TokenScope};
pub use policy::PolicyConfig;
pub use read::Problem;
pub(crate) use store::read_database;
pub use webhooks::WebhookConfig;

use read::{Beside, Section};

use crate::store::Location;

/// Everything the hub is told. Made only by [`load`] and [`parse`].
#[derive(Debug, Clone)]
pub struct Config {
    /// `--listen`: where API, console and exchange are served. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// `--database`: the file or the database that holds everything.
    pub database: Location,
    /// `[hub]`: which hub this is.
    pub hub: HubConfig,
    /// `[erp]`: the ERP. `None` for a hub without one: decisions then stay open.
    pub erp: Option<ErpConfig>,
    /// `[[operators]]`: the people who may sign in.
    pub operators: Vec<Operator>,
    /// `[[tokens]]`: the programs that may send events.
    pub tokens: Vec<Token>,
    /// `[[partners]]`: who sends and fetches EDI files.
    pub partners: Vec<PartnerConfig>,
    /// `[[webhooks]]`: who is told what.
    pub webhooks: Vec<WebhookConfig>,
    /// `[[nats]]`: which streams are told what.
    pub nats: Vec<NatsConfig>,
    /// `[mail]`: letters to people. None: nobody is written to.
    pub mail: Option<MailConfig>,
    /// `[policy]`: what depots are lent.
    pub policy: PolicyConfig,
    /// `[tls]`: the hub's authority, and how `--listen` is served.
    pub tls: TlsConfig,
    /// `[devices]`: where and how devices speak.
    pub devices: DevicesConfig,
}

/// `[hub]`
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// `name`: the hub's name in documents and logs. Letters, digits, `.`, `_`, `-`. Default `hub`.
    /// A second name on one database would be a second writer; never change it.
    pub name: DeviceId,
    /// `key_file`: the private key, made at first start. Default: beside the file of SQLite, with the ending `.key`.
    /// Over PostgreSQL it must be named: every replica has the same.
    pub key_file: PathBuf,
}

/// What the command line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine<'a> {
    /// `--listen`.
    pub listen: &'a str,
    /// `--database`.
    pub database: &'a str,
    /// `--config`.
    pub file: Option<&'a Path>,
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read. Check its path and rights.
    #[error("configuration {path} cannot be read: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// Every problem found. Correct them all, then try again.
    #[error("the configuration has {} problem(s):\n{}", .0.len(), read::listed(.0))]
    Problems(Vec<Problem>),
}

/// Reads the command line and the file that it names.
/// # Errors
/// [`ConfigError`]; nothing was opened or written.
pub fn load(line: &CommandLine<'_>) -> Result<Config, ConfigError> {
    let (text, directory) = match line.file {
        None => (String::new(), PathBuf::from(".")),
        Some(path) => {
            let text =
                std::fs::read_to_string(path).map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
            (text, path.parent().map_or_else(|| PathBuf::from("."), Path::to_owned))
        }
    };
    parse(line, &text, &directory).map_err(ConfigError::Problems)
}

/// Reads the command line and the text of a file; relative paths count from `directory`.
/// # Errors
/// Every problem that was found, the command line first, then room by room.
pub fn parse(line: &CommandLine<'_>, text: &str, directory: &Path) -> Result<Config, Vec<Problem>> {
    let mut problems = Vec::new();
    let listen = read_listen(line.listen, &mut problems);
    let database = read_database(line.database, &mut problems);
    let table: toml::Table = text.parse().unwrap_or_else(|error| {
        problems.push(Problem::new("(file)", format!("is not TOML: {error}"), "correct the line that is named"));
        toml::Table::new()
    });
    let mut root = Section::root(table, directory);
    let beside = match &database {
        None => Beside::Unknown,
        Some(Location::Sqlite(path)) => Beside::File(path),
        Some(Location::Postgresql(_)) => Beside::Nothing,
    };
    let mut hub = root.section_or_empty("hub", &mut problems);
    let hub = HubConfig::read(&mut hub, beside, &mut problems);
    let mut section = root.optional_section("erp", &mut problems);
    let erp = section.as_mut().map(|erp| ErpConfig::read(erp, &mut problems));
    let operators: Vec<Option<Operator>> = root
        .sections("operators", &mut problems)
        .into_iter()
        .map(|mut operator| Operator::read(&mut operator, &mut problems))
        .collect();
    let tokens: Vec<Option<Token>> = root
        .sections("tokens", &mut problems)
        .into_iter()
        .map(|mut token| Token::read(&mut token, &mut problems))
        .collect();
    let partners: Vec<Option<PartnerConfig>> = root
        .sections("partners", &mut problems)
        .into_iter()
        .map(|mut partner| PartnerConfig::read(&mut partner, &mut problems))
        .collect();
    partners::refuse_twins(partners.iter().flatten(), &mut problems);
    let webhooks: Vec<Option<WebhookConfig>> = root
        .sections("webhooks", &mut problems)
        .into_iter()
        .map(|mut hook| WebhookConfig::read(&mut hook, &mut problems))
        .collect();
    interest::refuse_twins("webhooks", webhooks.iter().flatten().map(|hook| &hook.name), &mut problems);
    let nats: Vec<Option<NatsConfig>> = root
        .sections("nats", &mut problems)
        .into_iter()
        .map(|mut stream| NatsConfig::read(&mut stream, &mut problems))
        .collect();
    interest::refuse_twins("nats", nats.iter().flatten().map(|stream| &stream.name), &mut problems);
    let mut mail = root.optional_section("mail", &mut problems);
    let mail = mail.as_mut().map(|mail| MailConfig::read(mail, &mut problems));
    people::refuse_twins(operators.iter().flatten(), tokens.iter().flatten(), &mut problems);
    let mut policy = root.section_or_empty("policy", &mut problems);
    let policy = PolicyConfig::read(&mut policy, &mut problems);
    let mut tls = root.section_or_empty("tls", &mut problems);
    let tls = TlsConfig::read(&mut tls, beside, listen, &mut problems);
    let mut devices = root.section_or_empty("devices", &mut problems);
    let devices = DevicesConfig::read(&mut devices, &mut problems);
    root.finish(&mut problems);

    let whole = (|| {
        Some(Config {
            listen: listen?,
            database: database?,
            hub: hub?,
            erp: match erp {
                None => None,
                Some(erp) => erp?,
            },
            operators: operators.into_iter().collect::<Option<_>>()?,
            tokens: tokens.into_iter().collect::<Option<_>>()?,
            partners: partners.into_iter().collect::<Option<_>>()?,
            webhooks: webhooks.into_iter().collect::<Option<_>>()?,
            nats: nats.into_iter().collect::<Option<_>>()?,
            mail: match mail {
                None => None,
                Some(mail) => Some(mail?),
            },
            policy,
            tls: tls?,
            devices: devices?,
        })
    })();
    match whole {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems),
    }
}

fn read_listen(text: &str, problems: &mut Vec<Problem>) -> Option<SocketAddr> {
    const REMEDY: &str = "give address and port, such as 127.0.0.1:8080";
    let read = text.parse().ok();
    if read.is_none() {
        problems.push(Problem::new("--listen", format!("{text:?} is not an address with a port"), REMEDY));
    }
    read
}

impl HubConfig {
    fn read(section: &mut Section, beside: Beside<'_>, problems: &mut Vec<Problem>) -> Option<Self> {
        const NAME: &str = "use letters, digits, '.', '_' and '-'";
        let had_name = section.has("name");
        let name: Option<DeviceId> = section.optional("name", NAME, problems);
        let key_file = section.optional_path("key_file", problems);
        section.finish(problems);
        let name = match name {
            Some(name) => name,
            None if had_name => return None,
            None => DeviceId::new("hub").ok()?,
        };
        let key_file = key_file.or_else(|| section.beside("key_file", beside, "key", problems))?;
        Some(Self { name, key_file })
    }
}
