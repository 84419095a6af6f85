//! Figures for whoever watches the hub: the text form of Prometheus (0.0.4).
//!
//! In: counts and times from the store. Out: lines. Money is among them, so it asks for a login or a token that may read.

use std::fmt::Write;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use gatehouse_common::time::UtcMs;

use super::{
    Api, Counts,
    problem::Problem,
    recon::FIGURES_MS,
    request::{Query, Reading},
};
use crate::store::{FamilyFigures, Reader, StoreError};

/// Counts of recon items and postings, what is open by family with its value, and how long settling takes.
#[utoipa::path(get, path = "/metrics", tag = "status",
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn metrics(State(api): State<Api>, Reading(who): Reading, query: Query) -> Result<Response, Problem> {
    query.finish()?;
    if !who.sees_all() {
        return Err(Problem::forbidden("these figures are of all depots; you see some of them"));
    }
    let now = api.clock.wall();
    let read = move |r: &Reader<'_>| {
        let documents = Documents::read(r, now)?;
        Ok::<_, StoreError>((Counts::read(r)?, r.recon_figures(now.plus(-FIGURES_MS))?, documents))
    };
    let (counts, figures, documents) = api.store.read(read).await?;
    let kind = (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    Ok(([kind], lines(&counts, &figures, &documents)).into_response())
}

/// What documents lack and what in them did not count.
#[derive(Debug, Default)]
struct Documents {
    /// For how long the first of those has waited that wait for the past of a change, in milliseconds.
    waits_ms: i64,
    /// In how many that somebody works on entries were superseded, by kind.
    conflicted: Vec<(String, u64)>,
}

impl Documents {
    fn read(r: &Reader<'_>, now: UtcMs) -> Result<Self, StoreError> {
        let waits_ms = r.waiting()?.1.map_or(0, |since| now.since(since).max(0));
        Ok(Self { waits_ms, conflicted: r.conflicted_counts()? })
    }
}

fn lines(counts: &Counts, figures: &[FamilyFigures], documents: &Documents) -> String {
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, rows: Vec<(String, String)>| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in rows {
            let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    let number = |n: u64| n.to_string();
    let rows = counts.postings.iter().map(|(state, n)| (format!("state=\"{state}\""), number(*n)));
    family("gatehouse_hub_postings", "gauge", "Postings to the ERP by state.", rows.collect());
    let rows = counts.recon.iter().map(|(outcome, n)| (format!("outcome=\"{outcome}\""), number(*n)));
    family("gatehouse_hub_recon_items", "gauge", "Recon items by outcome; those without one are open.", rows.collect());
    let of = |f: &FamilyFigures| format!("family=\"{}\"", f.family);
    let rows = figures.iter().map(|f| (of(f), number(f.open)));
    family("gatehouse_hub_recon_open", "gauge", "Recon items without an outcome.", rows.collect());
    let rows = figures.iter().map(|f| (of(f), number(f.waiting)));
    let help = "Recon items for which a person must choose.";
    family("gatehouse_hub_recon_waiting_for_a_person", "gauge", help, rows.collect());
    let rows = figures.iter().flat_map(|f| {
        f.open_value_minor
            .iter()
            .map(|(currency, minor)| (format!("{},currency=\"{currency}\"", of(f)), minor.to_string()))
    });
    let help = "What is at stake in open recon items, in minor units.";
    family("gatehouse_hub_recon_open_value_minor", "gauge", help, rows.collect());
    let seconds = |ms: i64| format!("{}.{:03}", ms / 1000, ms % 1000);
    let rows = figures.iter().flat_map(|f| {
        let quantiles = [("0.5", f.p50_ms), ("0.9", f.p90_ms)];
        quantiles
            .into_iter()
            .filter_map(move |(quantile, ms)| Some((format!("{},quantile=\"{quantile}\"", of(f)), seconds(ms?))))
    });
    let help = "Seconds from decision to settlement, of items settled in the last seven days.";
    family("gatehouse_hub_recon_settle_seconds", "gauge", help, rows.collect());
    let rows = figures.iter().map(|f| (of(f), number(f.settled)));
    let help = "Recon items settled in the last seven days.";
    family("gatehouse_hub_recon_settled_recently", "gauge", help, rows.collect());
    let help = "Leases that ran out long ago and of which nothing was stated.";
    let rows = vec![(String::new(), number(counts.leases_unreported))];
    family("gatehouse_hub_leases_unreported", "gauge", help, rows);
    let rows = counts.damaged.iter().map(|(table, n)| (format!("table=\"{table}\""), number(*n)));
    let help = "Rows of the store that are damaged and not whole again.";
    family("gatehouse_hub_damaged_rows", "gauge", help, rows.collect());
    let rows = vec![(String::new(), number(counts.waiting))];
    let help = "Documents that have changes whose past has not come in.";
    family("gatehouse_hub_documents_waiting", "gauge", help, rows);
    let rows = vec![(String::new(), seconds(documents.waits_ms))];
    let help = "Seconds that the first of them has waited; 0 if none does.";
    family("gatehouse_hub_documents_waiting_oldest_seconds", "gauge", help, rows);
    let rows = documents.conflicted.iter().map(|(kind, n)| (format!("kind=\"{kind}\""), number(*n)));
    let help = "Documents that somebody works on and in which entries were superseded.";
    family("gatehouse_hub_documents_conflicted", "gauge", help, rows.collect());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_metrics_names_what_the_hub_serves_and_nothing_else() {
        let (_, list) = include_str!("../../../docs/metrics.md").split_once("## The hub").unwrap();
        let listed: Vec<&str> =
            list.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).map(|(name, _)| name).collect();
        let text = lines(&Counts::default(), &[], &Documents::default());
        let served: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
            .map(|(name, _)| name)
            .collect();
        assert!(!served.is_empty());
        assert_eq!(served, listed);
    }
}
