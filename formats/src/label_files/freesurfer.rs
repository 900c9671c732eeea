//! FreeSurfer colour tables (`FreeSurferColorLUT.txt`): `index name R G B A`, where A is transparency: 0 is opaque.

use std::path::Path;

use super::{LabelFormat, Labels, Rows, bad_line, channel, data_lines, first_data_line, without_spaces};
use crate::error::Result;
use crate::labels::{LabelEntry, LabelTable};

/// See the module.
pub(super) struct FreeSurfer;

const EXPECTED: &str = "index name R G B A (whole numbers; R, G, B, A 0–255)";

/// `index name R G B A`: number, name (which may hold blanks in tables from other hands), colour, last column.
pub(super) fn row(line: &str) -> Option<(u64, String, [u8; 3], u8)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [id, name @ .., r, g, b, a] = fields.as_slice() else { return None };
    if name.is_empty() {
        return None;
    }
    let rgb = [channel(r)?, channel(g)?, channel(b)?];
    Some((id.parse().ok()?, name.join(" "), rgb, channel(a)?))
}

impl LabelFormat for FreeSurfer {
    fn id(&self) -> &'static str {
        "freesurfer"
    }
    fn name(&self) -> &'static str {
        "FreeSurfer colour table"
    }
    fn suffix(&self) -> &'static str {
        "_lut.txt"
    }

    fn sniff(&self, text: &str, _: &Path) -> bool {
        first_data_line(text).and_then(row).is_some()
    }

    fn parse(&self, text: &str, path: &Path) -> Result<Labels> {
        let mut rows = Rows::default();
        for (n, line) in data_lines(text) {
            let (id, name, rgb, transparency) = row(line).ok_or_else(|| bad_line(path, n, line, EXPECTED))?;
            let opacity = f32::from(255 - transparency) / 255.0;
            rows.push(n, id, |id| LabelEntry { opacity, ..LabelEntry::new(id, name, rgb) });
        }
        Ok(rows.finish())
    }

    fn print(&self, table: &LabelTable) -> String {
        let mut out =
            String::from("#No.   Label Name:                                 R   G   B   A (0 = opaque)\n");
        if table.get(0).is_none() {
            out.push_str(&line(&LabelEntry::new(0, "Unknown", [0; 3])));
        }
        for e in &table.entries {
            out.push_str(&line(e));
        }
        out
    }
}

fn line(e: &LabelEntry) -> String {
    let [r, g, b] = e.rgb;
    // An invisible row can only be said as a fully transparent one.
    let opacity = if e.visible { e.opacity.clamp(0.0, 1.0) } else { 0.0 };
    let a = ((1.0 - opacity) * 255.0).round() as u8;
    format!("{:<6} {:<42} {r:>3} {g:>3} {b:>3} {a:>3}\n", e.id, without_spaces(&e.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_in_the_last_column_is_opaque() {
        let text = "#$Id: FreeSurferColorLUT.txt\n\n0   Unknown   0 0 0 0\n2   Left-Cerebral-White-Matter  245 245 245 0\n\
                    3 Faint 1 2 3 204\n";
        let table = FreeSurfer.parse(text, Path::new("x")).unwrap().table;
        assert_eq!(table.get(2).unwrap().opacity, 1.0);
        assert!((table.get(3).unwrap().opacity - 0.2).abs() < 1e-6);
        assert_eq!(FreeSurfer.parse(&FreeSurfer.print(&table), Path::new("x")).unwrap().table, table);
    }

    #[test]
    fn names_the_bad_line() {
        for bad in ["2 Left 245 245 300 0", "2 Left 1 1 1", "x Left 1 1 1 0", "-1 Left 1 1 1 0", "2"] {
            let error = FreeSurfer.parse(&format!("1 a 1 1 1 0\n\n{bad}\n"), Path::new("l")).unwrap_err();
            assert!(error.to_string().contains("line 3 reads"), "{error}");
        }
    }
}
