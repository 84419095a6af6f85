//! Letters to people: through which server, and who gets which.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_common::id::{ActorName, CustomerId, SiteId};
use lettre::message::Mailbox;

use super::{
    Interest, Secret,
    erp::read_secret,
    interest::Wanted,
    read::{Problem, Section},
};
use crate::partners::mail::letter;

/// `[mail]`
#[derive(Debug, Clone)]
pub struct MailConfig {
    /// `host`: the server that takes letters.
    pub host: String,
    /// `port`: default 465, or 587 with `starttls`.
    pub port: u16,
    /// `tls`: `"implicit"`, the default, `"starttls"`, or `"none"`, which is refused but for a server on this machine.
    pub tls: MailTls,
    /// `user` and `password_file`, where it asks for a login.
    pub login: Option<(String, Secret)>,
    /// `from`: who writes, such as `"Dispatch <dispatch@example.com>"`.
    pub from: Mailbox,
    /// `[mail.customers]`: addresses of customers by their numbers, such as `"C1" = ["desk@customer.example"]`.
    pub customers: BTreeMap<CustomerId, Vec<Mailbox>>,
    /// `[[mail.notices]]`: who gets which letter.
    pub notices: Vec<NoticeConfig>,
}

/// How the line to the server is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// TLS from the first byte.
    Implicit,
    /// TLS after a greeting, and no letter without.
    Starttls,
    /// Plain, on this machine alone.
    None,
}

/// `[[mail.notices]]`
#[derive(Debug, Clone)]
pub struct NoticeConfig {
    /// `name`: how it is called here.
    pub name: ActorName,
    /// `to`: people who get each of its letters.
    pub to: Vec<Mailbox>,
    /// `to_customer`: whether the customer of the order gets them. Default false.
    pub to_customer: bool,
    /// `types`: which events, such as `dispatch.departed`, or `case.*`. Default: all.
    pub types: BTreeSet<String>,
    /// `sites`: of which depots. Empty, the default: all.
    pub sites: BTreeSet<SiteId>,
    /// `expires_minutes`: how old news may be when it is written, 1 to 10080. Default 240. Older news is not sent.
    pub expires_minutes: u32,
    /// `subject`: a line with places such as `{order}`.
    pub subject: String,
    /// `body`: the letter, with places.
    pub body: String,
}

impl NoticeConfig {
    /// What it is told of.
    #[must_use]
    pub fn interest(&self) -> Interest {
        let (types, sites) = (self.types.clone(), self.sites.clone());
        Interest { name: format!("mail.{}", self.name), types, sites, expires_minutes: self.expires_minutes }
    }
}

const ADDRESS: &str = "give an address such as \"Dispatch <dispatch@example.com>\"";

fn address(section: &Section, key: &str, text: &str, problems: &mut Vec<Problem>) -> Option<Mailbox> {
    let read = text.parse();
    if let Err(error) = &read {
        problems.push(section.problem(key, format!("{text:?} is no address: {error}"), ADDRESS));
    }
    read.ok()
}

impl MailConfig {
    pub(super) fn read(section: &mut Section, problems: &mut Vec<Problem>) -> Option<Self> {
        const TLS: &str = "give \"implicit\", \"starttls\" or \"none\"";
        let host: Option<String> = section.required("host", "name the server that takes letters", problems);
        let word: Option<String> = section.optional("tls", TLS, problems);
        let tls = match word.as_deref() {
            None | Some("implicit") => MailTls::Implicit,
            Some("starttls") => MailTls::Starttls,
            Some("none") => MailTls::None,
            Some(other) => {
                problems.push(section.problem("tls", format!("{other:?} is not known"), TLS));
                MailTls::Implicit
            }
        };
        let is_near = host.as_deref().is_some_and(|host| {
            host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
        });
        if tls == MailTls::None && !is_near {
            let what = "letters would go over the network in the clear";
            problems.push(section.problem("tls", what, "use \"implicit\" or \"starttls\""));
        }
        let usual = if tls == MailTls::Starttls { 587 } else { 465 };
        let port = section.optional("port", "give a port", problems).unwrap_or(usual);
        let user: Option<String> = section.optional("user", "name the login", problems);
        let password = user.as_ref().and_then(|_| read_secret(section, "password_file", problems));
        let from: Option<String> = section.required("from", ADDRESS, problems);
        let from = from.and_then(|text| address(section, "from", &text, problems));
        let named: BTreeMap<CustomerId, Vec<String>> =
            section.optional("customers", "give addresses as \"C1\" = [\"a@b.example\"]", problems).unwrap_or_default();
        let mut customers = BTreeMap::new();
        for (customer, texts) in named {
            let found = texts.iter().filter_map(|text| address(section, "customers", text, problems)).collect();
            customers.insert(customer, found);
        }
        let notices: Vec<Option<NoticeConfig>> = section
            .sections("notices", problems)
            .into_iter()
            .map(|mut notice| NoticeConfig::read(&mut notice, problems))
            .collect();
        let mut names = BTreeSet::new();
        for notice in notices.iter().flatten() {
            if !names.insert(&notice.name) {
                let what = format!("{} is listed twice", notice.name);
                problems.push(section.problem("notices", what, "give each notice a name of its own"));
            }
        }
        section.finish(problems);
        let login = match (user, password) {
            (Some(user), password) => Some((user, password?)),
            (None, _) => None,
        };
        let notices = notices.into_iter().collect::<Option<_>>()?;
        Some(Self { host: host?, port, tls, login, from: from?, customers, notices })
    }
}

impl NoticeConfig {
    fn read(section: &mut Section, problems: &mut Vec<Problem>) -> Option<Self> {
        let name = section.required("name", "give the notice's name, such as \"delays\"", problems);
        let to: Vec<String> = section.optional("to", "list addresses", problems).unwrap_or_default();
        let to = to.iter().map(|text| address(section, "to", text, problems)).collect::<Option<Vec<_>>>();
        let to_customer = section.optional("to_customer", "give true or false", problems).unwrap_or(false);
        if to.as_ref().is_some_and(Vec::is_empty) && !to_customer {
            problems.push(section.problem("to", "names nobody", "list addresses, or set to_customer = true"));
        }
        let Wanted { types, sites, expires_minutes } = Wanted::read(section, 240, problems);
        let mut template = |key: &'static str| {
            let text: Option<String> = section.required(key, "write the text, with places such as {order}", problems);
            let text = text?;
            if let Some(unknown) = letter::unknown_place(&text) {
                let known = letter::PLACES.join(", ");
                problems.push(section.problem(key, format!("{{{unknown}}} is no place"), format!("use {known}")));
            }
            Some(text)
        };
        let (subject, body) = (template("subject"), template("body"));
        section.finish(problems);
        Some(Self { name: name?, to: to?, to_customer, types, sites, expires_minutes, subject: subject?, body: body? })
    }
}
