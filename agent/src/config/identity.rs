//! What enrolment gave this device: its certificate and the key of its line, and which hub is the right one.
//!
//! One file, written as a whole and renamed into place, readable by its owner only: certificate and key never come apart,
//! and a crash leaves the one before. A key that waits for its certificate lies beside it.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use gatehouse_common::{
    id::{SiteId, VehicleId},
    sync::enrolment::Enrolled,
    time::UtcMs,
};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde::{Deserialize, Serialize};

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It cannot be read or written.
    #[error("identity file {path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// Others may read it, so others may have copied it.
    #[error("identity file {path} may be read by others; run chmod 600 {path}, and tell the hub's administrator")]
    Open {
        /// Which file.
        path: PathBuf,
    },
    /// It holds something else.
    #[error("identity file {path} cannot be read: {why}; remove it and enrol again under the same name")]
    NotOne {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// Who this device is to the hub.
#[derive(Clone, Serialize, Deserialize)]
pub struct Identity {
    /// What the hub said.
    #[serde(flatten)]
    pub said: Enrolled,
    /// The private key of the line, in PEM.
    pub line_key: String,
}

impl std::fmt::Debug for Identity {
    // The key stays out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({} at {} until {})", self.said.device, self.said.url, self.said.until)
    }
}

impl Identity {
    /// Reads it; `None` if there is none yet.
    /// # Errors
    /// [`IdentityError`].
    pub fn load(path: &Path) -> Result<Option<Self>, IdentityError> {
        let Some(text) = read(path)? else { return Ok(None) };
        let not_one = |why: serde_json::Error| IdentityError::NotOne { path: path.to_owned(), why: why.to_string() };
        serde_json::from_str(&text).map(Some).map_err(not_one)
    }

    /// Writes it in place of the one before, and is on the disk when it returns.
    /// # Errors
    /// [`IdentityError::File`]; the one before is still there.
    pub fn save(&self, path: &Path) -> Result<(), IdentityError> {
        let not_one = |why: serde_json::Error| IdentityError::NotOne { path: path.to_owned(), why: why.to_string() };
        write(path, &serde_json::to_string_pretty(self).map_err(not_one)?)
    }

    /// When the next certificate is asked for: after two thirds of the time, up to a twentieth of it earlier or later
    /// by `jitter`, 0 to 1, so that devices that enrolled together do not all come together.
    #[must_use]
    pub fn renews_at(&self, jitter: f64) -> UtcMs {
        let lasts = self.said.until.since(self.said.from).max(0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "parts of a span in ms")]
        let jitter_ms = (lasts as f64 * 0.1 * (jitter.clamp(0.0, 1.0) - 0.5)) as i64;
        self.said.from.plus(lasts / 3 * 2).plus(jitter_ms)
    }

    /// What the hub does not list this device for though it is configured so, for people; none if it lists all.
    #[must_use]
    pub fn lacks(&self, site: &SiteId, vehicle: Option<&VehicleId>) -> Option<String> {
        let lacking = if !self.said.sites.contains(site) {
            format!("depot {site}")
        } else {
            format!("vehicle {}", vehicle.filter(|vehicle| !self.said.vehicles.contains(vehicle))?)
        };
        Some(format!(
            "the hub does not list this device for {lacking}, so nothing is told to it: set right the hub's list, or \
             [device] here"
        ))
    }

    /// Until when it can be renewed without a person.
    #[must_use]
    pub fn renewable_until(&self) -> UtcMs {
        self.said.until.plus(self.said.grace_ms)
    }
}

/// The key that waits for its certificate beside `identity`: the one of the last try that was interrupted, or a new one.
/// # Errors
/// [`IdentityError`].
pub fn waiting_key(identity: &Path) -> Result<KeyPair, IdentityError> {
    let path = waiting(identity);
    let not_one = |why: String| IdentityError::NotOne { path: path.clone(), why };
    if let Some(text) = read(&path)? {
        return KeyPair::from_pem(&text).map_err(|e| not_one(e.to_string()));
    }
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|e| not_one(e.to_string()))?;
    write(&path, &key.serialize_pem())?;
    Ok(key)
}

/// The key beside `identity` has its certificate, and waits no more.
/// # Errors
/// [`IdentityError::File`].
pub fn forget_waiting_key(identity: &Path) -> Result<(), IdentityError> {
    let path = waiting(identity);
    match std::fs::remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(IdentityError::File { path, source }),
        _ => Ok(()),
    }
}

fn waiting(identity: &Path) -> PathBuf {
    let mut name = identity.as_os_str().to_owned();
    name.push(".waiting-key");
    PathBuf::from(name)
}

fn read(path: &Path) -> Result<Option<String>, IdentityError> {
    let fail = |source| IdentityError::File { path: path.to_owned(), source };
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(fail)?,
    };
    if std::fs::metadata(path).map_err(fail)?.permissions().mode() & 0o077 != 0 {
        return Err(IdentityError::Open { path: path.to_owned() });
    }
    Ok(Some(text))
}

fn write(path: &Path, text: &str) -> Result<(), IdentityError> {
    let fail = |source| IdentityError::File { path: path.to_owned(), source };
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".new-{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside).map_err(fail)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
    std::fs::rename(&beside, path).map_err(fail)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(fail)
}

#[cfg(test)]
mod tests {
    use gatehouse_common::seal::PrivateKey;

    use super::*;

    fn identity() -> Identity {
        let said = Enrolled {
            device: "gw-1".parse().unwrap(),
            sites: Vec::new(),
            vehicles: Vec::new(),
            url: "https://hub".to_owned(),
            hub: PrivateKey::from_seed([1; 32]).public(),
            authority: String::new(),
            certificate: String::new(),
            from: UtcMs(0),
            until: UtcMs(3_000),
            grace_ms: 500,
        };
        Identity { said, line_key: "s3cret".to_owned() }
    }

    #[test]
    fn what_the_hub_does_not_list_this_device_for_is_named() {
        let (d1, d2): (SiteId, SiteId) = ("D1".parse().unwrap(), "D2".parse().unwrap());
        let van: VehicleId = "2207".parse().unwrap();
        let mut identity = identity();
        identity.said.sites = vec![d1.clone()];
        assert_eq!(identity.lacks(&d1, None), None);
        assert!(identity.lacks(&d2, None).unwrap().contains("depot D2"));
        assert!(identity.lacks(&d1, Some(&van)).unwrap().contains("vehicle 2207"));
        identity.said.vehicles = vec![van.clone()];
        assert_eq!(identity.lacks(&d1, Some(&van)), None);
    }

    #[test]
    fn it_is_replaced_as_a_whole_and_only_its_owner_may_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hub.identity");
        assert!(Identity::load(&path).unwrap().is_none());
        identity().save(&path).unwrap();
        let mut next = identity();
        next.said.until = UtcMs(9_000);
        next.save(&path).unwrap();
        assert_eq!(Identity::load(&path).unwrap().unwrap().said, next.said);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(!format!("{next:?}").contains("s3cret"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Identity::load(&path), Err(IdentityError::Open { .. })));
    }

    #[test]
    fn an_interrupted_try_goes_on_with_the_same_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hub.identity");
        let first = waiting_key(&path).unwrap().serialize_pem();
        assert_eq!(waiting_key(&path).unwrap().serialize_pem(), first);
        forget_waiting_key(&path).unwrap();
        forget_waiting_key(&path).unwrap();
        assert_ne!(waiting_key(&path).unwrap().serialize_pem(), first);
    }

    #[test]
    fn it_is_renewed_around_two_thirds_of_its_time() {
        let identity = identity();
        assert_eq!(identity.renews_at(0.5), UtcMs(2_000));
        assert_eq!((identity.renews_at(0.0), identity.renews_at(1.0)), (UtcMs(1_850), UtcMs(2_150)));
        assert_eq!(identity.renewable_until(), UtcMs(3_500));
    }
}
