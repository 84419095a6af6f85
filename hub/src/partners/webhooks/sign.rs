//! Signatures of Standard Webhooks: over `id.timestamp.body`, with a shared secret or an ed25519 key.

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer, SigningKey};
use sha2::{Digest, Sha256};

/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;
/// Fewest and most bytes of a shared secret.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Why a text is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It begins with neither of the two marks.
    #[error("begins with neither whsec_ (a shared secret) nor whsk_ (an ed25519 key)")]
    Mark,
    /// What follows is not base64.
    #[error("is not base64 after its mark")]
    Base64,
    /// It is too short or too long.
    #[error("has {0} bytes; a shared secret has 24 to 64, an ed25519 key 32 or 64")]
    Length(usize),
}

/// What a subscription is signed with.
#[derive(Clone)]
pub enum Key {
    /// `whsec_`: both sides know it (`v1`).
    Shared(Vec<u8>),
    /// `whsk_`: only the hub knows it (`v1a`).
    Own(Box<SigningKey>),
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    /// Reads a key as it stands in its file.
    /// # Errors
    /// [`KeyError`] says what it should be.
    pub fn read(text: &str) -> Result<Self, KeyError> {
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| KeyError::Base64);
        if let Some(secret) = text.strip_prefix("whsec_") {
            let secret = decode(secret)?;
            if !SECRET_BYTES.contains(&secret.len()) {
                return Err(KeyError::Length(secret.len()));
            }
            return Ok(Self::Shared(secret));
        }
        let key = decode(text.strip_prefix("whsk_").ok_or(KeyError::Mark)?)?;
        // Some programs write the seed alone, others the public key behind it.
        let seed = key.get(..32).filter(|_| matches!(key.len(), 32 | 64)).and_then(|seed| seed.try_into().ok());
        let seed: [u8; 32] = seed.ok_or(KeyError::Length(key.len()))?;
        Ok(Self::Own(Box::new(SigningKey::from_bytes(&seed))))
    }

    /// What a receiver verifies with, `whpk_…`; none for a shared secret, which nobody is shown.
    #[must_use]
    pub fn public(&self) -> Option<String> {
        match self {
            Self::Shared(_) => None,
            Self::Own(key) => Some(format!("whpk_{}", STANDARD.encode(key.verifying_key().as_bytes()))),
        }
    }

    /// The value of `webhook-signature`; `timestamp` is in seconds since 1970.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let signed = [id.as_bytes(), b".", timestamp.to_string().as_bytes(), b".", body].concat();
        match self {
            Self::Shared(secret) => format!("v1,{}", STANDARD.encode(hmac(secret, &signed))),
            Self::Own(key) => format!("v1a,{}", STANDARD.encode(key.sign(&signed).to_bytes())),
        }
    }
}

/// HMAC with SHA-256 (RFC 2104).
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; BLOCK];
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let with = |mask: u8| block.map(|byte| byte ^ mask);
    let inner = Sha256::new().chain_update(with(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(with(0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_example_is_signed_as_published() {
        let key = Key::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = key.sign("msg_p5jXN8AQM9LwM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,5tatmeHZX9+MEe0BLpRnAkuTnprszSui32iw1yJCu8s=");
    }

    #[test]
    fn a_key_longer_than_a_block_is_hashed_first() {
        // RFC 4231, test case 6.
        let said = b"Test Using Larger Than Block-Size Key - Hash Key First";
        let expected = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
        assert_eq!(hex::encode(hmac(&[0xaa; 131], said)), expected);
    }

    #[test]
    fn an_own_key_is_verified_with_its_public_half() {
        let key = Key::read(&format!("whsk_{}", STANDARD.encode([7; 32]))).unwrap();
        let signed = key.sign("m", 5, b"{}");
        let signature = STANDARD.decode(signed.strip_prefix("v1a,").unwrap()).unwrap();
        let public = STANDARD.decode(key.public().unwrap().strip_prefix("whpk_").unwrap()).unwrap();
        let public = ed25519_dalek::VerifyingKey::from_bytes(&public.try_into().unwrap()).unwrap();
        let signature = ed25519_dalek::Signature::from_slice(&signature).unwrap();
        assert!(public.verify_strict(b"m.5.{}", &signature).is_ok());
        assert!(public.verify_strict(b"m.6.{}", &signature).is_err(), "another time is another message");
    }

    #[test]
    fn what_is_no_key_is_told_and_a_key_is_never_shown() {
        assert_eq!(Key::read("secret").unwrap_err(), KeyError::Mark);
        assert_eq!(Key::read("whsec_???").unwrap_err(), KeyError::Base64);
        assert_eq!(Key::read("whsec_AAAA").unwrap_err(), KeyError::Length(3));
        let key = Key::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(format!("{key:?}"), "Key(..)");
        assert_eq!(key.public(), None);
    }
}
