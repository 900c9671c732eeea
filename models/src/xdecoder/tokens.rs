//! From text to numbers: the byte-pair tokenizer of CLIP, over CLIP's own vocabulary or a small one.
//!
//! A vocabulary is a text of merges, one pair a line after a line of comment. Its ids are, in this order: the 256 byte
//! characters, the same with the mark of a word's end, the merges, start, end. CLIP's file
//! (`bpe_simple_vocab_16e6.txt.gz`) goes on after the merges that count.

use std::io::Read;
use std::path::Path;

use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;
use tokenizers::{AddedToken, NormalizedString, PreTokenizerWrapper};

use crate::error::{Error, Result};

/// Merges of CLIP's file that count.
const CLIP_MERGES: usize = 48_894;
/// Longest text of merges, plain; CLIP's has 3 MB.
const LIMIT: u64 = 16 << 20;
const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";
/// Of a word's end.
const MARK: &str = "</w>";
/// Contractions, runs of letters, single digits, runs of what else is not space.
const WORDS: &str = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
/// Longer prompts are cut before they are looked at: no network reads more than some dozen words.
const LONGEST: usize = 10_000;

/// Letters that stand for typed forms. With full-width letters and entities, all that the official program mends in a
/// prompt but text decoded wrongly.
const PLAIN: [(char, &str); 28] = [
    ('‘', "'"),
    ('’', "'"),
    ('‚', "'"),
    ('‛', "'"),
    ('“', "\""),
    ('”', "\""),
    ('„', "\""),
    ('‟', "\""),
    ('ʼ', "'"),
    ('ﬀ', "ff"),
    ('ﬁ', "fi"),
    ('ﬂ', "fl"),
    ('ﬃ', "ffi"),
    ('ﬄ', "ffl"),
    ('ﬅ', "ſt"),
    ('ﬆ', "st"),
    ('Ĳ', "IJ"),
    ('ĳ', "ij"),
    ('ŉ', "'n"),
    ('Ǆ', "DŽ"),
    ('ǅ', "Dž"),
    ('ǆ', "dž"),
    ('Ǉ', "LJ"),
    ('ǈ', "Lj"),
    ('ǉ', "lj"),
    ('Ǌ', "NJ"),
    ('ǋ', "Nj"),
    ('ǌ', "nj"),
];

/// A vocabulary and its rules.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    merges: Vec<(String, String)>,
    symbols: Vec<String>,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokenizer of {} symbols", self.symbols.len())
    }
}

impl Tokenizer {
    /// From a file of merges, plain or gzip.
    ///
    /// # Errors
    /// I/O; [`Error::Checkpoint`] for a file that is no text of merges.
    pub fn read(path: &Path) -> Result<Self> {
        let file = std::fs::File::open(path).map_err(formats::Error::io(path, "open"))?;
        let mut bytes = Vec::new();
        file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(formats::Error::io(path, "read"))?;
        Self::new(path, &bytes)
    }

    /// From the content of such a file; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] for what is no text of merges.
    pub fn new(path: &Path, bytes: &[u8]) -> Result<Self> {
        let wrong = |found: String| {
            Error::checkpoint(
                path,
                found,
                "a vocabulary of byte pairs: a line of comment, then two symbols a line",
                "Give the file bpe_simple_vocab_16e6.txt.gz that CLIP is published with",
            )
        };
        let mut plain = Vec::new();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let unpacked = flate2::read::MultiGzDecoder::new(bytes).take(LIMIT + 1).read_to_end(&mut plain);
            unpacked.map_err(|e| wrong(format!("a damaged gzip file ({e})")))?;
        } else {
            plain.extend_from_slice(bytes);
        }
        if plain.len() as u64 > LIMIT {
            return Err(wrong(format!("more than {} MiB of text", LIMIT >> 20)));
        }
        let text = std::str::from_utf8(&plain).map_err(|_| wrong("no text in UTF-8".to_owned()))?;
        let mut merges = Vec::new();
        for line in text.split('\n').skip(1).take(CLIP_MERGES).filter(|l| !l.trim().is_empty()) {
            let parts: Vec<&str> = line.split_whitespace().collect();
            let [a, b] = parts[..] else {
                return Err(wrong(format!("the line “{}”", line.chars().take(40).collect::<String>())));
            };
            merges.push((a.to_owned(), b.to_owned()));
        }
        if merges.is_empty() {
            return Err(wrong("no merges".to_owned()));
        }
        Self::of_merges(merges).map_err(|e| wrong(format!("merges that do not fit together ({e})")))
    }

    fn of_merges(merges: Vec<(String, String)>) -> tokenizers::Result<Self> {
        let letters = byte_characters();
        let mut symbols: Vec<String> = letters.iter().map(char::to_string).collect();
        symbols.extend(letters.iter().map(|c| format!("{c}{MARK}")));
        symbols.extend(merges.iter().map(|(a, b)| format!("{a}{b}")));
        symbols.extend([START, END].map(str::to_owned));
        let vocabulary: tokenizers::models::bpe::Vocab =
            symbols.iter().zip(0..).map(|(s, id)| (s.clone(), id)).collect();
        let model = BPE::builder()
            .vocab_and_merges(vocabulary, merges.clone())
            .end_of_word_suffix(MARK.to_owned())
            .build()?;
        let mut inner = tokenizers::Tokenizer::new(model);
        let words = Split::new(
            SplitPattern::Regex(WORDS.to_owned()),
            SplitDelimiterBehavior::Removed,
            true, // what matches is kept
        )?;
        let bytes = ByteLevel::new(false, false, false);
        let steps = vec![PreTokenizerWrapper::Split(words), PreTokenizerWrapper::ByteLevel(bytes)];
        inner.with_pre_tokenizer(Some(Sequence::new(steps)));
        inner.add_special_tokens([START, END].map(|s| AddedToken::from(s, true)))?;
        Ok(Self { inner, merges, symbols })
    }

    /// How many ids there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.symbols.len()
    }

    /// The id that begins every text.
    #[must_use]
    pub fn start(&self) -> usize {
        self.symbols.len() - 2
    }

    /// The id that ends every text: the largest.
    #[must_use]
    pub fn end(&self) -> usize {
        self.symbols.len() - 1
    }

    /// The merges that count, as the text of a file.
    #[must_use]
    pub fn merges_text(&self) -> String {
        let lines = self.merges.iter().map(|(a, b)| format!("{a} {b}\n"));
        std::iter::once("# merges of a byte-pair vocabulary\n".to_owned()).chain(lines).collect()
    }

    /// Ids with start and end and without padding; at most `context`, the last one the end.
    ///
    /// # Errors
    /// [`Error::Argument`] when the text cannot be taken apart.
    pub fn encode(&self, text: &str, context: usize) -> Result<Vec<usize>> {
        let text: String = cleaned(text).chars().take(LONGEST).collect();
        let found = self.inner.encode_fast(text.as_str(), false);
        let found = found.map_err(|e| Error::Argument(format!("The prompt “{text}” cannot be read: {e}")))?;
        let words = found.get_ids().iter().map(|&id| id as usize).take(context.saturating_sub(2));
        Ok(std::iter::once(self.start()).chain(words).chain([self.end()]).collect())
    }

    /// The text up to the first end.
    #[must_use]
    pub fn decode(&self, ids: &[usize]) -> String {
        let letters = byte_characters();
        let byte_of = |c: char| {
            // The order of the vocabulary: printable bytes first.
            letters.iter().position(|&l| l == c).map(|at| ordered_bytes()[at])
        };
        let words = ids.iter().take_while(|&&id| id != self.end()).filter(|&&id| id != self.start());
        let joined: String = words.filter_map(|&id| self.symbols.get(id).map(String::as_str)).collect();
        let bytes: Vec<u8> = joined
            .replace(MARK, " ")
            .chars()
            .filter_map(|c| if c == ' ' { Some(b' ') } else { byte_of(c) })
            .collect();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}

/// All bytes, those first that are printable characters of their own.
fn ordered_bytes() -> Vec<u8> {
    let is_printable = |b: &u8| matches!(b, 33..=126 | 161..=172 | 174..=255);
    let (mut printable, others): (Vec<u8>, Vec<u8>) = (0..=255).partition(is_printable);
    printable.extend(others);
    printable
}

/// A printable character for each of [`ordered_bytes`]: itself where it is one, else the next one from U+0100 on.
fn byte_characters() -> Vec<char> {
    let bytes = ordered_bytes();
    let own = |b: u8| matches!(b, 33..=126 | 161..=172 | 174..=255).then_some(char::from(b));
    let mut next = 0x100..;
    bytes.iter().filter_map(|&b| own(b).or_else(|| next.next().and_then(char::from_u32))).collect()
}

/// Entities unescaped, quotes straight, ligatures and full-width letters spelt out, no control characters, composed,
/// one space for any run of them, lower case.
#[must_use]
pub fn cleaned(text: &str) -> String {
    let mut text = text.to_owned();
    if !text.contains('<') {
        loop {
            let plain = html_escape::decode_html_entities(&text);
            if plain == text {
                break;
            }
            text = plain.into_owned();
        }
    }
    let mut spelt = String::with_capacity(text.len());
    for c in without_colours(&text).chars() {
        let plain = PLAIN.iter().find(|(letter, _)| *letter == c);
        if let Some((_, plain)) = plain {
            spelt.push_str(plain);
        } else if matches!(c, '\u{ff01}'..='\u{ffef}' | '\u{3000}') {
            let mut wide = NormalizedString::from(c.to_string());
            spelt.push_str(wide.nfkc().get());
        } else if is_space(c) || !(c.is_control() || c == '\u{feff}') {
            spelt.push(c);
        }
    }
    let mut composed = NormalizedString::from(spelt);
    let words: Vec<&str> = composed.nfc().get().split(is_space).filter(|w| !w.is_empty()).collect();
    words.join(" ").to_lowercase()
}

/// White space, the four separators of ASCII among it.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// Without the escapes by which terminals colour text: ESC, \[, digits and semicolons, a letter.
fn without_colours(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("\u{1b}[") {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let after = escape[2..].trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        match after.chars().next() {
            Some(c) if c.is_ascii_alphabetic() => rest = &after[1..],
            _ => {
                out.push_str(&escape[..2]);
                rest = &escape[2..];
            }
        }
    }
    out + rest
}
