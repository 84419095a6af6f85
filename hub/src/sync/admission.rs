//! Who may speak: certificate, list, signature, budget, run and nonce, in this order.
//!
//! In: what came over which line. Out: the device as it is listed, or why it is refused, which is counted and told to the
//! audit. The certificate says who it is and for what; the signature, that this very request is its own: behind a proxy
//! that ends TLS the signature stands alone.

use gatehouse_common::{seal::PublicKey, time::UtcMs};
use tracing::{debug, warn};

use super::{
    copies::{is_outlived, run_of},
    quota::{Quota, Quotas},
    refusal::Refusal,
    refusals::Refusals,
    signed::{Claim, Nonces},
    standing,
};
use crate::{
    clock::Clock,
    identity::{Peer, Revocations, counts, not_in_use, take_in},
    listen::Caller,
    store::{AuditEntry, Device, Run, Store, StoreError},
};

/// The rules of admission.
pub struct Admission {
    /// Whether a device without a certificate may speak: signatures alone, as before there were certificates.
    pub without_certificate: bool,
    /// What each may ask in a minute.
    pub quota: Quota,
    /// Where refusals are told.
    pub refusals: Refusals,
    /// Who is cut off meanwhile.
    pub revocations: Revocations,
}

/// Admission at work.
pub(super) struct Gate {
    store: Store,
    clock: Clock,
    without_certificate: bool,
    pub(super) refusals: Refusals,
    pub(super) revocations: Revocations,
    quotas: Quotas,
    nonces: Nonces,
}

/// What is wrong, with a word for counts and audit. `None` for what is nobody's fault.
type Wrong = (Refusal, Option<&'static str>);

fn wrong(what: &'static str, refusal: Refusal) -> Wrong {
    (refusal, Some(what))
}

/// Whose certificate was shown.
fn peer(caller: Option<&Caller>) -> Option<&Peer> {
    caller.and_then(|caller| caller.peer.as_deref())
}

impl Gate {
    pub(super) fn new(store: Store, clock: Clock, admission: Admission) -> Self {
        let Admission { without_certificate, quota, refusals, revocations } = admission;
        let quotas = Quotas::new(quota);
        let nonces = Nonces::default();
        Self { store, clock, without_certificate, refusals, revocations, quotas, nonces }
    }

    /// Whether one who claims this may send anything over its line. Asked before the body is read: who may not must not
    /// have it kept until it is whole.
    pub(super) async fn may_send(&self, claim: &Claim, caller: Option<&Caller>) -> Result<(), Refusal> {
        match self.by_line(claim, peer(caller)) {
            Ok(()) => Ok(()),
            Err(wrong) => Err(self.refused(wrong, claim, caller).await),
        }
    }

    /// Who sent this request.
    pub(super) async fn admit(
        &self,
        path: &str,
        claim: &Claim,
        body: &[u8],
        caller: Option<&Caller>,
    ) -> Result<Device, Refusal> {
        match self.check(path, claim, body, peer(caller)).await {
            Ok(device) => {
                self.pay(&device, body.len());
                Ok(device)
            }
            Err(wrong) => Err(self.refused(wrong, claim, caller).await),
        }
    }

    /// Counts and tells what somebody is at fault for.
    async fn refused(&self, (refusal, what): Wrong, claim: &Claim, caller: Option<&Caller>) -> Refusal {
        if let Some(what) = what {
            // Only a certificate makes a claim somebody's: else anyone could fill the audit of a name.
            let who = peer(caller).map_or("somebody", |peer| peer.device.device.as_str());
            let who = if refusal.is_proved() { claim.device.as_str() } else { who };
            let address = caller.map_or_else(String::new, |caller| format!(" (from {})", caller.address.ip()));
            let detail = format!("claims to be {}: {}{address}", claim.device, refusal.why());
            self.refusals.told(who, what, &detail).await;
        }
        refusal
    }

    /// Takes `bytes` from the device's budget.
    pub(super) fn pay(&self, device: &Device, bytes: usize) {
        self.quotas.pay(&device.device, bytes, self.clock.now().boottime_ms);
    }

    /// What a line must be for the device that is claimed to speak over it.
    fn by_line(&self, claim: &Claim, peer: Option<&Peer>) -> Result<(), Wrong> {
        match peer {
            Some(peer) if peer.device.device != claim.device => {
                let why = format!("the certificate is {}'s", peer.device.device);
                Err(wrong("foreign identity", Refusal::Forbidden(why)))
            }
            None if !self.without_certificate => {
                let why = "this hub asks devices for a certificate: `gatehouse-agent enrol` gets one; the recipe is \
                           docs/recipes/enrol-a-device.md";
                Err(wrong("no certificate", Refusal::Forbidden(why.to_owned())))
            }
            _ => Ok(()),
        }
    }

    async fn check(&self, path: &str, claim: &Claim, body: &[u8], peer: Option<&Peer>) -> Result<Device, Wrong> {
        let now = self.clock.wall();
        // Once more: nobody gets in only because nobody asked before.
        self.by_line(claim, peer)?;
        let (name, serial) = (claim.device.clone(), peer.map(|peer| peer.serial.clone()));
        let (device, revoked, unused, until, runs) = self
            .store
            .read(move |r| {
                let unused = serial.as_deref().map_or(Ok(None), |serial| not_in_use(r, serial))?;
                let issued = serial.as_deref().map_or(Ok(None), |serial| r.certificate(serial))?;
                let until = issued.map(|issued| issued.until);
                Ok((r.device(&name)?, r.revoked(&name)?, unused, until, r.runs_of(&name)?))
            })
            .await
            .map_err(|e| (Refusal::Later(e), None))?;
        if let (Some(revoked), Some(_)) = (revoked, peer) {
            return Err(wrong("revoked", Refusal::Forbidden(format!("this device was revoked at {}", revoked.at))));
        }
        let key: Option<&PublicKey> = device.as_ref().map(|d| &d.public_key);
        claim.verify(path, body, key, now).map_err(|why| wrong("signature", Refusal::Unknown(why)))?;
        let Some(device) = device else {
            return Err(wrong("signature", Refusal::Unknown("unknown device".to_owned())));
        };
        if let Some(peer) = peer {
            self.by_certificate(&device, peer, unused, now).await?;
        }
        if until.is_some_and(|until| now > until) {
            // It was good when the line was made, and a line can last.
            return Err(wrong("certificate expired", Refusal::Renew("the certificate has expired".to_owned())));
        }
        self.quotas
            .take(&device.device, self.clock.now().boottime_ms)
            .map_err(|seconds| wrong("quota", Refusal::Busy(seconds)))?;
        if run_of(&claim.nonce).is_some_and(|run| is_outlived(&runs, run, claim.time)) {
            self.tell_copies(&device, now).await;
            let why = "another copy of this device has begun since this one did, and only one may speak: stop one of \
                       them, and revoke the device if you do not know the other";
            return Err(wrong("two copies", Refusal::Conflict(why.to_owned())));
        }
        self.take_nonce(claim, now).await?;
        Ok(device)
    }

    /// What a certificate must be beyond its signature, which the handshake checked.
    async fn by_certificate(
        &self,
        device: &Device,
        peer: &Peer,
        unused: Option<&'static str>,
        now: UtcMs,
    ) -> Result<(), Wrong> {
        if let Some(why) = unused
            && !self.takes_in(peer, now).await?
        {
            return Err(wrong("certificate not in use", Refusal::Forbidden(why.to_owned())));
        }
        if device.public_key != peer.device.public_key {
            let why = "the certificate was made for another key; ask for an invitation under the same name";
            return Err(wrong("foreign key", Refusal::Forbidden(why.to_owned())));
        }
        if *device != peer.device {
            // Neither what the certificate says nor what the list says alone: nothing, until they agree.
            let why = "the scopes of this device have changed; its certificate must be renewed first";
            return Err((Refusal::Renew(why.to_owned()), None));
        }
        let (serial, name) = (peer.serial.clone(), device.device.clone());
        let newer = self.store.read(move |r| r.has_older(&serial, &name)).await;
        if newer.map_err(|e| (Refusal::Later(e), None))? {
            let (serial, name) = (peer.serial.clone(), device.device.clone());
            if let Err(error) = self.store.write(move |tx| tx.supersede(&serial, &name, now)).await {
                debug!(%error, "older certificates could not be noted as superseded");
            }
        }
        Ok(())
    }

    /// Whether a certificate that is not listed is one that a restore made the hub forget; it is listed then.
    async fn takes_in(&self, peer: &Peer, now: UtcMs) -> Result<bool, Wrong> {
        let later = |e| -> Wrong { (Refusal::Later(e), None) };
        let shown = peer.clone();
        // A look first: who is refused takes no turn from those who write.
        if !self.store.read(move |r| counts(r, &shown, now)).await.map_err(later)? {
            return Ok(false);
        }
        let shown = peer.clone();
        self.store.write(move |tx| take_in(tx, &shown, now)).await.map_err(later)
    }

    async fn take_nonce(&self, claim: &Claim, now: UtcMs) -> Result<(), Wrong> {
        let repeated = || wrong("replay", Refusal::Repeated("nonce was used before".to_owned()));
        if !self.nonces.is_new(&claim.device, &claim.nonce, now) {
            return Err(repeated());
        }
        let (device, nonce) = (claim.device.clone(), claim.nonce.clone());
        let run = run_of(&nonce).map(|run| Run { run: run.to_owned(), began: claim.time });
        let taken = self.store.write(move |tx| {
            if let Some(run) = run {
                tx.note_run(&device, &run)?;
            }
            tx.take_nonce(&device, &nonce, now)
        });
        match taken.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(repeated()),
            // A recall has to get through even while the disk is full: until the next start memory must do. The memory of
            // one replica is none of another's.
            Err(StoreError::NotWritten(_)) if !self.store.is_shared() => Ok(()),
            Err(e) => Err((Refusal::Later(e), None)),
        }
    }

    /// Opens a case, the first time.
    async fn tell_copies(&self, device: &Device, now: UtcMs) {
        let (name, site) = (device.device.clone(), device.sites.first().cloned());
        warn!(device.id = %name, "two copies of {name} are at work");
        let told = self.store.write(move |tx| {
            let Some(site) = site else { return Ok(()) };
            let summary = format!(
                "two copies of {name} speak in turns: the one that began last is heard, the other refused; stop one, \
                 and revoke the device if the other is not yours"
            );
            if standing::violation(tx, &name, &site, "two copies".to_owned(), None, summary, now)? {
                tx.audit(&AuditEntry {
                    at: now,
                    actor: name.to_string(),
                    action: "two copies of a device".to_owned(),
                    subject: name.to_string(),
                    detail: "a run spoke after a newer one had begun".to_owned(),
                })?;
            }
            Ok(())
        });
        if let Err(error) = told.await {
            warn!(%error, "the case about two copies could not be opened: {error}");
        }
    }
}
