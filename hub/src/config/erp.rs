//! The ERP: where it is, how it is asked, and what its depots are called.

use std::{collections::BTreeMap, fmt};

use gatehouse_common::id::{CarrierId, DoorId, SiteId, VehicleId};
use jiff::civil;
use serde::Deserialize;

use super::read::{Problem, Section};
use crate::erp::{
    odata::{Login, ODataMap},
    post::PostOptions,
    rest::{self, RestMap},
};

/// `[erp]`
#[derive(Debug, Clone)]
pub struct ErpConfig {
    /// `kind`: `rest`, `odata` or `tryton`, with what each needs.
    pub kind: ErpKind,
    /// `poll_ms`: how often its changes are asked for, in milliseconds. Default 5,000.
    /// Shorter makes cancellations reach depots sooner and costs the ERP more.
    pub poll_ms: u64,
    /// `calls_per_minute`: how many calls it allows, evenly spaced. Default 0: as many as there are.
    /// Fewer spares it and makes news and postings slower.
    pub calls_per_minute: u32,
    /// `[erp.posting]`: how postings are tried.
    pub posting: PostOptions,
    /// `[erp.sites]`: the ERP's word for each depot, such as `"WH-AUS" = "D1"`. Empty: its words are ours.
    pub sites: BTreeMap<String, SiteId>,
}

/// How the ERP is spoken to.
#[derive(Debug, Clone)]
pub enum ErpKind {
    /// JSON over HTTP with a bearer token.
    Rest {
        /// `url`: its root, such as `http://127.0.0.1:8090`.
        url: String,
        /// Content of `token_file`.
        token: Secret,
        /// `answer_within_ms`: how long an answer is waited for, in milliseconds. Default 15,000.
        /// A write that is not answered by then is asked for: shorter asks more often, longer holds others up.
        answer_within_ms: u64,
        /// `[erp.terms]`: what holds for an order that is read by a map and does not say it.
        terms: SaleTerms,
        /// `[erp.map]`: its paths and fields, where they are not the built-in ones.
        map: Box<RestMap>,
    },
    /// OData V4.
    OData {
        /// `url`: the service's root.
        url: String,
        /// `user` with `password_file`, or `token_file`.
        login: Login,
        /// `csrf`: whether writes need a token that a read fetched, as SAP's gateways want it. Default false.
        csrf: bool,
        /// `[erp.terms]`: what holds for a document that does not say it.
        terms: SaleTerms,
        /// `[erp.document]`, `[erp.customer]`, `[erp.stock]`, `[erp.write]`: the service's entities and fields.
        map: Box<ODataMap>,
    },
    /// Tryton over JSON-RPC.
    Tryton {
        /// `url`: its root.
        url: String,
        /// `database`: its database.
        database: String,
        /// `user`: the login of the hub there.
        user: String,
        /// Content of `password_file`.
        password: Secret,
        /// `[erp.terms]`: what holds for a sale whose comment does not say it.
        terms: SaleTerms,
    },
}

/// `[erp.terms]`: what depots need of an order and Tryton has no field for. A line such as `door: 3` in a
/// sale's comment says it for that sale; `departure`, `window end` and `destination` stand only there.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SaleTerms {
    /// `vehicle`: which one takes it. None: each sale must name one, or it does not reach its depot.
    pub vehicle: Option<VehicleId>,
    /// `carrier`: who drives. None: as for the vehicle.
    pub carrier: Option<CarrierId>,
    /// `door`: where it is loaded. None: as for the vehicle.
    pub door: Option<DoorId>,
    /// `class`: which rules of the bundle hold. Default `standard`.
    pub class: String,
    /// `departs_at`: when vehicles leave on the day that Tryton plans, in UTC. Default `17:00`.
    pub departs_at: civil::Time,
    /// `window_hours`: hours from departure to the end of the delivery window, 1 to 720. Default 24.
    pub window_hours: u32,
}

impl Default for SaleTerms {
    fn default() -> Self {
        Self {
            vehicle: None,
            carrier: None,
            door: None,
            class: "standard".to_owned(),
            departs_at: civil::time(17, 0, 0, 0),
            window_hours: 24,
        }
    }
}

impl SaleTerms {
    fn read(section: &mut Section, problems: &mut Vec<Problem>) -> Self {
        const NAME: &str = "use letters, digits, '.', '_' and '-'";
        const TIME: &str = "give hours and minutes in UTC, such as \"17:00\"";
        let usual = Self::default();
        let departs_at = section.optional::<String>("departs_at", TIME, problems).and_then(|text| {
            let time = text.parse::<civil::Time>();
            if time.is_err() {
                problems.push(section.problem("departs_at", format!("{text:?} is not a time of day"), TIME));
            }
            time.ok()
        });
        let window_hours =
            section.optional("window_hours", "give hours, 1 to 720", problems).unwrap_or(usual.window_hours);
        if !(1..=720).contains(&window_hours) {
            let what = format!("{window_hours} is out of range");
            problems.push(section.problem("window_hours", what, "give hours, 1 to 720"));
        }
        let terms = Self {
            vehicle: section.optional("vehicle", NAME, problems),
            carrier: section.optional("carrier", NAME, problems),
            door: section.optional("door", NAME, problems),
            class: section.optional("class", "name a class of the bundle", problems).unwrap_or(usual.class),
            departs_at: departs_at.unwrap_or(usual.departs_at),
            window_hours,
        };
        section.finish(problems);
        terms
    }
}

/// Something that must not be printed. It comes from a file, never from the configuration itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for whoever sends it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

const POLL_MS: u64 = 5_000;
const KIND: &str = "give \"rest\", \"odata\", \"tryton\" or \"none\"";

impl ErpConfig {
    /// The word for its kind.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            ErpKind::Rest { .. } => "rest",
            ErpKind::OData { .. } => "odata",
            ErpKind::Tryton { .. } => "tryton",
        }
    }

    /// `Some(None)` is a hub that was told to have no ERP.
    pub(super) fn read(section: &mut Section, problems: &mut Vec<Problem>) -> Option<Option<Self>> {
        let kind: Option<String> = section.required("kind", KIND, problems);
        let kind = match kind.as_deref() {
            Some("none") => Some(None),
            Some("rest") => Self::read_rest(section, problems).map(Some),
            Some("odata") => Self::read_odata(section, problems).map(Some),
            Some("tryton") => Self::read_tryton(section, problems).map(Some),
            Some(other) => {
                problems.push(section.problem("kind", format!("{other:?} is not a kind of ERP"), KIND));
                // The other keys depend on the kind, so nothing can be said of them.
                return None;
            }
            None => return None,
        };
        let poll_ms = section.optional("poll_ms", "give milliseconds, 100 or more", problems).unwrap_or(POLL_MS);
        if poll_ms < 100 {
            problems.push(section.problem(
                "poll_ms",
                format!("{poll_ms} would not let the ERP rest"),
                "give 100 or more",
            ));
        }
        let calls_per_minute =
            section.optional("calls_per_minute", "give a number, 0 for no limit", problems).unwrap_or(0);
        let sites = section.optional("sites", "give depots as \"THEIRS\" = \"OURS\"", problems).unwrap_or_default();
        let posting = read_posting(&mut section.section_or_empty("posting", problems), problems);
        section.finish(problems);
        let kind = kind?;
        if let Some(ErpKind::Rest { answer_within_ms, .. }) = &kind
            && i64::try_from(*answer_within_ms).is_ok_and(|wait| wait >= posting.doubt_ms)
        {
            let what = format!("{} ends before the wait for an answer of {answer_within_ms} ms", posting.doubt_ms);
            problems.push(section.problem("posting.doubt_ms", what, "give more than answer_within_ms"));
        }
        Some(kind.map(|kind| Self { kind, poll_ms, calls_per_minute, posting, sites }))
    }

    fn read_rest(section: &mut Section, problems: &mut Vec<Problem>) -> Option<ErpKind> {
        let url = read_url(section, problems);
        let token = read_secret(section, "token_file", problems);
        const WAIT: &str = "give milliseconds, 100 or more";
        let usual = u64::try_from(rest::ANSWER_WITHIN.as_millis()).unwrap_or(u64::MAX);
        let answer_within_ms = section.optional("answer_within_ms", WAIT, problems).unwrap_or(usual);
        if answer_within_ms < 100 {
            problems.push(section.problem("answer_within_ms", format!("{answer_within_ms} is too short"), WAIT));
        }
        let terms = SaleTerms::read(&mut section.section_or_empty("terms", problems), problems);
        let map = section.optional("map", "see docs/rest.md", problems).unwrap_or_default();
        Some(ErpKind::Rest { url: url?, token: token?, answer_within_ms, terms, map: Box::new(map) })
    }

    fn read_odata(section: &mut Section, problems: &mut Vec<Problem>) -> Option<ErpKind> {
        const MAP: &str = "begin from a file in docs/odata";
        let url = read_url(section, problems);
        let user: Option<String> =
            section.optional("user", "name the hub's login, or give token_file instead", problems);
        let login = match user {
            Some(user) => {
                read_secret(section, "password_file", problems).map(|password| Login::Basic { user, password })
            }
            None => read_secret(section, "token_file", problems).map(Login::Bearer),
        };
        let csrf = section.optional("csrf", "give true or false", problems).unwrap_or(false);
        let terms = SaleTerms::read(&mut section.section_or_empty("terms", problems), problems);
        let document = section.required("document", MAP, problems);
        let customer = section.optional("customer", MAP, problems);
        let stock = section.optional("stock", MAP, problems);
        let write = section.optional("write", MAP, problems).unwrap_or_default();
        let map = Box::new(ODataMap { document: document?, customer, stock, write });
        for what in map.written_by_two() {
            problems.push(section.problem("write", what, "write a field of its own, or stop reading that one"));
        }
        Some(ErpKind::OData { url: url?, login: login?, csrf, terms, map })
    }

    fn read_tryton(section: &mut Section, problems: &mut Vec<Problem>) -> Option<ErpKind> {
        let url = read_url(section, problems);
        let database = section.required("database", "name Tryton's database", problems);
        let user = section.required("user", "name the hub's login at Tryton", problems);
        let password = read_secret(section, "password_file", problems);
        let terms = SaleTerms::read(&mut section.section_or_empty("terms", problems), problems);
        Some(ErpKind::Tryton { url: url?, database: database?, user: user?, password: password?, terms })
    }
}

/// `[erp.posting]`: `at_once`, postings of different orders under way at one time, default 4; `retry_first_ms`, the first
/// wait after a failure, default 1,000, and `retry_max_ms`, the longest, default 60,000; `doubt_ms`, how long a write
/// may be on its way, default 60,000: a shorter one than the ERP's slowest write posts twice.
fn read_posting(section: &mut Section, problems: &mut Vec<Problem>) -> PostOptions {
    const WAIT: &str = "give milliseconds, 10 or more";
    let usual = PostOptions::default();
    let posting = PostOptions {
        at_once: section.optional("at_once", "give 1 to 64", problems).unwrap_or(usual.at_once),
        retry_first_ms: section.optional("retry_first_ms", WAIT, problems).unwrap_or(usual.retry_first_ms),
        retry_max_ms: section.optional("retry_max_ms", WAIT, problems).unwrap_or(usual.retry_max_ms),
        doubt_ms: section.optional("doubt_ms", WAIT, problems).unwrap_or(usual.doubt_ms),
        ..usual
    };
    section.finish(problems);
    let mut check = |key: &str, is_good: bool, value: u64, remedy: &str| {
        if !is_good {
            problems.push(section.problem(key, format!("{value} is out of range"), remedy));
        }
    };
    check("at_once", (1..=64).contains(&posting.at_once), posting.at_once as u64, "give 1 to 64");
    check("retry_first_ms", posting.retry_first_ms >= 10, posting.retry_first_ms, WAIT);
    let longest = posting.retry_max_ms >= posting.retry_first_ms;
    check("retry_max_ms", longest, posting.retry_max_ms, "give as much as retry_first_ms or more");
    check("doubt_ms", posting.doubt_ms >= 10, posting.doubt_ms.unsigned_abs(), WAIT);
    posting
}

fn read_url(section: &mut Section, problems: &mut Vec<Problem>) -> Option<String> {
    const REMEDY: &str = "give its root, such as \"http://127.0.0.1:8090\"";
    let url: String = section.required("url", REMEDY, problems)?;
    match reqwest::Url::parse(&url) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") && parsed.has_host() => {
            if !parsed.username().is_empty() || parsed.password().is_some() {
                problems.push(section.problem("url", "holds a login", "put secrets in a file and name that"));
                return None;
            }
            Some(url.trim_end_matches('/').to_owned())
        }
        _ => {
            problems.push(section.problem("url", format!("{url:?} is not an http address"), REMEDY));
            None
        }
    }
}

pub(super) fn read_secret(section: &mut Section, key: &'static str, problems: &mut Vec<Problem>) -> Option<Secret> {
    let path = section.path(key, "name a file that holds nothing but the secret", problems)?;
    let why = match std::fs::read_to_string(&path) {
        Ok(text) if text.trim().is_empty() => format!("{} is empty", path.display()),
        Ok(text) => return Some(Secret(text.trim().to_owned())),
        Err(error) => format!("{} cannot be read: {error}", path.display()),
    };
    problems.push(section.problem(key, why, "name a file that holds nothing but the secret"));
    None
}
