//! Decides who gets the next certificate.
//!
//! In: a sealed question, and by which certificate its line was made. Out: the certificate, or why there is none. Without
//! a certificate by which a line can be made, its own key must do for a device: after the end and within the grace, where
//! the clock was set back, and where the answer to its last question was lost.

use gatehouse_common::{
    seal::Sealed,
    sync::enrolment::{Ask, Enrolled, Purpose},
    time::UtcMs,
};

use super::{
    Authority, LineRequest, Peer,
    enrolment::{Admitted, Denied, Terms, admit, issue, newest, open, with_proof},
    in_use::{is_forgotten, not_in_use, take_in},
};
use crate::store::{Device, Reader, StoreError, Tx};

/// Whether [`renew`] would give a certificate: a look, so that who is refused takes no turn from those who write.
/// # Errors
/// The store's own.
pub fn may_renew(
    r: &Reader<'_>,
    terms: &Terms,
    sealed: &Sealed,
    peer: Option<&Peer>,
    now: UtcMs,
) -> Result<Result<(), Denied>, StoreError> {
    Ok(renewing(r, terms, sealed, peer, now)?.map(|_| ()))
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
    let admitted = match renewing(tx, terms, sealed, peer, now)? {
        Ok(admitted) => admitted,
        Err(denied) => return Ok(Err(denied)),
    };
    if let Some(peer) = peer {
        // One that a restore made the hub forget goes before the one that it makes now.
        take_in(tx, peer, now)?;
    }
    issue(tx, authority, terms, admitted, "certificate renewed", now).map(Ok)
}

fn renewing(
    r: &Reader<'_>,
    terms: &Terms,
    sealed: &Sealed,
    peer: Option<&Peer>,
    now: UtcMs,
) -> Result<Result<Admitted, Denied>, StoreError> {
    let ask = match open(sealed, Purpose::Renew) {
        Ok(ask) => ask,
        Err(denied) => return Ok(Err(denied)),
    };
    let admitted = match renewable(r, terms, &ask, peer, now)? {
        Ok(device) => admit(r, terms, &ask, device, None, now)?,
        Err(denied) => Err(denied),
    };
    with_proof(r, &ask, admitted)
}

fn renewable(
    r: &Reader<'_>,
    terms: &Terms,
    ask: &Ask,
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
            Some(why) if !is_forgotten(r, peer, now)? => Err(Denied::new(403, "certificate not in use", who, why)),
            _ => Ok(device),
        });
    }
    let given = r.certificates_of(who)?;
    let Some(last) = newest(&given) else {
        let why = "there is no certificate to renew; ask for an invitation";
        return Ok(Err(Denied::new(403, "nothing to renew", who, why)));
    };
    let ago = now.since(last.until);
    // With one that is not good yet, given before the clock was set back, no line can be made. Neither with one whose
    // answer was lost: who asks with its key was to have it.
    let is_usable =
        last.from <= now && LineRequest::read(&ask.request).is_ok_and(|request| request.key_hash() != last.line_key);
    if ago <= 0 && is_usable {
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
