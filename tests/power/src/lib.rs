//! The agent's store on a disk in memory.
//!
//! In: what a depot lives through, as inputs of the agent's driver. Out: whether everything that was acknowledged is
//! still there, unaltered, after the power was cut, a call failed or the program was killed.
//! Nothing here touches the machine's own disk, network or clock; one seed is one run.
//!
//! [`disk`] is what a disk keeps of what was written and not synced. [`vfs`] shows it to SQLite; it is the only
//! place of the project with unsafe code, because SQLite takes a file system only as C functions over raw pointers.
//! [`depot`] says what happens, [`machine`] runs the real store, core and driver step over such a disk, [`trial`] cuts its
//! power again and again, [`faults`] lets each of its calls fail in turn.

pub mod depot;
pub mod disk;
pub mod faults;
pub mod hub;
pub mod machine;
pub mod trial;
#[allow(unsafe_code)]
pub mod vfs;
