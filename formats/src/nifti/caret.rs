//! Names and colours of labels in a Caret/Workbench XML extension, as Connectome Workbench and TotalSegmentator
//! write them: `CaretExtension / VolumeInformation / LabelTable / Label` with `Key` and colours 0..=1.

use std::fmt::Write;

use crate::labels::{LabelEntry, LabelTable};

/// The registered extension code of Caret XML. TotalSegmentator writes the same XML under code 0.
pub const CODE: i32 = 30;

/// Larger extensions are kept but not parsed: no label table needs so much.
const MAX_XML_BYTES: usize = 4 << 20;

/// Most elements and texts in it; each takes some sixty bytes.
const MAX_XML_NODES: u32 = 300_000;

/// Whether an extension is Caret XML, whatever its code.
pub fn is_caret(content: &[u8]) -> bool {
    let start = content.get(..content.len().min(512)).unwrap_or_default();
    start.windows(15).any(|w| w == b"<CaretExtension")
}

/// The label table in an extension, or `None` when there is none (or the XML is not well formed).
pub fn parse(content: &[u8]) -> Option<LabelTable> {
    if !is_caret(content) || content.len() > MAX_XML_BYTES {
        return None;
    }
    let text = std::str::from_utf8(content).ok()?.trim_matches(['\0', ' ', '\n', '\r', '\t']);
    let options = roxmltree::ParsingOptions { nodes_limit: MAX_XML_NODES, ..Default::default() };
    let xml = roxmltree::Document::parse_with_options(text, options).ok()?;
    let mut table = LabelTable::default();
    let mut seen = std::collections::HashSet::new();
    for node in xml.descendants().filter(|n| n.has_tag_name("Label")) {
        let Some(id) = node.attribute("Key").and_then(|k| k.trim().parse::<u16>().ok()) else { continue };
        let channel = |name: &str| node.attribute(name).and_then(|v| v.trim().parse::<f64>().ok());
        let byte = |name: &str| (channel(name).unwrap_or(0.0).clamp(0.0, 1.0) * 255.0).round() as u8;
        // Children, not descendants: labels inside labels inside labels would be walked again at each level.
        let name: String =
            node.children().filter(roxmltree::Node::is_text).filter_map(|n| n.text()).collect();
        if id != 0 && seen.insert(id) {
            let mut entry = LabelEntry::new(id, name.trim(), [byte("Red"), byte("Green"), byte("Blue")]);
            entry.opacity = channel("Alpha").unwrap_or(1.0).clamp(0.0, 1.0) as f32;
            table.entries.push(entry);
        }
    }
    (!table.entries.is_empty()).then_some(table)
}

/// A label table as Caret XML.
pub fn format(table: &LabelTable) -> Vec<u8> {
    let mut xml = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<CaretExtension>\n<VolumeInformation Index=\"0\">\n<LabelTable>\n",
    );
    for e in &table.entries {
        let [r, g, b] = e.rgb.map(|v| f64::from(v) / 255.0);
        // Only "]]>" cannot stand in CDATA; it is split over two sections. Control characters are not XML at all.
        let name: String = e.name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let name = name.replace("]]>", "]]]]><![CDATA[>");
        let _ = writeln!(
            xml,
            "<Label Key=\"{}\" Red=\"{r:.6}\" Green=\"{g:.6}\" Blue=\"{b:.6}\" Alpha=\"{}\"><![CDATA[{name}]]></Label>",
            e.id, e.opacity
        );
    }
    xml.push_str("</LabelTable>\n<VolumeType><![CDATA[Label]]></VolumeType>\n</VolumeInformation>\n</CaretExtension>\n");
    xml.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_come_back_with_odd_names() {
        let mut table = LabelTable::default();
        table.entries.push(LabelEntry::new(1, "a <b> & \"c\" ]]> é", [255, 0, 128]));
        table.entries.push(LabelEntry { opacity: 0.5, ..LabelEntry::new(65535, "x", [1, 2, 3]) });
        let mut bytes = format(&table);
        bytes.extend([0; 16]);
        assert_eq!(parse(&bytes), Some(table));
        assert_eq!(parse(b"<CaretExtension><Label Key='1'>"), None);
        assert_eq!(parse(b"plain"), None);
    }

    #[test]
    fn nests_of_labels_take_no_time() {
        let start = std::time::Instant::now();
        for depth in [100_000, 200_000] {
            let xml =
                ["<CaretExtension>", &"<Label Key='1'>".repeat(depth), &"</Label>".repeat(depth)].concat();
            let _ = parse(&[xml.as_bytes(), b"</CaretExtension>"].concat());
        }
        assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    }
}
