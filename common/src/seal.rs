//! Keys and signatures: who may speak, and proof that they did.
//!
//! Ed25519 (RFC 8032) over the exact bytes that travel. A signed value keeps those bytes, so that
//! verifying never depends on writing the value the same way twice.

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, de::DeserializeOwned};

use crate::id::Hash32;

/// Why a signature was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The text is not a key: 32 bytes in base64 are expected.
    #[error("not an ed25519 public key in base64 (32 bytes)")]
    NotAKey,
    /// The signature does not belong to these bytes and this key.
    #[error("signature does not match")]
    Mismatch,
    /// The signature is right but the bytes are not the value expected.
    #[error("signed bytes cannot be read: {0}")]
    Unreadable(String),
}

/// A public key, written as base64 of its 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads base64 of 32 bytes.
    /// # Errors
    /// [`SealError::NotAKey`].
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| SealError::NotAKey)?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| SealError::NotAKey)?;
        VerifyingKey::from_bytes(&bytes).map(Self).map_err(|_| SealError::NotAKey)
    }

    /// Checks `signature` (64 bytes) over `bytes`.
    /// # Errors
    /// [`SealError::Mismatch`].
    pub fn verify(&self, bytes: &[u8], signature: &[u8]) -> Result<(), SealError> {
        let signature = Signature::from_slice(signature).map_err(|_| SealError::Mismatch)?;
        self.0.verify_strict(bytes, &signature).map_err(|_| SealError::Mismatch)
    }
}

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&STANDARD.encode(self.0.as_bytes()))
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// A private key. It has no way to be printed.
#[derive(Clone)]
pub struct PrivateKey(SigningKey);

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

impl PrivateKey {
    /// The key of 32 random bytes that the caller drew.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&seed))
    }

    /// The 32 bytes to keep in a file that only the owner may read.
    #[must_use]
    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs `bytes`; 64 bytes.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.0.sign(bytes).to_bytes().to_vec()
    }
}

/// A value as JSON text with the signature over exactly that text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The JSON text that was signed.
    pub body: String,
    /// Base64 of the 64-byte signature.
    pub signature: String,
}

impl Sealed {
    /// Writes `value` as JSON and signs it.
    /// # Errors
    /// [`SealError::Unreadable`] if the value cannot be written as JSON (a map with keys that are not text).
    pub fn new<T: Serialize>(value: &T, key: &PrivateKey) -> Result<Self, SealError> {
        let body = serde_json::to_string(value).map_err(|e| SealError::Unreadable(e.to_string()))?;
        let signature = STANDARD.encode(key.sign(body.as_bytes()));
        Ok(Self { body, signature })
    }

    /// Checks the signature, then reads the value.
    /// # Errors
    /// [`SealError::Mismatch`] or [`SealError::Unreadable`].
    pub fn open<T: DeserializeOwned>(&self, key: &PublicKey) -> Result<T, SealError> {
        let signature = STANDARD.decode(&self.signature).map_err(|_| SealError::Mismatch)?;
        key.verify(self.body.as_bytes(), &signature)?;
        self.peek()
    }

    /// Reads the value without checking the signature: for values of the own store, checked when they came in.
    /// # Errors
    /// [`SealError::Unreadable`].
    pub fn peek<T: DeserializeOwned>(&self) -> Result<T, SealError> {
        serde_json::from_str(&self.body).map_err(|e| SealError::Unreadable(e.to_string()))
    }

    /// SHA-256 of the signed text.
    #[must_use]
    pub fn hash(&self) -> Hash32 {
        Hash32::of(self.body.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_changed_byte_breaks_the_seal() {
        let key = PrivateKey::from_seed([7; 32]);
        let sealed = Sealed::new(&"ten pallets", &key).unwrap();
        assert_eq!(sealed.open::<String>(&key.public()).unwrap(), "ten pallets");
        let forged = Sealed { body: sealed.body.replace("ten", "two"), ..sealed.clone() };
        assert_eq!(forged.open::<String>(&key.public()), Err(SealError::Mismatch));
        let other = PrivateKey::from_seed([8; 32]).public();
        assert_eq!(sealed.open::<String>(&other), Err(SealError::Mismatch));
    }
}
