//! Invitations, certificates, who was cut off: what stands between a device's name and its word.
//!
//! Secrets are not here: of an invitation the hash, of a certificate what everybody may see.

use std::collections::BTreeMap;

use gatehouse_common::{
    id::{DeviceId, Hash32},
    seal::PublicKey,
    time::UtcMs,
};
use serde::Serialize;

use super::{
    Device, Reader, StoreChange, StoreError, Tx, row,
    sql::{Row, params},
    turn::Numbered,
};

/// Someone who was invited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invited {
    /// Name, kind and scopes that it gets; the key is none until it is used.
    pub device: DeviceId,
    /// What it is.
    pub kind: super::DeviceKind,
    /// Its depots.
    pub sites: Vec<gatehouse_common::id::SiteId>,
    /// Its vehicles.
    pub vehicles: Vec<gatehouse_common::id::VehicleId>,
    /// When it was made.
    pub made: UtcMs,
    /// Until when it is good.
    pub until: UtcMs,
    /// The key that used it.
    pub used_by: Option<PublicKey>,
}

impl Invited {
    /// The device that `key` makes of it.
    #[must_use]
    pub fn with(&self, key: PublicKey) -> Device {
        Device {
            device: self.device.clone(),
            kind: self.kind,
            public_key: key,
            sites: self.sites.clone(),
            vehicles: self.vehicles.clone(),
        }
    }
}

/// A certificate that was issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// Its serial number in hexadecimal.
    pub serial: String,
    /// Whose it is.
    pub device: DeviceId,
    /// SHA-256 of the key of the device's line.
    pub line_key: Hash32,
    /// From when it is good.
    pub from: UtcMs,
    /// Until when.
    pub until: UtcMs,
    /// Itself, in PEM.
    #[serde(skip)]
    pub pem: String,
    /// Since when a newer one of the device is in use.
    pub superseded: Option<UtcMs>,
}

/// A device that was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Revoked {
    /// When.
    pub at: UtcMs,
    /// Why, as the administrator said.
    pub why: String,
}

const CERTIFICATE: &str = "serial, device, line_key, from_ms, until_ms, pem, superseded_ms";

/// A certificate's row, its names still text.
type Raw = (String, String, String, i64, i64, String, Option<i64>);

fn read_certificate(r: &Row<'_>) -> Result<Raw, StoreError> {
    Ok((
        r.get("serial")?,
        r.get("device")?,
        r.get("line_key")?,
        r.get("from_ms")?,
        r.get("until_ms")?,
        r.get("pem")?,
        r.get("superseded_ms")?,
    ))
}

fn certificate((serial, device, line_key, from, until, pem, superseded): Raw) -> Result<Certificate, StoreError> {
    Ok(Certificate {
        device: row::parse("certificates", &device)?,
        line_key: row::parse("certificates", &line_key)?,
        serial,
        from: UtcMs(from),
        until: UtcMs(until),
        pem,
        superseded: superseded.map(UtcMs),
    })
}

impl Reader<'_> {
    /// Who was invited with the secret of this hash.
    /// # Errors
    /// [`StoreError::Damaged`] if the row cannot be read.
    pub fn invited(&self, secret: &Hash32) -> Result<Option<Invited>, StoreError> {
        let read = |r: &Row<'_>| {
            let texts: [String; 4] = [r.get("device")?, r.get("kind")?, r.get("sites")?, r.get("vehicles")?];
            let times: (i64, i64) = (r.get("made_ms")?, r.get("until_ms")?);
            Ok::<_, StoreError>((texts, times, r.get::<Option<String>>("used_by")?))
        };
        let found = self.sql.optional(
            "SELECT device, kind, sites, vehicles, made_ms, until_ms, used_by
               FROM invitations WHERE secret_sha256 = ?1",
            params![secret.to_string()],
            read,
        )?;
        let Some(([device, kind, sites, vehicles], (made, until), used_by)) = found else { return Ok(None) };
        let key = |text: String| PublicKey::parse(&text).map_err(|e| row::damaged("invitations", &device, e));
        Ok(Some(Invited {
            kind: row::parse("invitations", &kind)?,
            sites: row::json("invitations", &device, &sites)?,
            vehicles: row::json("invitations", &device, &vehicles)?,
            made: UtcMs(made),
            until: UtcMs(until),
            used_by: used_by.map(key).transpose()?,
            device: row::parse("invitations", &device)?,
        }))
    }

    /// The certificate with this serial number.
    /// # Errors
    /// [`StoreError::Damaged`] if the row cannot be read.
    pub fn certificate(&self, serial: &str) -> Result<Option<Certificate>, StoreError> {
        let sql = format!("SELECT {CERTIFICATE} FROM certificates WHERE serial = ?1");
        self.sql.optional(&sql, params![serial], read_certificate)?.map(certificate).transpose()
    }

    /// The certificates of a device, the newest first.
    /// # Errors
    /// [`StoreError::Damaged`] if a row cannot be read.
    pub fn certificates_of(&self, device: &DeviceId) -> Result<Vec<Certificate>, StoreError> {
        let sql =
            format!("SELECT {CERTIFICATE} FROM certificates WHERE device = ?1 ORDER BY from_ms DESC, until_ms DESC");
        self.sql.query(&sql, params![device.as_str()], |r| certificate(read_certificate(r)?))
    }

    /// Whether certificates of the device that are older than `serial` still count.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn has_older(&self, serial: &str, device: &DeviceId) -> Result<bool, StoreError> {
        Ok(self.sql.one(
            "SELECT EXISTS (SELECT 1 FROM certificates
             WHERE device = ?2 AND superseded_ms IS NULL
               AND from_ms < (SELECT from_ms FROM certificates WHERE serial = ?1))",
            params![serial, device.as_str()],
            |r| r.get(0),
        )?)
    }

    /// When and why a device was revoked.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn revoked(&self, device: &DeviceId) -> Result<Option<Revoked>, StoreError> {
        let read = |r: &Row<'_>| Ok(Revoked { at: UtcMs(r.get("revoked_ms")?), why: r.get("revoked_why")? });
        self.sql.optional(
            "SELECT revoked_ms, revoked_why FROM devices WHERE device = ?1 AND revoked_ms IS NOT NULL",
            params![device.as_str()],
            read,
        )
    }

    /// Every device that was revoked, by name.
    /// # Errors
    /// [`StoreError::Damaged`] if a name cannot be read.
    pub fn revoked_devices(&self) -> Result<BTreeMap<DeviceId, Revoked>, StoreError> {
        let sql = "SELECT device, revoked_ms, revoked_why FROM devices WHERE revoked_ms IS NOT NULL ORDER BY device";
        let revoked = self.sql.query(sql, params![], |r| {
            let revoked = Revoked { at: UtcMs(r.get("revoked_ms")?), why: r.get("revoked_why")? };
            Ok::<_, StoreError>((row::parse("devices", &r.get::<String>("device")?)?, revoked))
        })?;
        Ok(revoked.into_iter().collect())
    }

    /// Who has this key already, revoked or not.
    /// # Errors
    /// [`StoreError::Damaged`] if the name cannot be read.
    pub fn device_of_key(&self, key: &PublicKey) -> Result<Option<DeviceId>, StoreError> {
        let found: Option<String> =
            self.sql.optional("SELECT device FROM devices WHERE public_key = ?1", params![key.to_string()], |r| {
                r.get("device")
            })?;
        found.map(|device| row::parse("devices", &device)).transpose()
    }

    /// Until when the listed key may fetch a first certificate by itself.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn may_adopt_until(&self, device: &DeviceId) -> Result<UtcMs, StoreError> {
        Ok(UtcMs(
            self.sql
                .optional("SELECT adopt_until_ms FROM devices WHERE device = ?1", params![device.as_str()], |r| {
                    r.get(0)
                })?
                .unwrap_or(0),
        ))
    }

    /// Who was cut off after the cut numbered `after`, in order.
    /// # Errors
    /// [`StoreError::Damaged`] if a name cannot be read.
    pub fn cuts_after(&self, after: u64) -> Result<Vec<(u64, DeviceId)>, StoreError> {
        self.sql.query("SELECT n, device FROM cuts WHERE n > ?1 ORDER BY n", params![row::to_sql(after)], |r| {
            Ok((row::from_sql(r.get("n")?), row::parse("cuts", &r.get::<String>("device")?)?))
        })
    }
}

impl Tx<'_> {
    /// Keeps an invitation under the hash of its secret.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn put_invitation(&mut self, secret: &Hash32, invited: &Invited) -> Result<(), StoreError> {
        self.sql.execute(
            "INSERT INTO invitations (secret_sha256, device, kind, sites, vehicles, made_ms, until_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                secret.to_string(),
                invited.device.as_str(),
                invited.kind.as_str(),
                serde_json::to_string(&invited.sites)?,
                serde_json::to_string(&invited.vehicles)?,
                invited.made.0,
                invited.until.0,
            ],
        )?;
        Ok(())
    }

    /// `key` has used the invitation; the first that does keeps it.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn use_invitation(&mut self, secret: &Hash32, key: &PublicKey, now: UtcMs) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE invitations SET used_by = ?2, used_ms = ?3 WHERE secret_sha256 = ?1 AND used_by IS NULL",
            params![secret.to_string(), key.to_string(), now.0],
        )?;
        Ok(())
    }

    /// Keeps a certificate that is about to be handed out.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn put_certificate(&mut self, certificate: &Certificate) -> Result<(), StoreError> {
        self.sql.execute(
            "INSERT INTO certificates (serial, device, line_key, from_ms, until_ms, pem)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                certificate.serial,
                certificate.device.as_str(),
                certificate.line_key.to_string(),
                certificate.from.0,
                certificate.until.0,
                certificate.pem,
            ],
        )?;
        self.changed(StoreChange::Device(certificate.device.clone()));
        Ok(())
    }

    /// The device uses the certificate `serial`: older ones of it are superseded from now on.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn supersede(&mut self, serial: &str, device: &DeviceId, now: UtcMs) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE certificates SET superseded_ms = ?3
              WHERE device = ?2 AND superseded_ms IS NULL
                AND from_ms < (SELECT from_ms FROM certificates WHERE serial = ?1)",
            params![serial, device.as_str(), now.0],
        )?;
        Ok(())
    }

    /// Certificates of the device that are not good yet `now` are superseded: the clock was ahead when they were given.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn supersede_from_after(&mut self, now: UtcMs, device: &DeviceId) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE certificates SET superseded_ms = ?2
              WHERE device = ?1 AND superseded_ms IS NULL AND from_ms > ?2",
            params![device.as_str(), now.0],
        )?;
        Ok(())
    }

    /// Revokes a device for good. Returns whether it was there and not revoked before.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn revoke_device(&mut self, device: &DeviceId, why: &str, now: UtcMs) -> Result<bool, StoreError> {
        let revoked = self.sql.execute(
            "UPDATE devices SET revoked_ms = ?2, revoked_why = ?3, adopt_until_ms = 0
              WHERE device = ?1 AND revoked_ms IS NULL",
            params![device.as_str(), now.0, why],
        )?;
        // Whoever finds the invitation of a stolen device must not use it either.
        self.sql.execute(
            "UPDATE invitations SET until_ms = CASE WHEN until_ms > ?2 THEN ?2 ELSE until_ms END WHERE device = ?1",
            params![device.as_str(), now.0],
        )?;
        if revoked > 0 {
            self.cut(device, now)?;
        }
        self.changed(StoreChange::Device(device.clone()));
        Ok(revoked > 0)
    }

    /// Tells a hub that runs to end the connections of a device.
    pub(super) fn cut(&mut self, device: &DeviceId, now: UtcMs) -> Result<(), StoreError> {
        let n = self.turn.next(Numbered::Cuts);
        self.sql
            .execute("INSERT INTO cuts (n, device, at_ms) VALUES (?1, ?2, ?3)", params![n, device.as_str(), now.0])?;
        Ok(())
    }

    /// Lets the listed key of a device fetch a first certificate by itself, until `until`.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn let_adopt(&mut self, device: &DeviceId, until: UtcMs) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE devices SET adopt_until_ms = ?2 WHERE device = ?1 AND revoked_ms IS NULL",
            params![device.as_str(), until.0],
        )?;
        Ok(())
    }
}
