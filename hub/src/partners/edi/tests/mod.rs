//! What partners send, read as they meant it, or refused with the place.

mod round;
mod samples;
mod wrong;
