//! The ends that the agent speaks with: broker, hub, page.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use gatehouse_common::seal::PublicKey;

use super::{
    device::DeviceConfig,
    identity::Identity,
    read::{Problem, Section},
    tls,
};

/// `[mqtt]`
#[derive(Clone)]
pub struct MqttConfig {
    /// `host`: the broker's name or address.
    pub host: String,
    /// `port`: default 1883, with `ca_file` 8883.
    pub port: u16,
    /// Made of `ca_file` (the certificates, in PEM, by which the broker is trusted; without it the line is not
    /// encrypted), `client_cert_file` and `client_key_file` (who we are, in PEM, where the broker asks for it).
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// `client_id`: the broker keeps the session under it, so it must stay the same over restarts
    /// and belong to one agent only. Default `gatehouse-` and the device's id.
    pub client_id: String,
    /// `username`, where the broker asks for one.
    pub username: Option<String>,
    /// The content of `password_file`, without a newline at its end.
    pub password: Option<String>,
    /// `payload_max_bytes`: a longer message is put into quarantine. Default 256 KiB.
    pub payload_max_bytes: usize,
    /// `packet_max_bytes`: a longer packet breaks the connection, and the broker sends it again
    /// for ever. Must be more than the broker's `message_size_limit`. Default 32 MiB.
    pub packet_max_bytes: usize,
}

impl std::fmt::Debug for MqttConfig {
    // The password stays out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MqttConfig({}@{}:{})", self.client_id, self.host, self.port)
    }
}

/// `[hub]`
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// `url`: where the hub answers, without a path. Default: what enrolment said.
    pub url: String,
    /// `public_key`: what `gatehouse-hub public-key` prints. Answers signed by another key are refused. Default: what
    /// enrolment said.
    pub public_key: PublicKey,
    /// The content of the file that `identity` names: certificate and key of the line. Without it exchanges are signed
    /// only, which a hub takes if it is configured to.
    pub identity: Option<Identity>,
}

/// `[page]`
#[derive(Debug, Clone)]
pub struct PageConfig {
    /// `listen`: address and port. Default `127.0.0.1:8321`.
    pub listen: SocketAddr,
}

/// Default of `payload_max_bytes`.
const PAYLOAD_MAX_BYTES: usize = 256 * 1024;
/// Default of `packet_max_bytes`.
const PACKET_MAX_BYTES: usize = 32 * 1024 * 1024;
/// The most that an MQTT packet can be.
const PACKET_CEILING_BYTES: usize = 268_435_455;

impl MqttConfig {
    pub(super) fn read(section: &mut Section, device: Option<&str>, problems: &mut Vec<Problem>) -> Option<Self> {
        let host: Option<String> = section.required("host", "name the broker, such as \"127.0.0.1\"", problems);
        let has_tls = section.has("ca_file");
        let default_port = if has_tls { 8883 } else { 1883 };
        let port = section.optional("port", "give a number from 1 to 65535", problems).unwrap_or(default_port);
        let tls = tls::read(section, problems);
        let client_id: Option<String> = section.optional("client_id", "give a name as text", problems);
        let username = section.optional("username", "give a name as text", problems);
        let password_file = section.optional_path("password_file", problems);
        let in_line = section.has("password");
        let payload_max_bytes =
            section.optional("payload_max_bytes", "give bytes", problems).unwrap_or(PAYLOAD_MAX_BYTES);
        let packet_max_bytes = section.optional("packet_max_bytes", "give bytes", problems).unwrap_or(PACKET_MAX_BYTES);
        if in_line {
            let _: Option<toml::Value> = section.optional("password", "", problems);
            problems.push(section.problem(
                "password",
                "is a secret in the configuration",
                "put it alone into a file and name that as password_file",
            ));
        }
        section.finish(problems);
        if packet_max_bytes <= payload_max_bytes || packet_max_bytes > PACKET_CEILING_BYTES {
            problems.push(section.problem(
                "packet_max_bytes",
                format!("is {packet_max_bytes}"),
                format!("must be more than payload_max_bytes ({payload_max_bytes}) and at most {PACKET_CEILING_BYTES}"),
            ));
        }
        let client_id = client_id.or_else(|| device.map(|device| format!("gatehouse-{device}")));
        if client_id.as_deref().is_some_and(|id| id.is_empty() || id.starts_with(' ')) {
            problems.push(section.problem(
                "client_id",
                "is empty or begins with a space",
                "the broker keeps the session under it; give a name that stays",
            ));
        }
        let password = password_file.and_then(|path| read_secret(section, &path, problems));
        if password.is_some() && username.is_none() {
            problems.push(section.problem("username", "is missing", "a password needs a user name"));
        }
        Some(Self {
            host: host?,
            port,
            tls,
            client_id: client_id?,
            username,
            password,
            payload_max_bytes,
            packet_max_bytes,
        })
    }
}

fn read_secret(section: &Section, path: &PathBuf, problems: &mut Vec<Problem>) -> Option<String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
        Err(error) => {
            problems.push(section.problem(
                "password_file",
                format!("{} cannot be read: {error}", path.display()),
                "make a file that holds the password alone, readable by the agent",
            ));
            None
        }
    }
}

impl HubConfig {
    /// The hub, if it is known, and where enrolment keeps what it gives.
    pub(super) fn read(
        section: &mut Section,
        device: Option<&DeviceConfig>,
        problems: &mut Vec<Problem>,
    ) -> Option<(Option<Self>, Option<PathBuf>)> {
        const KEY: &str = "copy what `gatehouse-hub public-key` prints";
        const URL: &str = "give the hub's address, such as \"https://hub.example:8443\"";
        let file = section.optional_path("identity", problems);
        let has_hub = section.has("url") || section.has("public_key");
        let (url, public_key) = match &file {
            Some(_) => (section.optional("url", URL, problems), section.optional("public_key", KEY, problems)),
            None => (section.required("url", URL, problems), section.required("public_key", KEY, problems)),
        };
        section.finish(problems);
        let identity = match file.as_deref().map(Identity::load).transpose() {
            Ok(identity) => identity.flatten(),
            Err(error) => {
                problems.push(section.problem("identity", error.to_string(), "set it right, or remove it"));
                return None;
            }
        };
        if let (Some(identity), Some(device)) = (&identity, device) {
            check_identity(section, identity, device, problems)?;
        }
        let said = identity.as_ref().map(|identity| &identity.said);
        let url: Option<String> = url.or_else(|| said.map(|said| said.url.clone()));
        let public_key = public_key.or_else(|| said.map(|said| said.hub));
        let (Some(url), Some(public_key)) = (url, public_key) else {
            if identity.is_none() && file.is_some() && !has_hub {
                // Not enrolled yet.
                return Some((None, file));
            }
            if file.is_some() {
                problems.push(section.problem("url", "or public_key is missing", "give both, or enrol"));
            }
            return None;
        };
        let url = url.trim_end_matches('/').to_owned();
        if let Err(what) = usable_url(&url) {
            problems.push(section.problem("url", what, "use https://HOST, or http:// on this machine itself"));
            return None;
        }
        if identity.is_some() && !url.starts_with("https:") {
            problems.push(section.problem("url", "would not show the certificate", "use https://, or remove identity"));
            return None;
        }
        Some((Some(Self { url, public_key, identity }), file))
    }
}

/// An identity of another device is none of this one. One for another depot is what the hub lists now: the line stays
/// silent while it does ([`crate::sync::Line`]), and a slip in the hub's list must not keep a depot from starting.
fn check_identity(
    section: &Section,
    identity: &Identity,
    device: &DeviceConfig,
    problems: &mut Vec<Problem>,
) -> Option<()> {
    let said = &identity.said;
    if said.device == device.id {
        return Some(());
    }
    let wrong = format!("is {}'s, and device.id is {}", said.device, device.id);
    problems.push(section.problem("identity", wrong, "name the one that this device was enrolled with, or enrol"));
    None
}

/// Exchanges are signed, not hidden: without TLS they stay on this machine.
fn usable_url(url: &str) -> Result<(), String> {
    let parsed = reqwest::Url::parse(url).map_err(|error| format!("{url:?} is not a URL: {error}"))?;
    if !matches!(parsed.path(), "" | "/") || parsed.query().is_some() {
        return Err("has a path".to_owned());
    }
    let host = parsed.host_str().unwrap_or_default();
    let is_loopback = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match parsed.scheme() {
        "https" => Ok(()),
        "http" if is_loopback => Ok(()),
        "http" => Err(format!("would send orders and credit to {host} in the clear")),
        other => Err(format!("{other}:// is not spoken")),
    }
}

impl PageConfig {
    pub(super) fn read(section: &mut Section, problems: &mut Vec<Problem>) -> Option<Self> {
        let listen: Option<SocketAddr> =
            section.optional("listen", "give address and port, such as \"127.0.0.1:8321\"", problems);
        section.finish(problems);
        let listen = listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8321)));
        if !listen.ip().is_loopback() {
            problems.push(section.problem(
                "listen",
                format!("{} is reachable from outside, and PINs would travel unencrypted", listen.ip()),
                "listen on 127.0.0.1 and put a proxy that speaks TLS before it; TLS of its own comes later",
            ));
            return None;
        }
        Some(Self { listen })
    }
}
