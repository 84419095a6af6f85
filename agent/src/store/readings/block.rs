//! Readings in blocks: several in one row, those of one commit under one moment.
//!
//! A block is a row of its groups. A group is: how many readings; its moment (wall and boot time as the
//! difference to the group before, uncertainty, whether trusted, the boot's id where it is another); then the
//! readings, each with its sender's number, its id, the time it was measured as the difference to the
//! group's wall time, the first bytes of its payload's hash, and what it says. A group of none is followed by how many
//! readings were left out there; behind the last reading that is not said.

use gatehouse_common::{
    id::ReadingId,
    reading::{Reading, ReadingValue},
    time::{BootId, Moment, UtcMs},
};

use super::{
    bytes::{Bytes, put_int, put_text, put_uint},
    value,
};

/// Bytes of a payload's hash that are kept.
pub const HASH_BYTES: usize = 8;
/// Bytes that a block may have: with what SQLite puts around it, it fills one page.
const BLOCK_BYTES_MAX: usize = 4000;
/// More than the head of a group takes without the name of its boot, with what says how many were left out before it.
const GROUP_HEAD_BYTES: usize = 40;

const TRUSTED: u8 = 1;
const OTHER_BOOT: u8 = 2;

/// One reading as kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// Number of its sender.
    pub source: u32,
    /// The sender's own id.
    pub id: ReadingId,
    /// When it was measured.
    pub at: UtcMs,
    /// When it came in.
    pub received: Moment,
    /// First bytes of SHA-256 of its payload.
    pub payload: [u8; HASH_BYTES],
    /// What it says.
    pub value: ReadingValue,
}

/// A block that is being filled.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Position of its first reading.
    pub first: u64,
    /// Readings in it.
    pub count: u64,
    /// Its bytes, without the group that is being filled.
    closed: Vec<u8>,
    moment: Moment,
    group: Vec<u8>,
    grouped: u64,
    group_moment: Moment,
    /// Readings to be left out before the next.
    left_out: u64,
}

impl Block {
    /// An empty block whose first reading will be number `first`.
    pub fn new(first: u64) -> Self {
        let moment = start();
        Self {
            first,
            count: 0,
            closed: Vec::new(),
            group_moment: moment.clone(),
            moment,
            group: Vec::new(),
            grouped: 0,
            left_out: 0,
        }
    }

    /// A block as it was stored, to be filled further; `None` if it cannot be read.
    pub fn reopen(first: u64, count: u64, body: Vec<u8>) -> Option<Self> {
        let mut walk = Walk::over(&body);
        let mut read = 0;
        while !walk.is_over() {
            walk.next()?;
            read += 1;
        }
        let moment = walk.moment;
        (read == count).then_some(Self {
            first,
            count,
            closed: body,
            group_moment: moment.clone(),
            moment,
            group: Vec::new(),
            grouped: 0,
            left_out: 0,
        })
    }

    /// Takes a reading if there is room, or if it would find none anywhere; says whether it did.
    pub fn take(&mut self, source: u32, reading: &Reading, received: &Moment) -> bool {
        if self.grouped == 0 || self.group_moment != *received || self.left_out > 0 {
            self.close_group();
            self.group_moment = received.clone();
        }
        let before = self.group.len();
        put_reading(&mut self.group, source, reading, received.wall);
        let head = GROUP_HEAD_BYTES + received.boot.0.len();
        if self.count > 0 && self.closed.len() + self.group.len() + head > BLOCK_BYTES_MAX {
            self.group.truncate(before);
            return false;
        }
        if self.left_out > 0 {
            put_uint(&mut self.closed, 0);
            put_uint(&mut self.closed, self.left_out);
            self.count += std::mem::take(&mut self.left_out);
        }
        self.grouped += 1;
        self.count += 1;
        true
    }

    /// Leaves out the next `n` readings: the one that is taken next has its place behind them.
    pub fn leave_out(&mut self, n: u64) {
        self.left_out += n;
    }

    /// Its bytes as they are stored.
    pub fn body(&mut self) -> &[u8] {
        self.close_group();
        &self.closed
    }

    fn close_group(&mut self) {
        if self.grouped == 0 {
            return;
        }
        let (before, now) = (&self.moment, &self.group_moment);
        put_uint(&mut self.closed, self.grouped);
        let wall = now.wall.0.wrapping_sub(before.wall.0);
        put_int(&mut self.closed, wall);
        // Both clocks run alike, so this is mostly nothing.
        let boot = now.boottime_ms.wrapping_sub(before.boottime_ms).cast_signed();
        put_int(&mut self.closed, boot.wrapping_sub(wall));
        put_uint(&mut self.closed, u64::from(now.uncertainty_ms));
        let other_boot = now.boot != before.boot;
        self.closed.push(if now.trusted { TRUSTED } else { 0 } | if other_boot { OTHER_BOOT } else { 0 });
        if other_boot {
            put_text(&mut self.closed, &now.boot.0);
        }
        self.closed.append(&mut self.group);
        self.grouped = 0;
        self.moment = self.group_moment.clone();
    }
}

fn start() -> Moment {
    Moment { wall: UtcMs(0), uncertainty_ms: 0, boot: BootId::default(), boottime_ms: 0, trusted: false }
}

fn put_reading(out: &mut Vec<u8>, source: u32, reading: &Reading, wall: UtcMs) {
    put_uint(out, u64::from(source));
    put_id(out, reading.id.as_str());
    put_int(out, reading.at.0.wrapping_sub(wall.0));
    out.extend_from_slice(&reading.payload_hash.0[..HASH_BYTES]);
    value::put(out, &reading.value);
}

/// An id that is a hash, as it is where the sender gives none, takes half: a length of 0 says so.
fn put_id(out: &mut Vec<u8>, id: &str) {
    let lower = id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    match (id.len() == 64 && lower).then(|| hex::decode(id)) {
        Some(Ok(hash)) => {
            out.push(0);
            out.extend(hash);
        }
        _ => put_text(out, id),
    }
}

fn read_id(bytes: &mut Bytes<'_>) -> Option<ReadingId> {
    if bytes.0.first() == Some(&0) {
        bytes.byte()?;
        return ReadingId::new(hex::encode(bytes.take(32)?)).ok();
    }
    ReadingId::new(bytes.text()?).ok()
}

/// Goes through the readings of a block.
#[derive(Debug)]
pub struct Walk<'a> {
    bytes: Bytes<'a>,
    moment: Moment,
    left: u64,
    /// Places behind the first that were passed.
    passed: u64,
}

impl<'a> Walk<'a> {
    /// From the first on.
    pub fn over(body: &'a [u8]) -> Self {
        Self { bytes: Bytes(body), moment: start(), left: 0, passed: 0 }
    }

    /// Whether nothing more comes.
    pub fn is_over(&self) -> bool {
        self.left == 0 && self.bytes.0.is_empty()
    }

    /// How many places behind the first the last reading that was read has.
    pub fn place(&self) -> u64 {
        self.passed.saturating_sub(1)
    }

    /// The next reading; `None` if it cannot be read.
    pub fn next(&mut self) -> Option<Kept> {
        while self.left == 0 {
            self.open_group()?;
        }
        self.left -= 1;
        self.passed = self.passed.checked_add(1)?;
        let bytes = &mut self.bytes;
        Some(Kept {
            source: u32::try_from(bytes.uint()?).ok()?,
            id: read_id(bytes)?,
            at: UtcMs(self.moment.wall.0.wrapping_add(bytes.int()?)),
            received: self.moment.clone(),
            payload: bytes.array()?,
            value: value::read(bytes)?,
        })
    }

    fn open_group(&mut self) -> Option<()> {
        let bytes = &mut self.bytes;
        self.left = bytes.uint()?;
        if self.left == 0 {
            self.passed = self.passed.checked_add(bytes.uint()?)?;
            return Some(());
        }
        let wall = bytes.int()?;
        let boot = wall.wrapping_add(bytes.int()?);
        self.moment.wall.0 = self.moment.wall.0.wrapping_add(wall);
        self.moment.boottime_ms = self.moment.boottime_ms.wrapping_add(boot.cast_unsigned());
        self.moment.uncertainty_ms = u32::try_from(bytes.uint()?).ok()?;
        let flags = bytes.byte()?;
        self.moment.trusted = flags & TRUSTED != 0;
        if flags & OTHER_BOOT != 0 {
            self.moment.boot = BootId(bytes.text()?.to_owned());
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_common::id::{DoorId, Hash32};

    use super::*;

    fn reading(n: u32, id: &str) -> Reading {
        Reading {
            source: "door".to_owned(),
            id: ReadingId::new(id).unwrap(),
            at: UtcMs(1_700_000_000_000 - i64::from(n) * 1500),
            payload_hash: Hash32::of(&n.to_be_bytes()),
            value: ReadingValue::Door { door: DoorId::new("c001-3").unwrap(), open: n % 2 == 0 },
        }
    }

    fn moment(n: u32) -> Moment {
        let boot = BootId(format!("boot-{}", n / 20));
        let wall = UtcMs(1_700_000_000_000 + i64::from(n % 7) * 50);
        Moment { wall, uncertainty_ms: 100, boot, boottime_ms: u64::from(n % 20), trusted: n % 3 == 0 }
    }

    fn all(body: &[u8]) -> Vec<Kept> {
        let mut walk = Walk::over(body);
        let mut all = Vec::new();
        while !walk.is_over() {
            all.push(walk.next().unwrap());
        }
        all
    }

    #[test]
    fn readings_come_back_with_their_moments_also_from_a_block_that_was_reopened() {
        let mut block = Block::new(1);
        let ids: Vec<String> =
            (0..40).map(|n| if n % 4 == 0 { Hash32::of(&[n]).to_string() } else { format!("c001-{n:05}") }).collect();
        for (n, id) in (0..).zip(&ids) {
            if n == 23 {
                let body = block.body().to_vec();
                block = Block::reopen(1, 23, body).unwrap();
            }
            assert!(block.take(7, &reading(n, id), &moment(n / 3)));
        }
        assert_eq!(block.count, 40);
        for (n, (kept, id)) in (0..).zip(all(block.body()).iter().zip(&ids)) {
            let sent = reading(n, id);
            assert_eq!((kept.source, kept.id.as_str(), kept.at), (7, id.as_str(), sent.at));
            assert_eq!((&kept.value, kept.payload.as_slice()), (&sent.value, &sent.payload_hash.0[..HASH_BYTES]));
            assert_eq!(kept.received, moment(n / 3));
        }
    }

    #[test]
    fn readings_behind_others_that_were_left_out_keep_their_places_and_moments() {
        let mut block = Block::new(100);
        for n in 0..30 {
            if n % 4 == 1 {
                block.leave_out(1);
            } else {
                assert!(block.take(7, &reading(n, &format!("r{n}")), &moment(n / 3)));
            }
        }
        assert_eq!(block.count, 29, "the last was left out and nothing came behind it");
        let body = block.body().to_vec();
        let mut walk = Walk::over(&body);
        let mut places = Vec::new();
        while !walk.is_over() {
            let kept = walk.next().unwrap();
            let n = u32::try_from(walk.place()).unwrap();
            assert_eq!((kept.id.as_str(), kept.received), (format!("r{n}").as_str(), moment(n / 3)));
            places.push(n);
        }
        assert_eq!(places, (0..30).filter(|n| n % 4 != 1).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_block_takes_no_more_and_one_reading_always_finds_room() {
        let mut block = Block::new(1);
        let mut n = 0;
        while block.take(1, &reading(n, &format!("c001-{n:05}")), &moment(0)) {
            n += 1;
        }
        assert!(n > 100 && block.body().len() <= BLOCK_BYTES_MAX, "{n} readings, {} bytes", block.body().len());
        assert_eq!(all(block.body()).len(), n as usize);
        let mut long = reading(0, "long");
        long.value = ReadingValue::DoorFault { door: DoorId::new("3").unwrap(), fault: Some("x".repeat(9000)) };
        assert!(Block::new(1).take(1, &long, &moment(0)));
    }

    #[test]
    fn a_block_that_is_cut_is_not_reopened() {
        let mut block = Block::new(1);
        for n in 0..5 {
            block.take(1, &reading(n, &format!("{n}")), &moment(n));
        }
        let body = block.body().to_vec();
        assert!(Block::reopen(1, 5, body.clone()).is_some());
        assert!((0..body.len()).all(|end| Block::reopen(1, 5, body[..end].to_vec()).is_none()));
    }
}
