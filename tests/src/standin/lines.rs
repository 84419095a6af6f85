//! Files that only grow: one JSON line for each thing that happened.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

/// Why the ERP could not open its files. Nothing was changed in them.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be opened, read or written.
    #[error("{path} cannot be used")]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line of the file is not what this ERP wrote.
    #[error("line {line} of {path} is damaged: {detail}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        detail: String,
    },
    /// The log has effects that the state does not: they belong to different runs. Give both files, or neither.
    #[error(
        "{path} logs {logged} effects, but the state knows {known}: give the state file it belongs to, or a new log"
    )]
    ForeignLog {
        /// The log.
        path: PathBuf,
        /// Effects in it.
        logged: u64,
        /// Effects in the state.
        known: u64,
    },
}

/// An append-only file of JSON lines.
#[derive(Debug)]
pub struct LineFile {
    file: File,
    bytes: u64,
}

impl LineFile {
    /// Opens it and reads its lines; a torn last line is cut off.
    /// # Errors
    /// [`OpenError`].
    pub fn open<T: DeserializeOwned>(path: &Path) -> Result<(Self, Vec<T>), OpenError> {
        let unusable = |source| OpenError::Unusable { path: path.to_owned(), source };
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(unusable)?;
        let mut content = Vec::new();
        file.read_to_end(&mut content).map_err(unusable)?;
        let whole = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines = content[..whole]
            .split_inclusive(|byte| *byte == b'\n')
            .enumerate()
            .map(|(i, line)| {
                serde_json::from_slice(line).map_err(|e| OpenError::Damaged {
                    path: path.to_owned(),
                    line: i + 1,
                    detail: e.to_string(),
                })
            })
            .collect::<Result<_, _>>()?;
        let bytes = whole as u64;
        file.set_len(bytes).and_then(|()| file.rewind()).map_err(unusable)?;
        Ok((Self { file, bytes }, lines))
    }

    /// Adds one line, whole or not at all.
    /// # Errors
    /// What the operating system says.
    pub fn append(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        if let Err(error) = self.file.write_all(&line) {
            // Half a line in the middle would make the whole file unreadable later.
            self.file.set_len(self.bytes).ok();
            return Err(error);
        }
        self.bytes += line.len() as u64;
        Ok(())
    }
}
