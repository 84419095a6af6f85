//! PINs: hashed with argon2id, never kept.

use argon2::{
    Argon2, PasswordHash, PasswordHasher, PasswordVerifier,
    password_hash::{Salt, SaltString},
};

/// Fewest characters of a PIN.
pub const PIN_MIN_CHARS: usize = 4;

/// Why a PIN cannot be hashed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// It is too short. Choose a longer one.
    #[error("a PIN has {PIN_MIN_CHARS} characters or more")]
    TooShort,
    /// The hash could not be made.
    #[error("PIN cannot be hashed: {0}")]
    Hash(String),
}

/// The text for `pin_argon2` in the configuration.
/// # Errors
/// [`PinError`].
pub fn hash(pin: &str) -> Result<String, PinError> {
    if pin.chars().count() < PIN_MIN_CHARS {
        return Err(PinError::TooShort);
    }
    let random: [u8; Salt::RECOMMENDED_LENGTH] = rand::random();
    let salt = SaltString::encode_b64(&random).map_err(|e| PinError::Hash(e.to_string()))?;
    let hash = Argon2::default().hash_password(pin.as_bytes(), &salt).map_err(|e| PinError::Hash(e.to_string()))?;
    Ok(hash.to_string())
}

/// Whether `text` is an argon2 hash.
#[must_use]
pub fn is_hash(text: &str) -> bool {
    PasswordHash::new(text).is_ok_and(|hash| hash.algorithm.as_str().starts_with("argon2"))
}

/// Whether `pin` belongs to `hash`; takes as long where there is no hash.
#[must_use]
pub fn is_right(pin: &str, hash: Option<&str>) -> bool {
    match hash.and_then(|hash| PasswordHash::new(hash).ok()) {
        Some(hash) => Argon2::default().verify_password(pin.as_bytes(), &hash).is_ok(),
        None => {
            // Only the time it takes matters.
            let _ = self::hash("none such");
            false
        }
    }
}
