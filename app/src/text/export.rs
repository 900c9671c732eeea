//! Lines of text in the formats of other programs.

use std::fmt::Write;

use super::{Document, DocumentPage};

/// The whole document as JSON, its own format.
///
/// # Errors
/// Never for documents made here.
pub fn json(document: &Document) -> serde_json::Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(document)?))
}

/// One row per line: page, score, the corners of the smallest rectangle, and the outline as `x,y` pairs.
#[must_use]
pub fn tsv(document: &Document) -> String {
    let mut out = "page\tscore\tx1\ty1\tx2\ty2\tx3\ty3\tx4\ty4\tpolygon\n".to_owned();
    for page in &document.pages {
        for line in &page.lines {
            let _ = write!(out, "{}\t{}", page.page, line.score);
            for [x, y] in line.quad {
                let _ = write!(out, "\t{x}\t{y}");
            }
            let _ = writeln!(out, "\t{}", points(&line.polygon));
        }
    }
    out
}

/// The form of detections of ICDAR 2015, task 4.1: four corners clockwise, whole pixels, one line each.
#[must_use]
pub fn icdar(page: &DocumentPage) -> String {
    page.lines.iter().fold(String::new(), |mut out, line| {
        let corners: Vec<String> =
            line.quad.iter().flatten().map(|v| format!("{}", v.round() as i64)).collect();
        let _ = writeln!(out, "{}", corners.join(","));
        out
    })
}

/// PAGE XML of one page (PRImA, schema of 2019-07-15): every line in a region of its own, without text content.
#[must_use]
pub fn page_xml(document: &Document, page: &DocumentPage, image: &str, created: &str) -> String {
    const NAMESPACE: &str = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15";
    let [columns, rows] = document.size;
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PcGts xmlns=\"{NAMESPACE}\">\n  <Metadata>\n    \
         <Creator>Insula {}</Creator>\n    <Created>{created}</Created>\n    <LastChange>{created}</LastChange>\n  \
         </Metadata>\n  <Page imageFilename=\"{}\" imageWidth=\"{columns}\" imageHeight=\"{rows}\">\n",
        env!("CARGO_PKG_VERSION"),
        escaped(image)
    );
    for (n, line) in page.lines.iter().enumerate() {
        // Coordinates of the schema are whole numbers that are not negative.
        let whole: Vec<[f64; 2]> = line.polygon.iter().map(|p| p.map(|v| v.round().max(0.0))).collect();
        let (points, id) = (points(&whole), n + 1);
        let _ = writeln!(
            out,
            "    <TextRegion id=\"r{id}\">\n      <Coords points=\"{points}\"/>\n      <TextLine id=\"l{id}\">\n        \
             <Coords points=\"{points}\" conf=\"{}\"/>\n      </TextLine>\n    </TextRegion>",
            line.score
        );
    }
    out.push_str("  </Page>\n</PcGts>\n");
    out
}

fn points(polygon: &[[f64; 2]]) -> String {
    polygon.iter().map(|[x, y]| format!("{x},{y}")).collect::<Vec<_>>().join(" ")
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // Characters that XML 1.0 does not have.
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
        out
    })
}

/// Seconds since 1970 as `YYYY-MM-DDThh:mm:ss` in UTC (H. Hinnant, *chrono-compatible low-level date algorithms*).
#[must_use]
pub fn date_time(unix_secs: u64) -> String {
    let (days, of_day) = ((unix_secs / 86_400) as i64, unix_secs % 86_400);
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (h, m, s) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}")
}

#[cfg(test)]
mod tests {
    use super::super::DocumentLine;
    use super::*;

    fn document() -> Document {
        let line = DocumentLine {
            polygon: vec![[1.0, 2.5], [9.0, 2.0], [9.0, 6.0], [1.0, 6.0]],
            quad: [[1.0, 2.0], [9.0, 2.0], [9.0, 6.0], [1.0, 6.0]],
            score: 0.5,
        };
        let pages = vec![DocumentPage { page: 3, lines: vec![line] }];
        Document { case: "a".to_owned(), size: [20, 10], facts: [].into(), pages }
    }

    #[test]
    fn rows_and_elements_hold_the_corners() {
        let d = document();
        assert_eq!(tsv(&d).lines().nth(1), Some("3\t0.5\t1\t2\t9\t2\t9\t6\t1\t6\t1,2.5 9,2 9,6 1,6"));
        assert_eq!(icdar(&d.pages[0]), "1,2,9,2,9,6,1,6\n");
        let xml = page_xml(&d, &d.pages[0], "a<b>&\".png", "2026-11-25T00:00:00");
        assert!(
            xml.contains("imageFilename=\"a&lt;b&gt;&amp;&quot;.png\" imageWidth=\"20\" imageHeight=\"10\""),
            "{xml}"
        );
        assert!(xml.contains("<Coords points=\"1,3 9,2 9,6 1,6\" conf=\"0.5\"/>"), "{xml}");
        let back: Document = serde_json::from_str(&json(&d).expect("it is written")).expect("it is read");
        assert_eq!(back, d);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date_time(0), "1970-01-01T00:00:00");
        assert_eq!(date_time(951_782_400), "2000-02-29T00:00:00");
        assert_eq!(date_time(1_795_565_045), "2026-11-25T00:04:05");
    }
}
