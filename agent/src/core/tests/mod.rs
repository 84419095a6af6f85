//! The core in the words of its users. Every scene is played twice: with one core that lives on, and
//! with a core loaded anew from the store after every step; both must write the same store.

mod bounds;
mod chain;
mod clocks;
mod damage;
pub(crate) mod depot;
mod detectors;
mod drills;
mod follows;
mod frame;
mod giving_up;
mod line;
mod matters;
mod occurrences;
mod offline;
mod on_the_way;
mod outgrown;
mod past;
mod people;
mod promises;
mod put_aside;
mod readings;
mod recalls;
mod refused;
mod release;
mod rest;
pub(crate) mod riding;
mod room;
mod rules;
mod set_right;
mod timers;
mod tracks;
mod trial;
mod trips;
mod waiting;
mod waits;

use depot::{Depot, both};
