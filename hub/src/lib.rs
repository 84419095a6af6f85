//! The hub: gathers what depots say, reconciles it with the ERP and shows it.
//!
//! [`store`] remembers, [`listen`] takes connections, [`identity`] says who devices are, [`sync`] speaks with them,
//! [`core`] decides. [`reconciler`] and [`lease_grants`]
//! carry out what it decided, [`erp`] speaks with the ERP, and [`partners`] understands what WMS and TMS say, [`exports`]
//! writes down what happened for programs that look at processes.
//! [`api`] and [`console`] are its face to programs and people, whom [`auth`] knows. [`wiring`] puts all together.

pub mod api;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod core;
pub mod descriptors;
pub mod erp;
pub mod exports;
#[cfg(test)]
mod fixture;
pub mod identity;
pub mod imports;
pub mod lease_grants;
pub mod listen;
pub mod partners;
pub mod reconciler;
pub mod scrub;
pub mod store;
pub mod sync;
pub mod tasks;
pub mod wiring;
