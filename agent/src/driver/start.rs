//! The core goes on from what the store holds, also where a part of that is damaged.
//!
//! In: what a start read. Out: the core, once the store says the same as it does. Nothing is made of bytes that do not
//! match their checksum: what is left out is told, and the hub is asked for it. A document that is whole and cannot be
//! folded is not damaged: it stays as it is.

use gatehouse_common::time::UtcMs;

use crate::{
    core::{Core, Profile, start::Snapshot},
    store::{Store, StoreError},
};

/// The core that goes on from `snapshot` of `store`.
/// # Errors
/// [`StoreError::Damaged`]: a dispatch lacks a part of what was said in it, and goods could leave a second time by what
/// is left; else as [`Store::commit`].
pub fn load(profile: Profile, snapshot: Snapshot, store: &mut Store, at: UtcMs) -> Result<Core, StoreError> {
    let mut core = Core::load(profile.clone(), snapshot);
    if !core.unread().is_empty() {
        store.make_of_changes(core.unread())?;
        core = Core::load(profile, store.snapshot_over_damage(at)?);
    }
    if let Some(document) = core.lacking() {
        let what = format!("dispatch {document} cannot be read, nor be made of its changes");
        return Err(StoreError::Damaged { path: store.path().to_owned(), what });
    }
    let records = core.mend(&store.look().put_aside()?);
    if !records.is_empty() {
        store.commit(&records)?;
    }
    Ok(core)
}
