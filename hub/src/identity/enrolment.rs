//! Decides who gets a certificate, and makes it: the first one here, the next ones in [`super::renewal`].
//!
//! In: a sealed question, first in a look, then in a transaction. Out: the certificate, or why there is none. Scopes
//! come from the invitation or from the list of devices, never from the question. Everything can be asked again: the
//! same key gets the same name.

use gatehouse_common::{
    id::{DeviceId, Hash32},
    seal::{PublicKey, Sealed},
    sync::enrolment::{Ask, Enrolled, Purpose},
    time::UtcMs,
};

use super::{Authority, LineRequest, Peer};
use crate::store::{AuditEntry, Certificate, Device, Reader, StoreError, Tx};

const HOUR_MS: i64 = 3_600_000;
/// Most certificates that one device gets in an hour: answers are lost and scopes changed a few times, not without end.
const CERTIFICATES_AN_HOUR: usize = 6;

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
    /// Whether the claim is proved: by the key that is listed for the name, or by an invitation that was made for it.
    pub is_proved: bool,
    /// Seconds after which it can be asked again, where that helps.
    pub retry_after_s: Option<u64>,
}

impl Denied {
    pub(super) fn new(status: u16, what: &'static str, who: &DeviceId, why: impl Into<String>) -> Self {
        Self { who: Some(who.clone()), ..Self::nobody(status, what, why) }
    }

    /// Of a question that names nobody, or was not read so far.
    pub(super) fn nobody(status: u16, what: &'static str, why: impl Into<String>) -> Self {
        Self { status, what, why: why.into(), who: None, is_proved: false, retry_after_s: None }
    }
}

/// Who may have a certificate, and for what.
pub(super) struct Admitted {
    device: Device,
    /// The invitation that is used for it; the list then says what that says.
    uses: Option<Hash32>,
    /// The key of its line.
    request: LineRequest,
    /// Asked again because the answer was lost: the same certificate, so that repeats leave no trail of them.
    again: Option<Certificate>,
}

/// Reads a sealed question: whoever asks holds the key that it names.
pub(super) fn open(sealed: &Sealed, purpose: Purpose) -> Result<Ask, Denied> {
    let denied = |why: String| Denied::nobody(401, "unreadable", why);
    let claimed: Ask = sealed.peek().map_err(|e| denied(e.to_string()))?;
    let ask: Ask = sealed.open(&claimed.public_key).map_err(|e| denied(e.to_string()))?;
    if ask.purpose == purpose { Ok(ask) } else { Err(denied("it was signed for something else".to_owned())) }
}

/// Whether [`enrol`] would give a certificate: a look, so that who is refused takes no turn from those who write.
/// # Errors
/// The store's own.
pub fn may_enrol(r: &Reader<'_>, terms: &Terms, sealed: &Sealed, now: UtcMs) -> Result<Result<(), Denied>, StoreError> {
    Ok(enrolling(r, terms, sealed, now)?.map(|_| ()))
}

/// Gives a device its first certificate, on an invitation or because its key was to be taken over. An invitation that
/// the same key used before gives what is listed now, not what it said.
/// # Errors
/// The store's own.
pub fn enrol(
    tx: &mut Tx<'_>,
    authority: &Authority,
    terms: &Terms,
    sealed: &Sealed,
    now: UtcMs,
) -> Result<Result<Enrolled, Denied>, StoreError> {
    let admitted = match enrolling(tx, terms, sealed, now)? {
        Ok(admitted) => admitted,
        Err(denied) => return Ok(Err(denied)),
    };
    if let Some(invitation) = &admitted.uses {
        tx.use_invitation(invitation, &admitted.device.public_key, now)?;
        tx.put_device(&admitted.device, now)?;
    }
    issue(tx, authority, terms, admitted, "device enrolled", now).map(Ok)
}

fn enrolling(
    r: &Reader<'_>,
    terms: &Terms,
    sealed: &Sealed,
    now: UtcMs,
) -> Result<Result<Admitted, Denied>, StoreError> {
    let ask = match open(sealed, Purpose::Enrol) {
        Ok(ask) => ask,
        Err(denied) => return Ok(Err(denied)),
    };
    let found = match &ask.secret {
        Some(secret) => by_invitation(r, &ask, Hash32::of(secret.as_bytes()), now)?,
        None => by_known_key(r, &ask, now)?.map(|device| (device, None)),
    };
    let admitted = match found {
        Ok((device, uses)) => admit(r, terms, &ask, device, uses, now)?,
        Err(denied) => Err(denied),
    };
    with_proof(r, &ask, admitted)
}

/// Who is let in, and the invitation that is used for it.
type Found = (Device, Option<Hash32>);

fn by_invitation(r: &Reader<'_>, ask: &Ask, secret: Hash32, now: UtcMs) -> Result<Result<Found, Denied>, StoreError> {
    let who = &ask.device;
    let Some(invited) = r.invited(&secret)?.filter(|invited| invited.device == *who) else {
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
    if let Err(denied) = no_other(r, ask)? {
        return Ok(Err(denied));
    }
    if invited.used_by.is_none() {
        return Ok(Ok((invited.with(ask.public_key), Some(secret))));
    }
    // Since it was used, an administrator may have changed what the device may, or have taken it off the list.
    Ok(r.device(who)?.map(|listed| (listed, None)).ok_or_else(|| {
        let why = "this invitation was used, and the device was taken off the list since; make a new one";
        Denied::new(403, "invitation used", who, why)
    }))
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

/// Lets a device that may have a certificate have one: what it shows of its line must be right, and it must not have
/// had too many.
pub(super) fn admit(
    r: &Reader<'_>,
    terms: &Terms,
    ask: &Ask,
    device: Device,
    uses: Option<Hash32>,
    now: UtcMs,
) -> Result<Result<Admitted, Denied>, StoreError> {
    // Read only now: nobody who may not ask has bytes of theirs read as a certificate's.
    let request = match LineRequest::read(&ask.request) {
        Ok(request) => request,
        Err(e) => return Ok(Err(Denied::new(400, "request", &ask.device, e.to_string()))),
    };
    let given = r.certificates_of(&device.device)?;
    let again = newest(&given).filter(|last| {
        let is_good = last.from <= now && last.until.since(now) > terms.lasts_ms / 2;
        is_good && last.line_key == request.key_hash() && says_the_same(last, &device)
    });
    if let (None, Some(seconds)) = (again, full_for_s(&given, now)) {
        let why =
            format!("this device had {CERTIFICATES_AN_HOUR} certificates within an hour; come back in {seconds} s");
        let denied = Denied::new(429, "too many certificates", &ask.device, why);
        return Ok(Err(Denied { retry_after_s: Some(seconds), ..denied }));
    }
    Ok(Ok(Admitted { again: again.cloned(), device, uses, request }))
}

/// The one of those that were `given` that its device has, or waits for.
pub(super) fn newest(given: &[Certificate]) -> Option<&Certificate> {
    given.iter().find(|given| given.superseded.is_none())
}

/// Seconds until one of the certificates that were `given`, the newest first, makes room for another; none if there is.
fn full_for_s(given: &[Certificate], now: UtcMs) -> Option<u64> {
    // What is of the future was given before the clock was set back, and must not keep a device out until then.
    let mut ages = given.iter().map(|given| now.since(given.from)).filter(|age| (0..HOUR_MS).contains(age));
    let age = ages.nth(CERTIFICATES_AN_HOUR - 1)?;
    u64::try_from(HOUR_MS - age).ok().map(|left_ms| left_ms.div_ceil(1_000))
}

/// What was decided; of a refusal also whether who asked is known to be whom it claims to be.
pub(super) fn with_proof(
    r: &Reader<'_>,
    ask: &Ask,
    decided: Result<Admitted, Denied>,
) -> Result<Result<Admitted, Denied>, StoreError> {
    Ok(match decided {
        Ok(admitted) => Ok(admitted),
        Err(denied) => Err(Denied { is_proved: is_proved(r, ask)?, ..denied }),
    })
}

fn is_proved(r: &Reader<'_>, ask: &Ask) -> Result<bool, StoreError> {
    if r.key_of(&ask.device)?.is_some_and(|key| key == ask.public_key) {
        return Ok(true);
    }
    let Some(secret) = &ask.secret else { return Ok(false) };
    Ok(r.invited(&Hash32::of(secret.as_bytes()))?.is_some_and(|invited| invited.device == ask.device))
}

pub(super) fn issue(
    tx: &mut Tx<'_>,
    authority: &Authority,
    terms: &Terms,
    admitted: Admitted,
    action: &str,
    now: UtcMs,
) -> Result<Enrolled, StoreError> {
    let Admitted { device, request, again, .. } = admitted;
    let certificate = match again {
        Some(certificate) => certificate,
        None => make(tx, authority, terms, &device, &request, action, now)?,
    };
    Ok(Enrolled {
        device: device.device,
        sites: device.sites,
        vehicles: device.vehicles,
        url: terms.url.clone(),
        hub: terms.hub,
        authority: authority.pem().to_owned(),
        certificate: certificate.pem,
        from: certificate.from,
        until: certificate.until,
        grace_ms: terms.grace_ms,
    })
}

fn make(
    tx: &mut Tx<'_>,
    authority: &Authority,
    terms: &Terms,
    device: &Device,
    request: &LineRequest,
    action: &str,
    now: UtcMs,
) -> Result<Certificate, StoreError> {
    let made = authority
        .certify(device, request, now, now.plus(terms.lasts_ms))
        .map_err(|e| StoreError::Refused(e.to_string()))?;
    // No line can be made with one of the future, and it must not pass for the newest once its time comes.
    tx.supersede_from_after(now, &device.device)?;
    tx.put_certificate(&made)?;
    tx.forget_certificates(&device.device, now.plus(-terms.grace_ms))?;
    tx.audit(&AuditEntry {
        at: now,
        actor: device.device.to_string(),
        action: action.to_owned(),
        subject: device.device.to_string(),
        detail: format!("certificate {} until {}, key {}", made.serial, made.until, device.public_key),
    })?;
    Ok(made)
}

fn says_the_same(certificate: &Certificate, device: &Device) -> bool {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let der = CertificateDer::from_pem_slice(certificate.pem.as_bytes());
    der.is_ok_and(|der| Peer::of(&der).is_ok_and(|peer| peer.device == *device))
}
