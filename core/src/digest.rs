//! A 64-bit digest of a machine's state: equal states have equal digests, on every platform.

use core::hash::{Hash, Hasher};

/// What a digest starts from, and what a word is multiplied by: any odd numbers without a pattern will do.
const START: u64 = 0x9e37_79b9_7f4a_7c15;
const MULTIPLE: u64 = 0xd6e8_feb8_6659_fd93;
/// The bytes of a word.
const WORD: usize = 8;

/// A hasher that writes every integer in one byte order and every length as 64 bits.
///
/// The derived [`Hash`] of our types feeds it; a type whose iteration order is not fixed must not
/// implement `Hash`.
///
/// States are many small numbers, so it takes them in one at a time, each with one multiplication whose
/// upper half comes back into the lower. It stands against accidents, not against forgers.
#[derive(Debug, Clone)]
pub struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Digest(START)
    }
}

impl Digest {
    /// The digest of one value.
    pub fn of(value: &(impl Hash + ?Sized)) -> u64 {
        let mut digest = Digest::default();
        value.hash(&mut digest);
        digest.finish()
    }

    fn word(&mut self, word: u64) {
        // What was there goes on beside the product, which forgets it where both factors meet at zero.
        self.0 = folded(self.0 ^ word, MULTIPLE).wrapping_add(self.0.rotate_left(25));
    }
}

/// The product of both, its upper half folded onto the lower.
fn folded(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    (wide as u64) ^ ((wide >> 64) as u64)
}

impl Hasher for Digest {
    fn finish(&self) -> u64 {
        folded(folded(self.0 ^ START, MULTIPLE) ^ MULTIPLE, START)
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<WORD>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            // The last byte of the word tells how many there are: zeros at the end count.
            let mut word = [0; WORD];
            word[..rest.len()].copy_from_slice(rest);
            word[WORD - 1] = rest.len() as u8;
            self.word(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.word(u64::from(value));
    }

    fn write_u16(&mut self, value: u16) {
        self.word(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.word(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.word(value);
    }

    fn write_u128(&mut self, value: u128) {
        self.word(value as u64);
        self.word((value >> 64) as u64);
    }

    fn write_usize(&mut self, value: usize) {
        self.word(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.word(value as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;

    #[test]
    fn what_differs_a_little_has_another_digest() {
        let mut seen = BTreeSet::new();
        for at in 0..64 {
            for bit in 0..64 {
                let mut words = [0_u64; 64];
                words[at] = 1 << bit;
                assert!(seen.insert(Digest::of(&words)));
                assert!(seen.insert(Digest::of(&(at, bit))));
            }
        }
        seen.clear();
        for length in 0..100 {
            let zeros: Vec<u8> = (0..length).map(|_| 0).collect();
            assert!(seen.insert(Digest::of(&zeros)));
        }
    }

    #[test]
    fn every_bit_of_what_is_digested_changes_about_half_of_the_digest() {
        for number in 0..64_u64 {
            for bit in 0..64 {
                let other = Digest::of(&(number ^ (1 << bit)));
                let changed = (Digest::of(&number) ^ other).count_ones();
                assert!((10..=54).contains(&changed), "{number} {bit}: {changed}");
            }
        }
    }

    #[test]
    fn what_was_digested_before_is_not_forgotten() {
        // The word that makes the product zero.
        let digest = |first: u64| Digest::of(&(first, START, 7_u64));
        assert_ne!(digest(1), digest(2));
        let meeting = |first: u64| {
            let mut digest = Digest::default();
            digest.write_u64(first);
            let word = digest.0;
            digest.write_u64(word);
            digest.finish()
        };
        assert_ne!(meeting(1), meeting(2));
    }

    #[test]
    fn digests_are_the_same_on_every_platform() {
        assert_eq!(
            Digest::of(&(1_u8, 2_u64, "three")),
            5_431_137_212_901_675_218
        );
    }
}
