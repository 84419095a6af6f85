//! How many files and connections the process may have open at one time.
//!
//! Usually 1,024 at first, though it may have many more if it asks: a hub of more than some hundred devices must.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

/// With fewer than this, a fleet of a thousand devices is not served.
const FEW: usize = 4_096;

/// Asks for as many as the process may have; gives how many that are.
pub fn raise() -> usize {
    let most = getrlimit(Resource::Nofile).maximum;
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }) {
        warn!(%error, "the number of descriptors cannot be raised: {error}");
    }
    // No number stands for no limit.
    let descriptors = getrlimit(Resource::Nofile).current;
    let descriptors = descriptors.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    info!(descriptors, "up to {descriptors} files and connections may be open at one time");
    if descriptors < FEW {
        warn!(
            descriptors,
            "only {descriptors} files and connections may be open at one time, too few for many devices: allow more, by \
             `LimitNOFILE=65536` in the unit of systemd or `ulimit -Hn 65536` before the start"
        );
    }
    descriptors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_may_be_open_as_the_process_may_have() {
        let descriptors = raise();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(limit.current.map_or(usize::MAX, |most| usize::try_from(most).unwrap()), descriptors);
        assert_eq!(raise(), descriptors, "once more changes nothing");
    }
}
