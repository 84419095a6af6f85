//! Connections that read, kept for whoever reads next.

use std::sync::{Condvar, Mutex, PoisonError};

use super::{Location, Reader, StoreError, sql::Connection};

/// Most that are kept. Of PostgreSQL never more are open: its server has a number of connections that all share.
const KEPT_MAX: usize = 16;

#[derive(Default)]
pub(super) struct Readers {
    state: Mutex<State>,
    given_back: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Connection>,
    out: usize,
}

impl Readers {
    /// Runs `work` over one state of the store.
    pub(super) fn read<T>(
        &self,
        location: &Location,
        work: impl FnOnce(&Reader<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let kept = self.take(location.is_shared());
        let _back = GiveBack(self);
        let connection = match kept {
            Some(connection) => connection,
            None => location.open_reader()?,
        };
        // One view of the store for the whole closure, however many queries it runs.
        connection.begin_reading()?;
        let result = work(&Reader { sql: &connection });
        let ended = connection.end_reading();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.is_ok() && state.idle.len() < KEPT_MAX {
            state.idle.push(connection);
        }
        drop(state);
        // Over a line that was lost in between, what was read may be of two states.
        ended?;
        result
    }

    fn take(&self, is_shared: bool) -> Option<Connection> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while is_shared && state.out >= KEPT_MAX {
            state = self.given_back.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.out += 1;
        state.idle.pop()
    }

    /// Takes out every connection that nobody uses.
    pub(super) fn drain(&self) -> Vec<Connection> {
        std::mem::take(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).idle)
    }
}

struct GiveBack<'r>(&'r Readers);

impl Drop for GiveBack<'_> {
    fn drop(&mut self) {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).out -= 1;
        self.0.given_back.notify_one();
    }
}

impl Reader<'_> {
    /// Says that the closure that reads may take minutes and write elsewhere in between, as an export does. Where others
    /// share the database it keeps old rows for it so long, and one of the connections.
    /// # Errors
    /// [`StoreError::Sql`] if the line is lost.
    pub fn takes_its_time(&self) -> Result<(), StoreError> {
        Ok(self.sql.takes_its_time()?)
    }
}
