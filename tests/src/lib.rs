//! The pretend world, stand-ins for what surrounds the product, and the demo.
//!
//! Nothing here ships. The product never depends on this package.

pub mod blocks;
pub mod broker;
pub mod demo;
pub mod fuzz;
pub mod mosquitto;
pub mod standin;
pub mod world;
