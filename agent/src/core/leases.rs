//! The lease held: taken in, used up, closed with a statement of its use.

use gatehouse_common::{
    case::CaseType,
    decision::{DecisionKind, LeaseCharge},
    gate::GateKind,
    id::DocumentId,
    lease::{HeldLease, Lease, LeaseRefusal, LeaseUse, within},
    order::{LineQuantity, Order},
    seal::Sealed,
    sync::Standing,
    time::{Moment, UtcMs},
};

use super::{
    Core,
    chain::Ruling,
    decision::{Change, Record},
};

impl Core {
    pub(super) fn take_lease(&mut self, now: &Moment, received: &Moment, sealed: &Sealed) {
        let read: Result<Lease, _> = match &self.profile.hub_key {
            Some(key) => sealed.open(key),
            None => sealed.peek(),
        };
        let lease = match read {
            Ok(lease) => lease,
            Err(e) => return self.refuse_item(now, "lease", format!("lease: {e}"), sealed.body.as_bytes()),
        };
        if lease.site != self.profile.site || !self.profile.is_gateway() {
            let why = format!("lease {} is for {}, not for this device", lease.id, lease.site);
            return self.refuse_item(now, "lease", why, sealed.body.as_bytes());
        }
        if !lease.is_for(&self.profile.device) {
            // It stands in the depot's feed for another gateway.
            return;
        }
        let is_held = self.lease.as_ref().is_some_and(|held| held.lease.id == lease.id);
        if self.lease.as_ref().is_some_and(|held| is_older(&lease, &held.lease)) {
            return;
        }
        if !is_held && lease.granted_at <= self.leases_after {
            tracing::info!(lease.id = %lease.id, "lease {} was held before and is not taken again", lease.id);
            return;
        }
        if self.withhold_lease(now, sealed) {
            return;
        }
        // The same lease with more time: what was used of it stays used.
        let used = match self.lease.take_if(|_| is_held) {
            Some(held) => held.used,
            None => {
                self.close_lease(now, "a newer lease took its place");
                LeaseUse::default()
            }
        };
        let id = lease.id.clone();
        self.out.records.push(Record::LeaseReceived { id, sealed: sealed.clone(), received: received.clone() });
        self.lease = Some(HeldLease { lease, received: received.clone(), used, left_before_boot: None });
        self.look_at_all = true;
        self.changed(Change::Status);
    }

    /// Closes the lease once its time is over.
    pub(super) fn expire_lease(&mut self, now: &Moment) {
        let over = self.lease.as_ref().is_some_and(|l| matches!(l.left_ms(now), Err(LeaseRefusal::Expired(_))));
        if over {
            self.close_lease(now, "its time is over");
        }
    }

    /// States what was used; the rest is the hub's again.
    fn close_lease(&mut self, now: &Moment, why: &str) {
        let Some(held) = self.lease.take() else { return };
        // The hub's feed may bring it again; its use would then be counted from nothing.
        self.no_leases_through(held.lease.granted_at);
        let charge = LeaseCharge { lease: held.lease.id.clone(), used: held.used.clone() };
        let reason = format!("lease {} closed: {why}", held.lease.id);
        let ruling = Ruling::of_rule(DecisionKind::LeaseClosed, "lease", reason, now);
        self.decide(Ruling { lease: Some(charge), ..ruling });
        self.out.records.push(Record::LeaseUsed { id: held.lease.id, used: held.used, closed: true });
        self.changed(Change::Status);
    }

    /// What the forgotten life of this device used of its leases nobody here knows: none of them is used any more,
    /// and no statement is made. The hub counts them whole until a person writes them off.
    pub(super) fn forget_lease(&mut self, known: &Standing) {
        if let Some(held) = self.lease.take() {
            self.out.records.push(Record::LeaseUsed { id: held.lease.id, used: held.used, closed: true });
        }
        self.no_leases_through(known.at);
    }

    /// No lease granted at `at` or before is taken any more.
    pub(super) fn no_leases_through(&mut self, at: UtcMs) {
        if at > self.leases_after {
            self.leases_after = at;
            self.write_rule("leases_after", &at);
        }
    }

    /// How old facts may be under the lease.
    pub(super) fn lease_limit_ms(&self, gate: GateKind, otherwise: u64) -> u64 {
        self.lease.as_ref().and_then(|l| l.lease.age_limit_ms.get(&gate).copied()).unwrap_or(otherwise)
    }

    /// What a release would use beyond what earlier releases of the same dispatch used of this lease.
    fn wanted(&self, dispatch: DocumentId, order: &Order, load: &[LineQuantity]) -> LeaseUse {
        let all = LeaseUse::of(order, load);
        let charged = self.rules.get(&dispatch.to_string()).and_then(|r| r.charged.as_ref());
        match (charged, &self.lease) {
            (Some((id, before)), Some(held)) if *id == held.lease.id => beyond(&all, before),
            _ => all,
        }
    }

    /// Whether the lease admits a release.
    pub(super) fn lease_admits(
        &self,
        now: &Moment,
        dispatch: DocumentId,
        order: &Order,
        load: &[LineQuantity],
    ) -> Result<(), LeaseRefusal> {
        let held = self.lease.as_ref().ok_or(LeaseRefusal::None)?;
        held.admits(&self.profile.site, &self.wanted(dispatch, order, load), now)
    }

    /// Whether a release would go beyond the credit that the lease sets aside for the customer. Value and stock are
    /// not asked: they are one person's to answer for.
    pub(super) fn passes_credit_slice(&self, dispatch: DocumentId, order: &Order, load: &[LineQuantity]) -> bool {
        let Some(held) = &self.lease else { return false };
        let credit = LeaseUse { credit_minor: self.wanted(dispatch, order, load).credit_minor, ..LeaseUse::default() };
        let only_credit = Lease { value_ceiling_minor: i64::MAX, ..held.lease.clone() };
        within(&only_credit, &held.used, &credit).is_err()
    }

    /// Uses the lease for a release, whether or not it admits it: what a person let go beyond it is gone from it
    /// too, else the rest would be spent twice. A lease whose time is over has nothing left to use.
    pub(super) fn charge(
        &mut self,
        now: &Moment,
        dispatch: DocumentId,
        order: &Order,
        load: &[LineQuantity],
    ) -> Option<LeaseCharge> {
        let wanted = self.wanted(dispatch, order, load);
        let held = self.lease.as_mut()?;
        // A suspended lease may come back to life before its end and must know of this then.
        if matches!(held.left_ms(now), Err(LeaseRefusal::Expired(_))) || now.wall >= held.lease.expires_at {
            return None;
        }
        held.used.add(&wanted);
        let (id, used) = (held.lease.id.clone(), held.used.clone());
        self.rules.edit(&dispatch.to_string(), |rule| match &mut rule.charged {
            Some((lease, before)) if *lease == id => before.add(&wanted),
            charged => *charged = Some((id.clone(), wanted.clone())),
        });
        self.out.records.push(Record::LeaseUsed { id: id.clone(), used, closed: false });
        self.changed(Change::Status);
        Some(LeaseCharge { lease: id, used: wanted })
    }
}

/// Whether a lease that came says nothing new beside the one held.
fn is_older(lease: &Lease, held: &Lease) -> bool {
    if lease.id == held.id { lease.expires_at <= held.expires_at } else { lease.granted_at < held.granted_at }
}

/// What `all` is more than `before`, in each part; never below nothing.
fn beyond(all: &LeaseUse, before: &LeaseUse) -> LeaseUse {
    let minor = |a: i64, b: i64| a.saturating_sub(b).max(0);
    LeaseUse {
        value_minor: minor(all.value_minor, before.value_minor),
        credit_minor: all
            .credit_minor
            .iter()
            .map(|(who, n)| (who.clone(), minor(*n, before.credit_minor.get(who).copied().unwrap_or(0))))
            .collect(),
        stock: all
            .stock
            .iter()
            .map(|(what, n)| (what.clone(), n.saturating_sub(before.stock.get(what).copied().unwrap_or(0))))
            .collect(),
    }
}

/// The case that a refused lease opens.
pub(super) fn case_of(refusal: &LeaseRefusal) -> CaseType {
    match refusal {
        LeaseRefusal::Credit { .. } => CaseType::CreditHold,
        LeaseRefusal::Stock { .. } => CaseType::InvUnconfirmed,
        _ => CaseType::FeedStale,
    }
}
