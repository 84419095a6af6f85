//! Which programs are measured, and what time it is.

use std::{path::PathBuf, process::Command};

use gatehouse_common::time::{BootId, Moment, UtcMs};

/// Agent and hub as they are shipped, or as they are in this program.
#[derive(Debug, Clone)]
pub struct Programs {
    /// Where the agent is; `None`: in here.
    pub agent: Option<PathBuf>,
    /// Where the hub is; `None`: in here.
    pub hub: Option<PathBuf>,
    /// This program.
    pub own: PathBuf,
}

impl Programs {
    /// A command for the agent.
    pub fn agent(&self) -> Command {
        self.one(self.agent.as_ref(), "as-agent")
    }

    /// A command for the hub.
    pub fn hub(&self) -> Command {
        self.one(self.hub.as_ref(), "as-hub")
    }

    fn one(&self, shipped: Option<&PathBuf>, name: &str) -> Command {
        shipped.map_or_else(
            || {
                let mut command = Command::new(&self.own);
                command.arg(name);
                command
            },
            Command::new,
        )
    }
}

/// What the wall clock shows.
pub fn now() -> UtcMs {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    UtcMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The same as a moment of a machine that runs since the epoch.
pub fn moment() -> Moment {
    let wall = now();
    Moment { wall, uncertainty_ms: 0, boot: BootId("bench".into()), boottime_ms: wall.0.unsigned_abs(), trusted: true }
}
