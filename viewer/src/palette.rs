//! Colours of labels as one flat table, so that a renderer looks a label up by its number alone.

use std::sync::OnceLock;

use formats::LabelTable;
use formats::labels::default_rgb;

/// Red, green, blue, opacity (0..=255) of every label number, 65536 rows. Background (0) and hidden labels have
/// opacity 0; numbers without a row in the table are opaque in their default colour.
#[must_use]
pub fn palette(table: &LabelTable) -> Vec<[u8; 4]> {
    static DEFAULT: OnceLock<Vec<[u8; 4]>> = OnceLock::new();
    let default = DEFAULT.get_or_init(|| {
        let row = |id: u16| {
            let [r, g, b] = default_rgb(id);
            [r, g, b, if id == 0 { 0 } else { 255 }]
        };
        (0..=u16::MAX).map(row).collect()
    });
    let mut colours = default.clone();
    for entry in table.entries.iter().rev().filter(|e| e.id != 0) {
        let [r, g, b] = entry.rgb;
        let opacity = if entry.visible { (entry.opacity.clamp(0.0, 1.0) * 255.0).round() as u8 } else { 0 };
        colours[usize::from(entry.id)] = [r, g, b, opacity];
    }
    colours
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::LabelEntry;

    #[test]
    fn hidden_faint_and_unlisted_labels() {
        let hidden = LabelEntry { visible: false, ..LabelEntry::new(2, "b", [1, 2, 3]) };
        let faint = LabelEntry { opacity: 0.5, ..LabelEntry::new(3, "c", [4, 5, 6]) };
        let background = LabelEntry::new(0, "Background", [9, 9, 9]);
        let table =
            LabelTable { entries: vec![background, LabelEntry::new(1, "a", [7, 8, 9]), hidden, faint] };
        let colours = palette(&table);
        assert_eq!(colours.len(), 65536);
        assert_eq!(colours[0][3], 0);
        assert_eq!(colours[1..4], [[7, 8, 9, 255], [1, 2, 3, 0], [4, 5, 6, 128]]);
        let [r, g, b] = default_rgb(40000);
        assert_eq!(colours[40000], [r, g, b, 255]);
    }
}
