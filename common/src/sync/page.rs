//! What the hub signs of the pages it sends, so that changes of others can be given back to it.
//!
//! A hub that was restored from a backup has forgotten changes that it once sent. A device may write only in its own
//! name; for what others wrote it shows that this hub sent it: the digest of the page, signed, with the marks of all
//! changes of that page. The digest also says in which run of the hub it was made: one that the hub's store does not
//! know proves that the store is an older copy.

use serde::{Deserialize, Serialize};

use super::cursor::LedgerEpoch;
use crate::{
    id::{DeviceId, DocumentId, Hash32},
    seal::{PublicKey, SealError, Sealed},
};

/// What the hub signs of a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageDigest {
    /// To whom it was sent.
    pub device: DeviceId,
    /// In which life of the ledger.
    pub ledger: LedgerEpoch,
    /// In which run of the hub: the epoch of its own actor.
    pub run: u32,
    /// The feed's last position when the page was made.
    pub head: u64,
    /// The feed's last position that the hub's newest backup holds; 0 while there is none. Pages that end before it in
    /// this life of the ledger need not be kept.
    pub backed_up: u64,
    /// [`root`] of the marks of the page's changes.
    pub changes: Hash32,
}

/// The mark of a change in a page: names the document too, so that a change is never given back into another.
#[must_use]
pub fn mark(document: &DocumentId, change: &Hash32) -> Hash32 {
    Hash32::of(&[&document.0[..], &change.0[..]].concat())
}

/// One hash over all marks of a page, in their order there.
#[must_use]
pub fn root(marks: &[Hash32]) -> Hash32 {
    Hash32::of(&marks.iter().flat_map(|mark| mark.0).collect::<Vec<u8>>())
}

/// A page as a device keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attested {
    /// The [`PageDigest`], signed by the hub.
    pub digest: Sealed,
    /// The marks of its changes, in their order there.
    pub marks: Vec<Hash32>,
}

/// Why a page proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoProof {
    /// The hub did not sign it.
    #[error("the page is not signed by this hub: {0}")]
    Seal(#[from] SealError),
    /// It was sent to somebody else.
    #[error("the page was sent to {0}")]
    Foreign(DeviceId),
    /// The marks are not those that were signed.
    #[error("the page's changes are not those that were signed")]
    Changes,
}

impl Attested {
    /// Reads the digest, if `hub` signed it for `device` over these marks.
    /// # Errors
    /// [`NoProof`].
    pub fn open(&self, hub: &PublicKey, device: &DeviceId) -> Result<PageDigest, NoProof> {
        let digest: PageDigest = self.digest.open(hub)?;
        if digest.device != *device {
            return Err(NoProof::Foreign(digest.device));
        }
        if digest.changes == root(&self.marks) { Ok(digest) } else { Err(NoProof::Changes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{id::DocumentKind, seal::PrivateKey};

    #[test]
    fn a_page_proves_only_what_stood_in_it_to_whom_it_was_sent() {
        let (hub, device) = (PrivateKey::from_seed([1; 32]), "gw-1".parse::<DeviceId>().unwrap());
        let document = DocumentId::of(DocumentKind::Case, "k", 1);
        let marks = vec![mark(&document, &Hash32::of(b"a")), mark(&document, &Hash32::of(b"b"))];
        let digest = PageDigest {
            device: device.clone(),
            ledger: LedgerEpoch(1),
            run: 1,
            head: 7,
            backed_up: 0,
            changes: root(&marks),
        };
        let page = Attested { digest: Sealed::new(&digest, &hub).unwrap(), marks };
        assert_eq!(page.open(&hub.public(), &device), Ok(digest));
        let other = "gw-2".parse::<DeviceId>().unwrap();
        assert_eq!(page.open(&hub.public(), &other), Err(NoProof::Foreign(device.clone())));
        let mut more = page.clone();
        more.marks.push(mark(&document, &Hash32::of(b"c")));
        assert_eq!(more.open(&hub.public(), &device), Err(NoProof::Changes));
        let stranger = PrivateKey::from_seed([2; 32]).public();
        assert!(matches!(page.open(&stranger, &device), Err(NoProof::Seal(_))));
        let elsewhere = DocumentId::of(DocumentKind::Case, "k", 2);
        assert_ne!(mark(&elsewhere, &Hash32::of(b"a")), page.marks[0], "the document is part of the mark");
    }
}
