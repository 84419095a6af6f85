//! What happened in a run, line by line: a digest to compare runs by, and the lines themselves for reading.

use gatehouse_common::{id::Hash32, time::UtcMs};
use sha2::{Digest, Sha256};

/// Takes every line in.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    digest: Sha256,
    prints: bool,
}

impl Trace {
    /// A trace that also prints each line, if `prints`.
    #[must_use]
    pub fn new(prints: bool) -> Self {
        Self { digest: Sha256::new(), prints }
    }

    /// Something happened.
    pub fn line(&mut self, now: UtcMs, what: &str) {
        self.digest.update(now.0.to_be_bytes());
        self.digest.update(what.as_bytes());
        if self.prints {
            let text = jiff::Timestamp::from_millisecond(now.0).map(|t| t.strftime("%H:%M:%S%.3f").to_string());
            eprintln!("{} {what}", text.unwrap_or_default());
        }
    }

    /// The digest of all lines so far.
    #[must_use]
    pub fn digest(&self) -> Hash32 {
        Hash32(self.digest.clone().finalize().into())
    }
}
