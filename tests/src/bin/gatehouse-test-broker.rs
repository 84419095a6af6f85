//! Runs the embedded test broker as a program of its own.

use std::io::Write;
use std::net::SocketAddr;

use clap::Parser;
use gatehouse_tests::broker::{Broker, BrokerOptions};
use tracing_subscriber::filter::LevelFilter;

/// A small MQTT 3.1.1 broker for the Gatehouse demo and tests, so that nothing needs installing.
///
/// It keeps persistent sessions, queues QoS 1 messages for clients that are away and never drops
/// one: when its budget is used up it makes publishers wait. Everything is held in memory and gone
/// when it ends, and there is no TLS. For a depot, use mosquitto with the settings in firmware-config.
#[derive(Parser)]
#[command(
    name = "gatehouse-test-broker",
    after_help = "Examples:
  gatehouse-test-broker
      listens on 127.0.0.1:1883 until Ctrl-C
  gatehouse-test-broker --listen 127.0.0.1:0
      takes a free port and prints it
  GATEHOUSE_TEST_BROKER_PASSWORD=secret gatehouse-test-broker --username depot
      lets in only clients that show this name and password
  RUST_LOG=debug gatehouse-test-broker
      tells of each client that comes, goes or is refused

When it is ready it prints one line, for example:
  listening on 127.0.0.1:1883"
)]
struct Arguments {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:1883")]
    listen: SocketAddr,
    /// MiB of messages that may wait for clients; then publishers wait
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    budget: u32,
    /// QoS 1 messages one client may have unacknowledged
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    in_flight: u16,
    /// Longest packet in KiB; a client that sends a longer one is disconnected
    #[arg(long, value_name = "KIB", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=262_143))]
    packet_max: u32,
    /// User name that clients must show; without it anyone may connect
    #[arg(long, requires = "password")]
    username: Option<String>,
    /// The password to it; better given in the environment than on the command line
    #[arg(long, env = "GATEHOUSE_TEST_BROKER_PASSWORD", hide_env_values = true)]
    password: Option<String>,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    gatehouse_tests::start_logs(LevelFilter::WARN);
    let options = BrokerOptions {
        queued_bytes_max: arguments.budget as usize * 1024 * 1024,
        in_flight_max: arguments.in_flight,
        packet_bytes_max: arguments.packet_max as usize * 1024,
        login: arguments.username.zip(arguments.password),
        ..BrokerOptions::default()
    };
    let broker = match Broker::start(arguments.listen, options) {
        Ok(broker) => broker,
        Err(error) => {
            eprintln!("cannot listen on {}: {error}; choose another with --listen", arguments.listen);
            std::process::exit(1);
        }
    };
    writeln!(std::io::stdout(), "listening on {}", broker.address())?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt?,
        _ = terminate.recv() => {}
    }
    broker.stop().await;
    Ok(())
}
