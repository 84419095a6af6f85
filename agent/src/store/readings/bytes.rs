//! Numbers and text as few bytes: written one after the other, read in the same order.
//!
//! A reader that finds the end, or what cannot be, says `None`; it never panics, whatever the bytes.

/// Writes a number in groups of seven bits, the lowest first.
pub fn put_uint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Writes a number that may be negative: small ones of either sign are short.
pub fn put_int(out: &mut Vec<u8>, n: i64) {
    put_uint(out, ((n << 1) ^ (n >> 63)).cast_unsigned());
}

/// Writes a text with its length.
pub fn put_text(out: &mut Vec<u8>, text: &str) {
    put_uint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// What is left to be read.
#[derive(Debug, Clone, Copy)]
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    /// The next so many bytes, as an array.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// The next byte.
    pub fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    /// A number of [`put_uint`].
    pub fn uint(&mut self) -> Option<u64> {
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            n |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(n);
            }
        }
        None
    }

    /// A number of [`put_int`].
    pub fn int(&mut self) -> Option<i64> {
        let n = self.uint()?;
        Some((n >> 1).cast_signed() ^ -((n & 1).cast_signed()))
    }

    /// A text of [`put_text`].
    pub fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.uint()?).ok()?;
        std::str::from_utf8(self.take(length)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_size_come_back_and_small_ones_are_short() {
        for n in [0, 1, -1, 63, -64, 64, 300, -70_000, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            put_int(&mut out, n);
            put_uint(&mut out, n.cast_unsigned());
            let mut bytes = Bytes(&out);
            assert_eq!((bytes.int(), bytes.uint(), bytes.byte()), (Some(n), Some(n.cast_unsigned()), None));
        }
        let mut out = Vec::new();
        put_int(&mut out, -64);
        assert_eq!(out.len(), 1);
    }

    #[test]
    fn what_ends_too_soon_or_never_is_none() {
        assert_eq!(Bytes(&[0x80]).uint(), None);
        assert_eq!(Bytes(&[0xff; 20]).uint(), None);
        assert_eq!(Bytes(&[5, b'a']).text(), None);
    }
}
