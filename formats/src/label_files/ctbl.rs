//! 3D Slicer colour tables (`.ctbl`): `index name R G B A`, where A is opacity: 255 is opaque. Blanks in names are
//! written as underscores and read back as blanks, as Slicer does.

use std::path::Path;

use super::freesurfer::row;
use super::{LabelFormat, Labels, Rows, bad_line, data_lines, first_data_line, without_spaces};
use crate::error::Result;
use crate::labels::{LabelEntry, LabelTable};

/// See the module.
pub(super) struct Ctbl;

impl LabelFormat for Ctbl {
    fn id(&self) -> &'static str {
        "ctbl"
    }
    fn name(&self) -> &'static str {
        "3D Slicer colour table"
    }
    fn suffix(&self) -> &'static str {
        ".ctbl"
    }

    fn sniff(&self, text: &str, path: &Path) -> bool {
        let titled =
            text.lines().take(5).any(|l| l.starts_with('#') && l.to_lowercase().contains("color table file"));
        let named = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("ctbl"));
        titled || (named && first_data_line(text).and_then(row).is_some())
    }

    fn parse(&self, text: &str, path: &Path) -> Result<Labels> {
        let expected = "index name R G B A (whole numbers; R, G, B, A 0–255)";
        let mut rows = Rows::default();
        for (n, line) in data_lines(text) {
            let (id, name, rgb, opacity) = row(line).ok_or_else(|| bad_line(path, n, line, expected))?;
            let (name, opacity) = (name.replace('_', " "), f32::from(opacity) / 255.0);
            rows.push(n, id, |id| LabelEntry { opacity, ..LabelEntry::new(id, name, rgb) });
        }
        Ok(rows.finish())
    }

    fn print(&self, table: &LabelTable) -> String {
        let count = table.entries.len() + usize::from(table.get(0).is_none());
        let mut out = format!("# Color table file\n# {count} values\n");
        if table.get(0).is_none() {
            out.push_str("0 Background 0 0 0 0\n");
        }
        for e in &table.entries {
            let [r, g, b] = e.rgb;
            let opacity = if e.visible { e.opacity.clamp(0.0, 1.0) } else { 0.0 };
            let a = (opacity * 255.0).round() as u8;
            out.push_str(&format!("{} {} {r} {g} {b} {a}\n", e.id, without_spaces(&e.name)));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_column_is_opacity_and_underscores_are_blanks() {
        let text = "# Color table file /tmp/Generic.ctbl\n# 3 values\n0 Background 0 0 0 0\n1 soft_tissue 128 174 128 255\n";
        let table = super::super::parse(text, Path::new("colours.txt")).unwrap().table;
        assert_eq!((table.name(1).as_str(), table.get(1).unwrap().opacity), ("soft tissue", 1.0));
        // The same line under a bare .ctbl name, and as a FreeSurfer row, where 255 is invisible.
        let bare = "1 soft_tissue 128 174 128 255\n";
        let as_ctbl = super::super::parse(bare, Path::new("a.ctbl")).unwrap().table;
        let as_lut = super::super::parse(bare, Path::new("a.txt")).unwrap().table;
        assert_eq!((as_ctbl.get(1).unwrap().opacity, as_lut.get(1).unwrap().opacity), (1.0, 0.0));
    }
}
