//! Who asks, and what they may do.
//!
//! In: the `Authorization` header, and from where it came. Out: a [`Principal`], or a refusal that says how to sign in.
//! People sign in with name and PIN (HTTP basic), programs with a token (bearer). [`roles`] says
//! what each may do. Nothing here remembers a session; a PIN that was right is known for a while,
//! since checking one is made to be slow.

pub mod pins;
pub mod roles;
mod tries;

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, header};
use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse_common::id::{ActorName, Hash32, SiteId};

pub use roles::Role;

use self::tries::Tries;
use crate::config::{Operator, Token, TokenScope};

/// How long a PIN that was right need not be checked again.
const KNOWN_FOR: Duration = Duration::from_secs(600);
/// Wrong PINs in a row after which a name has to wait.
const TRIES: u32 = 5;
/// How long it has to wait.
const WAIT: Duration = Duration::from_secs(60);
/// PINs checked at one time: each takes a core and 19 MiB for a moment.
const CHECKS_AT_ONCE: usize = 2;

/// Someone who has shown who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A person.
    Operator {
        /// Their login.
        name: ActorName,
        /// What they are.
        role: Role,
        /// The depots they see and act for; empty for all.
        sites: BTreeSet<SiteId>,
    },
    /// A program.
    Program {
        /// How the audit calls it.
        name: ActorName,
        /// What its token is good for.
        scopes: BTreeSet<TokenScope>,
    },
}

impl Principal {
    /// The name in the audit.
    #[must_use]
    pub fn name(&self) -> &ActorName {
        match self {
            Self::Operator { name, .. } | Self::Program { name, .. } => name,
        }
    }

    /// Whether they may see what belongs to no depot, or to all.
    #[must_use]
    pub fn sees_all(&self) -> bool {
        match self {
            Self::Operator { sites, .. } => sites.is_empty(),
            Self::Program { scopes, .. } => scopes.contains(&TokenScope::Read),
        }
    }

    /// Whether they may see what belongs to `site`.
    #[must_use]
    pub fn sees(&self, site: &SiteId) -> bool {
        match self {
            Self::Operator { sites, .. } => sites.is_empty() || sites.contains(site),
            Self::Program { scopes, .. } => scopes.contains(&TokenScope::Read),
        }
    }
}

/// Why someone is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// They have not said who they are. Send `Authorization`.
    #[error("sign in: send name and PIN (HTTP basic), or a token (bearer)")]
    Missing,
    /// Name, PIN or token are wrong.
    #[error("name, PIN or token is wrong")]
    Wrong,
    /// Too many wrong PINs in a row.
    #[error("too many wrong PINs; wait {0} seconds")]
    Wait(u64),
    /// Too many sign-ins of everybody at that network were wrong, whatever the name.
    #[error(
        "too many sign-ins from this network were wrong; wait {0} seconds and sign in again; if that goes on, \
         something there sends wrong names or PINs"
    )]
    Network(u64),
}

/// Checks who asks. Copies share what is known.
#[derive(Clone)]
pub struct Gatekeeper {
    shared: Arc<Shared>,
}

struct Shared {
    operators: Vec<Operator>,
    tokens: Vec<Token>,
    /// Salts [`Self::known`], so that a copy of memory does not give PINs away cheaply.
    salt: [u8; 32],
    known: Mutex<HashMap<Hash32, (usize, Instant)>>,
    wrong: Mutex<HashMap<String, (u32, Instant)>>,
    tries: Tries,
    checks: Arc<tokio::sync::Semaphore>,
}

impl Gatekeeper {
    /// Lets in those whom the configuration lists.
    #[must_use]
    pub fn new(operators: Vec<Operator>, tokens: Vec<Token>) -> Self {
        Self {
            shared: Arc::new(Shared {
                operators,
                tokens,
                salt: rand::random(),
                known: Mutex::default(),
                wrong: Mutex::default(),
                tries: Tries::default(),
                checks: Arc::new(tokio::sync::Semaphore::new(CHECKS_AT_ONCE)),
            }),
        }
    }

    /// Who sent these headers, `from` that address; none where the listener does not know it.
    /// # Errors
    /// [`AuthError`] says what to do.
    pub async fn identify(&self, from: Option<IpAddr>, headers: &HeaderMap) -> Result<Principal, AuthError> {
        let value = headers.get(header::AUTHORIZATION).ok_or(AuthError::Missing)?;
        let value = value.to_str().map_err(|_| AuthError::Wrong)?;
        let (scheme, credentials) = value.split_once(' ').ok_or(AuthError::Wrong)?;
        let credentials = credentials.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.program(credentials);
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(AuthError::Wrong);
        }
        let decoded = STANDARD.decode(credentials).map_err(|_| AuthError::Wrong)?;
        let decoded = String::from_utf8(decoded).map_err(|_| AuthError::Wrong)?;
        let (name, pin) = decoded.split_once(':').ok_or(AuthError::Wrong)?;
        self.person(from, name, pin).await
    }

    /// How much a program may send in a minute; nothing of one that is not configured.
    #[must_use]
    pub fn per_minute(&self, program: &ActorName) -> u32 {
        self.shared.tokens.iter().find(|t| t.name == *program).map_or(0, |t| t.per_minute)
    }

    fn program(&self, token: &str) -> Result<Principal, AuthError> {
        // The hash of a guess says nothing of the token, so an early end of this search does not either.
        let hash = Hash32::of(token.as_bytes());
        let token = self.shared.tokens.iter().find(|t| t.sha256 == hash).ok_or(AuthError::Wrong)?;
        Ok(Principal::Program { name: token.name.clone(), scopes: token.scopes.clone() })
    }

    async fn person(&self, from: Option<IpAddr>, name: &str, pin: &str) -> Result<Principal, AuthError> {
        let key = Hash32::of(&[&self.shared.salt[..], name.as_bytes(), b"\n", pin.as_bytes()].concat());
        if let Some(index) = self.known(&key) {
            return Ok(self.operator(index));
        }
        self.may_try(from, name)?;
        // Waits in turn; the semaphore is never closed.
        let permit = self.shared.checks.clone().acquire_owned().await;
        // Whoever waited here may have used up the tries of this name, or of this network, meanwhile.
        self.may_try(from, name)?;
        let (keeper, name, pin) = (self.clone(), name.to_owned(), pin.to_owned());
        // It has its place, and counts, until it is done: whoever hangs up meanwhile has had it all the same.
        let checking = tokio::task::spawn_blocking(move || {
            let outcome = keeper.check(from, &name, &pin, key);
            drop(permit);
            outcome
        });
        checking.await.unwrap_or(Err(AuthError::Wrong))
    }

    /// Checks a PIN, which takes a while, and counts it if it is wrong.
    fn check(&self, from: Option<IpAddr>, name: &str, pin: &str, key: Hash32) -> Result<Principal, AuthError> {
        let index = self.shared.operators.iter().position(|o| o.name.as_str() == name);
        let hash = index.map(|i| self.shared.operators[i].pin_argon2.as_str());
        // A name that nobody has takes as long as a wrong PIN, so that names cannot be told apart by time.
        let right = pins::is_right(pin, hash);
        match index {
            Some(index) if right => {
                self.wrong().remove(name);
                let mut known = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
                known.retain(|_, (_, since)| since.elapsed() < KNOWN_FOR);
                known.insert(key, (index, Instant::now()));
                Ok(self.operator(index))
            }
            _ => {
                self.shared.tries.failed(from, Instant::now());
                let mut wrong = self.wrong();
                // Bounded: a flood of invented names must not fill the memory.
                if wrong.len() > 1000 {
                    wrong.retain(|_, (_, since)| since.elapsed() < WAIT);
                }
                let entry = wrong.entry(name.to_owned()).or_insert((0, Instant::now()));
                *entry = (entry.0.saturating_add(1), Instant::now());
                Err(AuthError::Wrong)
            }
        }
    }

    fn known(&self, key: &Hash32) -> Option<usize> {
        let known = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).filter(|(_, since)| since.elapsed() < KNOWN_FOR).map(|(index, _)| *index)
    }

    fn wrong(&self) -> std::sync::MutexGuard<'_, HashMap<String, (u32, Instant)>> {
        self.shared.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a PIN may be checked. The name's own wait is told first: it is the longer one.
    fn may_try(&self, from: Option<IpAddr>, name: &str) -> Result<(), AuthError> {
        self.may_try_name(name)?;
        self.shared.tries.may_fail(from, Instant::now()).map_err(AuthError::Network)
    }

    fn may_try_name(&self, name: &str) -> Result<(), AuthError> {
        let mut wrong = self.wrong();
        let Some((tries, since)) = wrong.get(name).copied() else { return Ok(()) };
        match WAIT.checked_sub(since.elapsed()) {
            Some(left) if tries >= TRIES => Err(AuthError::Wait(left.as_secs().saturating_add(1))),
            Some(_) => Ok(()),
            None => {
                wrong.remove(name);
                Ok(())
            }
        }
    }

    fn operator(&self, index: usize) -> Principal {
        let operator = &self.shared.operators[index];
        Principal::Operator { name: operator.name.clone(), role: operator.role, sites: operator.sites.clone() }
    }

    /// As if as many sign-ins from there had failed as may.
    #[cfg(test)]
    pub(crate) fn use_up(&self, from: IpAddr) {
        self.shared.tries.use_up(from);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn keeper() -> Gatekeeper {
        let ana = Operator {
            name: "ana".parse().unwrap(),
            role: Role::Finance,
            pin_argon2: pins::hash("2468").unwrap(),
            sites: BTreeSet::new(),
        };
        let wms = Token {
            name: "wms".parse().unwrap(),
            sha256: Hash32::of(b"long-token"),
            scopes: BTreeSet::from([TokenScope::EventsWms]),
            per_minute: 10,
        };
        Gatekeeper::new(vec![ana], vec![wms])
    }

    fn with(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
    }

    fn basic(name_and_pin: &str) -> HeaderMap {
        with(&format!("Basic {}", STANDARD.encode(name_and_pin)))
    }

    #[tokio::test]
    async fn a_person_signs_in_with_name_and_pin_and_a_program_with_its_token() {
        let keeper = keeper();
        assert_eq!(keeper.identify(None, &HeaderMap::new()).await, Err(AuthError::Missing));
        assert_eq!(keeper.identify(None, &basic("ana:2468")).await.unwrap().name().as_str(), "ana");
        assert_eq!(keeper.identify(None, &with("bearer long-token")).await.unwrap().name().as_str(), "wms");
        for wrong in [basic("ana:1111"), basic("bob:2468"), with("Bearer x"), with("Basic !"), with("ana")] {
            assert_eq!(keeper.identify(None, &wrong).await, Err(AuthError::Wrong));
        }
    }

    #[tokio::test]
    async fn after_five_wrong_pins_even_the_right_one_has_to_wait() {
        let keeper = keeper();
        for _ in 0..TRIES {
            assert_eq!(keeper.identify(None, &basic("ana:0000")).await, Err(AuthError::Wrong));
        }
        assert!(matches!(keeper.identify(None, &basic("ana:2468")).await, Err(AuthError::Wait(1..=61))));
    }

    #[tokio::test]
    async fn invented_names_use_up_their_own_network_and_keep_nobody_out_who_is_elsewhere_or_known() {
        let keeper = keeper();
        let at = |address: &str| Some(address.parse::<IpAddr>().unwrap());
        let (there, elsewhere) = (at("192.0.2.7"), at("192.0.2.8"));
        assert!(keeper.identify(there, &basic("ana:2468")).await.is_ok());
        keeper.use_up(there.unwrap());
        for name in ["eve", "mallory", "trent"] {
            let answer = keeper.identify(there, &basic(&format!("{name}:0000"))).await;
            assert!(matches!(answer, Err(AuthError::Network(1..))), "{answer:?}");
        }
        assert!(keeper.wrong().is_empty(), "none was checked, so none counts against a name");
        assert!(keeper.identify(there, &basic("ana:2468")).await.is_ok(), "a PIN that is known needs no check");
        assert!(keeper.identify(there, &with("Bearer long-token")).await.is_ok());
        assert_eq!(keeper.identify(elsewhere, &basic("eve:0000")).await, Err(AuthError::Wrong));
    }

    #[tokio::test]
    async fn a_sign_in_counts_against_its_network_if_it_fails_also_where_nobody_waits_for_the_answer() {
        let keeper = keeper();
        let there: IpAddr = "192.0.2.7".parse().unwrap();
        let left = || keeper.shared.tries.whole_at(there);
        for _ in 0..3 {
            keeper.shared.known.lock().unwrap().clear();
            assert!(keeper.identify(Some(there), &basic("ana:2468")).await.is_ok());
        }
        assert_eq!(left(), None, "whoever knows their PIN uses up nothing");
        assert!(keeper.identify(Some(there), &basic("eve:0000")).now_or_never().is_none(), "it takes a while");
        for _ in 0..1_000 {
            if left().is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("a check cost nothing, since whoever asked for it had gone");
    }
}
