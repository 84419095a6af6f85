//! Why an exchange with the hub failed, for people, and when it is tried again.

use gatehouse_common::{seal::SealError, sync::FrameError};

/// While the hub lists this device for something else than it is, its certificate is looked at again after so long, in
/// milliseconds.
const LISTED_LOOK_MS: u64 = 10_000;

/// Why an exchange failed. Every one of them is tried again later.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The hub cannot be reached, or the answer broke off.
    #[error("hub cannot be reached: {}", chain(.0))]
    Http(#[source] reqwest::Error),
    /// The line stands, and nothing comes.
    #[error("hub cannot be reached: nothing came in time")]
    Silent,
    /// The hub does not let this device speak, and says what to do.
    #[error("hub refuses this device: {0}")]
    Refused(String),
    /// The hub lists this device for something else than it is. What it says would be refused for good, so it says nothing.
    #[error("{0}")]
    NotListed(String),
    /// The hub speaks with this device again once its certificate is renewed.
    #[error("hub wants the certificate renewed first: {0}")]
    RenewFirst(String),
    /// This device has asked too much; the hub says when to come back.
    #[error("hub asks to wait {} s: {text}", .wait_ms / 1_000)]
    Busy {
        /// How long, in milliseconds.
        wait_ms: u64,
        /// What it says.
        text: String,
    },
    /// The hub answered with an error.
    #[error("hub answered {status}: {text}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// What it says.
        text: String,
    },
    /// The answer is not signed by the hub that the configuration names.
    #[error("the answer is not from the hub that hub.public_key names: {0}; check hub.url and hub.public_key")]
    NotTheHub(String),
    /// The frame cannot be read or written.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl From<reqwest::Error> for ExchangeError {
    fn from(error: reqwest::Error) -> Self {
        // Pull and push fail alike when the line is cut: without the path they are told once, not in turns.
        Self::Http(error.without_url())
    }
}

impl From<SealError> for ExchangeError {
    fn from(error: SealError) -> Self {
        Self::NotTheHub(error.to_string())
    }
}

/// An error and all its causes: reqwest's own text leaves out why.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

impl ExchangeError {
    /// Whether it is the line that failed, and not what is at its end.
    #[must_use]
    pub fn is_of_the_line(&self) -> bool {
        matches!(self, Self::Http(_) | Self::Silent)
    }

    /// Whether the hub may well answer the same in a while: it had too much to do, or could not write just then.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Status { status: 503, .. })
    }

    /// The least wait before the next try, in milliseconds.
    #[must_use]
    pub fn wait_ms(&self) -> u64 {
        match self {
            Self::Busy { wait_ms, .. } => *wait_ms,
            Self::NotListed(_) => LISTED_LOOK_MS,
            _ => 0,
        }
    }
}
