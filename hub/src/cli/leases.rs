//! Errands about leases: list, and write off what a depot that stays away will not report.

use anyhow::bail;
use clap::{Args, Subcommand};
use gatehouse_common::id::{DeviceId, LeaseId, SiteId};

use super::{open, say};
use crate::{
    clock::Clock,
    core::leases::{LeaseRow, LeaseState},
    lease_grants,
};

#[derive(Debug, Subcommand)]
pub(super) enum Leases {
    /// Print every lease that may still weigh on credit or stock, and the depots that have to tell theirs after a restore.
    List {
        /// Where everything is kept.
        #[arg(long, value_name = "DATABASE")]
        database: String,
    },
    /// Write off what of a lease its depot has not reported, so that it can be lent again. Only once it has run out.
    ///
    /// What the depot reports later weighs all the same. With --gateway: after a restore, answer for it that this gateway
    /// holds no lease which the hub has forgotten. With --site: the same of every gateway of the depot, also of those that
    /// are about to tell.
    WriteOff(WriteOff),
}

#[derive(Debug, Args)]
pub(super) struct WriteOff {
    /// Where everything is kept.
    #[arg(long, value_name = "DATABASE")]
    database: String,
    /// The lease, as `list` names it.
    #[arg(required_unless_present_any = ["site", "gateway"])]
    lease: Option<LeaseId>,
    /// The depot that does not come back after a restore, with all its gateways.
    #[arg(long, conflicts_with = "lease")]
    site: Option<SiteId>,
    /// The one gateway that does not come back after a restore; others of its depot are still waited for.
    #[arg(long, conflicts_with_all = ["lease", "site"])]
    gateway: Option<DeviceId>,
    /// Who answers for it, for the audit.
    #[arg(long)]
    by: String,
    /// Why, for the audit.
    #[arg(long)]
    why: String,
}

pub(super) fn run(errand: Leases) -> anyhow::Result<()> {
    match errand {
        Leases::List { database } => list(&database),
        Leases::WriteOff(off) => write_off(off),
    }
}

fn list(database: &str) -> anyhow::Result<()> {
    let store = open(database, false)?;
    let (leases, untold) = store.read_now(|r| Ok((r.leases_that_weigh()?, r.untold_leases()?)))?;
    for LeaseRow { lease, state, asked_at, .. } in leases {
        let waits = match asked_at.filter(|_| state == LeaseState::Outstanding) {
            Some(since) => format!("  its depot stays away; waits for a person since {since}"),
            None => String::new(),
        };
        let whose =
            lease.device.map_or_else(|| lease.site.to_string(), |gateway| format!("{} ({gateway})", lease.site));
        say(&format!("{}  {whose}  {}  until {}{waits}", lease.id, state.as_str(), lease.expires_at))?;
    }
    for (site, gateway) in untold {
        say(&format!(
            "{site} ({gateway}) has not told since the restore which leases it holds: nobody gets a new one"
        ))?;
    }
    Ok(())
}

fn write_off(off: WriteOff) -> anyhow::Result<()> {
    let WriteOff { database, lease, site, gateway, by, why } = off;
    let (store, now) = (open(&database, false)?, Clock::system().wall());
    match (lease, site, gateway) {
        (Some(lease), None, None) => {
            let row = store.write_now(move |tx| lease_grants::write_off(tx, &lease, &by, &why, now))?;
            say(&format!("lease {} of {} is written off", row.lease.id, row.lease.site))
        }
        (None, Some(site), None) => {
            let told = site.clone();
            store.write_now(move |tx| lease_grants::write_off_untold(tx, &told, &by, &why, now))?;
            say(&format!("what any gateway of {site} may have held before the restore is written off"))
        }
        (None, None, Some(gateway)) => {
            let told = gateway.clone();
            store.write_now(move |tx| lease_grants::write_off_untold_of(tx, &told, &by, &why, now))?;
            say(&format!("what {gateway} may have held before the restore is written off"))
        }
        _ => bail!("name a lease, a gateway with --gateway, or a depot with --site"),
    }
}
