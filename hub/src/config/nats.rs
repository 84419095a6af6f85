//! Which streams of NATS are told what.

use std::{collections::BTreeSet, path::PathBuf};

use gatehouse_common::id::{ActorName, SiteId};

use super::{
    Interest, Secret,
    erp::read_secret,
    interest::Wanted,
    read::{Problem, Section},
};

/// `[[nats]]`
#[derive(Debug, Clone)]
pub struct NatsConfig {
    /// `name`: how it is called here.
    pub name: ActorName,
    /// `url`: `tls://host:port`, or `nats://host:port` where `private` says that the network is one's own.
    pub url: reqwest::Url,
    /// `authority_file`: PEM certificates that its server is believed by. Default: those of the system.
    pub authority_file: Option<PathBuf>,
    /// `credentials_file` (a JWT and its key), `token_file`, or `user` and `password_file`. Default: no login.
    pub login: NatsLogin,
    /// `subject`: what subjects begin with, default `gatehouse`: `gatehouse.dispatch.departed`. A stream must take them.
    pub subject: String,
    /// `types`: which events, such as `dispatch.departed`, or `case.*` for all that begin so. Default: all.
    pub types: BTreeSet<String>,
    /// `sites`: of which depots. Empty, the default: all.
    pub sites: BTreeSet<SiteId>,
    /// `expires_minutes`: how old news may be when it is told, 1 to 10080. Default 10080. Older news is kept and not sent.
    pub expires_minutes: u32,
}

/// How the hub logs in at a NATS server.
#[derive(Debug, Clone)]
pub enum NatsLogin {
    /// Not at all.
    None,
    /// By the content of a credentials file.
    Credentials(Secret),
    /// By a token.
    Token(Secret),
    /// By user and password.
    Password(String, Secret),
}

impl NatsConfig {
    pub(super) fn read(section: &mut Section, problems: &mut Vec<Problem>) -> Option<Self> {
        const SUBJECT: &str = "give words of letters, digits, - and _ with dots between them, such as \"gatehouse\"";
        let name = section.required("name", "give the subscription's name, such as \"bus\"", problems);
        let url = read_url(section, problems);
        let authority_file = section.optional_path("authority_file", problems);
        let login = read_login(section, problems);
        let subject: Option<String> = section.optional("subject", SUBJECT, problems);
        let subject = subject.unwrap_or_else(|| "gatehouse".to_owned());
        let is_word =
            |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        if !subject.split('.').all(is_word) {
            problems.push(section.problem("subject", format!("{subject:?} begins no subject"), SUBJECT));
        }
        let Wanted { types, sites, expires_minutes } = Wanted::read(section, 10_080, problems);
        section.finish(problems);
        Some(Self { name: name?, url: url?, authority_file, login: login?, subject, types, sites, expires_minutes })
    }

    /// What it is told of.
    #[must_use]
    pub fn interest(&self) -> Interest {
        let (types, sites) = (self.types.clone(), self.sites.clone());
        Interest { name: format!("nats.{}", self.name), types, sites, expires_minutes: self.expires_minutes }
    }
}

fn read_url(section: &mut Section, problems: &mut Vec<Problem>) -> Option<reqwest::Url> {
    const URL: &str = "give an address such as \"tls://nats.example.com:4222\"";
    let private = section.optional("private", "give true or false", problems).unwrap_or(false);
    let text: String = section.required("url", URL, problems)?;
    let what = match reqwest::Url::parse(&text) {
        Ok(url) if !url.has_host() || !url.username().is_empty() || url.password().is_some() => {
            "has no host, or has a login in it".to_owned()
        }
        Ok(url) if url.scheme() == "tls" || (private && url.scheme() == "nats") => return Some(url),
        Ok(url) => {
            let what = format!("{} is not tls", url.scheme());
            problems.push(section.problem("url", what, "use tls://, or set private = true for your own network"));
            return None;
        }
        Err(error) => error.to_string(),
    };
    problems.push(section.problem("url", what, URL));
    None
}

fn read_login(section: &mut Section, problems: &mut Vec<Problem>) -> Option<NatsLogin> {
    let has = ["credentials_file", "token_file", "user"].map(|key| section.has(key));
    match has {
        [false, false, false] => Some(NatsLogin::None),
        [true, false, false] => read_secret(section, "credentials_file", problems).map(NatsLogin::Credentials),
        [false, true, false] => read_secret(section, "token_file", problems).map(NatsLogin::Token),
        [false, false, true] => {
            let user = section.required("user", "name the login", problems);
            let password = read_secret(section, "password_file", problems);
            Some(NatsLogin::Password(user?, password?))
        }
        _ => {
            let remedy = "give one of credentials_file, token_file, and user with password_file";
            problems.push(section.problem("user", "there is more than one login", remedy));
            None
        }
    }
}
