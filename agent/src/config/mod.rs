//! What the agent is told before it starts: one TOML file, one struct per room.
//!
//! In: the file's text. Out: a [`Config`] in which every value makes sense, or every problem at
//! once, each with its key and what to do about it. Reads the files that the text names (bundle,
//! password), opens no port and writes nothing. Paths that are not absolute count from the
//! directory of the file.

mod device;
mod ends;
pub mod identity;
pub mod key;
mod people;
mod read;
mod store;
mod tls;
mod topics;
mod units;
mod values;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use gatehouse_common::bundle::Bundle;

pub use device::{DeviceConfig, DeviceKind, SiteConfig};
pub use ends::{HubConfig, MqttConfig, PageConfig};
pub use identity::{Identity, IdentityError};
pub use people::Operator;
pub use read::Problem;
pub use topics::{Decoder, MetricConfig, TopicConfig};
pub use units::{SpeedUnit, TimeUnit, Unit};
pub use values::{Place, ReadingKind, ValueMap, scan_step};

use crate::store::Limits;
use read::Section;

/// Everything the agent is told. Made only by [`load`] and [`parse`].
#[derive(Debug, Clone)]
pub struct Config {
    /// `[device]`: which device this is.
    pub device: DeviceConfig,
    /// `[store] path`: the SQLite file that holds everything. Its directory must exist.
    pub store_path: PathBuf,
    /// `[store]`: how much it may take and keep.
    pub store_limits: Limits,
    /// `[mqtt]`: the broker of the depot or vehicle.
    pub mqtt: MqttConfig,
    /// `[[topics]]`: what each topic means; the first filter that matches counts.
    pub topics: Vec<TopicConfig>,
    /// `[site]`: the depot.
    pub site: SiteConfig,
    /// `[hub]`: where the hub is. `None` for a depot that stands alone, or is not enrolled yet.
    pub hub: Option<HubConfig>,
    /// `[hub] identity`: where enrolment keeps what it gives. It need not be there yet.
    pub identity_file: Option<PathBuf>,
    /// `[page]`: where the page is served.
    pub page: PageConfig,
    /// `[[operators]]`: who may write on the page.
    pub operators: Vec<Operator>,
    /// `[bundle]`: the rules in force.
    pub bundle: Bundle,
    /// The text of [`Config::bundle`]; empty for the usual rules.
    pub bundle_text: String,
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
    #[error("configuration {path} has {} problem(s):\n{}", .problems.len(), read::listed(.problems))]
    Problems {
        /// Which file.
        path: PathBuf,
        /// Each with its key and remedy.
        problems: Vec<Problem>,
    },
}

/// Reads the configuration at `path`.
/// # Errors
/// [`ConfigError`]; nothing was opened or written.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
    let directory = path.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
    parse(&text, &directory).map_err(|problems| ConfigError::Problems { path: path.to_owned(), problems })
}

/// Reads a configuration from its text; relative paths count from `directory`.
/// # Errors
/// Every problem that was found, in the order of the rooms.
pub fn parse(text: &str, directory: &Path) -> Result<Config, Vec<Problem>> {
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            return Err(vec![Problem::new(
                "(file)",
                format!("is not TOML: {error}"),
                "correct the line that is named",
            )]);
        }
    };
    let mut root = Section::root(table, directory);
    let mut problems = Vec::new();

    let mut device = root.section("device", &mut problems);
    let device = DeviceConfig::read(&mut device, &mut problems);
    let mut store = root.section("store", &mut problems);
    let store_limits = store::read_limits(&mut store, &mut problems);
    let store_path = read_store(&mut store, &mut problems);
    let kind = device.as_ref().map_or(DeviceKind::Gateway, |d| d.kind);
    let mut site = root.section("site", &mut problems);
    let site = SiteConfig::read(&mut site, kind, &mut problems);
    let mut mqtt = root.section("mqtt", &mut problems);
    let mqtt = MqttConfig::read(&mut mqtt, device.as_ref().map(|d| d.id.as_str()), &mut problems);
    let topics: Vec<Option<TopicConfig>> = root
        .sections("topics", &mut problems)
        .into_iter()
        .map(|mut topic| TopicConfig::read(&mut topic, &mut problems))
        .collect();
    let mut hub_section = root.optional_section("hub", &mut problems);
    let hub = hub_section.as_mut().map(|hub| HubConfig::read(hub, device.as_ref(), &mut problems));
    let mut page = root.section_or_empty("page", &mut problems);
    let page = PageConfig::read(&mut page, &mut problems);
    let operators: Vec<Option<Operator>> = root
        .sections("operators", &mut problems)
        .into_iter()
        .map(|mut operator| Operator::read(&mut operator, &mut problems))
        .collect();
    people::refuse_twins(operators.iter().flatten(), &mut problems);
    let mut bundle = root.section_or_empty("bundle", &mut problems);
    let bundle = read_bundle(&mut bundle, &mut problems);
    root.finish(&mut problems);

    let whole = (|| {
        let (bundle, bundle_text) = bundle?;
        let (hub, identity_file) = match hub {
            None => (None, None),
            Some(read) => read?,
        };
        Some(Config {
            device: device?,
            store_path: store_path?,
            store_limits,
            mqtt: mqtt?,
            topics: topics.into_iter().collect::<Option<_>>()?,
            site: site?,
            hub,
            identity_file,
            page: page?,
            operators: operators.into_iter().collect::<Option<_>>()?,
            bundle,
            bundle_text,
        })
    })();
    match whole {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems),
    }
}

fn read_store(section: &mut Section, problems: &mut Vec<Problem>) -> Option<PathBuf> {
    let path = section.path("path", "name the SQLite file, such as /var/lib/gatehouse/agent.db", problems);
    section.finish(problems);
    let path = path?;
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() || parent.is_dir() => Some(path),
        _ => {
            problems.push(section.problem(
                "path",
                format!("the directory of {} does not exist", path.display()),
                "make the directory, or name another",
            ));
            None
        }
    }
}

fn read_bundle(section: &mut Section, problems: &mut Vec<Problem>) -> Option<(Bundle, String)> {
    let path = section.optional_path("path", problems);
    section.finish(problems);
    let text = match path {
        None => String::new(),
        Some(path) => match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                problems.push(section.problem(
                    "path",
                    format!("{} cannot be read: {error}", path.display()),
                    "name a bundle file, or leave [bundle] out for the default rules",
                ));
                return None;
            }
        },
    };
    match Bundle::parse(&text) {
        Ok(bundle) => Some((bundle, text)),
        Err(error) => {
            problems.push(section.problem("path", error.to_string(), "correct the bundle"));
            None
        }
    }
}
