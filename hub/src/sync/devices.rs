//! The list of devices, as `gatehouse-hub devices` changes it.

use gatehouse_common::{id::DeviceId, time::UtcMs};

use crate::store::{AuditEntry, Device, DeviceState, Store, StoreError};

/// Puts a device on the list, or gives the one of this name another key and other scopes. `by` is for the audit.
/// A hub that is running takes it up at the device's next exchange.
/// # Errors
/// [`StoreError::Refused`] says what the device lacks.
pub fn add(store: &Store, device: Device, by: &str, now: UtcMs) -> Result<(), StoreError> {
    let entry = AuditEntry {
        at: now,
        actor: by.to_owned(),
        action: "device added".to_owned(),
        subject: device.device.to_string(),
        detail: serde_json::to_string(&device)?,
    };
    store.write_now(move |tx| {
        tx.put_device(&device, now)?;
        tx.audit(&entry)
    })
}

/// Every device with what was last heard of it.
/// # Errors
/// [`StoreError::Damaged`] if a row cannot be read.
pub fn list(store: &Store) -> Result<Vec<DeviceState>, StoreError> {
    store.read_now(|r| r.devices())
}

/// Takes a device off the list; from its next exchange on it is refused. `by` is for the audit.
/// # Errors
/// [`StoreError::Refused`] if it is not on the list.
pub fn remove(store: &Store, device: &DeviceId, by: &str, now: UtcMs) -> Result<(), StoreError> {
    let device = device.clone();
    let entry = AuditEntry {
        at: now,
        actor: by.to_owned(),
        action: "device removed".to_owned(),
        subject: device.to_string(),
        detail: String::new(),
    };
    store.write_now(move |tx| {
        if !tx.remove_device(&device, now)? {
            return Err(StoreError::Refused(format!("device {device} is not on the list")));
        }
        tx.audit(&entry)
    })
}
