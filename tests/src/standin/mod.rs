//! Business systems of the pretend world: an ERP, a WMS and a TMS, each a small server on loopback.
//!
//! In: what a scene or the demo wants to be true in the business (orders, stock, facts, faults), over `/admin`.
//! Out: what such systems tell a hub, over REST and CloudEvents, with the faults that real ones have.
//! They share no code with the product: their words and structs are their own, so a mistake in the
//! product's reading of an order or an event cannot hide behind the same mistake here.
//!
//! - [`erp`] serves orders, customers and stock, takes postings, and loses answers on purpose.
//! - [`books`] is what the ERP holds to be true; it knows no network, disk or clock.
//! - `dialect` is the same ERP under other names, for connectors that are told them by configuration.
//! - `frappe` and `odoo` are the same ERP as those two answer by their documentation.
//! - [`forms`] reads what is asked of it, and [`lines`] keeps what happened to it.
//! - [`events`] sends the facts of a WMS or a TMS to the hub.
//! - [`weather`] is what befalls callers of the ERP, drawn by chance.
//! - [`wire`] is the plumbing of all: bodies, problems, and connections that can be cut.

pub mod books;
mod dialect;
pub mod erp;
pub mod events;
pub mod forms;
mod frappe;
pub mod lines;
mod odoo;
pub mod weather;
pub mod wire;
