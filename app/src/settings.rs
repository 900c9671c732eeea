//! What the user chose and expects to find again: one JSON file in the user's folder.
//!
//! Reading never fails: a file that cannot be understood gives the defaults (and is kept aside as `settings.bad.json`,
//! so that nothing the user wrote is lost). Writing goes through a temporary name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use inference::runtime::user_folder;
use serde::{Deserialize, Serialize};
use viewer::Convention;

/// Files remembered in the menu.
const RECENT: usize = 12;

/// Light or dark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Theme {
    /// Light text on dark ground, as reading rooms want it.
    #[default]
    Dark,
    /// Dark text on light ground.
    Light,
    /// As the desktop has it.
    System,
}

/// The user's choices. Missing fields take their defaults, unknown ones are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Light or dark.
    pub theme: Theme,
    /// Scale of everything in the window, 0.5..=3, on top of the screen's own.
    pub zoom: f32,
    /// Which side the patient's right is on.
    pub convention: Convention,
    /// Linear interpolation between voxels.
    pub interpolate: bool,
    /// Run the chosen pack on every scan that is opened.
    pub segment_on_open: bool,
    /// The pack chosen last.
    pub pack: Option<String>,
    /// The provider asked for: `auto`, `cpu`, `cuda`, …
    pub provider: String,
    /// Compute threads; the machine's cores when none.
    pub threads: Option<usize>,
    /// Files opened last, newest first.
    pub recent: Vec<PathBuf>,
    /// What was asked for in words last, newest first.
    pub prompts: Vec<String>,
    /// Keys that differ from the defaults: action id to key, e.g. `"Ctrl+Shift+P"`, or an empty text for none.
    pub keys: BTreeMap<String, String>,
    /// Whether the panels at the sides are shown: left, right.
    pub panels: [bool; 2],
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            theme: Theme::default(),
            zoom: 1.0,
            convention: Convention::default(),
            interpolate: true,
            segment_on_open: false,
            pack: None,
            provider: "auto".to_owned(),
            threads: None,
            recent: Vec::new(),
            prompts: Vec::new(),
            keys: BTreeMap::new(),
            panels: [true, true],
        }
    }
}

impl Settings {
    /// The file's place.
    #[must_use]
    pub fn path() -> PathBuf {
        user_folder().join("settings.json")
    }

    /// Reads the user's file.
    #[must_use]
    pub fn load() -> Self {
        Self::load_from(&Self::path())
    }

    /// Reads a file; defaults when there is none or it cannot be understood.
    #[must_use]
    pub fn load_from(path: &Path) -> Self {
        let Ok(text) = std::fs::read_to_string(path) else { return Self::default() };
        let mut settings: Self = serde_json::from_str(&text).unwrap_or_else(|_| {
            // Kept for the user; when even that fails, the next save replaces it.
            let _ = std::fs::rename(path, path.with_extension("bad.json"));
            Self::default()
        });
        settings.zoom = if settings.zoom.is_finite() { settings.zoom.clamp(0.5, 3.0) } else { 1.0 };
        settings.recent.truncate(RECENT);
        settings
    }

    /// Writes the user's file.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn save(&self) -> anyhow::Result<()> {
        self.save_to(&Self::path())
    }

    /// Writes a file by atomic rename.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn save_to(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(formats::Error::io(folder, "create"))?;
        }
        let text = serde_json::to_vec_pretty(self)?;
        formats::atomic::write_bytes(path, &text)?;
        Ok(())
    }

    /// Puts a file at the head of the recent ones.
    pub fn remember(&mut self, path: &Path) {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        self.recent.retain(|p| *p != path);
        self.recent.insert(0, path);
        self.recent.truncate(RECENT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_found_again_and_rubbish_is_kept_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/settings.json");
        let mut settings = Settings { zoom: 1.5, segment_on_open: true, ..Settings::default() };
        settings.remember(Path::new("/x/a.nii"));
        settings.remember(Path::new("/x/b.nii"));
        settings.remember(Path::new("/x/a.nii"));
        assert_eq!(settings.recent, [PathBuf::from("/x/a.nii"), PathBuf::from("/x/b.nii")]);
        settings.save_to(&path).unwrap();
        assert_eq!(Settings::load_from(&path), settings);
        std::fs::write(&path, "{not json").unwrap();
        assert_eq!(Settings::load_from(&path), Settings::default());
        assert_eq!(std::fs::read_to_string(path.with_extension("bad.json")).unwrap(), "{not json");
        std::fs::write(&path, r#"{"zoom": 40, "of_the_future": 1}"#).unwrap();
        assert!((Settings::load_from(&path).zoom - 3.0).abs() < 1e-6);
    }
}
