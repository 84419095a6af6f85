//! The hub: gathers what depots say, reconciles it with the ERP and shows it.
//!
//! [`store`] remembers, [`sync`] speaks with devices, [`core`] decides. [`reconciler`] and [`lease_grants`]
//! carry out what it decided, [`erp`] speaks with the ERP, and [`partners`] understands what WMS and TMS say.
//! [`api`] and [`console`] are its face to programs and people, whom [`auth`] knows. [`wiring`] puts all together.

pub mod api;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod core;
pub mod erp;
pub mod lease_grants;
pub mod partners;
pub mod reconciler;
pub mod store;
pub mod sync;
pub mod tasks;
pub mod wiring;
