//! Runs the stand-in ERP as a program of its own.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Context;
use clap::Parser;
use gatehouse_tests::standin::{
    erp::{Erp, ErpOptions, Faults},
    wire,
};
use tracing_subscriber::filter::LevelFilter;

/// A pretend ERP for the Gatehouse demo and tests: orders, customers, stock, and a log of what was posted to it.
///
/// It fails the way real ones do: it takes a posting and loses the answer. The only way to find out is
/// GET /effects?reference=KEY. Every effect that was applied is one line of the effects log, so a doubled or
/// a missing one can be counted there. Faults come by count, not by chance: the same calls meet the same faults.
#[derive(Parser)]
#[command(
    name = "gatehouse-standin-erp",
    after_help = "Examples:
  gatehouse-standin-erp
      listens on 127.0.0.1:8091; effects 5, 10, 15 ... are applied, but their answers are lost
  gatehouse-standin-erp --listen 127.0.0.1:0 --state erp.jsonl --effects-log effects.jsonl
      takes a free port and prints it; killed and started again, it knows what it knew
  gatehouse-standin-erp --reset-after-apply 0 --honour-keys
      an ERP as one would like it: every posting is answered, and a second try is recognised
  curl -X PUT 127.0.0.1:8091/admin/customers/C1 -d '{\"name\":\"Aster\",\"tier\":\"a\",
      \"credit\":{\"limit_minor\":500000,\"currency\":\"EUR\"}}'
      adds a customer; orders of it go to PUT /admin/orders/ID
  curl 127.0.0.1:8091/admin/faults -d '{\"down\":true}'
      resets every connection until {\"down\":false}; also reset_after_apply, fail_before_apply, slow_ms

For the hub, with `Authorization: Bearer TOKEN`:
  GET /orders?since=CURSOR&limit=N  GET /orders/ID  GET /customers?since=CURSOR&limit=N  GET /customers/ID
  GET /stock?site=S  POST /effects  GET /effects?reference=KEY
For the scene, with no token:
  PUT /admin/orders/ID  POST /admin/orders/ID/cancel  POST /admin/orders/ID/lines/LINE/quantity
  PUT /admin/customers/ID  POST /admin/customers/ID/hold  PUT /admin/stock
  GET /admin/effects  GET and POST /admin/faults  GET /healthz

When it is ready it prints one line, for example:
  {\"ready\":\"127.0.0.1:8091\"}"
)]
struct Arguments {
    /// Loopback address and port to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8091", value_parser = wire::loopback)]
    listen: SocketAddr,
    /// Bearer token that the hub must bring
    #[arg(long, env = "GATEHOUSE_STANDIN_ERP_TOKEN", default_value = "erp-demo-token")]
    token: String,
    /// File that orders, customers, stock and effects are rebuilt from at a restart; without it they are forgotten
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// File that gets one JSON line per applied effect, before the answer; belongs to one state file
    #[arg(long, value_name = "FILE")]
    effects_log: Option<PathBuf>,
    /// Lose the answer of every Nth applied effect by a connection reset; 0 loses none
    #[arg(long, value_name = "N", default_value_t = 5)]
    reset_after_apply: u64,
    /// Answer a second posting with a known reference by the first effect; without it, it is a second effect
    #[arg(long)]
    honour_keys: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    gatehouse_tests::start_logs(LevelFilter::WARN);
    let erp = Erp::open(ErpOptions {
        token: arguments.token,
        state: arguments.state,
        effects_log: arguments.effects_log,
        honour_keys: arguments.honour_keys,
        unique_keys: false,
        faults: Faults { reset_after_apply: arguments.reset_after_apply, ..Faults::default() },
    })?;
    let listen = arguments.listen;
    wire::serve_until_stopped(listen, erp.router()).await.with_context(|| format!("serving on {listen}"))
}
