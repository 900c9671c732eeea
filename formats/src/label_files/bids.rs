//! BIDS segmentation look-up tables (`*_dseg.tsv`): tab separated, columns `index name abbreviation color mapping` in
//! any order, `n/a` for what is missing, colours as `#rrggbb`.
//! <https://bids-specification.readthedocs.io/en/stable/derivatives/imaging.html#common-image-derived-labels>

use std::path::Path;

use super::{LabelFormat, Labels, Rows, bad_line};
use crate::error::Result;
use crate::labels::{LabelEntry, LabelTable, default_rgb};

/// See the module.
pub(super) struct Bids;

fn header(text: &str) -> Option<Vec<String>> {
    let columns: Vec<String> = text.lines().next()?.split('\t').map(|c| c.trim().to_lowercase()).collect();
    (columns.iter().any(|c| c == "index") && columns.iter().any(|c| c == "name")).then_some(columns)
}

fn colour(text: &str) -> Option<[u8; 3]> {
    let hex = text.strip_prefix('#').filter(|h| h.len() == 6 && h.is_ascii())?;
    let byte = |n: usize| hex.get(2 * n..2 * n + 2).and_then(|h| u8::from_str_radix(h, 16).ok());
    Some([byte(0)?, byte(1)?, byte(2)?])
}

impl LabelFormat for Bids {
    fn id(&self) -> &'static str {
        "bids"
    }
    fn name(&self) -> &'static str {
        "BIDS dseg.tsv"
    }
    fn suffix(&self) -> &'static str {
        "_dseg.tsv"
    }

    fn sniff(&self, text: &str, _: &Path) -> bool {
        header(text).is_some()
    }

    fn parse(&self, text: &str, path: &Path) -> Result<Labels> {
        let first = text.lines().next().unwrap_or_default();
        let columns = header(text)
            .ok_or_else(|| bad_line(path, 1, first, "tab-separated column names with index and name"))?;
        let mut rows = Rows::default();
        for (n, line) in text.lines().enumerate().skip(1).filter(|(_, l)| !l.trim().is_empty()) {
            let bad = |expected: &str| bad_line(path, n + 1, line, expected);
            let cells: Vec<&str> = line.split('\t').map(str::trim).collect();
            let cell = |name: &str| {
                let at = columns.iter().position(|c| c == name)?;
                cells.get(at).copied().filter(|c| !c.is_empty() && *c != "n/a")
            };
            let id = cell("index")
                .and_then(|c| c.parse().ok())
                .ok_or_else(|| bad("a whole number under index"))?;
            let name = cell("name").ok_or_else(|| bad("a name"))?;
            let rgb = match cell("color") {
                None => None,
                Some(text) => Some(colour(text).ok_or_else(|| bad("a colour like #rrggbb"))?),
            };
            rows.push(n + 1, id, |id| LabelEntry {
                abbreviation: cell("abbreviation").unwrap_or_default().to_owned(),
                ..LabelEntry::new(id, name, rgb.unwrap_or_else(|| default_rgb(id)))
            });
        }
        Ok(rows.finish())
    }

    fn print(&self, table: &LabelTable) -> String {
        let mut out = String::from("index\tname\tabbreviation\tcolor\n");
        for e in &table.entries {
            let [r, g, b] = e.rgb;
            let clean = |s: &str| match s.replace(['\t', '\n', '\r'], " ").trim() {
                "" => "n/a".to_owned(),
                s => s.to_owned(),
            };
            let (name, short) = (clean(&e.name), clean(&e.abbreviation));
            out.push_str(&format!("{}\t{name}\t{short}\t#{r:02x}{g:02x}{b:02x}\n", e.id));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_in_any_order_and_missing_cells() {
        let text = "name\tmapping\tindex\tabbreviation\tcolor\nGray Matter\t1\t2\tGM\t#ff53bb\nWhite\tn/a\t3\tn/a\tn/a\n";
        let table = Bids.parse(text, Path::new("x")).unwrap().table;
        assert_eq!(table.get(2).unwrap().abbreviation, "GM");
        assert_eq!(table.rgb(2), [0xff, 0x53, 0xbb]);
        assert_eq!(table.rgb(3), default_rgb(3));
        assert_eq!(Bids.parse(&Bids.print(&table), Path::new("x")).unwrap().table, table);
    }

    #[test]
    fn names_the_bad_line() {
        for bad in ["a\tx\tn/a\t#000000", "1\tn/a\tn/a\t#000000", "1\tx\tn/a\tred", "1"] {
            let text = format!("index\tname\tabbreviation\tcolor\n1\ta\tn/a\tn/a\n{bad}\n");
            let error = Bids.parse(&text, Path::new("l")).unwrap_err();
            assert!(error.to_string().contains("line 3 reads"), "{error}");
        }
    }
}
