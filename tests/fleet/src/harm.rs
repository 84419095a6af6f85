//! Bytes that mean harm: changes and frames mangled, their checksums made right again in half, bombs and false lengths.

#[path = "../../src/fuzz/mutate.rs"]
mod mutate;

use std::sync::Arc;

use gatehouse_common::{
    id::{DocumentId, DocumentKind, Hash32},
    sync::{
        Push, Upward, encode,
        version::{CONTENT_MAX_BYTES, PROTOCOL},
    },
};
use mutate::Mutator;

/// Bytes of magic and checksum before the part of a change that the checksum is over.
const HEAD: usize = 8;

/// Frames that are small and say that they are large. Packing them takes long, so all share what was packed once.
#[derive(Clone)]
pub struct Bombs(Arc<[Vec<u8>]>);

impl Bombs {
    /// Packs them.
    pub fn pack() -> anyhow::Result<Self> {
        // A push of as many records as a number can say, and one of a change as long as that.
        let endless = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        let many = [&[1][..], &endless].concat();
        let long = [&[1, 1, 1, 0][..], &[0; 16], &[0], &endless].concat();
        let zeros = vec![0; 64 * CONTENT_MAX_BYTES];
        let bombs = [&zeros[..CONTENT_MAX_BYTES], &zeros, &many, &long].map(|content| packed(content, 3));
        Ok(Self(bombs.into_iter().collect::<std::io::Result<Vec<_>>>()?.into()))
    }
}

/// Draws harm; the same seed, the same harm.
pub struct Harm {
    mutator: Mutator,
    drawn: u64,
    good: Vec<Vec<u8>>,
    frames: Vec<Vec<u8>>,
    bombs: Bombs,
}

impl Harm {
    /// Made of changes of one case, which are good.
    pub fn of(seed: u64, document: DocumentId, good: Vec<Vec<u8>>, bombs: Bombs) -> anyhow::Result<Self> {
        let upward = |bytes: &Vec<u8>| Upward::Chunk { document, kind: DocumentKind::Case, bytes: bytes.clone() };
        let records = (1..).zip(good.iter().map(upward)).collect();
        let frame = encode(&Push { outbox_epoch: 1, records })?;
        Ok(Self { mutator: Mutator::new(seed), drawn: 0, good, frames: vec![frame], bombs })
    }

    /// A change that is none: in half its checksum is right, in a quarter its length too.
    pub fn chunk(&mut self) -> Vec<u8> {
        self.drawn += 1;
        let mut bytes = self.mutator.draw(&self.good);
        if self.drawn.is_multiple_of(4) {
            lengthen(&mut bytes);
        }
        if self.drawn.is_multiple_of(64) && bytes.len() > HEAD {
            // As if it were packed: a reader that unpacks it first is lost.
            bytes[HEAD] = 2;
        }
        if self.drawn.is_multiple_of(2) {
            repair(&mut bytes);
        }
        bytes
    }

    /// A frame that is none.
    pub fn frame(&mut self) -> Vec<u8> {
        self.drawn += 1;
        match self.drawn % 8 {
            0 => self.bombs.0[usize::try_from(self.drawn / 8).unwrap_or(0) % self.bombs.0.len()].clone(),
            1..=3 => self.mutator.draw(&self.frames),
            // Mutations of what is packed are seldom unpacked; those of the content are.
            _ => {
                let content =
                    self.frames.first().and_then(|frame| zstd::bulk::decompress(&frame[1..], CONTENT_MAX_BYTES).ok());
                let content = self.mutator.draw(&[content.unwrap_or_default()]);
                packed(&content, 1).unwrap_or_else(|_| vec![PROTOCOL])
            }
        }
    }
}

/// A frame of `content`, packed at `level`.
fn packed(content: &[u8], level: i32) -> std::io::Result<Vec<u8>> {
    Ok([&[PROTOCOL][..], &zstd::bulk::compress(content, level)?].concat())
}

/// Makes the checksum of a change right.
fn repair(bytes: &mut [u8]) {
    if bytes.len() > HEAD {
        let sum = Hash32::of(&bytes[HEAD..]);
        bytes[4..HEAD].copy_from_slice(&sum.0[..4]);
    }
}

/// Makes the length in a change's head right, where it takes two bytes as it does in all of a usual length.
fn lengthen(bytes: &mut [u8]) {
    let body = bytes.len().saturating_sub(HEAD + 3);
    if (128..16_384).contains(&body) {
        let low = u8::try_from(body & 0x7f).unwrap_or(0) | 0x80;
        bytes[HEAD + 1..HEAD + 3].copy_from_slice(&[low, u8::try_from(body >> 7).unwrap_or(0)]);
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_common::{
        document::gate::inspect,
        sync::{FrameError, decode},
    };

    use super::*;
    use crate::{
        cases::{Case, writer},
        programs::now,
        words::Words,
    };

    #[test]
    fn the_harm_gets_past_the_first_checks_and_not_through_the_gate_unchanged() {
        let actor = writer(&"D1".parse().unwrap(), &"gw-1".parse().unwrap());
        let (mut case, opening) = Case::open(&actor, 0, &mut Words::of(1), now()).unwrap();
        let next = case.acted(&actor, &mut Words::of(2), now()).unwrap();
        let mut harm = Harm::of(1, case.id, vec![opening.bytes, next.bytes], Bombs::pack().unwrap()).unwrap();
        let refused: Vec<String> =
            (0..2_000).filter_map(|_| inspect(&harm.chunk()).err()).map(|e| e.to_string()).collect();
        for reason in ["checksum is wrong", "chunk type 2", "cannot be read", "chunk says"] {
            assert!(refused.iter().any(|why| why.contains(reason)), "none is refused for {reason:?}");
        }
        assert!(refused.len() < 2_000, "none gets past the first look");
        let frames: Vec<_> = (0..200).map(|_| decode::<Push>(&harm.frame())).collect();
        assert!(frames.iter().any(|read| matches!(read, Err(FrameError::Unreadable(_)))));
        assert!(frames.iter().any(Result::is_ok), "none is read at all");
    }
}
