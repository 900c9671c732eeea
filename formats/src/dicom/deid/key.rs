//! The secret from which replacements are derived: the same input gives the same replacement under the same key, and
//! nobody without the key can find one from the other.

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Bytes of a key: as many as SHA-256 gives out, more add nothing (RFC 2104, 3).
pub const KEY_BYTES: usize = 32;
/// A block of SHA-256.
const BLOCK: usize = 64;
/// Letters of pseudonyms: base 32 of RFC 4648, which has no 0, 1 and 8 to be taken for O, I and B.
const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Dates go back by at least a year, so that no shifted date is a plausible true one, …
const LEAST_SHIFT_DAYS: u32 = 366;
/// … and by less than about ten, so that they stay in the age of the equipment.
const SHIFTS_DAYS: u32 = 3287;

/// The secret of one or more runs.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; KEY_BYTES]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// A key of given bytes.
    #[must_use]
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// A new key from the system's source of randomness.
    ///
    /// # Errors
    /// [`Error::Io`] when the system has none.
    pub fn random() -> Result<Self> {
        let mut bytes = [0; KEY_BYTES];
        getrandom::fill(&mut bytes).map_err(|e| Error::Io {
            path: "random numbers of the system".into(),
            action: "read",
            source: std::io::Error::other(e.to_string()),
        })?;
        Ok(Self(bytes))
    }

    /// Reads a key file: 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Malformed`] when it holds something else.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path, "read"))?;
        let digits = text.trim();
        let bytes: Option<Vec<u8>> = (digits.len() == 2 * KEY_BYTES && digits.is_ascii())
            .then(|| {
                (0..KEY_BYTES).map(|i| u8::from_str_radix(digits.get(2 * i..2 * i + 2)?, 16).ok()).collect()
            })
            .flatten();
        // What was found is not told: it may be a key.
        match bytes.and_then(|b| b.try_into().ok()) {
            Some(bytes) => Ok(Self(bytes)),
            None => Err(Error::malformed(
                path,
                format!("{} bytes that are no key", text.len()),
                format!("{} hexadecimal digits", 2 * KEY_BYTES),
            )),
        }
    }

    /// Writes a key file that only its owner can read (on Unix).
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, path: &Path) -> Result<()> {
        let digits: String = self.0.iter().map(|b| format!("{b:02x}")).collect();
        crate::atomic::write_private_bytes(path, format!("{digits}\n").as_bytes())
    }

    /// HMAC-SHA-256 (RFC 2104) of a purpose and a text. Different purposes give unrelated results.
    fn digest(&self, purpose: &str, text: &str) -> [u8; 32] {
        hmac(&self.0, &[purpose.as_bytes(), &[0], text.as_bytes()])
    }

    fn number(&self, purpose: &str, text: &str) -> u128 {
        self.digest(purpose, text)[..16].iter().fold(0, |n, &b| n << 8 | u128::from(b))
    }

    /// The UID that stands for another one: 2.25 and a UUID as a decimal number (PS3.5 B.2), of version 8, which is
    /// free for hashes (RFC 9562, 5.8).
    #[must_use]
    pub fn uid(&self, uid: &str) -> String {
        let mut n = self.number("uid", uid);
        n = n & !(0xf << 76) | 0x8 << 76;
        n = n & !(0b11 << 62) | 0b10 << 62;
        format!("2.25.{n}")
    }

    /// The name that stands for a patient: `P-` and ten letters, 50 bits, so that among a million patients two agree
    /// with a probability of 1 : 2000.
    #[must_use]
    pub fn pseudonym(&self, patient: &str) -> String {
        format!("P-{}", self.letters("patient", patient, 10))
    }

    /// Letters for file names.
    pub(super) fn letters(&self, purpose: &str, text: &str, count: usize) -> String {
        let mut n = self.number(purpose, text);
        let mut letters = String::with_capacity(count);
        for _ in 0..count.min(25) {
            let index = usize::try_from(n & 31).unwrap_or(0);
            letters.push(char::from(LETTERS.get(index).copied().unwrap_or(b'A')));
            n >>= 5;
        }
        letters
    }

    /// Days that are added to all dates of a patient: between one and ten years back.
    #[must_use]
    pub fn shift_days(&self, patient: &str) -> i32 {
        let n = self.number("dates", patient) % u128::from(SHIFTS_DAYS);
        -i32::try_from(n + u128::from(LEAST_SHIFT_DAYS)).unwrap_or(366)
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut block = [0_u8; BLOCK];
    for (b, k) in block.iter_mut().zip(key) {
        *b = *k;
    }
    let padded = |with: u8| block.map(|b| b ^ with);
    let mut inner = Sha256::new();
    inner.update(padded(0x36));
    for part in parts {
        inner.update(part);
    }
    let mut outer = Sha256::new();
    outer.update(padded(0x5c));
    outer.update(inner.finalize());
    outer.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_is_that_of_rfc_4231() {
        let hex = |bytes: [u8; 32]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        // Test cases 1 and 2.
        assert_eq!(
            hex(hmac(&[0x0b; 20], &[b"Hi ", b"There"])),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
        assert_eq!(
            hex(hmac(b"Jefe", &[b"what do ya want for nothing?"])),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn replacements_depend_on_key_and_input_only() {
        let (a, b) = (Key::new([1; 32]), Key::new([2; 32]));
        let uid = a.uid("1.2.3");
        assert_eq!(uid, Key::new([1; 32]).uid("1.2.3"));
        assert!(uid != a.uid("1.2.4") && uid != b.uid("1.2.3"));
        let n: u128 = uid.strip_prefix("2.25.").unwrap().parse().unwrap();
        assert!(uid.len() <= 64 && n >> 76 & 0xf == 8 && n >> 62 & 3 == 2, "{uid}");
        assert_eq!(a.pseudonym("x").len(), 12);
        assert_ne!(a.pseudonym("x"), a.pseudonym("y"));
        for i in 0..2000 {
            let days = a.shift_days(&i.to_string());
            assert!((-3652..=-366).contains(&days), "{days}");
        }
    }

    #[test]
    fn key_files_return_and_others_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let key = Key::random().unwrap();
        key.write(&path).unwrap();
        assert!(Key::read(&path).unwrap() == key);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        for bad in ["", "secret", &"g".repeat(64), &"é".repeat(32)] {
            std::fs::write(&path, bad).unwrap();
            let error = Key::read(&path).unwrap_err().to_string();
            assert!(error.contains("64 hexadecimal digits") && !error.contains("secret"), "{error}");
        }
    }
}
