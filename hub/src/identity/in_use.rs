//! Which certificates count.
//!
//! In: the certificate of a line, whose signature and end the handshake has checked. Out: whether the hub's list has it
//! in use, and if not whether a restore made the hub forget it: then it is taken in. Otherwise what was renewed since
//! the backup would keep honest devices out until it ends, and no depot would be lent anything meanwhile.

use gatehouse_common::time::UtcMs;

use super::Peer;
use crate::store::{AuditEntry, Certificate, Reader, StoreError, Tx};

/// Why a certificate with this serial number counts no more; `None` if it does.
pub(crate) fn not_in_use(r: &Reader<'_>, serial: &str) -> Result<Option<&'static str>, StoreError> {
    Ok(match r.certificate(serial)? {
        None => Some("this hub's list does not have the certificate; ask for an invitation under the same name"),
        Some(Certificate { superseded: Some(_), .. }) => {
            Some("a newer certificate of this device is in use; a copy that was restored asks for an invitation")
        }
        Some(_) => None,
    })
}

/// Whether a certificate counts, or would once it is taken in.
pub(crate) fn counts(r: &Reader<'_>, peer: &Peer, now: UtcMs) -> Result<bool, StoreError> {
    Ok(not_in_use(r, &peer.serial)?.is_none() || is_forgotten(r, peer, now)?)
}

/// Whether this hub made the certificate in the time that a restore has made it forget: it is not listed, its device
/// is, with the same key, and it is newer than what is listed of that device and older than the restore.
pub(super) fn is_forgotten(r: &Reader<'_>, peer: &Peer, now: UtcMs) -> Result<bool, StoreError> {
    let Some(restored) = r.restored_at()? else { return Ok(false) };
    if peer.from >= restored || now > peer.until || r.certificate(&peer.serial)?.is_some() {
        return Ok(false);
    }
    let who = &peer.device.device;
    if r.device(who)?.is_none_or(|listed| listed.public_key != peer.device.public_key) {
        return Ok(false);
    }
    // An older one may have been superseded, which is forgotten with it.
    let newest = r.certificates_of(who)?.into_iter().next();
    Ok(newest.is_none_or(|newest| peer.from > newest.from))
}

/// Takes a forgotten certificate in, and tells the audit. Returns whether it is in use now. What it says of scopes is
/// not looked at: it counts for nothing until the list says the same.
pub(crate) fn take_in(tx: &mut Tx<'_>, peer: &Peer, now: UtcMs) -> Result<bool, StoreError> {
    if !is_forgotten(tx, peer, now)? {
        // Another exchange on the same line may have been first.
        return Ok(not_in_use(tx, &peer.serial)?.is_none());
    }
    let who = &peer.device.device;
    tx.put_certificate(&Certificate {
        serial: peer.serial.clone(),
        device: who.clone(),
        line_key: peer.line_key,
        from: peer.from,
        until: peer.until,
        // Its device has it. Nobody is given it a second time.
        pem: String::new(),
        superseded: None,
    })?;
    tx.audit(&AuditEntry {
        at: now,
        actor: who.to_string(),
        action: "certificate taken in".to_owned(),
        subject: who.to_string(),
        detail: format!(
            "certificate {} from {} until {}: issued after the backup from which this store was restored",
            peer.serial, peer.from, peer.until
        ),
    })?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::{CertificateDer, pem::PemObject};

    use super::*;
    use crate::{
        fixture,
        identity::{Authority, LineRequest},
        store::{Device, Store},
    };

    const DAY_MS: i64 = 24 * 3_600_000;

    fn day(n: i64) -> UtcMs {
        UtcMs(1_000_000_000_000 + n * DAY_MS)
    }

    fn gateway(name: &str, key: u8) -> Device {
        fixture::gateway(name, "D1", key)
    }

    /// A hub's store with gw-1 on its list, which has a certificate of day 2.
    struct Hub {
        store: Store,
        authority: Authority,
        _directory: tempfile::TempDir,
    }

    impl Hub {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let name = "hub".parse().unwrap();
            let store = Store::open(&directory.path().join("hub.db"), &name).unwrap();
            let authority = Authority::load_or_make(&directory.path().join("ca.pem"), &name, day(0)).unwrap();
            let hub = Self { store, authority, _directory: directory };
            let (device, listed) = (gateway("gw-1", 7), hub.issued(&gateway("gw-1", 7), day(2)));
            let put = hub.store.write_now(move |tx| {
                tx.put_device(&device, day(1))?;
                tx.put_certificate(&listed)
            });
            put.unwrap();
            hub
        }

        /// A certificate of thirty days that the authority signs and no list has.
        fn issued(&self, device: &Device, from: UtcMs) -> Certificate {
            let line = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
            let pem = rcgen::CertificateParams::default().serialize_request(&line).unwrap().pem().unwrap();
            let request = LineRequest::read(&pem).unwrap();
            self.authority.certify(device, &request, from, from.plus(30 * DAY_MS)).unwrap()
        }

        fn shown(&self, device: &Device, from: UtcMs) -> Peer {
            let issued = self.issued(device, from);
            Peer::of(&CertificateDer::from_pem_slice(issued.pem.as_bytes()).unwrap()).unwrap()
        }

        fn is_restored_at(&self, at: UtcMs) {
            self.store.write_now(move |tx| tx.begin_ledger_epoch(at)).unwrap();
        }

        fn takes_in(&self, peer: &Peer, now: UtcMs) -> bool {
            let looked = self.store.read_now(|r| counts(r, peer, now)).unwrap();
            let peer = peer.clone();
            let taken = self.store.write_now(move |tx| take_in(tx, &peer, now)).unwrap();
            assert_eq!(looked, taken, "a look says the same");
            taken
        }
    }

    #[test]
    fn what_was_issued_between_backup_and_restore_is_taken_in_once_and_the_audit_says_so() {
        let hub = Hub::new();
        let forgotten = hub.shown(&gateway("gw-1", 7), day(3));
        assert!(!hub.takes_in(&forgotten, day(4)), "nothing was restored");
        hub.is_restored_at(day(4));
        assert!(hub.takes_in(&forgotten, day(5)) && hub.takes_in(&forgotten, day(5)));
        let name = "gw-1".parse().unwrap();
        let (listed, audit) = hub.store.read_now(|r| Ok((r.certificates_of(&name)?, r.audit_of("gw-1", 9)?))).unwrap();
        let newest = &listed[0];
        assert_eq!((listed.len(), &newest.serial, newest.line_key), (2, &forgotten.serial, forgotten.line_key));
        assert_eq!((newest.from, newest.until), (day(3), day(33)));
        let told: Vec<_> = audit.iter().map(|entry| entry.action.as_str()).collect();
        assert_eq!(told, ["certificate taken in"]);
    }

    #[test]
    fn what_a_restore_cannot_have_made_the_hub_forget_is_not_taken_in() {
        let hub = Hub::new();
        hub.is_restored_at(day(4));
        let own = gateway("gw-1", 7);
        let refused = [
            ("of after the restore", hub.shown(&own, day(4)), day(5)),
            ("no newer than what is listed", hub.shown(&own, day(2)), day(5)),
            ("over by now", hub.shown(&own, day(3)), day(34)),
            ("for another key", hub.shown(&gateway("gw-1", 8), day(3)), day(5)),
            ("of nobody on the list", hub.shown(&gateway("gw-2", 9), day(3)), day(5)),
        ];
        for (what, peer, now) in &refused {
            assert!(!hub.takes_in(peer, *now), "{what}");
        }
        let forgotten = hub.shown(&own, day(3));
        hub.store.write_now(|tx| tx.revoke_device(&"gw-1".parse().unwrap(), "stolen", day(4))).unwrap();
        assert!(!hub.takes_in(&forgotten, day(5)), "of one that is revoked");
    }

    #[test]
    fn a_copy_of_a_certificate_that_a_forgotten_one_had_replaced_is_not_taken_in_after_it() {
        let hub = Hub::new();
        let (first, second) = (hub.shown(&gateway("gw-1", 7), day(3)), hub.shown(&gateway("gw-1", 7), day(4)));
        hub.is_restored_at(day(5));
        assert!(hub.takes_in(&second, day(6)) && !hub.takes_in(&first, day(6)));
    }
}
