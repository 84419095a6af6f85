//! Name and PIN of whoever writes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version,
    password_hash::{Salt, SaltString},
};
use axum::http::{HeaderMap, header};
use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse_common::id::ActorName;
use tokio::sync::{Mutex, Semaphore};
use tracing::warn;

use super::problem::Problem;
use crate::config::Operator;

/// Longest wait after a wrong PIN, in real time; each one in a row adds a second.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Shortest PIN that is hashed, in characters.
const PIN_MIN_CHARS: usize = 4;

/// Memory and passes of a PIN's hash. Of the settings that OWASP holds to be equally strong, the one that takes the
/// least memory of a small device.
const MEMORY_KIB: u32 = 7 * 1024;
const PASSES: u32 = 5;

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
    let argon2 = Params::new(MEMORY_KIB, PASSES, 1, None).map(|p| Argon2::new(Algorithm::Argon2id, Version::V0x13, p));
    let hash = argon2.map_err(|e| e.to_string()).and_then(|argon2| {
        argon2.hash_password(pin.as_bytes(), &salt).map(|hash| hash.to_string()).map_err(|e| e.to_string())
    });
    hash.map_err(PinError::Hash)
}

/// Recognises people, one at a time, and makes guessing slow, also for many who guess at once.
pub struct Doorman {
    operators: BTreeMap<String, Operator>,
    /// Argon2 takes its time and memory on purpose: one check at a time.
    one_at_a_time: Arc<Semaphore>,
    /// Wrong PINs in a row by name; whoever tries one holds its count until the wait is over, so that guesses
    /// side by side are no faster than one after the other. Names that do not exist share the one of "".
    wrong_in_a_row: BTreeMap<String, Mutex<u32>>,
}

impl Doorman {
    /// Knows these people.
    pub fn new(operators: Vec<Operator>) -> Self {
        let operators: BTreeMap<_, _> = operators.into_iter().map(|o| (o.name.to_string(), o)).collect();
        let names = operators.keys().cloned().chain([String::new()]);
        let wrong_in_a_row = names.map(|name| (name, Mutex::default())).collect();
        Self { operators, one_at_a_time: Arc::new(Semaphore::new(1)), wrong_in_a_row }
    }

    /// Who sent a request with these headers.
    /// # Errors
    /// 401 when nobody is named, the name is unknown or the PIN is wrong; which of them is not told.
    pub async fn recognise(&self, headers: &HeaderMap) -> Result<Person, Problem> {
        let (name, pin) =
            name_and_pin(headers).ok_or_else(|| Problem::unauthorized("name and PIN are needed for this"))?;
        let operator = self.operators.get(&name).cloned();
        let gone = || Problem::unavailable("the agent is stopping");
        let counted = if operator.is_some() { name.as_str() } else { "" };
        let mut wrong_in_a_row = self.wrong_in_a_row.get(counted).ok_or_else(gone)?.lock().await;
        let permit = self.one_at_a_time.clone().acquire_owned().await.map_err(|_| gone())?;
        // A name that does not exist takes as long as a wrong PIN: it is checked against anybody's.
        let checked = operator.as_ref().or_else(|| self.operators.values().next());
        let hash = checked.map(|o| o.pin_argon2.clone()).unwrap_or_default();
        let matches = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            PasswordHash::new(&hash).is_ok_and(|hash| Argon2::default().verify_password(pin.as_bytes(), &hash).is_ok())
        })
        .await
        .unwrap_or(false);
        match operator {
            Some(operator) if matches => {
                *wrong_in_a_row = 0;
                Ok(Person { name: operator.name, role: operator.role })
            }
            _ => {
                *wrong_in_a_row = wrong_in_a_row.saturating_add(1);
                warn!(operator = counted, count = *wrong_in_a_row, "wrong name or PIN at the page");
                tokio::time::sleep(WAIT_MAX.min(Duration::from_secs(u64::from(*wrong_in_a_row)))).await;
                Err(Problem::unauthorized("name or PIN is wrong"))
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn doorman() -> Doorman {
        let operator = |name: &str, pin| Operator {
            name: ActorName::new(name).unwrap(),
            role: "supervisor".to_owned(),
            pin_argon2: hash_pin(pin).unwrap(),
        };
        Doorman::new(vec![operator("ana", "2468"), operator("ben", "1357")])
    }

    fn says(name_and_pin: &str) -> HeaderMap {
        let value = format!("Basic {}", STANDARD.encode(name_and_pin)).parse().unwrap();
        HeaderMap::from_iter([(header::AUTHORIZATION, value)])
    }

    #[tokio::test]
    async fn guesses_side_by_side_are_as_slow_as_one_after_the_other_and_keep_nobody_else_out() {
        for guessed in ["ana", "zoe"] {
            let doorman = Arc::new(doorman());
            let guesses: Vec<_> = (0..20)
                .map(|pin| {
                    let doorman = doorman.clone();
                    tokio::spawn(async move { doorman.recognise(&says(&format!("{guessed}:{pin:04}"))).await.is_ok() })
                })
                .collect();
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            let answered = guesses.iter().filter(|guess| guess.is_finished()).count();
            assert!(answered <= 1, "{answered} guesses at {guessed} were answered in a second and a half");
            let ben = tokio::time::timeout(Duration::from_secs(1), doorman.recognise(&says("ben:1357"))).await;
            assert_eq!(ben.unwrap().unwrap().name.as_str(), "ben");
            guesses.iter().for_each(tokio::task::JoinHandle::abort);
        }
    }
}
