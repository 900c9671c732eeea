//! ITK-SNAP label description files: `IDX R G B A VIS MSH "LABEL"`, A from 0 to 1.

use std::path::Path;

use super::{LabelFormat, Labels, Rows, bad_line, channel, data_lines, first_data_line};
use crate::error::Result;
use crate::labels::{LabelEntry, LabelTable};

/// See the module.
pub(super) struct ItkSnap;

const EXPECTED: &str = "IDX R G B A VIS MSH \"LABEL\" (R, G, B 0–255; A 0–1; VIS, MSH 0 or 1)";

fn row(line: &str) -> Option<(u64, [u8; 3], f32, bool, String)> {
    let (numbers, name) = line.split_once('"')?;
    let name = name.strip_suffix('"')?;
    let mut fields = numbers.split_whitespace();
    let id = fields.next()?.parse().ok()?;
    let rgb = [channel(fields.next()?)?, channel(fields.next()?)?, channel(fields.next()?)?];
    let opacity: f32 = fields.next()?.parse().ok().filter(|a| (0.0..=1.0).contains(a))?;
    let visible = fields.next()?.parse::<u8>().ok()? != 0;
    let _mesh = fields.next()?.parse::<u8>().ok()?;
    fields.next().is_none().then(|| (id, rgb, opacity, visible, name.to_owned()))
}

impl LabelFormat for ItkSnap {
    fn id(&self) -> &'static str {
        "itksnap"
    }
    fn name(&self) -> &'static str {
        "ITK-SNAP label description"
    }
    fn suffix(&self) -> &'static str {
        "_labels.txt"
    }

    fn sniff(&self, text: &str, _: &Path) -> bool {
        let titled = text.lines().take(5).any(|l| l.to_lowercase().contains("itk-snap label description"));
        titled || first_data_line(text).and_then(row).is_some()
    }

    fn parse(&self, text: &str, path: &Path) -> Result<Labels> {
        let mut rows = Rows::default();
        for (n, line) in data_lines(text) {
            let (id, rgb, opacity, visible, name) =
                row(line).ok_or_else(|| bad_line(path, n, line, EXPECTED))?;
            rows.push(n, id, |id| LabelEntry { opacity, visible, ..LabelEntry::new(id, name, rgb) });
        }
        Ok(rows.finish())
    }

    fn print(&self, table: &LabelTable) -> String {
        let mut out = String::from(
            "################################################\n\
             # ITK-SnAP Label Description File\n\
             # File format:\n\
             # IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL\n\
             # Fields:\n\
             #    IDX:   Zero-based index\n\
             #    -R-:   Red color component (0..255)\n\
             #    -G-:   Green color component (0..255)\n\
             #    -B-:   Blue color component (0..255)\n\
             #    -A-:   Label transparency (0.00 .. 1.00)\n\
             #    VIS:   Label visibility (0 or 1)\n\
             #    MSH:   Label mesh visibility (0 or 1)\n\
             #  LABEL:   Label description\n\
             ################################################\n",
        );
        // The program expects the background row.
        if table.get(0).is_none() {
            out.push_str("    0     0    0    0        0  0  0    \"Clear Label\"\n");
        }
        for e in &table.entries {
            let [r, g, b] = e.rgb;
            let visible = u8::from(e.visible);
            let name = e.name.replace('"', "'").replace(['\n', '\r'], " ");
            let opacity = e.opacity.clamp(0.0, 1.0);
            out.push_str(&format!(
                "{:>5} {r:>5} {g:>4} {b:>4} {opacity:>8} {visible:>2} {visible:>2}    \"{name}\"\n",
                e.id
            ));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_file_as_the_program_writes_it() {
        let text = "################\n# ITK-SnAP Label Description File\n\
            \x20   0     0    0    0        0  0  0    \"Clear Label\"\n\
            \x20   1   255    0    0      0.5  1  0    \"Left \"caudal\" part\"\n";
        let table = ItkSnap.parse(text, Path::new("x")).unwrap().table;
        assert_eq!(table.entries[1].name, "Left \"caudal\" part");
        assert_eq!((table.entries[1].opacity, table.entries[1].visible), (0.5, true));
        assert!(!table.entries[0].visible);
    }

    #[test]
    fn names_the_bad_line() {
        for bad in [
            "1 256 0 0 1 1 1 \"a\"",
            "1 0 0 0 1.5 1 1 \"a\"",
            "1 0 0 0 1 1 \"a\"",
            "1 0 0 0 1 1 1 a",
            "1 0 0 0 1 1 1 \"a",
        ] {
            let error = ItkSnap.parse(&format!("# x\n{bad}\n"), Path::new("l.txt")).unwrap_err();
            assert!(error.to_string().starts_with("l.txt: line 2 reads"), "{error}");
        }
    }
}
