//! How the hub is reached: by whom it is known, and how devices are.

use std::{net::SocketAddr, path::PathBuf};

use super::read::{Beside, Problem, Section};

/// `[tls]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// `authority_file`: key and certificate of the hub's own authority, made at first start. Default: beside the
    /// file of SQLite, with the ending `.authority.pem`. Over PostgreSQL it must be named: every replica has the same.
    pub authority_file: PathBuf,
    /// `cert_file` and `key_file`: what `--listen` shows, in PEM. Default: a certificate of the authority.
    pub files: Option<(PathBuf, PathBuf)>,
    /// `names`: host names and addresses that the hub's own certificates are for, besides `localhost`, the addresses
    /// that it listens on and the host of `devices.url`.
    pub names: Vec<String>,
    /// `plain_on_loopback`: serve `--listen` without TLS, on an address of this machine alone. Default no. For tests, and
    /// for a proxy on this machine that ends TLS: a device's certificate does not get through it.
    pub plain_on_loopback: bool,
}

/// `[devices]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicesConfig {
    /// `listen`: where devices speak, with certificates. Without it there is no enrolment.
    pub listen: Option<SocketAddr>,
    /// `url`: how devices reach `listen`; it goes into invitations. Default: `https://` and `listen`.
    pub url: Option<String>,
    /// `certificate_days`: how long a certificate is good, 1 to 397. Default 30. Shorter: a copy that was stolen is of
    /// use for less long; a device that is away for longer needs the grace.
    pub certificate_days: u32,
    /// `grace_days`: how long after that a device that was away may still renew it, 0 to 365. Default 60.
    pub grace_days: u32,
    /// `feed_days`: how long a device may be silent and still find its place in the feed, 7 to 3650. Default 30. One that was
    /// away for longer begins again and gets the documents that it lacks whole; longer keeps more rows for it.
    pub feed_days: u32,
    /// `without_certificate`: let devices speak that only sign their exchanges, as before there were certificates.
    /// Default no.
    pub without_certificate: bool,
    /// `requests_per_minute`: of one device, 60 or more. Default 600.
    pub requests_per_minute: u32,
    /// `kib_per_minute`: of one device, both ways, 1024 or more. Default 65536.
    pub kib_per_minute: u32,
}

impl TlsConfig {
    pub(super) fn read(
        section: &mut Section,
        beside: Beside<'_>,
        listen: Option<SocketAddr>,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let authority_file = section.optional_path("authority_file", problems);
        let (cert, key) = (section.optional_path("cert_file", problems), section.optional_path("key_file", problems));
        let names: Option<Vec<String>> = section.optional("names", "list names, such as [\"hub.example\"]", problems);
        let plain = section.optional("plain_on_loopback", "give true or false", problems).unwrap_or(false);
        section.finish(problems);
        let files = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) => {
                problems.push(section.problem("key_file", "is missing", "name the key of cert_file"));
                None
            }
            (None, Some(_)) => {
                problems.push(section.problem("cert_file", "is missing", "name the certificate of key_file"));
                None
            }
        };
        if let Some(listen) = listen.filter(|listen| plain && !listen.ip().is_loopback()) {
            // Names and PINs would cross the network in the clear.
            problems.push(section.problem(
                "plain_on_loopback",
                format!("is set, and --listen {listen} can be reached from other machines"),
                format!("remove it, or listen on 127.0.0.1:{}", listen.port()),
            ));
        }
        if plain && files.is_some() {
            problems.push(section.problem("cert_file", "is not used without TLS", "remove it, or plain_on_loopback"));
        }
        let authority_file =
            authority_file.or_else(|| section.beside("authority_file", beside, "authority.pem", problems))?;
        Some(Self { authority_file, files, names: names.unwrap_or_default(), plain_on_loopback: plain })
    }
}

impl DevicesConfig {
    pub(super) fn read(section: &mut Section, problems: &mut Vec<Problem>) -> Option<Self> {
        const NUMBER: &str = "give a number";
        let listen: Option<SocketAddr> =
            section.optional("listen", "give address and port, such as \"0.0.0.0:8443\"", problems);
        let url: Option<String> = section.optional("url", "give it as \"https://hub.example:8443\"", problems);
        let mut number = |key, default: u32, least: u32, most: u32| {
            let value = section.optional(key, NUMBER, problems).unwrap_or(default);
            if !(least..=most).contains(&value) {
                let remedy = format!("give {least} to {most}");
                problems.push(section.problem(key, format!("{value} is out of range"), remedy));
            }
            value
        };
        let certificate_days = number("certificate_days", 30, 1, 397);
        let grace_days = number("grace_days", 60, 0, 365);
        let feed_days = number("feed_days", 30, 7, 3_650);
        let requests_per_minute = number("requests_per_minute", 600, 60, 1_000_000);
        let kib_per_minute = number("kib_per_minute", 65_536, 1_024, 16_777_216);
        let without_certificate =
            section.optional("without_certificate", "give true or false", problems).unwrap_or(false);
        section.finish(problems);
        let url = match (url, listen) {
            (Some(url), _) => usable(&url, section, problems),
            (None, Some(listen)) if !listen.ip().is_unspecified() => Some(format!("https://{listen}")),
            (None, Some(_)) => {
                let remedy = "say how devices reach this hub, such as \"https://hub.example:8443\"";
                problems.push(section.problem("url", "is missing: listen names no address", remedy));
                None
            }
            (None, None) => None,
        };
        Some(Self {
            listen,
            url,
            certificate_days,
            grace_days,
            feed_days,
            without_certificate,
            requests_per_minute,
            kib_per_minute,
        })
    }

    /// How devices reach the hub that listens for them at `address`: port 0 was a free one.
    #[must_use]
    pub fn reached_at(&self, address: SocketAddr) -> String {
        match (&self.url, self.listen) {
            (Some(url), Some(listen)) if *url == format!("https://{listen}") => format!("https://{address}"),
            (Some(url), _) => url.clone(),
            (None, _) => format!("https://{address}"),
        }
    }

    /// The host of `url`, which the hub's certificate must name.
    #[must_use]
    pub fn host(&self) -> Option<String> {
        let url = reqwest::Url::parse(self.url.as_deref()?).ok()?;
        Some(url.host_str()?.trim_matches(['[', ']']).to_owned())
    }
}

fn usable(url: &str, section: &Section, problems: &mut Vec<Problem>) -> Option<String> {
    let parsed = reqwest::Url::parse(url).ok();
    let is_good = parsed.is_some_and(|url| {
        url.scheme() == "https" && matches!(url.path(), "" | "/") && url.query().is_none() && url.host_str().is_some()
    });
    if is_good {
        return Some(url.trim_end_matches('/').to_owned());
    }
    problems.push(section.problem("url", format!("{url:?} is not https:// and a host"), "devices speak TLS alone"));
    None
}
