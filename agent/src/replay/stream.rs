//! The recorded inputs in the order in which they were given.
//!
//! In: a store, a page at a time, so that a running agent is never held up. Out: one event after the other, and how
//! many the store has let go of.

use std::collections::VecDeque;

use gatehouse_common::time::Moment;

use crate::{
    core::ground::GroundInput,
    store::{Beginning, KeptInput, KeptReading, Reader, StoreError},
};

/// Inputs read at one time.
const PAGE: u32 = 256;

/// One thing that happened.
#[derive(Debug)]
pub(super) struct Event {
    pub at: Moment,
    pub what: What,
}

/// What.
#[derive(Debug)]
pub(super) enum What {
    Reading(KeptReading),
    Input(GroundInput),
}

/// Goes through what a store recorded.
pub(super) struct Stream<'a> {
    store: &'a Reader,
    /// Numbers of the last input and of the last reading that were taken out of the store.
    read: (u64, u64),
    /// The numbers at which it ends: what comes in meanwhile is not looked at.
    end: (u64, u64),
    inputs: VecDeque<KeptInput>,
    readings: VecDeque<KeptReading>,
    missing: (u64, u64),
}

impl<'a> Stream<'a> {
    pub(super) fn behind(store: &'a Reader, beginning: &Beginning, end: (u64, u64)) -> Self {
        let read = (beginning.input, beginning.readings);
        let (inputs, readings) = (VecDeque::new(), VecDeque::new());
        Self { store, read, end, inputs, readings, missing: (0, 0) }
    }

    /// How many inputs and readings there are to come.
    pub(super) fn left(&self) -> u64 {
        self.end.0.saturating_sub(self.read.0) + self.end.1.saturating_sub(self.read.1)
    }

    /// How many inputs and readings the store has let go of.
    pub(super) fn missing(&self) -> (u64, u64) {
        self.missing
    }

    pub(super) fn next(&mut self) -> Result<Option<Event>, StoreError> {
        self.fill()?;
        // An input that came behind a reading is given behind it; one whose readings are gone goes at once.
        let input_first = match (self.inputs.front(), self.readings.front()) {
            (Some(input), Some(reading)) => input.readings < reading.position,
            (input, _) => input.is_some(),
        };
        if input_first {
            return Ok(self.inputs.pop_front().map(|kept| Event { at: kept.at, what: What::Input(kept.input) }));
        }
        let next = self.readings.pop_front();
        Ok(next.map(|reading| Event { at: reading.received.clone(), what: What::Reading(reading) }))
    }

    fn fill(&mut self) -> Result<(), StoreError> {
        if self.inputs.is_empty() && self.read.0 < self.end.0 {
            self.inputs.extend(self.store.inputs_behind(self.read.0, PAGE)?);
            self.inputs.retain(|input| input.n <= self.end.0);
            let last = self.inputs.back().map_or(self.end.0, |input| input.n);
            self.missing.0 += last - self.read.0 - self.inputs.len() as u64;
            self.read.0 = last;
        }
        if self.readings.is_empty() && self.read.1 < self.end.1 {
            self.readings.extend(self.store.readings_behind(self.read.1)?);
            self.readings.retain(|reading| reading.position <= self.end.1);
            let last = self.readings.back().map_or(self.end.1, |reading| reading.position);
            self.missing.1 += last - self.read.1 - self.readings.len() as u64;
            self.read.1 = last;
        }
        Ok(())
    }
}
