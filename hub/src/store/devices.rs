//! Who may speak, for which depots and vehicles, and when each last did.

use gatehouse_common::{
    id::{DeviceId, SiteId, VehicleId},
    seal::PublicKey,
    time::UtcMs,
};
use serde::Serialize;

use super::{
    Reader, Scope, StoreChange, StoreError, Tx, row,
    sql::{Row, params},
};

/// What kind of device. It decides which actor it may write as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// A gateway at a depot.
    Gateway,
    /// A vehicle unit.
    Vehicle,
}

impl DeviceKind {
    /// The word for it in the store and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Vehicle => "vehicle",
        }
    }
}

impl std::str::FromStr for DeviceKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "gateway" => Ok(Self::Gateway),
            "vehicle" => Ok(Self::Vehicle),
            other => Err(format!("{other:?} is not a kind of device; gateway or vehicle is expected")),
        }
    }
}

/// A device that may speak.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Device {
    /// Its name.
    pub device: DeviceId,
    /// What kind.
    pub kind: DeviceKind,
    /// The key that its exchanges are signed with.
    pub public_key: PublicKey,
    /// Depots whose feed it gets; it writes for these alone.
    pub sites: Vec<SiteId>,
    /// Vehicles whose feed it gets.
    pub vehicles: Vec<VehicleId>,
}

impl Device {
    /// The feeds it gets. A vehicle unit's depots say where it belongs; it gets its vehicles' feeds alone.
    #[must_use]
    pub fn scopes(&self) -> Vec<Scope> {
        let vehicles = self.vehicles.iter().cloned().map(Scope::Vehicle);
        match self.kind {
            DeviceKind::Gateway => self.sites.iter().cloned().map(Scope::Site).chain(vehicles).collect(),
            DeviceKind::Vehicle => vehicles.collect(),
        }
    }
}

/// A device and what was last heard of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceState {
    /// Who.
    #[serde(flatten)]
    pub device: Device,
    /// When it last spoke, by the hub's clock.
    pub seen: Option<UtcMs>,
    /// What it last said of itself: a [`gatehouse_common::sync::message::DeviceStatus`].
    pub status: Option<serde_json::Value>,
}

struct Stored {
    device: String,
    kind: String,
    public_key: String,
    sites: String,
    vehicles: String,
    seen: Option<i64>,
    status: Option<String>,
}

const COLUMNS: &str = "device, kind, public_key, sites, vehicles, seen_ms, status";

impl Stored {
    fn read(r: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            device: r.get("device")?,
            kind: r.get("kind")?,
            public_key: r.get("public_key")?,
            sites: r.get("sites")?,
            vehicles: r.get("vehicles")?,
            seen: r.get("seen_ms")?,
            status: r.get("status")?,
        })
    }

    fn open(self) -> Result<DeviceState, StoreError> {
        Ok(DeviceState {
            seen: self.seen.map(UtcMs),
            status: self.status.map(|text| row::json("devices", &self.device, &text)).transpose()?,
            device: Device {
                kind: row::parse("devices", &self.kind)?,
                public_key: PublicKey::parse(&self.public_key).map_err(|e| row::damaged("devices", &self.device, e))?,
                sites: row::json("devices", &self.device, &self.sites)?,
                vehicles: row::json("devices", &self.device, &self.vehicles)?,
                device: row::parse("devices", &self.device)?,
            },
        })
    }
}

impl Reader<'_> {
    /// The device with this name, if it may speak.
    /// # Errors
    /// [`StoreError::Damaged`] if its row cannot be read.
    pub fn device(&self, device: &DeviceId) -> Result<Option<Device>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM devices WHERE device = ?1 AND revoked_ms IS NULL");
        let stored = self.sql.optional(&sql, params![device.as_str()], Stored::read)?;
        Ok(stored.map(Stored::open).transpose()?.map(|state| state.device))
    }

    /// The key that is listed for a name, also if it was revoked.
    /// # Errors
    /// [`StoreError::Damaged`] if it cannot be read.
    pub fn key_of(&self, device: &DeviceId) -> Result<Option<PublicKey>, StoreError> {
        let found: Option<String> =
            self.sql.optional("SELECT public_key FROM devices WHERE device = ?1", params![device.as_str()], |r| {
                r.get("public_key")
            })?;
        let key = |text: String| PublicKey::parse(&text).map_err(|e| row::damaged("devices", device, e));
        found.map(key).transpose()
    }

    /// Every device that may speak, by name.
    /// # Errors
    /// [`StoreError::Damaged`] if a row cannot be read.
    pub fn devices(&self) -> Result<Vec<DeviceState>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM devices WHERE revoked_ms IS NULL ORDER BY device");
        self.sql.query(&sql, params![], |r| Stored::read(r)?.open())
    }

    /// Whether the device has to start again, because its scopes have grown.
    pub(crate) fn begins_again(&self, device: &DeviceId) -> Result<bool, StoreError> {
        Ok(self
            .sql
            .optional("SELECT begins_again FROM devices WHERE device = ?1", params![device.as_str()], |r| r.get(0))?
            .unwrap_or(false))
    }

    /// Up to which feed position the device also gets its own chunks.
    pub(crate) fn refill_through(&self, device: &DeviceId) -> Result<u64, StoreError> {
        let through: Option<i64> = self.sql.optional(
            "SELECT refill_through FROM devices WHERE device = ?1",
            params![device.as_str()],
            |r| r.get(0),
        )?;
        Ok(through.map_or(0, row::from_sql))
    }
}

impl Tx<'_> {
    /// Adds a device, or gives the one of this name another key and other scopes. One that gets a scope more
    /// has passed what that scope's feed said before: it starts again. Invitations of this name that nobody has used
    /// end.
    /// # Errors
    /// [`StoreError::Refused`] if it has no depot, a vehicle unit has no vehicle, it was revoked, or its key is another's.
    pub fn put_device(&mut self, device: &Device, now: UtcMs) -> Result<(), StoreError> {
        if device.sites.is_empty() {
            return Err(StoreError::Refused(format!("device {} needs at least one depot", device.device)));
        }
        if device.kind == DeviceKind::Vehicle && device.vehicles.is_empty() {
            return Err(StoreError::Refused(format!("vehicle unit {} needs a vehicle", device.device)));
        }
        if self.revoked(&device.device)?.is_some() {
            let why = format!("device {} was revoked; give the one that takes its place another name", device.device);
            return Err(StoreError::Refused(why));
        }
        // Also one that was revoked: its key is never let in again, under no name.
        if let Some(other) = self.device_of_key(&device.public_key)?.filter(|other| *other != device.device) {
            let why = format!("this key is {other}'s; device {} needs a key of its own", device.device);
            return Err(StoreError::Refused(why));
        }
        let before = self.device(&device.device)?.map(|known| known.scopes());
        let begins_again = before.is_some_and(|before| device.scopes().iter().any(|scope| !before.contains(scope)));
        self.sql.execute(
            "INSERT INTO devices (device, kind, public_key, sites, vehicles, added_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (device) DO UPDATE SET kind = ?2, public_key = ?3, sites = ?4, vehicles = ?5,
                    begins_again = CASE WHEN ?7 = 1 THEN 1 ELSE devices.begins_again END",
            params![
                device.device.as_str(),
                device.kind.as_str(),
                device.public_key.to_string(),
                serde_json::to_string(&device.sites)?,
                serde_json::to_string(&device.vehicles)?,
                now.0,
                begins_again,
            ],
        )?;
        // Each says which scopes it gives: those of before must not come back over what is listed from now on. It ended
        // a moment ago, since who asks in this very moment comes late.
        self.sql.execute(
            "UPDATE invitations SET until_ms = ?2 WHERE device = ?1 AND until_ms > ?2 AND used_by IS NULL",
            params![device.device.as_str(), now.0.saturating_sub(1)],
        )?;
        self.changed(StoreChange::Device(device.device.clone()));
        Ok(())
    }

    /// The device stands at the start of its feed.
    pub(crate) fn has_begun_again(&mut self, device: &DeviceId) -> Result<(), StoreError> {
        self.sql.execute("UPDATE devices SET begins_again = 0 WHERE device = ?1", params![device.as_str()])?;
        Ok(())
    }

    /// Takes a device off the list: from the next exchange on it is unknown. What it said stays. Every invitation of
    /// this name ends, used or not. Returns whether it was there.
    /// # Errors
    /// [`StoreError::Refused`] while it has not told since a restore which leases it holds: nobody would wait for it then.
    pub fn remove_device(&mut self, device: &DeviceId, now: UtcMs) -> Result<bool, StoreError> {
        if let Some((site, _)) = self.untold_leases()?.into_iter().find(|(_, untold)| untold == device) {
            return Err(StoreError::Refused(format!(
                "device {device} has not told since the restore which leases it holds: let it do so, or answer for depot \
                 {site} with `gatehouse-hub lease write-off --site {site}` first; `gatehouse-hub device revoke {device}` cuts \
                 it off at once"
            )));
        }
        // A revoked one stays: else its name would be free for the key that was revoked.
        let removed = self
            .sql
            .execute("DELETE FROM devices WHERE device = ?1 AND revoked_ms IS NULL", params![device.as_str()])?;
        // Whoever has one must not bring the device back.
        self.sql.execute(
            "UPDATE invitations SET until_ms = ?2 WHERE device = ?1 AND until_ms > ?2",
            params![device.as_str(), now.0.saturating_sub(1)],
        )?;
        if removed > 0 {
            self.cut(device, now)?;
        }
        self.changed(StoreChange::Device(device.clone()));
        Ok(removed > 0)
    }

    /// Forgets the certificates of a device that ended before `before` and had been superseded: nobody asks for them
    /// any more. The newest is never one of them.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn forget_certificates(&mut self, device: &DeviceId, before: UtcMs) -> Result<(), StoreError> {
        self.sql.execute(
            "DELETE FROM certificates WHERE device = ?1 AND superseded_ms IS NOT NULL AND until_ms < ?2",
            params![device.as_str(), before.0],
        )?;
        Ok(())
    }

    /// The device spoke.
    pub(crate) fn device_seen(
        &mut self,
        device: &DeviceId,
        status: Option<&str>,
        now: UtcMs,
    ) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE devices SET seen_ms = ?2, status = coalesce(?3, status) WHERE device = ?1",
            params![device.as_str(), now.0, status],
        )?;
        self.changed(StoreChange::Device(device.clone()));
        Ok(())
    }

    pub(crate) fn set_refill_through(&mut self, device: &DeviceId, through: u64) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE devices SET refill_through = ?2 WHERE device = ?1",
            params![device.as_str(), row::to_sql(through)],
        )?;
        Ok(())
    }
}
