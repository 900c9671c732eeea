//! The labels of an nnU-Net `dataset.json`: version 2 (`{"liver": 1}`, or `{"whole tumour": [1, 2, 3]}` for regions)
//! and version 1 (`{"1": "liver"}`). It has no colours. Regions overlap, so they are no rows: a notice lists them.
//! What is written holds the labels only; nnU-Net itself also wants channels and case counts, which a table lacks.

use std::path::Path;

use serde_json::{Map, Value};

use super::{LabelFormat, Labels, Rows};
use crate::error::{Error, Result};
use crate::labels::{LabelEntry, LabelTable, default_rgb};
use crate::notice::Notice;

/// See the module.
pub(super) struct NnUnet;

impl LabelFormat for NnUnet {
    fn id(&self) -> &'static str {
        "nnunet"
    }
    fn name(&self) -> &'static str {
        "nnU-Net dataset.json"
    }
    fn suffix(&self) -> &'static str {
        "_dataset.json"
    }

    fn sniff(&self, text: &str, _: &Path) -> bool {
        text.trim_start().starts_with('{')
    }

    fn parse(&self, text: &str, path: &Path) -> Result<Labels> {
        let malformed = |found: String, expected: &str| Error::Malformed {
            path: path.to_owned(),
            found,
            expected: expected.to_owned(),
            remedy: "Correct the file".to_owned(),
        };
        let json: Value = serde_json::from_str(text).map_err(|e| {
            malformed(format!("line {} is no JSON ({e})", e.line()), "nnU-Net's dataset.json")
        })?;
        let labels = json
            .get("labels")
            .and_then(Value::as_object)
            .ok_or_else(|| malformed("JSON without an object “labels”".into(), "nnU-Net's dataset.json"))?;
        let mut rows = Rows::default();
        let mut regions = Vec::new();
        for (n, (key, value)) in labels.iter().enumerate() {
            let (id, name) = match (value, key.parse::<u64>()) {
                (Value::Number(id), _) => (id.as_u64(), key.as_str()),
                (Value::String(name), Ok(id)) => (Some(id), name.as_str()),
                (Value::Array(members), _) => {
                    let members: Vec<String> = members.iter().map(ToString::to_string).collect();
                    regions.push(format!("{key} = {}", members.join("+")));
                    continue;
                }
                _ => (None, key.as_str()),
            };
            let id = id.ok_or_else(|| {
                malformed(
                    format!("the label “{key}”: {value}"),
                    "name: number, name: [numbers], or number: name",
                )
            })?;
            rows.push(n + 1, id, |id| LabelEntry::new(id, name, default_rgb(id)));
        }
        let mut out = rows.finish();
        if !regions.is_empty() {
            out.notices.push(Notice::info(
                "label-regions",
                format!("overlapping regions are not rows of a label table: {}", regions.join("; ")),
            ));
        }
        Ok(out)
    }

    fn print(&self, table: &LabelTable) -> String {
        let mut labels = Map::new();
        if table.get(0).is_none() {
            labels.insert("background".to_owned(), 0.into());
        }
        for e in &table.entries {
            // Keys are unique in JSON, names need not be.
            let name =
                if labels.contains_key(&e.name) { format!("{} ({})", e.name, e.id) } else { e.name.clone() };
            labels.insert(name, e.id.into());
        }
        let json = serde_json::json!({ "labels": labels, "file_ending": ".nii.gz" });
        format!("{json:#}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_and_regions() {
        let v1 = NnUnet.parse(r#"{"labels": {"0": "background", "1": "liver"}}"#, Path::new("x")).unwrap();
        let v2 = NnUnet.parse(r#"{"labels": {"background": 0, "liver": 1}}"#, Path::new("x")).unwrap();
        assert_eq!(v1, v2);
        let regions = NnUnet
            .parse(r#"{"labels": {"background": 0, "whole tumour": [1, 2, 3], "ET": 3}}"#, Path::new("x"))
            .unwrap();
        assert_eq!(regions.table.entries.len(), 2);
        assert!(regions.notices[0].message.contains("whole tumour = 1+2+3"));
    }

    #[test]
    fn bad_json_and_bad_labels_are_named() {
        for (bad, said) in [("{\n\n x", "line 3"), ("{}", "“labels”"), (r#"{"labels": {"a": 1.5}}"#, "“a”")]
        {
            let error = NnUnet.parse(bad, Path::new("d.json")).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
