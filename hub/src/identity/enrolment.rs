//! Decides who gets a certificate.
//!
//! In: a sealed question, in a transaction. Out: the certificate, or why there is none. Scopes come from the invitation
//! or from the list of devices, never from the question. Everything can be asked again: the same key gets the same name.

use gatehouse_common::{
    id::{DeviceId, Hash32},
    seal::{PublicKey, Sealed},
    sync::enrolment::{Ask, Enrolled, Purpose},
    time::UtcMs,
};

use super::{Authority, LineRequest, Peer};
use crate::store::{AuditEntry, Certificate, Device, Reader, StoreError, Tx};

/// What the hub's configuration says of certificates.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Where devices reach the hub.
    pub url: String,
    /// What the hub signs its answers with.
    pub hub: PublicKey,
    /// How long a certificate is good, in milliseconds.
    pub lasts_ms: i64,
    /// For how long after that it can still be renewed, in milliseconds.
    pub grace_ms: i64,
}

/// Why there is no certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// The HTTP status.
    pub status: u16,
    /// A word for it, for counts and the audit.
    pub what: &'static str,
    /// What is wrong and what to do, for people.
    pub why: String,
    /// Whose name was claimed.
    pub who: Option<DeviceId>,
}

impl Denied {
    fn new(status: u16, what: &'static str, who: &DeviceId, why: impl Into<String>) -> Self {
        Self { status, what, why: why.into(), who: Some(who.clone()) }
    }
}

/// Reads a sealed question: whoever asks holds the key that it names.
fn open(sealed: &Sealed, purpose: Purpose) -> Result<Ask, Denied> {
    let denied = |why: String| Denied { status: 401, what: "unreadable", why, who: None };
    let claimed: Ask = sealed.peek().map_err(|e| denied(e.to_string()))?;
    let ask: Ask = sealed.open(&claimed.public_key).map_err(|e| denied(e.to_string()))?;
    if ask.purpose == purpose { Ok(ask) } else { Err(denied("it was signed for something else".to_owned())) }
}

/// Gives a device its first certificate, on an invitation or because its key was to be taken over.
/// # Errors
/// The store's own.
pub fn enrol(
    tx: &mut Tx<'_>,
    authority: &Authority,
    terms: &Terms,
    sealed: &Sealed,
    now: UtcMs,
) -> Result<Result<Enrolled, Denied>, StoreError> {
    let ask = match open(sealed, Purpose::Enrol) {
        Ok(ask) => ask,
        Err(denied) => return Ok(Err(denied)),
    };
    let admitted = match &ask.secret {
        Some(secret) => by_invitation(tx, &ask, &Hash32::of(secret.as_bytes()), now)?,
        None => by_known_key(tx, &ask, now)?,
    };
    let device = match admitted {
        Ok(device) => device,
        Err(denied) => return Ok(Err(denied)),
    };
    // Read only now: nobody who may not ask has bytes of theirs read as a certificate's.
    let request = match LineRequest::read(&ask.request) {
        Ok(request) => request,
        Err(e) => return Ok(Err(Denied::new(400, "request", &ask.device, e.to_string()))),
    };
    if let Some(secret) = &ask.secret {
        tx.use_invitation(&Hash32::of(secret.as_bytes()), &ask.public_key, now)?;
    }
    tx.put_device(&device, now)?;
    issue(tx, authority, terms, &device, &request, "device enrolled", now).map(Ok)
}

fn by_invitation(r: &Reader<'_>, ask: &Ask, secret: &Hash32, now: UtcMs) -> Result<Result<Device, Denied>, StoreError> {
    let who = &ask.device;
    let Some(invited) = r.invited(secret)?.filter(|invited| invited.device == *who) else {
        // One answer for no such secret and for another's, so that neither can be guessed.
        let why = "this invitation is not known for this device; make one with `gatehouse-hub device invite`";
        return Ok(Err(Denied::new(401, "unknown invitation", who, why)));
    };
    if invited.used_by.is_some_and(|key| key != ask.public_key) {
        let why = "this invitation was used by another key already; if that was not you, revoke the device, and make \
                   a new invitation under another name";
        return Ok(Err(Denied::new(409, "invitation used by another key", who, why)));
    }
    if now > invited.until {
        let why = format!("this invitation was good until {}; make a new one", invited.until);
        return Ok(Err(Denied::new(403, "invitation too old", who, why)));
    }
    Ok(no_other(r, ask)?.map(|()| invited.with(ask.public_key)))
}

fn by_known_key(r: &Reader<'_>, ask: &Ask, now: UtcMs) -> Result<Result<Device, Denied>, StoreError> {
    let who = &ask.device;
    let known = r.device(who)?.filter(|device| device.public_key == ask.public_key);
    let Some(device) = known else {
        let why = "this key is not listed for this device; ask for an invitation";
        return Ok(Err(Denied::new(401, "unknown key", who, why)));
    };
    if now > r.may_adopt_until(who)? {
        let why = "this device may not take a certificate by its key now; run `gatehouse-hub device adopt`";
        return Ok(Err(Denied::new(403, "not adopted", who, why)));
    }
    Ok(Ok(device))
}

/// Whether name and key belong together: neither is anybody else's, and neither was revoked.
fn no_other(r: &Reader<'_>, ask: &Ask) -> Result<Result<(), Denied>, StoreError> {
    let who = &ask.device;
    if r.revoked(who)?.is_some() {
        let why = "this device was revoked; give the one that takes its place another name";
        return Ok(Err(Denied::new(403, "revoked", who, why)));
    }
    if r.device(who)?.is_some_and(|known| known.public_key != ask.public_key) {
        let why = "another key is listed for this device: one name is one chain of decisions; enrol under another name";
        return Ok(Err(Denied::new(409, "name of another key", who, why)));
    }
    if r.device_of_key(&ask.public_key)?.is_some_and(|other| other != *who) {
        let why = "this key is another device's; remove the key file, so that a new one is made, and ask again";
        return Ok(Err(Denied::new(409, "key of another device", who, why)));
    }
    Ok(Ok(()))
}

/// Gives a device its next certificate, with the scopes that are listed for it now. `peer`: by which certificate the
/// line was made; without one the last must have expired, and not too long ago.
/// # Errors
/// The store's own.
pub fn renew(
    tx: &mut Tx<'_>,
    authority: &Authority,
    terms: &Terms,
    sealed: &Sealed,
    peer: Option<&Peer>,
    now: UtcMs,
) -> Result<Result<Enrolled, Denied>, StoreError> {
    let ask = match open(sealed, Purpose::Renew) {
        Ok(ask) => ask,
        Err(denied) => return Ok(Err(denied)),
    };
    let device = match renewing(tx, &ask, terms, peer, now)? {
        Ok(device) => device,
        Err(denied) => return Ok(Err(denied)),
    };
    let request = match LineRequest::read(&ask.request) {
        Ok(request) => request,
        Err(e) => return Ok(Err(Denied::new(400, "request", &ask.device, e.to_string()))),
    };
    issue(tx, authority, terms, &device, &request, "certificate renewed", now).map(Ok)
}

fn renewing(
    r: &Reader<'_>,
    ask: &Ask,
    terms: &Terms,
    peer: Option<&Peer>,
    now: UtcMs,
) -> Result<Result<Device, Denied>, StoreError> {
    let who = &ask.device;
    let known = r.device(who)?.filter(|device| device.public_key == ask.public_key);
    let Some(device) = known else {
        // Revoked, removed, or never there: one answer.
        let why = "this device and key are not listed, or not any more; ask for an invitation";
        return Ok(Err(Denied::new(401, "unknown key", who, why)));
    };
    if let Some(peer) = peer {
        if peer.device.device != *who {
            return Ok(Err(Denied::new(403, "foreign certificate", who, "the certificate is another device's")));
        }
        return Ok(match not_in_use(r, &peer.serial)? {
            None => Ok(device),
            Some(why) => Err(Denied::new(403, "certificate not in use", who, why)),
        });
    }
    let Some(last) = r.certificates_of(who)?.into_iter().next() else {
        let why = "there is no certificate to renew; ask for an invitation";
        return Ok(Err(Denied::new(403, "nothing to renew", who, why)));
    };
    let ago = now.since(last.until);
    if ago <= 0 {
        let why = "the last certificate is still good: renew it over a line made with it";
        return Ok(Err(Denied::new(403, "renewed without certificate", who, why)));
    }
    if ago > terms.grace_ms {
        let why = format!(
            "the certificate expired at {}, longer ago than this hub allows; ask for an invitation under the same name",
            last.until
        );
        return Ok(Err(Denied::new(403, "expired too long ago", who, why)));
    }
    Ok(Ok(device))
}

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

fn issue(
    tx: &mut Tx<'_>,
    authority: &Authority,
    terms: &Terms,
    device: &Device,
    request: &LineRequest,
    action: &str,
    now: UtcMs,
) -> Result<Enrolled, StoreError> {
    // Asked again because the answer was lost: the same certificate, so that repeats leave no trail of them.
    let again = tx.certificates_of(&device.device)?.into_iter().next().filter(|last| {
        let is_good = last.superseded.is_none() && last.until.since(now) > terms.lasts_ms / 2;
        is_good && last.line_key == request.key_hash() && says_the_same(last, device)
    });
    let certificate = match again {
        Some(certificate) => certificate,
        None => {
            let made = authority
                .certify(device, request, now, now.plus(terms.lasts_ms))
                .map_err(|e| StoreError::Refused(e.to_string()))?;
            tx.put_certificate(&made)?;
            tx.audit(&AuditEntry {
                at: now,
                actor: device.device.to_string(),
                action: action.to_owned(),
                subject: device.device.to_string(),
                detail: format!("certificate {} until {}, key {}", made.serial, made.until, device.public_key),
            })?;
            made
        }
    };
    Ok(Enrolled {
        device: device.device.clone(),
        sites: device.sites.clone(),
        vehicles: device.vehicles.clone(),
        url: terms.url.clone(),
        hub: terms.hub,
        authority: authority.pem().to_owned(),
        certificate: certificate.pem,
        from: certificate.from,
        until: certificate.until,
        grace_ms: terms.grace_ms,
    })
}

fn says_the_same(certificate: &Certificate, device: &Device) -> bool {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let der = CertificateDer::from_pem_slice(certificate.pem.as_bytes());
    der.is_ok_and(|der| Peer::of(&der).is_ok_and(|peer| peer.device == *device))
}
