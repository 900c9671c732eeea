//! Places that a device always writes text to: by manufacturer, model and size of the image, since one device may give several
//! sizes. A JSON file that people may edit.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::region::{Reason, Region};

/// A device and the size of its images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Manufacturer (0008,0070).
    pub manufacturer: String,
    /// Manufacturer's Model Name (0008,1090).
    pub model: String,
    /// Rows of the image.
    pub rows: usize,
    /// Columns of the image.
    pub columns: usize,
}

/// What is blanked in images of a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// The device.
    #[serde(flatten)]
    pub device: Device,
    /// Left, top, width and height in pixels.
    pub rectangles: Vec<[f64; 4]>,
}

/// Rules about devices.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// One for each device and size.
    pub rules: Vec<Rule>,
}

impl Device {
    fn is(&self, other: &Self) -> bool {
        let same = |a: &str, b: &str| a.trim().eq_ignore_ascii_case(b.trim());
        same(&self.manufacturer, &other.manufacturer)
            && same(&self.model, &other.model)
            && (self.rows, self.columns) == (other.rows, other.columns)
    }
}

impl Rules {
    /// Where the user's own rules are.
    #[must_use]
    pub fn place() -> PathBuf {
        inference::runtime::user_folder().join("redaction-rules.json")
    }

    /// The rules of a file, or the user's own, which need not exist.
    ///
    /// # Errors
    /// Those of reading; a file that holds no rules.
    pub fn of(file: Option<&Path>) -> anyhow::Result<Self> {
        let own = Self::place();
        if file.is_none() && !own.exists() {
            return Ok(Self::default());
        }
        let path = file.unwrap_or(&own);
        let bytes = std::fs::read(path).map_err(formats::Error::io(path, "read"))?;
        serde_json::from_slice(&bytes).with_context(|| {
            format!(
                "{}: no rules about devices (expected {{\"rules\": […]}}); correct the file or leave it out",
                path.display()
            )
        })
    }

    /// Regions that are always blanked in images of a device.
    #[must_use]
    pub fn regions(&self, device: &Device) -> Vec<Region> {
        let rules = self.rules.iter().filter(|r| r.device.is(device));
        rules.flat_map(|r| &r.rectangles).map(|&r| Region::rectangle(r, Reason::Rule)).collect()
    }

    /// Remembers rectangles for a device; those of the same place are kept once.
    pub fn remember(&mut self, device: &Device, rectangles: &[[f64; 4]]) {
        let slot = match self.rules.iter().position(|r| r.device.is(device)) {
            Some(n) => n,
            None => {
                self.rules.push(Rule { device: device.clone(), rectangles: Vec::new() });
                self.rules.len() - 1
            }
        };
        for r in rectangles {
            if !self.rules[slot].rectangles.contains(r) {
                self.rules[slot].rectangles.push(*r);
            }
        }
    }

    /// Writes the rules.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(formats::Error::io(folder, "create"))?;
        }
        formats::atomic::write_bytes(path, format!("{}\n", serde_json::to_string_pretty(self)?).as_bytes())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_for_a_device_and_a_size() {
        let device = |columns| Device {
            manufacturer: "Maker".to_owned(),
            model: "One".to_owned(),
            rows: 480,
            columns,
        };
        let mut rules = Rules::default();
        rules.remember(&device(640), &[[0.0, 0.0, 640.0, 30.0]]);
        rules.remember(&Device { model: " ONE".to_owned(), ..device(640) }, &[[0.0, 0.0, 640.0, 30.0]]);
        assert_eq!(rules.regions(&device(640)).len(), 1);
        assert!(rules.regions(&device(800)).is_empty());
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rules.json");
        rules.write(&path).expect("it is written");
        assert_eq!(Rules::of(Some(&path)).expect("it is read"), rules);
        std::fs::write(&path, "[1]").expect("it is written");
        assert!(Rules::of(Some(&path)).is_err());
    }
}
