//! The frame around every message: one byte of version, then postcard in zstd.
//!
//! | protocol | what it added |
//! |---|---|
//! | 1 | the first |
//! | 2 | [`Downward::Page`](super::Downward::Page), [`Downward::Snapshot`](super::Downward::Snapshot); all else as in 1 |
//!
//! A device asks in the newest protocol that both know, and is answered in the one that it asked in.

use std::cell::RefCell;

use serde::{Serialize, de::DeserializeOwned};
use zstd::{bulk::Decompressor, zstd_safe::get_frame_content_size};

/// The newest protocol that this code speaks. A change that an older reader could not read raises it.
pub const PROTOCOL: u8 = 2;
/// The oldest protocol that this code still reads and writes.
pub const OLDEST: u8 = 1;
/// Most bytes of a frame as it travels.
pub const FRAME_MAX_BYTES: usize = 1024 * 1024;
/// Most bytes of a frame's content.
pub const CONTENT_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Why a frame cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The other side speaks another protocol. Ask in an older one, or upgrade the older side.
    #[error("frame of protocol {found}; this side speaks {OLDEST} to {PROTOCOL}; upgrade the older side")]
    Version {
        /// What the frame says.
        found: u8,
    },
    /// There are no bytes.
    #[error("empty frame")]
    Empty,
    /// Too many bytes, as it travels or unpacked.
    #[error("frame is larger than allowed ({limit} bytes)")]
    TooLarge {
        /// The limit that was passed.
        limit: usize,
    },
    /// Not a frame of this protocol.
    #[error("frame cannot be read: {0}")]
    Unreadable(String),
}

/// Writes `message` as a frame of the newest protocol.
/// # Errors
/// [`FrameError::TooLarge`]: send less at once.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    encode_as(PROTOCOL, message)
}

/// Writes `message` as a frame of `protocol`. What that protocol does not know must not be in it.
/// # Errors
/// [`FrameError::TooLarge`]: send less at once. [`FrameError::Version`] for one that this code does not speak.
pub fn encode_as<T: Serialize>(protocol: u8, message: &T) -> Result<Vec<u8>, FrameError> {
    if !(OLDEST..=PROTOCOL).contains(&protocol) {
        return Err(FrameError::Version { found: protocol });
    }
    let content = postcard::to_stdvec(message).map_err(|e| FrameError::Unreadable(e.to_string()))?;
    if content.len() > CONTENT_MAX_BYTES {
        return Err(FrameError::TooLarge { limit: CONTENT_MAX_BYTES });
    }
    let packed = zstd::bulk::compress(&content, 3).map_err(|e| FrameError::Unreadable(e.to_string()))?;
    let mut frame = Vec::with_capacity(packed.len() + 1);
    frame.push(protocol);
    frame.extend_from_slice(&packed);
    if frame.len() > FRAME_MAX_BYTES { Err(FrameError::TooLarge { limit: FRAME_MAX_BYTES }) } else { Ok(frame) }
}

/// The protocol that a frame says it is of; the oldest for one without bytes.
#[must_use]
pub fn protocol_of(frame: &[u8]) -> u8 {
    frame.first().copied().unwrap_or(OLDEST)
}

/// Reads a frame of any protocol that this code speaks; unpacks no more than [`CONTENT_MAX_BYTES`], whatever it claims.
/// # Errors
/// [`FrameError`].
pub fn decode<T: DeserializeOwned>(frame: &[u8]) -> Result<T, FrameError> {
    let (version, packed) = frame.split_first().ok_or(FrameError::Empty)?;
    if !(OLDEST..=PROTOCOL).contains(version) {
        return Err(FrameError::Version { found: *version });
    }
    if frame.len() > FRAME_MAX_BYTES {
        return Err(FrameError::TooLarge { limit: FRAME_MAX_BYTES });
    }
    let content = unpack(packed)?;
    let (message, rest) = postcard::take_from_bytes(&content).map_err(|e| FrameError::Unreadable(e.to_string()))?;
    if rest.is_empty() { Ok(message) } else { Err(FrameError::Unreadable("bytes after the message".to_owned())) }
}

thread_local! {
    /// What zstd needs to unpack, 160 kB: made anew for each frame it costs more than most frames' content.
    static UNPACKER: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Takes room for what the frame says that it holds, at most [`CONTENT_MAX_BYTES`], and for no more.
fn unpack(packed: &[u8]) -> Result<Vec<u8>, FrameError> {
    let unreadable = |e: std::io::Error| FrameError::Unreadable(e.to_string());
    let says = get_frame_content_size(packed).ok().flatten().unwrap_or(CONTENT_MAX_BYTES as u64);
    let room = usize::try_from(says).unwrap_or(usize::MAX);
    if room > CONTENT_MAX_BYTES {
        return Err(FrameError::TooLarge { limit: CONTENT_MAX_BYTES });
    }
    UNPACKER.with_borrow_mut(|unpacker| {
        let unpacker = match unpacker {
            Some(unpacker) => unpacker,
            none => none.insert(Decompressor::new().map_err(unreadable)?),
        };
        unpacker.decompress(packed, room).map_err(unreadable)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{Cursor, Pull};

    fn pull() -> Pull {
        Pull { cursor: Cursor::default(), wait_ms: 30_000, recalls_only: true }
    }

    #[test]
    fn a_frame_of_another_version_says_which_and_what_to_do() {
        let mut frame = encode(&pull()).unwrap();
        assert_eq!(decode::<Pull>(&frame), Ok(pull()));
        frame[0] = 9;
        let refused = decode::<Pull>(&frame).unwrap_err();
        assert_eq!(refused.to_string(), "frame of protocol 9; this side speaks 1 to 2; upgrade the older side");
    }

    #[test]
    fn a_frame_that_unpacks_to_too_much_is_refused_before_it_is_unpacked() {
        let bomb = zstd::bulk::compress(&vec![0u8; CONTENT_MAX_BYTES + 1], 3).unwrap();
        let mut frame = vec![PROTOCOL];
        frame.extend(bomb);
        assert!(frame.len() < 10_000);
        assert_eq!(decode::<Pull>(&frame), Err(FrameError::TooLarge { limit: CONTENT_MAX_BYTES }));
        // One that does not say how much it holds is unpacked no further than that.
        frame.truncate(1);
        frame.extend(zstd::stream::encode_all(&vec![0u8; CONTENT_MAX_BYTES + 1][..], 3).unwrap());
        assert!(matches!(decode::<Pull>(&frame), Err(FrameError::Unreadable(_))));
    }

    #[test]
    fn a_frame_that_holds_more_than_it_says_is_refused() {
        let mut frame = encode(&pull()).unwrap();
        assert_eq!(
            get_frame_content_size(&frame[1..]).unwrap(),
            Some(postcard::to_stdvec(&pull()).unwrap().len() as u64)
        );
        // Behind the magic number and the descriptor of a frame in one segment stands its size, in one byte.
        frame[6] -= 1;
        assert!(matches!(decode::<Pull>(&frame), Err(FrameError::Unreadable(_))));
    }

    #[test]
    fn every_shorter_frame_is_refused() {
        let frame = encode(&pull()).unwrap();
        for length in 0..frame.len() {
            assert!(decode::<Pull>(&frame[..length]).is_err(), "{length}");
        }
    }
}
