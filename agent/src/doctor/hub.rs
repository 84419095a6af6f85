//! Whether the hub can be reached, is the right one, knows this device, and shows about the same time.

use gatehouse_common::{
    sync::{DeviceSession, PullReply, exchange::PULL_PATH},
    time::UtcMs,
};

use super::Finding;
use crate::{
    clock::Clock,
    config::{Config, HubConfig, Identity, key},
    store::Reader,
    sync::{ExchangeError, Line, Own, Parties},
};

/// A difference between the clocks that is worth a word, in milliseconds.
const DIFFERENCE_MS: i64 = 5_000;

/// Asks the hub one signed question whose answer changes nothing.
pub async fn examine(config: &Config, clock: &Clock) -> Vec<Finding> {
    let Some(hub) = &config.hub else {
        if let Some(path) = &config.identity_file {
            let what = format!("not enrolled yet: there is no {}", path.display());
            return vec![
                Finding::note("hub", what).remedy("run `gatehouse-agent enrol` with an invitation of the hub"),
            ];
        }
        return vec![Finding::note("hub", "no [hub] is configured: this agent stands alone, and has no lease")];
    };
    match ask(config, hub, clock).await {
        Ok(mut findings) => {
            let known = format!("{} knows this device, and its answers are signed as they should be", hub.url);
            findings.insert(0, Finding::fine("hub", known));
            findings.extend(hub.identity.as_ref().map(|identity| certificate(identity, clock.wall())));
            findings
        }
        Err(Asking::Store(what)) => vec![
            Finding::unknown("hub", format!("it was not asked: {what}"))
                .remedy("start the agent once, so that key and store are there, then ask again"),
        ],
        Err(Asking::Exchange(error)) if error.is_of_the_line() => hub
            .identity
            .as_ref()
            .map(|identity| certificate(identity, clock.wall()))
            .into_iter()
            .chain([Finding::note("hub", format!("{}: {error}", hub.url)).remedy(
                "nothing is lost: what happens is kept and told when it is back; see docs/runbook.md#hub-gone",
            )])
            .collect(),
        Err(Asking::Exchange(error)) => vec![Finding::loses(
            "hub",
            format!("{}: {error}", hub.url),
            "nothing here; but nothing is told and no lease comes until it is set right",
        )],
    }
}

enum Asking {
    Store(String),
    Exchange(ExchangeError),
}

async fn ask(config: &Config, hub: &HubConfig, clock: &Clock) -> Result<Vec<Finding>, Asking> {
    let store = |error: &dyn std::fmt::Display| Asking::Store(error.to_string());
    if !config.device.key_file.exists() {
        return Err(Asking::Store(format!("there is no key at {} yet", config.device.key_file.display())));
    }
    let key = key::load_or_make(&config.device.key_file).map_err(|error| store(&error))?;
    let cursor = Reader::open(&config.store_path).and_then(|reader| reader.cursor()).map_err(|error| store(&error))?;
    let parties = Parties {
        url: hub.url.clone(),
        hub: hub.public_key,
        own: Own::from(&config.device),
        key,
        identity: hub.identity.clone(),
    };
    let line = Line::new(parties, clock.clone()).map_err(|error| store(&error))?;
    let Some(pull) = DeviceSession::resume(cursor, 1).next_pull(0) else {
        return Err(Asking::Store("no question could be made".to_owned()));
    };
    line.exchange::<_, PullReply>(PULL_PATH, &pull, 0).await.map_err(Asking::Exchange)?;
    Ok(vec![match line.hub_time().await {
        None => Finding::unknown("clock", "the hub does not tell its time"),
        Some(time) => difference(time, clock.wall()),
    }])
}

/// How long the certificate lasts, and what then.
fn certificate(identity: &Identity, now: UtcMs) -> Finding {
    let (until, renewable_until) = (identity.said.until, identity.renewable_until());
    if now > renewable_until {
        return Finding::loses(
            "certificate",
            format!("it expired at {until} and could be renewed until {renewable_until}"),
            "nothing here; but nothing is told and no lease comes until this device is enrolled again",
        )
        .remedy(
            "ask for an invitation under the same name: `gatehouse-hub device invite`, then `gatehouse-agent enrol`",
        );
    }
    if now > until {
        let what = format!("it expired at {until}; the agent renews it by itself until {renewable_until}");
        return Finding::note("certificate", what).remedy("let it reach the hub before then");
    }
    Finding::fine("certificate", format!("it is good until {until} and renewed by itself before"))
}

fn difference(hub: UtcMs, ours: UtcMs) -> Finding {
    let ms = ours.since(hub);
    let what = format!(
        "the clock is {:.1} s {} the hub's",
        ms.abs() as f64 / 1000.0,
        if ms < 0 { "behind" } else { "ahead of" }
    );
    if ms.abs() <= DIFFERENCE_MS {
        return Finding::fine("clock", what);
    }
    Finding::note("clock", what)
        .remedy("set the clock, see docs/runbook.md#clock-wrong; the hub does not confirm it as it is")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    #[test]
    fn a_clock_that_the_hub_would_not_confirm_is_told_with_its_direction() {
        let found = difference(UtcMs(100_000), UtcMs(40_000));
        assert_eq!((found.severity, found.what.as_str()), (Severity::Note, "the clock is 60.0 s behind the hub's"));
        assert_eq!(difference(UtcMs(100_000), UtcMs(101_000)).severity, Severity::Fine);
    }
}
