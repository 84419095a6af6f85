//! The hub: gathers what depots say, reconciles it with the ERP and shows it.
//!
//! [`store`] remembers, [`sync`] speaks with devices, [`core`] decides. The rooms `api`, `auth`, `cli`,
//! `config`, `console`, `erp` and the reconciler stand beside this file unfinished and are not built yet.

pub mod clock;
pub mod core;
pub mod store;
pub mod sync;
pub mod tasks;
