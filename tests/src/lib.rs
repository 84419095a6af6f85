//! The pretend world, stand-ins for what surrounds the product, and the demo.
//!
//! Nothing here ships. The product never depends on this package.

pub mod blocks;
pub mod broker;
pub mod contract;
pub mod demo;
pub mod erp_bench;
pub mod erp_trial;
pub mod families;
pub mod fuzz;
pub mod killed_hub;
pub mod mosquitto;
pub mod standin;
pub mod tryton;
pub mod world;

use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Starts writing to standard error what is at least as grave as `level`, or what `RUST_LOG` says.
pub fn start_logs(level: LevelFilter) {
    let wanted = std::env::var("RUST_LOG").ok().and_then(|levels| levels.parse::<Targets>().ok());
    let filter = wanted.unwrap_or_else(|| Targets::new().with_default(level));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(filter).with(lines).init();
}
