//! Name and PIN of whoever writes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use argon2::{
    Argon2, PasswordHash, PasswordHasher, PasswordVerifier,
    password_hash::{Salt, SaltString},
};
use axum::http::{HeaderMap, header};
use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse_common::id::ActorName;
use tokio::sync::Semaphore;
use tracing::warn;

use super::problem::Problem;
use crate::config::Operator;

/// Longest wait after a wrong PIN, in real time; each one in a row adds a second.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Shortest PIN that is hashed, in characters.
const PIN_MIN_CHARS: usize = 4;

/// Who was recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Their login.
    pub name: ActorName,
    /// The role they act in.
    pub role: String,
}

/// Why a PIN was not hashed.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// Too easy to guess.
    #[error("the PIN has {0} characters; give at least {PIN_MIN_CHARS}")]
    Short(usize),
    /// The hash could not be made.
    #[error("the PIN cannot be hashed: {0}")]
    Hash(String),
}

/// The argon2 hash of `pin`, for `pin_argon2` in the configuration.
/// # Errors
/// [`PinError`].
pub fn hash_pin(pin: &str) -> Result<String, PinError> {
    let chars = pin.chars().count();
    if chars < PIN_MIN_CHARS {
        return Err(PinError::Short(chars));
    }
    let random: [u8; Salt::RECOMMENDED_LENGTH] = rand::random();
    let salt = SaltString::encode_b64(&random).map_err(|e| PinError::Hash(e.to_string()))?;
    let hash = Argon2::default().hash_password(pin.as_bytes(), &salt).map_err(|e| PinError::Hash(e.to_string()))?;
    Ok(hash.to_string())
}

/// Recognises people, one at a time, and makes guessing slow.
pub struct Doorman {
    operators: BTreeMap<String, Operator>,
    /// Argon2 takes its time and memory on purpose: one check at a time.
    one_at_a_time: Arc<Semaphore>,
    wrong_in_a_row: Mutex<BTreeMap<String, u32>>,
}

impl Doorman {
    /// Knows these people.
    pub fn new(operators: Vec<Operator>) -> Self {
        let operators = operators.into_iter().map(|o| (o.name.to_string(), o)).collect();
        Self { operators, one_at_a_time: Arc::new(Semaphore::new(1)), wrong_in_a_row: Mutex::default() }
    }

    fn wrong(&self) -> MutexGuard<'_, BTreeMap<String, u32>> {
        self.wrong_in_a_row.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who sent a request with these headers.
    /// # Errors
    /// 401 when nobody is named, the name is unknown or the PIN is wrong; which of them is not told.
    pub async fn recognise(&self, headers: &HeaderMap) -> Result<Person, Problem> {
        let (name, pin) =
            name_and_pin(headers).ok_or_else(|| Problem::unauthorized("name and PIN are needed for this"))?;
        let operator = self.operators.get(&name).cloned();
        let gone = || Problem::unavailable("the agent is stopping");
        let permit = self.one_at_a_time.clone().acquire_owned().await.map_err(|_| gone())?;
        // Without a name that exists there is no hash to check; the wait below hides the difference.
        let hash = operator.as_ref().map(|o| o.pin_argon2.clone()).unwrap_or_default();
        let matches = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            PasswordHash::new(&hash).is_ok_and(|hash| Argon2::default().verify_password(pin.as_bytes(), &hash).is_ok())
        })
        .await
        .unwrap_or(false);
        match operator {
            Some(operator) if matches => {
                self.wrong().remove(&name);
                Ok(Person { name: operator.name, role: operator.role })
            }
            _ => {
                self.after_wrong(&name).await;
                Err(Problem::unauthorized("name or PIN is wrong"))
            }
        }
    }

    async fn after_wrong(&self, name: &str) {
        // Names that do not exist share one count, so that made-up names cannot fill the table.
        let counted = if self.operators.contains_key(name) { name } else { "" };
        let count = {
            let mut wrong = self.wrong();
            let count = wrong.entry(counted.to_owned()).or_default();
            *count = count.saturating_add(1);
            *count
        };
        warn!(operator = counted, count, "wrong name or PIN at the page");
        tokio::time::sleep(WAIT_MAX.min(Duration::from_secs(u64::from(count)))).await;
    }
}

/// What HTTP basic authentication says.
fn name_and_pin(headers: &HeaderMap) -> Option<(String, String)> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, packed) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let plain = String::from_utf8(STANDARD.decode(packed.trim()).ok()?).ok()?;
    let (name, pin) = plain.split_once(':')?;
    Some((name.to_owned(), pin.to_owned()))
}
