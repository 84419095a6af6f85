//! The hub: gathers what depots say, reconciles it with the ERP and shows it.
//!
//! [`store`] remembers, [`sync`] speaks with devices, [`core`] decides. [`api`] and [`console`] are its
//! face to programs and people, whom [`auth`] knows, and [`partners`] understands what WMS and TMS say. The rooms `cli`,
//! `erp` and the reconciler stand beside this file unfinished and are not built yet.

pub mod api;
pub mod auth;
pub mod clock;
pub mod config;
pub mod console;
pub mod core;
pub mod partners;
pub mod store;
pub mod sync;
pub mod tasks;
