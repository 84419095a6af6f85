//! Errands about devices: let one in, list, show, revoke, take keys over.
//!
//! They work beside a hub that runs: it sees what they wrote at a device's next exchange, and ends the connections of one
//! that was cut off within seconds. Each leaves an entry in the audit.

use anyhow::{Context, bail};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::{Args, Subcommand, ValueEnum};
use gatehouse_common::{
    id::{DeviceId, Hash32, SiteId, VehicleId},
    seal::PublicKey,
    sync::enrolment::Invitation,
    time::UtcMs,
};

use super::{Place, authority, load, open, say};
use crate::{
    clock::Clock,
    store::{AuditEntry, Device, DeviceKind, Invited, Store, Tx},
};

/// Longest that an invitation is good, in hours.
const INVITED_MAX_HOURS: i64 = 30 * 24;

#[derive(Debug, Subcommand)]
pub(super) enum Devices {
    /// Make an invitation, with which a device gets its certificate. It is shown once.
    ///
    /// Give what is printed to whoever sets the device up: `gatehouse-agent enrol --config agent.toml INVITATION`. For a
    /// device that is listed already, such as one whose certificate expired long ago, only its own key can use it.
    Invite {
        #[command(flatten)]
        place: Place,
        /// The device's name, as in its own configuration.
        device: DeviceId,
        #[command(flatten)]
        scopes: Scopes,
        /// How long it is good, such as 24h, 30m or 7d.
        #[arg(long = "for", value_name = "TIME", default_value = "24h", value_parser = span)]
        lasts_ms: i64,
    },
    /// Let devices whose keys are listed already fetch certificates: all of them, or those named.
    ///
    /// Prints one line for `gatehouse-agent enrol`, the same for all of them; it holds no secret, their keys prove them.
    Adopt {
        #[command(flatten)]
        place: Place,
        /// Which devices; all when none is named.
        device: Vec<DeviceId>,
        /// For how long, such as 24h or 7d.
        #[arg(long = "for", value_name = "TIME", default_value = "24h", value_parser = span)]
        lasts_ms: i64,
    },
    /// Print every device with its scopes, when it was last heard, how its certificate is, and its public key.
    List(Database),
    /// Print everything about one device: certificates, what it was refused, its last entries in the audit.
    Show {
        #[command(flatten)]
        database: Database,
        /// The device's name.
        device: DeviceId,
    },
    /// Let a device never speak again, for example a stolen one. Its connections end within seconds; what it said stays.
    Revoke {
        #[command(flatten)]
        database: Database,
        /// The device's name.
        device: DeviceId,
        /// Why, for the audit.
        #[arg(long, default_value = "")]
        why: String,
    },
    /// List a device with its key by hand, or give it another key or other scopes. It takes effect at its next exchange.
    ///
    /// It then signs its exchanges, and gets a certificate only by `adopt`. For new devices `invite` is the shorter way.
    /// Invitations of this name that nobody has used end.
    Add {
        #[command(flatten)]
        database: Database,
        /// The device's name, as in its own configuration.
        #[arg(long)]
        id: DeviceId,
        /// Its public key: what `gatehouse-agent public-key` prints.
        #[arg(long, value_name = "BASE64", value_parser = parse_key)]
        public_key: PublicKey,
        #[command(flatten)]
        scopes: Scopes,
    },
    /// Take a device off the list, forget its key and end its invitations. One that was stolen is revoked instead.
    Remove {
        #[command(flatten)]
        database: Database,
        /// The device's name.
        #[arg(long)]
        id: DeviceId,
    },
}

#[derive(Debug, Args)]
pub(super) struct Database {
    /// Where everything is kept.
    #[arg(long, value_name = "DATABASE")]
    database: String,
}

#[derive(Debug, Args)]
pub(super) struct Scopes {
    /// What it is.
    #[arg(long)]
    kind: Kind,
    /// The depot it belongs to; more than once for several. A gateway's own is the first: it is lent there alone.
    #[arg(long, required = true)]
    site: Vec<SiteId>,
    /// The vehicle it rides on, for vehicle units; more than once for several.
    #[arg(long)]
    vehicle: Vec<VehicleId>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// A gateway at a depot.
    #[value(alias = "warehouse")]
    Gateway,
    /// A unit on a vehicle.
    Vehicle,
}

impl Kind {
    fn of_store(self) -> DeviceKind {
        match self {
            Self::Gateway => DeviceKind::Gateway,
            Self::Vehicle => DeviceKind::Vehicle,
        }
    }
}

fn parse_key(text: &str) -> Result<PublicKey, String> {
    PublicKey::parse(text).map_err(|e| e.to_string())
}

/// `24h`, `30m` or `7d` in milliseconds.
fn span(text: &str) -> Result<i64, String> {
    let minutes = text.split_at_checked(text.len().saturating_sub(1)).and_then(|(number, unit)| {
        let number: i64 = number.parse().ok()?;
        let unit = match unit {
            "m" => 1,
            "h" => 60,
            "d" => 24 * 60,
            _ => return None,
        };
        number.checked_mul(unit)
    });
    match minutes {
        Some(minutes) if (1..=INVITED_MAX_HOURS * 60).contains(&minutes) => Ok(minutes * 60_000),
        _ => Err("give minutes, hours or days, such as 30m, 24h or 7d; 30d is the most".to_owned()),
    }
}

/// Does one of them.
pub(super) fn run(errand: Devices) -> anyhow::Result<()> {
    match errand {
        Devices::Invite { place, device, scopes, lasts_ms } => invite(&place, device, scopes, lasts_ms),
        Devices::Adopt { place, device, lasts_ms } => adopt(&place, device, lasts_ms),
        Devices::List(database) => list(&database.database),
        Devices::Show { database, device } => show(&database.database, &device),
        Devices::Revoke { database, device, why } => revoke(&database.database, &device, why),
        Devices::Add { database, id, public_key, scopes } => {
            let (kind, sites, vehicles) = (scopes.kind.of_store(), scopes.site, scopes.vehicle);
            add(&database.database, Device { device: id, kind, public_key, sites, vehicles })
        }
        Devices::Remove { database, id } => remove(&database.database, &id),
    }
}

fn entry(now: UtcMs, action: &str, device: &DeviceId, detail: String) -> AuditEntry {
    AuditEntry {
        at: now,
        actor: "command line".to_owned(),
        action: action.to_owned(),
        subject: device.to_string(),
        detail,
    }
}

fn now() -> UtcMs {
    Clock::system().wall()
}

fn invite(place: &Place, device: DeviceId, scopes: Scopes, lasts_ms: i64) -> anyhow::Result<()> {
    let (store, begun) = (open(&place.database, true)?, now());
    let secret = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    let line = invitation(place, Some(device.clone()), Some(secret.clone()), begun, lasts_ms)?;
    let (kind, sites, vehicles) = (scopes.kind.of_store(), scopes.site, scopes.vehicle);
    if kind == DeviceKind::Vehicle && vehicles.is_empty() {
        bail!("a vehicle unit needs --vehicle");
    }
    let invited =
        Invited { device: device.clone(), kind, sites, vehicles, made: begun, until: line.until, used_by: None };
    let detail =
        format!("{} for {}, good until {}", kind.as_str(), told(&invited.sites, &invited.vehicles), line.until);
    let entry = entry(begun, "device invited", &device, detail);
    store.write_now(move |tx| {
        if tx.revoked(&device)?.is_some() {
            let why = format!("device {device} was revoked; give the one that takes its place another name");
            return Err(crate::store::StoreError::Refused(why));
        }
        tx.put_invitation(&Hash32::of(secret.as_bytes()), &invited)?;
        tx.audit(&entry)
    })?;
    say(&line.to_string())
}

fn adopt(place: &Place, named: Vec<DeviceId>, lasts_ms: i64) -> anyhow::Result<()> {
    let (store, begun) = (open(&place.database, false)?, now());
    let line = invitation(place, None, None, begun, lasts_ms)?;
    let listed: Vec<DeviceId> = store.read_now(|r| r.devices())?.into_iter().map(|state| state.device.device).collect();
    if let Some(stranger) = named.iter().find(|device| !listed.contains(device)) {
        bail!("there is no device {stranger}; `gatehouse-hub device list` shows all");
    }
    let devices = if named.is_empty() { listed } else { named };
    if devices.is_empty() {
        bail!("no device is listed; make an invitation with `gatehouse-hub device invite`");
    }
    let (count, until) = (devices.len(), line.until);
    store.write_now(move |tx| {
        for device in &devices {
            tx.let_adopt(device, until)?;
            tx.audit(&entry(begun, "device may take a certificate", device, format!("by its key, until {until}")))?;
        }
        Ok(())
    })?;
    eprintln!("{count} device(s) may take a certificate until {until}; on each: gatehouse-agent enrol with this line");
    say(&line.to_string())
}

fn invitation(
    place: &Place,
    device: Option<DeviceId>,
    secret: Option<String>,
    at: UtcMs,
    lasts_ms: i64,
) -> anyhow::Result<Invitation> {
    let config = load("127.0.0.1:0", place)?;
    let url = config.devices.url.clone().context("[devices] says neither url nor listen: devices could not come")?;
    let authority = authority(&config, at)?.fingerprint();
    Ok(Invitation { url, authority, device, secret, at, until: at.plus(lasts_ms) })
}

fn told(sites: &[SiteId], vehicles: &[VehicleId]) -> String {
    let sites = sites.iter().map(ToString::to_string);
    let vehicles = vehicles.iter().map(|vehicle| format!("vehicle {vehicle}"));
    sites.chain(vehicles).collect::<Vec<_>>().join(", ")
}

fn add(database: &str, device: Device) -> anyhow::Result<()> {
    let begun = now();
    let scopes = told(&device.sites, &device.vehicles);
    let words = format!("{} {} may speak for {scopes}", device.kind.as_str(), device.device);
    let entry = entry(begun, "device added", &device.device, format!("{words}, key {}", device.public_key));
    open(database, true)?.write_now(move |tx| {
        tx.put_device(&device, begun)?;
        tx.audit(&entry)
    })?;
    say(&words)
}

fn list(database: &str) -> anyhow::Result<()> {
    let store = open(database, false)?;
    let (devices, revoked) = store.read_now(|r| Ok((r.devices()?, r.revoked_devices()?)))?;
    for state in devices {
        let seen = state.seen.map_or_else(|| "never heard".to_owned(), |at| format!("heard {at}"));
        let device = &state.device;
        let (id, kind, key) = (&device.device, device.kind.as_str(), &device.public_key);
        let newest = store.read_now(|r| r.certificates_of(id))?.into_iter().next();
        let certificate =
            newest.map_or_else(|| "no certificate".to_owned(), |newest| format!("certificate until {}", newest.until));
        say(&format!("{id}\t{kind}\t{}\t{seen}\t{certificate}\t{key}", told(&device.sites, &device.vehicles)))?;
    }
    for (device, revoked) in revoked {
        say(&format!("{device}\trevoked {}\t{}", revoked.at, revoked.why))?;
    }
    Ok(())
}

fn show(database: &str, device: &DeviceId) -> anyhow::Result<()> {
    let store = open(database, false)?;
    let (known, revoked, certificates, refusals, audit) = store.read_now(|r| {
        let name = device.as_str();
        let audit = r.audit_of(name, 20)?;
        Ok((r.device(device)?, r.revoked(device)?, r.certificates_of(device)?, r.refusals_of(name)?, audit))
    })?;
    match (&known, &revoked) {
        (Some(device), _) => {
            say(&format!("device       {} {}", device.kind.as_str(), device.device))?;
            say(&format!("scopes       {}", told(&device.sites, &device.vehicles)))?;
            say(&format!("key          {}", device.public_key))?;
        }
        (None, Some(revoked)) => say(&format!("device       {device}, revoked {}: {}", revoked.at, revoked.why))?,
        (None, None) => bail!("there is no device {device}; `gatehouse-hub device list` shows all"),
    }
    for certificate in certificates {
        let state = certificate.superseded.map_or_else(String::new, |at| format!(", superseded {at}"));
        say(&format!(
            "certificate  {} from {} until {}{state}",
            certificate.serial, certificate.from, certificate.until
        ))?;
    }
    for refused in refusals {
        say(&format!("refused      {} times: {}, last {}", refused.times, refused.what, refused.last))?;
    }
    for entry in audit {
        say(&format!("audit        {} {} by {}: {}", entry.at, entry.action, entry.actor, entry.detail))?;
    }
    Ok(())
}

/// Cuts a device off by `how`, which says whether there was one.
fn cut_off(
    database: &str,
    device: &DeviceId,
    entry: AuditEntry,
    how: impl FnOnce(&mut Tx<'_>, &DeviceId) -> Result<bool, crate::store::StoreError> + Send + 'static,
) -> anyhow::Result<()> {
    let store: Store = open(database, false)?;
    let name = device.clone();
    let was_there = store.write_now(move |tx| {
        let was_there = how(tx, &name)?;
        if was_there {
            tx.audit(&entry)?;
        }
        Ok(was_there)
    })?;
    if was_there {
        return Ok(());
    }
    bail!("there is no device {device} that may speak; `gatehouse-hub device list` shows all")
}

fn revoke(database: &str, device: &DeviceId, why: String) -> anyhow::Result<()> {
    let begun = now();
    let entry = entry(begun, "device revoked", device, why.clone());
    cut_off(database, device, entry, move |tx, device| tx.revoke_device(device, &why, begun))?;
    say(&format!("device {device} is revoked: it may never speak again under this name or with this key"))
}

fn remove(database: &str, device: &DeviceId) -> anyhow::Result<()> {
    let begun = now();
    let entry = entry(begun, "device removed", device, String::new());
    cut_off(database, device, entry, move |tx, device| tx.remove_device(device, begun))?;
    say(&format!("device {device} may no longer speak"))
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn a_span_has_a_unit_and_an_end() {
        assert_eq!((span("30m"), span("24h"), span("7d")), (Ok(1_800_000), Ok(86_400_000), Ok(604_800_000)));
        for wrong in ["", "h", "24", "0h", "-1h", "31d", "1w", "9999999999999999999d", "é"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
