//! EDIFACT (ISO 9735, syntax versions 1 to 4): its service characters, its envelope, its layouts, and the messages that
//! transport speaks: IFTSTA status report, DESADV despatch advice, CONTRL acknowledgement.
//!
//! Lengths are those of directories D.96A to D.01B; where they differ, the longer is taken. Messages of other agencies
//! than the United Nations have their envelope checked and nothing else.

pub mod control;
pub mod despatch;
mod envelope;
mod layout;
mod lex;
pub mod status;
pub mod write;

pub(super) use envelope::read;
