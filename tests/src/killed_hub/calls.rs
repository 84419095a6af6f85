//! Calls to the operating system at which a program is killed, by strace.
//!
//! In: which calls, and the how manieth. Out: the beginning of a command line; and of what strace wrote down, when each
//! number was reached. The signal comes as the call is entered: the call itself is not made. strace counts each call by
//! itself and for each thread, so the N-th of several is that of the first thread which makes one of them so often.

use std::{
    collections::BTreeMap,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, ExitStatus},
};

/// Calls that count as one kind.
#[derive(Debug, Clone, Copy)]
pub struct Calls {
    /// What they do, for people.
    pub name: &'static str,
    /// Their names as strace wants them. One with a question mark is not there on every kind of processor.
    set: &'static str,
}

/// What is written into the file of SQLite and its log. What the hub writes to its own log is no step of it.
pub const WRITES: Calls = Calls { name: "writes to the store", set: "pwrite64,ftruncate" };
/// What brings it to the disk.
pub const SYNCS: Calls = Calls { name: "syncs", set: "fsync,fdatasync" };
/// What gives a file its name or takes it away: the hub's key and authority are written beside and linked.
pub const NAMES: Calls =
    Calls { name: "names given and taken", set: "?link,?linkat,?rename,?renameat,?renameat2,?unlink,?unlinkat" };
/// All of these together.
const DISK: Calls = Calls {
    name: "calls to the disk",
    set: "pwrite64,ftruncate,fsync,fdatasync,?rename,?renameat,?renameat2,?unlink,?unlinkat,?link,?linkat",
};
/// What leaves by the network: answers to devices, questions and postings to the ERP.
pub const SENDS: Calls = Calls { name: "calls to the network", set: "sendto,sendmsg,writev" };

/// A program is to be killed at its `n`-th of these calls.
#[derive(Debug, Clone, Copy)]
pub struct Kill {
    /// Which.
    pub calls: Calls,
    /// The how manieth, from 1.
    pub n: u32,
}

impl Kill {
    /// What a command line begins with, so that what follows is killed there. What is called is written down in `log`.
    #[must_use]
    pub fn through(&self, log: &Path) -> Vec<String> {
        let Self { calls: Calls { set, .. }, n } = self;
        strace(log, &[format!("trace={set}"), format!("inject={set}:signal=SIGKILL:when={n}")])
    }
}

/// What a command line begins with, so that what follows is not killed, and all that counts is written down in `log`.
#[must_use]
pub fn only_watched(log: &Path) -> Vec<String> {
    strace(log, &[format!("trace={},{}", DISK.set, SENDS.set)])
}

fn strace(log: &Path, expressions: &[String]) -> Vec<String> {
    // With -D the program is ours and strace stands aside: signals, and how it ended, go past it. With one thread for
    // all that is asynchronous, what is sent counts in one row.
    let usual = ["strace", "-D", "-f", "-q", "-ttt", "-s", "0", "-E", "TOKIO_WORKER_THREADS=1", "-e", "signal=none"];
    let mut line = usual.map(str::to_owned).to_vec();
    for expression in expressions {
        line.extend(["-e".to_owned(), expression.clone()]);
    }
    line.extend(["-o".to_owned(), log.display().to_string()]);
    line
}

impl Calls {
    /// When a thread first made one of these calls so often, for each number from 1, in seconds since 1970.
    #[must_use]
    pub fn reached(&self, trace: &str) -> Vec<f64> {
        let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let mut reached = Vec::new();
        for line in trace.lines() {
            let mut words = line.split_whitespace();
            let (Some(thread), Some(at), Some(call)) = (words.next(), words.next(), words.next()) else { continue };
            // A call during which another thread did something is written in two parts; the second begins with dots.
            let (Ok(at), Some((name, _))) = (at.parse::<f64>(), call.split_once('(')) else { continue };
            if !self.set.split(',').any(|one| one.trim_start_matches('?') == name) {
                continue;
            }
            let count = counts.entry((thread, name)).or_default();
            *count += 1;
            if *count > reached.len() {
                reached.push(at);
            }
        }
        reached
    }
}

/// A stretch of time, in seconds since 1970, and how many calls in it are picked.
pub type Stretch = (f64, f64, usize);

/// Numbers that were first reached in each of these stretches, spread evenly over it.
#[must_use]
pub fn picked(reached: &[f64], stretches: &[Stretch]) -> Vec<u32> {
    let mut picked = Vec::new();
    for (from, to, count) in stretches {
        let within: Vec<u32> =
            (1..).zip(reached).filter(|(_, at)| (*from..*to).contains(*at)).map(|(n, _)| n).collect();
        picked.extend((0..*count).filter_map(|k| within.get(within.len() * (2 * k + 1) / (2 * count))));
    }
    picked.sort_unstable();
    picked.dedup();
    picked
}

/// Whether a program was ended by SIGKILL.
#[must_use]
pub fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(9)
}

/// Why no program can be killed at a call here, where that is so.
#[must_use]
pub fn lacking() -> Option<String> {
    let inject = "inject=exit_group:signal=SIGKILL:when=1";
    match Command::new("strace").args(["-D", "-f", "-q", "-o", "/dev/null", "-e", inject, "true"]).output() {
        Ok(output) if was_killed(output.status) => None,
        Ok(output) => Some(format!("strace may not trace: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Some(format!("install the package strace: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "10 100.5 fsync(12)       = 0\n\
                         11 101.0 fdatasync(12 <unfinished ...>\n\
                         10 101.1 pwrite64(3, \"\"..., 24, 0) = 24\n\
                         11 101.5 <... fdatasync resumed>) = 0\n\
                         11 102.0 fdatasync(12) = 0\n\
                         10 103.0 rename(\"\"..., \"\"...) = 0\n\
                         10 104.0 fsync(12) = ?\n\
                         10 104.1 +++ killed by SIGKILL +++\n";

    #[test]
    fn a_number_is_reached_by_the_first_thread_that_made_a_call_so_often() {
        assert_eq!(SYNCS.reached(TRACE), [100.5, 102.0]);
        assert_eq!(WRITES.reached(TRACE), [101.1]);
        assert_eq!(NAMES.reached(TRACE), [103.0]);
        assert_eq!(DISK.reached(TRACE), [100.5, 102.0]);
        assert_eq!(SENDS.reached(TRACE), [] as [f64; 0]);
    }

    #[test]
    fn numbers_are_picked_out_of_each_stretch_and_none_where_it_is_empty() {
        let reached: Vec<f64> = (0..10).map(f64::from).collect();
        assert_eq!(picked(&reached, &[(0.0, 4.0, 1), (4.0, 4.0, 2), (4.0, 10.0, 3)]), [3, 6, 8, 10]);
        assert_eq!(picked(&reached, &[(0.0, 2.0, 5)]), [1, 2]);
        assert_eq!(picked(&reached, &[(8.0, 99.0, 0)]), [] as [u32; 0]);
    }
}
