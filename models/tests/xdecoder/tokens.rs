//! Token ids against those of the official tokenizer, on awkward strings of ours and on the golden cases.

use std::path::{Path, PathBuf};

use models::xdecoder::Tokenizer;
use models::xdecoder::tokens::cleaned;

use super::common::{fixture, shared};

/// CLIP's file of merges, which is no part of this project, or a visible skip.
pub fn clip(test: &str) -> Option<PathBuf> {
    let path = std::env::var_os("INSULA_CLIP_MERGES").map(PathBuf::from).filter(|p| p.is_file());
    if path.is_none() {
        eprintln!("SKIPPED {test}: INSULA_CLIP_MERGES names no bpe_simple_vocab_16e6.txt.gz");
    }
    path
}

fn medical() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("authoring/recipes/xdecoder-medical/vocabulary.txt")
}

/// Texts and ids of a JSON list.
fn cases(path: &Path) -> Vec<(String, Vec<usize>)> {
    let list: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path).expect("the cases read")).expect("they are JSON");
    let list = list.as_array().or_else(|| list["cases"].as_array()).expect("a list");
    let ids = |v: &serde_json::Value| -> Vec<usize> {
        let ids = v.as_array().expect("ids").iter();
        ids.map(|i| i.as_u64().expect("an id") as usize).collect()
    };
    list.iter().map(|c| (c["text"].as_str().expect("a text").to_owned(), ids(&c["ids"]))).collect()
}

fn assert_ids(tokenizer: &Tokenizer, cases: &[(String, Vec<usize>)]) {
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(text, ids)| {
            let found = tokenizer.encode(text, 77).expect("text is text");
            (found != *ids).then(|| format!("{text:?}: {found:?}, not {ids:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {}: {}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn the_medical_vocabulary_gives_the_official_ids() {
    let tokenizer = Tokenizer::read(&medical()).expect("the vocabulary reads");
    let cases = cases(&fixture("medical_tokens.json"));
    assert_eq!(cases.len(), 251);
    assert_ids(&tokenizer, &cases);
    let text = tokenizer.merges_text();
    let again = Tokenizer::new(Path::new("again"), text.as_bytes()).expect("what is written reads");
    assert_eq!((again.size(), again.merges_text()), (tokenizer.size(), text));
}

#[test]
fn clips_vocabulary_gives_the_official_ids() {
    let Some(path) = clip("clips_vocabulary_gives_the_official_ids") else { return };
    let tokenizer = Tokenizer::read(&path).expect("the vocabulary reads");
    assert_eq!((tokenizer.size(), tokenizer.start(), tokenizer.end()), (49408, 49406, 49407));
    assert_ids(&tokenizer, &cases(&fixture("clip_tokens.json")));
    if let Some(path) = shared("clips_vocabulary_gives_the_official_ids", "tiny/tokenizer_cases.json") {
        assert_ids(&tokenizer, &cases(&path));
    }
}

#[test]
fn ids_become_the_text_again() {
    let tokenizer = Tokenizer::read(&medical()).expect("the vocabulary reads");
    for text in ["the left hippocampus, and more", "naïve 日本 🧠", "x"] {
        let spaced = tokenizer.decode(&tokenizer.encode(text, 200).expect("text"));
        let plain = |s: &str| s.replace(' ', "");
        assert_eq!(plain(&spaced), plain(&cleaned(text)));
    }
    assert_eq!(tokenizer.encode("left ".repeat(100).as_str(), 12).expect("text").len(), 12);
    assert_eq!(tokenizer.encode("", 12).expect("text"), [tokenizer.start(), tokenizer.end()]);
}

#[test]
fn what_is_no_vocabulary_is_refused() {
    for bytes in [&b"# comment\nthree symbols here\n"[..], b"", b"# comment\n", b"\xff\xfe", b"#\nqq zz\n"] {
        let error = Tokenizer::new(Path::new("merges.txt"), bytes).expect_err("no vocabulary");
        assert!(error.to_string().contains("merges.txt") && error.to_string().contains("CLIP"), "{error}");
    }
}
