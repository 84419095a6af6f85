//! Who asks, and what they may do.
//!
//! In: the `Authorization` header. Out: a [`Principal`], or a refusal that says how to sign in.
//! People sign in with name and PIN (HTTP basic), programs with a token (bearer). [`roles`] says
//! what each may do. Nothing here remembers a session; a PIN that was right is known for a while,
//! since checking one is made to be slow.

pub mod pins;
pub mod roles;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, header};
use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse_common::id::{ActorName, Hash32, SiteId};

pub use roles::Role;

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
    checks: tokio::sync::Semaphore,
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
                checks: tokio::sync::Semaphore::new(CHECKS_AT_ONCE),
            }),
        }
    }

    /// Who sent these headers.
    /// # Errors
    /// [`AuthError`] says what to do.
    pub async fn identify(&self, headers: &HeaderMap) -> Result<Principal, AuthError> {
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
        self.person(name, pin).await
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

    async fn person(&self, name: &str, pin: &str) -> Result<Principal, AuthError> {
        let key = Hash32::of(&[&self.shared.salt[..], name.as_bytes(), b"\n", pin.as_bytes()].concat());
        if let Some(index) = self.known(&key) {
            return Ok(self.operator(index));
        }
        self.may_try(name)?;
        // Waits in turn; the semaphore is never closed.
        let permit = self.shared.checks.acquire().await;
        // Whoever waited here may have used up the tries of this name meanwhile.
        self.may_try(name)?;
        let index = self.shared.operators.iter().position(|o| o.name.as_str() == name);
        let hash = index.map(|i| self.shared.operators[i].pin_argon2.clone());
        let pin = pin.to_owned();
        // A name that nobody has takes as long as a wrong PIN, so that names cannot be told apart by time.
        let right = tokio::task::spawn_blocking(move || pins::is_right(&pin, hash.as_deref())).await.unwrap_or(false);
        drop(permit);
        match index {
            Some(index) if right => {
                self.wrong().remove(name);
                let mut known = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
                known.retain(|_, (_, since)| since.elapsed() < KNOWN_FOR);
                known.insert(key, (index, Instant::now()));
                Ok(self.operator(index))
            }
            _ => {
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

    fn may_try(&self, name: &str) -> Result<(), AuthError> {
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
}

#[cfg(test)]
mod tests {
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
        assert_eq!(keeper.identify(&HeaderMap::new()).await, Err(AuthError::Missing));
        assert_eq!(keeper.identify(&basic("ana:2468")).await.unwrap().name().as_str(), "ana");
        assert_eq!(keeper.identify(&with("bearer long-token")).await.unwrap().name().as_str(), "wms");
        for wrong in [basic("ana:1111"), basic("bob:2468"), with("Bearer x"), with("Basic !"), with("ana")] {
            assert_eq!(keeper.identify(&wrong).await, Err(AuthError::Wrong));
        }
    }

    #[tokio::test]
    async fn after_five_wrong_pins_even_the_right_one_has_to_wait() {
        let keeper = keeper();
        for _ in 0..TRIES {
            assert_eq!(keeper.identify(&basic("ana:0000")).await, Err(AuthError::Wrong));
        }
        assert!(matches!(keeper.identify(&basic("ana:2468")).await, Err(AuthError::Wait(1..=61))));
    }
}
