//! What all connectors over HTTP share: the client, and what a failure on the wire means.

use std::time::Duration;

use reqwest::header;

use super::ErpError;

/// An HTTP client that follows nothing and asks no proxy.
pub(super) fn client(timeout: Duration) -> Result<reqwest::Client, ErpError> {
    // The client wants to know its cryptography even for plain HTTP; a second installation is refused and harmless.
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(timeout)
        .build()
        .map_err(|e| ErpError::Contract { detail: format!("no HTTP client: {e}") })
}

/// What went wrong, with its causes: the outermost words alone say nothing.
pub(super) fn in_full(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The class of a read that failed on the wire.
pub(super) fn transient(error: &reqwest::Error) -> ErpError {
    ErpError::Transient { detail: in_full(error), retry_after: None }
}

/// The class of a write that failed on the wire: only when no connection came about was nothing sent.
pub(super) fn failed_write(error: &reqwest::Error) -> ErpError {
    if error.is_connect() || error.is_builder() {
        transient(error)
    } else {
        ErpError::Ambiguous { detail: in_full(error) }
    }
}

/// How long the ERP asks to wait.
pub(super) fn retry_after(response: &reqwest::Response) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The first words of an answer, for people.
pub(super) fn head(text: &str) -> String {
    text.chars().take(300).collect()
}

/// An id as one segment of a path.
pub(super) fn in_path(id: &str) -> String {
    let mut path = String::new();
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}
