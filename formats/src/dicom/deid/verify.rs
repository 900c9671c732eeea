//! The written file is read again, as a stranger would read it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::clean::{Identities, is_all_known};
use super::row::Action;
use super::value::{is_text, texts};
use super::{Deidentifier, walk};
use crate::dicom::read::{Header, read_header};
use crate::dicom::rewrite::{copy, pixel_value};
use crate::error::{Error, Result};

/// Something in a written file that should not be there. Never tells a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Where it is, as in [`super::Row::path`].
    pub path: String,
    /// The keyword of the attribute.
    pub keyword: String,
    /// What is wrong.
    pub what: String,
}

impl Finding {
    fn new(path: impl Into<String>, keyword: &str, what: impl Into<String>) -> Self {
        Self { path: path.into(), keyword: keyword.to_owned(), what: what.into() }
    }
}

/// Reads `output` and compares it with what was there and what should be there now.
///
/// # Errors
/// Those of reading.
pub fn verify(
    deidentifier: &Deidentifier,
    original: &Header,
    uids: &BTreeMap<String, String>,
    output: &Path,
) -> Result<Vec<Finding>> {
    let written = read_header(output)?;
    let mut findings = BTreeSet::new();
    check_head(output, &written, &mut findings)?;
    if pixel_digest(original)? != pixel_digest(&written)? {
        findings.insert(Finding::new("(7FE0,0010)", "PixelData", "the bytes are not those of the original"));
    }
    check_actions(deidentifier, &written.object, &mut findings);
    let identities = Identities::of(&original.object, &deidentifier.options);
    check_values(&written.object, "", &identities, uids, &mut findings);
    Ok(findings.into_iter().collect())
}

fn check_head(path: &Path, written: &Header, findings: &mut BTreeSet<Finding>) -> Result<()> {
    let mut preamble = [1; 132];
    let mut file = std::fs::File::open(path).map_err(Error::io(path, "read"))?;
    file.read_exact(&mut preamble).map_err(Error::io(path, "read"))?;
    let zeros = preamble.iter().take(128).all(|b| *b == 0);
    if !zeros || !preamble.ends_with(b"DICM") {
        findings.insert(Finding::new("", "preamble", "is not empty"));
    }
    for element in written.meta.iter() {
        let tag = element.header().tag;
        // Group length to transfer syntax, and our own implementation.
        let is_ours = matches!(tag.element(), 0x0000..=0x0003 | 0x0010 | 0x0012 | 0x0013);
        if !is_ours {
            findings.insert(Finding::new(walk::plain(tag), walk::keyword(tag), "in the meta group"));
        }
    }
    if written.text(tags::PATIENT_IDENTITY_REMOVED).as_deref() != Some("YES") {
        findings.insert(Finding::new("(0012,0062)", "PatientIdentityRemoved", "is not YES"));
    }
    Ok(())
}

/// SHA-256 of the pixel data without the byte that makes the length even.
fn pixel_digest(header: &Header) -> Result<Option<[u8; 32]>> {
    let Some(pixels) = &header.pixels else { return Ok(None) };
    let (start, len) = pixel_value(header, pixels)?;
    let mut digest = Sha256::new();
    let mut last = None;
    copy(header, (start, len), &mut |piece| {
        // The last byte waits: when it is padding it does not count.
        if let Some(byte) = last.take() {
            digest.update([byte]);
        }
        if let Some((tail, body)) = piece.split_last() {
            digest.update(body);
            last = Some(*tail);
        }
        Ok(())
    })?;
    // Of native data a last zero counts as padding on both sides.
    if let Some(byte) = last.filter(|b| *b != 0 || pixels.len.is_none()) {
        digest.update([byte]);
    }
    Ok(Some(digest.finalize().into()))
}

/// A second pass over a de-identified data set finds nothing to remove, to empty or to replace.
fn check_actions(deidentifier: &Deidentifier, object: &InMemDicomObject, findings: &mut BTreeSet<Finding>) {
    let again = Deidentifier {
        options: super::Options {
            // The pseudonym is the identifier now.
            patient_id: [tags::PATIENT_ID, tags::PATIENT_NAME]
                .into_iter()
                .find_map(|tag| texts_of(object, tag).into_iter().next()),
            ..deidentifier.options.clone()
        },
        key: deidentifier.key.clone(),
    };
    for row in again.plan(object) {
        let what = match row.action {
            Action::Remove => "should be gone",
            Action::Empty | Action::Pseudonym => "should have no value of its own",
            Action::Dummy if !super::MARKS.iter().any(|t| walk::plain(*t) == row.tag) && is_leaf(&row.vr) => {
                "should have a dummy value"
            }
            _ => continue,
        };
        findings.insert(Finding::new(row.path, &row.keyword, what));
    }
}

fn is_leaf(vr: &str) -> bool {
    vr != "SQ"
}

fn texts_of(object: &InMemDicomObject, tag: Tag) -> Vec<String> {
    object.get(tag).and_then(texts).unwrap_or_default()
}

/// Values written by us on purpose.
const OURS: &[Tag] = &[
    tags::PATIENT_ID,
    tags::PATIENT_NAME,
    tags::PATIENT_IDENTITY_REMOVED,
    tags::DEIDENTIFICATION_METHOD,
    tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE,
];

fn check_values(
    object: &InMemDicomObject,
    path: &str,
    identities: &Identities,
    uids: &BTreeMap<String, String>,
    findings: &mut BTreeSet<Finding>,
) {
    for element in object.iter() {
        let (tag, vr) = (element.header().tag, element.header().vr);
        if OURS.contains(&tag) {
            continue;
        }
        let place = format!("{path}{}", walk::plain(tag));
        if let Some(items) = element.value().items() {
            for (number, item) in (1..).zip(items) {
                check_values(item, &format!("{place}[{number}]."), identities, uids, findings);
            }
            continue;
        }
        let keyword = walk::keyword(tag);
        let mut met: BTreeSet<Tag> = BTreeSet::new();
        match texts(element) {
            Some(texts) if vr == VR::UI && texts.iter().any(|t| uids.contains_key(t)) => {
                findings.insert(Finding::new(&place, keyword, "holds a UID that was replaced elsewhere"));
            }
            // Terms are chosen from lists: a part of a name that is a word of imaging is that word there.
            Some(texts) if vr == VR::CS => {
                met.extend(texts.iter().filter(|t| !is_all_known(t)).flat_map(|t| identities.met_in(t)));
            }
            Some(texts) if is_text(vr) || matches!(vr, VR::DS | VR::IS) => {
                met.extend(texts.iter().flat_map(|t| identities.met_in(t)));
            }
            None if matches!(vr, VR::OB | VR::UN) => {
                let bytes = element.value().to_bytes().unwrap_or_default();
                met.extend(identities.met_in(&String::from_utf8_lossy(&bytes)));
            }
            _ => {}
        }
        for from in met {
            let what = format!("repeats a part of {} {}", walk::plain(from), walk::keyword(from));
            findings.insert(Finding::new(&place, keyword, what));
        }
    }
}
