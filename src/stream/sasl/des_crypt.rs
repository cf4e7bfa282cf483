//! crypt(3) as it was in 1979: the hash that jabberd 1.4.4's `mod_auth_crypt` kept. Passwords are checked against it once,
//! until the first login; none is made with it.
//!
//! DES (FIPS 46-3) with a salt: 25 encryptions of a block of zeros, with the first eight characters of the password as
//! the key, and the salt swapping bits of the expansion. The bits of a word are numbered from its highest, from 1, as in
//! the standard's tables. Written here because the crates that have it bring a dozen others for other hashes.

use subtle::ConstantTimeEq as _;

/// Six bits as a character.
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const INITIAL: [u8; 64] = [
    58, 50, 42, 34, 26, 18, 10, 2, 60, 52, 44, 36, 28, 20, 12, 4, 62, 54, 46, 38, 30, 22, 14, 6, 64, 56, 48, 40, 32,
    24, 16, 8, 57, 49, 41, 33, 25, 17, 9, 1, 59, 51, 43, 35, 27, 19, 11, 3, 61, 53, 45, 37, 29, 21, 13, 5, 63, 55, 47,
    39, 31, 23, 15, 7,
];
const FINAL: [u8; 64] = [
    40, 8, 48, 16, 56, 24, 64, 32, 39, 7, 47, 15, 55, 23, 63, 31, 38, 6, 46, 14, 54, 22, 62, 30, 37, 5, 45, 13, 53, 21,
    61, 29, 36, 4, 44, 12, 52, 20, 60, 28, 35, 3, 43, 11, 51, 19, 59, 27, 34, 2, 42, 10, 50, 18, 58, 26, 33, 1, 41, 9,
    49, 17, 57, 25,
];
const EXPANSION: [u8; 48] = [
    32, 1, 2, 3, 4, 5, 4, 5, 6, 7, 8, 9, 8, 9, 10, 11, 12, 13, 12, 13, 14, 15, 16, 17, 16, 17, 18, 19, 20, 21, 20, 21,
    22, 23, 24, 25, 24, 25, 26, 27, 28, 29, 28, 29, 30, 31, 32, 1,
];
const PERMUTATION: [u8; 32] = [
    16, 7, 20, 21, 29, 12, 28, 17, 1, 15, 23, 26, 5, 18, 31, 10, 2, 8, 24, 14, 32, 27, 3, 9, 19, 13, 30, 6, 22, 11, 4,
    25,
];
const CHOICE_1: [u8; 56] = [
    57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18, 10, 2, 59, 51, 43, 35, 27, 19, 11, 3, 60, 52, 44, 36, 63, 55,
    47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22, 14, 6, 61, 53, 45, 37, 29, 21, 13, 5, 28, 20, 12, 4,
];
const CHOICE_2: [u8; 48] = [
    14, 17, 11, 24, 1, 5, 3, 28, 15, 6, 21, 10, 23, 19, 12, 4, 26, 8, 16, 7, 27, 20, 13, 2, 41, 52, 31, 37, 47, 55, 30,
    40, 51, 45, 33, 48, 44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32,
];
const SHIFTS: [u32; 16] = [1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1];
const BOXES: [[u8; 64]; 8] = [
    [
        14, 4, 13, 1, 2, 15, 11, 8, 3, 10, 6, 12, 5, 9, 0, 7, 0, 15, 7, 4, 14, 2, 13, 1, 10, 6, 12, 11, 9, 5, 3, 8, 4,
        1, 14, 8, 13, 6, 2, 11, 15, 12, 9, 7, 3, 10, 5, 0, 15, 12, 8, 2, 4, 9, 1, 7, 5, 11, 3, 14, 10, 0, 6, 13,
    ],
    [
        15, 1, 8, 14, 6, 11, 3, 4, 9, 7, 2, 13, 12, 0, 5, 10, 3, 13, 4, 7, 15, 2, 8, 14, 12, 0, 1, 10, 6, 9, 11, 5, 0,
        14, 7, 11, 10, 4, 13, 1, 5, 8, 12, 6, 9, 3, 2, 15, 13, 8, 10, 1, 3, 15, 4, 2, 11, 6, 7, 12, 0, 5, 14, 9,
    ],
    [
        10, 0, 9, 14, 6, 3, 15, 5, 1, 13, 12, 7, 11, 4, 2, 8, 13, 7, 0, 9, 3, 4, 6, 10, 2, 8, 5, 14, 12, 11, 15, 1, 13,
        6, 4, 9, 8, 15, 3, 0, 11, 1, 2, 12, 5, 10, 14, 7, 1, 10, 13, 0, 6, 9, 8, 7, 4, 15, 14, 3, 11, 5, 2, 12,
    ],
    [
        7, 13, 14, 3, 0, 6, 9, 10, 1, 2, 8, 5, 11, 12, 4, 15, 13, 8, 11, 5, 6, 15, 0, 3, 4, 7, 2, 12, 1, 10, 14, 9, 10,
        6, 9, 0, 12, 11, 7, 13, 15, 1, 3, 14, 5, 2, 8, 4, 3, 15, 0, 6, 10, 1, 13, 8, 9, 4, 5, 11, 12, 7, 2, 14,
    ],
    [
        2, 12, 4, 1, 7, 10, 11, 6, 8, 5, 3, 15, 13, 0, 14, 9, 14, 11, 2, 12, 4, 7, 13, 1, 5, 0, 15, 10, 3, 9, 8, 6, 4,
        2, 1, 11, 10, 13, 7, 8, 15, 9, 12, 5, 6, 3, 0, 14, 11, 8, 12, 7, 1, 14, 2, 13, 6, 15, 0, 9, 10, 4, 5, 3,
    ],
    [
        12, 1, 10, 15, 9, 2, 6, 8, 0, 13, 3, 4, 14, 7, 5, 11, 10, 15, 4, 2, 7, 12, 9, 5, 6, 1, 13, 14, 0, 11, 3, 8, 9,
        14, 15, 5, 2, 8, 12, 3, 7, 0, 4, 10, 1, 13, 11, 6, 4, 3, 2, 12, 9, 5, 15, 10, 11, 14, 1, 7, 6, 0, 8, 13,
    ],
    [
        4, 11, 2, 14, 15, 0, 8, 13, 3, 12, 9, 7, 5, 10, 6, 1, 13, 0, 11, 7, 4, 9, 1, 10, 14, 3, 5, 12, 2, 15, 8, 6, 1,
        4, 11, 13, 12, 3, 7, 14, 10, 15, 6, 8, 0, 5, 9, 2, 6, 11, 13, 8, 1, 4, 10, 7, 9, 5, 0, 15, 14, 2, 3, 12,
    ],
    [
        13, 2, 8, 4, 6, 15, 11, 1, 10, 9, 3, 14, 5, 0, 12, 7, 1, 15, 13, 8, 10, 3, 7, 4, 12, 5, 6, 11, 0, 14, 9, 2, 7,
        11, 4, 1, 9, 12, 14, 2, 0, 6, 10, 13, 15, 3, 5, 8, 2, 1, 14, 7, 4, 10, 8, 13, 15, 12, 9, 0, 3, 5, 6, 11,
    ],
];

/// A hash of thirteen characters: two of salt, eleven of hash.
#[derive(Clone, PartialEq, Eq)]
pub struct DesCrypt {
    salt: [u8; 2],
    hash: [u8; 11],
}

impl DesCrypt {
    /// Reads a hash.
    pub(super) fn from_text(text: &str) -> Option<DesCrypt> {
        let bytes: &[u8; 13] = text.as_bytes().try_into().ok()?;
        if !bytes.iter().all(|byte| ALPHABET.contains(byte)) {
            return None;
        }
        let (salt, hash) = bytes.split_at_checked(2)?;
        Some(DesCrypt { salt: salt.try_into().ok()?, hash: hash.try_into().ok()? })
    }

    /// Back into the text that was read.
    pub(super) fn to_text(&self) -> String {
        self.salt.iter().chain(&self.hash).map(|&byte| char::from(byte)).collect()
    }

    /// Is it the hash of this password?
    pub(super) fn verify(&self, password: &[u8]) -> bool {
        characters(crypt(password, self.salt)).ct_eq(&self.hash).into()
    }
}

/// Takes the bits of a word of `bits` bits that the table names, in its order.
fn permute(word: u64, bits: u32, table: &[u8]) -> u64 {
    table.iter().fold(0, |out, &from| (out << 1) | ((word >> (bits - u32::from(from))) & 1))
}

fn crypt(password: &[u8], salt: [u8; 2]) -> u64 {
    let keys = round_keys(key(password));
    let swapped = swapped(salt);
    (0..25).fold(0, |block, _| encrypt(block, &keys, swapped))
}

/// The low seven bits of each character; the lowest bit of each byte is DES's parity, which nothing looks at.
fn key(password: &[u8]) -> u64 {
    let characters = password.iter().copied().chain(std::iter::repeat(0)).take(8);
    characters.fold(0, |key, byte| (key << 8) | u64::from(byte << 1))
}

fn round_keys(key: u64) -> [u64; 16] {
    const HALF: u64 = (1 << 28) - 1;
    let chosen = permute(key, 64, &CHOICE_1);
    let (mut c, mut d) = (chosen >> 28, chosen & HALF);
    let rotate = |half: u64, by: u32| ((half << by) | (half >> (28 - by))) & HALF;
    SHIFTS.map(|by| {
        (c, d) = (rotate(c, by), rotate(d, by));
        permute((c << 28) | d, 56, &CHOICE_2)
    })
}

/// The bits of the two halves of the expansion that change places, for the twelve bits of the salt.
fn swapped(salt: [u8; 2]) -> u64 {
    let value = |byte: u8| ALPHABET.iter().position(|&other| other == byte).unwrap_or_default() as u64;
    let [first, second] = salt.map(value);
    let bits = first | (second << 6);
    (0..12).filter(|bit| (bits >> bit) & 1 == 1).fold(0, |mask, bit| mask | (1 << (23 - bit)))
}

fn encrypt(block: u64, keys: &[u64; 16], swapped: u64) -> u64 {
    const HALF: u64 = (1 << 32) - 1;
    let block = permute(block, 64, &INITIAL);
    let (mut left, mut right) = (block >> 32, block & HALF);
    for key in keys {
        (left, right) = (right, left ^ round(right, *key, swapped));
    }
    // The halves change places once more at the end.
    permute((right << 32) | left, 64, &FINAL)
}

fn round(right: u64, key: u64, swapped: u64) -> u64 {
    let expanded = permute(right, 32, &EXPANSION);
    let both = ((expanded >> 24) ^ expanded) & swapped;
    let mixed = expanded ^ (both << 24) ^ both ^ key;
    let mut out = 0;
    for (nth, table) in (0_u32..).zip(&BOXES) {
        let six = (mixed >> (42 - 6 * nth)) & 0x3f;
        // The outer two bits are the row, the inner four the column.
        let place = (six & 0x20) | ((six & 1) << 4) | ((six >> 1) & 0xf);
        let value = usize::try_from(place).ok().and_then(|place| table.get(place)).copied().unwrap_or_default();
        out = (out << 4) | u64::from(value);
    }
    permute(out, 32, &PERMUTATION)
}

/// 64 bits as eleven characters of six bits, the last one padded with zeros.
fn characters(block: u64) -> [u8; 11] {
    let wide = u128::from(block) << 2;
    std::array::from_fn(|nth| {
        let six = (wide >> (60 - 6 * nth)) & 0x3f;
        usize::try_from(six).ok().and_then(|six| ALPHABET.get(six)).copied().unwrap_or(b'.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_the_c_library_makes_them() {
        // perl -e 'print crypt("password", "salt")', with glibc's libcrypt.
        let rows: &[(&[u8], &str)] = &[
            (b"made-up-2", "abZfb8uPBHuAk"),
            (b"", "abmF1QH4PEr.E"),
            ("pässwörd".as_bytes(), "./vYBXr45rAoM"),
            (b"12345678ignored", "zZYQyo/kK5WTQ"),
            (b"a", "9AD4IEr1aDGL6"),
        ];
        for (password, text) in rows {
            let hash = DesCrypt::from_text(text).unwrap();
            assert_eq!(hash.to_text(), *text);
            assert!(hash.verify(password), "{text}");
            assert!(!hash.verify(b"another"), "{text}");
        }
        // Only eight characters count, and only seven bits of each.
        assert!(DesCrypt::from_text("zZYQyo/kK5WTQ").unwrap().verify(b"12345678"));
    }

    #[test]
    fn other_texts_are_no_hashes() {
        for text in ["", "abZfb8uPBHuA", "abZfb8uPBHuAkk", "$1$abZfb8uPBH", "ab:fb8uPBHuAk", "äbZfb8uPBHuA"] {
            assert!(DesCrypt::from_text(text).is_none(), "{text}");
        }
    }
}
