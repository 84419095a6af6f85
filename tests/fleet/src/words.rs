//! Pseudo-random words, so that no text is flattered by a template when it is packed.

use rand::{Rng, SeedableRng, rngs::StdRng};

/// Words in a sentence.
const WORDS: usize = 12;

/// Draws words; the same seed, the same words.
#[derive(Debug)]
pub struct Words(StdRng);

impl Words {
    /// The words of this seed.
    pub fn of(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// Twelve words of three to nine letters.
    pub fn sentence(&mut self) -> String {
        let mut text = String::new();
        for word in 0..WORDS {
            if word > 0 {
                text.push(' ');
            }
            for _ in 0..self.0.random_range(3..=9_u8) {
                text.push(char::from(self.0.random_range(b'a'..=b'z')));
            }
        }
        text
    }
}
