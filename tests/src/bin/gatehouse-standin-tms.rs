//! Runs the stand-in TMS as a program of its own.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use clap::Parser;
use gatehouse_tests::standin::{
    events::{Sender, SenderOptions, System},
    wire,
};
use tracing_subscriber::filter::LevelFilter;

/// A pretend transport management system for the Gatehouse demo and tests: tells the hub whether vehicle and carrier can take an order.
///
/// It sends each fact as a CloudEvent to /v1/events of the hub, in order per order number, and tries again until the
/// hub answers 2xx. What the hub refuses (4xx but 429) goes to a list to be read. It has no clock of its own: how old
/// a fact is says whoever gives it the fact. Everything is held in memory and gone when it ends.
#[derive(Parser)]
#[command(
    name = "gatehouse-standin-tms",
    after_help = "Examples:
  gatehouse-standin-tms --hub http://127.0.0.1:8080 --token TOKEN
      listens on 127.0.0.1:8093 for facts
  curl 127.0.0.1:8093/admin/facts -d '[
      {\"order\":\"SO-1\",\"sufficient\":true,\"vehicle\":\"V1\",\"at\":\"2030-05-01T08:00:00Z\"},
      {\"order\":\"SO-1\",\"accepted\":true,\"carrier\":\"ACME\",\"at\":\"2030-05-01T08:00:00Z\"}]'
      says something; the same again sends nothing, another value or time sends a new event
  curl 127.0.0.1:8093/admin/reconfirm -d '{\"at\":\"2030-05-01T12:00:00Z\",\"orders\":null}'
      says all of it again as of noon; a list of order numbers in place of null says only those
  curl 127.0.0.1:8093/admin/faults -d '{\"down\":true}'
      sends nothing until {\"down\":false}; meanwhile the queue grows
  curl 127.0.0.1:8093/admin/status
      how many wait, were taken, were refused; /admin/rejected shows those with the hub's answer

When it is ready it prints one line, for example:
  {\"ready\":\"127.0.0.1:8093\"}"
)]
struct Arguments {
    /// Loopback address and port to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8093", value_parser = wire::loopback)]
    listen: SocketAddr,
    /// Where the hub is; /v1/events is added
    #[arg(long, value_name = "URL")]
    hub: String,
    /// Bearer token that the hub gave this integration
    #[arg(long, env = "GATEHOUSE_STANDIN_TMS_TOKEN", hide_env_values = true)]
    token: String,
    /// Longest wait between two tries of one event, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..))]
    retry_wait_max_ms: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    gatehouse_tests::start_logs(LevelFilter::WARN);
    let sender = Sender::new(SenderOptions {
        system: System::Tms,
        hub: arguments.hub,
        token: arguments.token,
        retry_wait_max: Duration::from_millis(arguments.retry_wait_max_ms),
    })?;
    let listen = arguments.listen;
    wire::serve_until_stopped(listen, sender.router()).await.with_context(|| format!("serving on {listen}"))
}
