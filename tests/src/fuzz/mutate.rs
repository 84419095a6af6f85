//! Bytes made from other bytes: flipped, cut, repeated, spliced, and numbers pushed to their edges.

use rand::{Rng, SeedableRng, rngs::StdRng};

/// Texts and numbers that readers stumble over.
const EDGES: [&[u8]; 20] = [
    b"0",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"-9223372036854775808",
    b"null",
    b"true",
    b"\"\"",
    b"[]",
    b"{}",
    b"\"\\ud800\"",
    b"\0",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x80\x80\x80\x80\x00",
    b"/",
    b"\xc3\xa9\xe2\x80\xae",
    b"NaN",
    b"9999-12-31T23:59:60.999999999Z",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

/// Draws inputs. The same seed draws the same ones.
#[derive(Debug)]
pub struct Mutator {
    chance: StdRng,
}

impl Mutator {
    /// Begins at `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { chance: StdRng::seed_from_u64(seed) }
    }

    /// One of `seeds`, changed in one to eight places. Empty without seeds.
    pub fn draw(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        if seeds.is_empty() {
            return Vec::new();
        }
        let mut bytes = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(8) {
            self.change(&mut bytes, seeds);
        }
        bytes
    }

    fn below(&mut self, end: usize) -> usize {
        self.chance.random_range(0..end.max(1))
    }

    fn change(&mut self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let place = self.below(bytes.len() + 1);
        let rest = bytes.len() - place;
        let length = self.below(rest.min(64) + 1);
        match self.below(8) {
            0 if rest > 0 => bytes[place] ^= 1 << self.below(8),
            1 if rest > 0 => bytes[place] = self.chance.random(),
            2 => bytes.truncate(place),
            3 => {
                bytes.drain(place..place + length);
            }
            4 => {
                let piece = bytes[place..place + length].to_vec();
                for _ in 0..=self.below(4) {
                    bytes.splice(place..place, piece.iter().copied());
                }
            }
            5 => {
                let other = &seeds[self.below(seeds.len())];
                let from = self.below(other.len() + 1);
                let to = from + self.below(other.len() - from + 1);
                bytes.splice(place..place + length, other[from..to].iter().copied());
            }
            6 => {
                let edge = EDGES[self.below(EDGES.len())];
                bytes.splice(place..place, edge.iter().copied());
            }
            _ => self.replace_number(bytes, place),
        }
    }

    /// Puts an edge in place of the number at or after `place`, so that what is around it stays well formed.
    fn replace_number(&mut self, bytes: &mut Vec<u8>, place: usize) {
        let Some(start) = bytes[place..].iter().position(u8::is_ascii_digit).map(|n| place + n) else { return };
        let length = bytes[start..].iter().take_while(|b| b.is_ascii_digit()).count();
        let edge = EDGES[self.below(EDGES.len())];
        bytes.splice(start..start + length, edge.iter().copied());
    }
}
