//! Who is told what, and where.

use std::collections::BTreeSet;

use gatehouse_common::id::{ActorName, SiteId};

use super::{
    Interest,
    interest::Wanted,
    read::{Problem, Section},
};
use crate::partners::webhooks::{envelope::Envelope, sign::Key};

/// `[[webhooks]]`
#[derive(Debug, Clone)]
pub struct WebhookConfig {
    /// `name`: how it is called here.
    pub name: ActorName,
    /// `url`: where requests go. HTTPS to a public address, unless `private` says otherwise.
    pub url: reqwest::Url,
    /// Content of `key_file`: `whsec_` and base64 of 24 to 64 bytes, or `whsk_` and an ed25519 key.
    pub key: Key,
    /// `envelope`: `"standard-webhooks"`, the default, `"cloudevents-structured"` or `"cloudevents-binary"`. Signed alike.
    pub envelope: Envelope,
    /// `types`: which events, such as `dispatch.departed`, or `case.*` for all that begin so. Default: all.
    pub types: BTreeSet<String>,
    /// `sites`: of which depots. Empty, the default: all.
    pub sites: BTreeSet<SiteId>,
    /// `private`: whether it may be reached at a private address, and without TLS. Default false.
    pub private: bool,
    /// `expires_minutes`: how old news may be when it is told, 1 to 10080. Default 1440. Older news is kept and not sent.
    pub expires_minutes: u32,
}

impl WebhookConfig {
    pub(super) fn read(section: &mut Section, problems: &mut Vec<Problem>) -> Option<Self> {
        const URL: &str = "give an address such as \"https://example.com/hooks\"";
        const KEY: &str = "name a file that holds whsec_ and base64 of 24 to 64 bytes, or whsk_ and an ed25519 key";
        let name = section.required("name", "give the subscription's name, such as \"crm\"", problems);
        let private = section.optional("private", "give true or false", problems).unwrap_or(false);
        let text: Option<String> = section.required("url", URL, problems);
        let url = text.and_then(|text| match reqwest::Url::parse(&text) {
            Ok(url) if !url.has_host() || !url.username().is_empty() || url.password().is_some() => {
                problems.push(section.problem("url", "has no host, or has a login in it", URL));
                None
            }
            Ok(url) if url.scheme() == "https" || (private && url.scheme() == "http") => Some(url),
            Ok(url) => {
                let what = format!("{} is not HTTPS", url.scheme());
                problems.push(section.problem("url", what, "use https, or set private = true for your own network"));
                None
            }
            Err(error) => {
                problems.push(section.problem("url", error.to_string(), URL));
                None
            }
        });
        let secret = super::erp::read_secret(section, "key_file", problems);
        let key = secret.and_then(|secret| match Key::read(secret.reveal()) {
            Ok(key) => Some(key),
            Err(error) => {
                problems.push(section.problem("key_file", error.to_string(), KEY));
                None
            }
        });
        let envelope = read_envelope(section, problems);
        let Wanted { types, sites, expires_minutes } = Wanted::read(section, 1440, problems);
        section.finish(problems);
        Some(Self { name: name?, url: url?, key: key?, envelope, types, sites, private, expires_minutes })
    }

    /// What it is told of.
    #[must_use]
    pub fn interest(&self) -> Interest {
        let (types, sites) = (self.types.clone(), self.sites.clone());
        Interest { name: self.name.to_string(), types, sites, expires_minutes: self.expires_minutes }
    }
}

fn read_envelope(section: &mut Section, problems: &mut Vec<Problem>) -> Envelope {
    const WORDS: &str = "give \"standard-webhooks\", \"cloudevents-structured\" or \"cloudevents-binary\"";
    let Some(word) = section.optional::<String>("envelope", WORDS, problems) else { return Envelope::default() };
    let known = Envelope::ALL.into_iter().find(|envelope| envelope.as_str() == word);
    known.unwrap_or_else(|| {
        problems.push(section.problem("envelope", format!("{word:?} is not known"), WORDS));
        Envelope::default()
    })
}
