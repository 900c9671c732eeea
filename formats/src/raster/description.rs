//! What microscopes write into the description of a TIFF file: OME-XML and ImageJ's lines.
//!
//! OME: <https://docs.openmicroscopy.org/ome-model/latest/ome-tiff/specification.html>. ImageJ stores hyperstacks
//! with channels fastest, then slices, then frames.

use roxmltree::{Document, Node, ParsingOptions};

/// Longest OME-XML that is parsed, which takes up to fifteen times its length; and what more is parsed of long files.
const XML_BYTES: usize = 2 << 20;
const XML_SHARE: usize = 8;

/// How pages are arranged.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrangement {
    /// Slices, channels, points in time.
    pub size_zct: [usize; 3],
    /// The page of slice `z`, channel `c`, time `t` at `(t · C + c) · Z + z`.
    pub pages: Vec<usize>,
    /// Millimetres along i, j, k where stated.
    pub spacing_mm: [Option<f64>; 3],
    /// Seconds between frames, 0 when unknown.
    pub step_s: f64,
}

/// Millimetres per unit of length.
fn millimetres(unit: &str) -> Option<f64> {
    Some(match unit.trim() {
        "mm" => 1.0,
        "m" => 1000.0,
        "cm" => 10.0,
        "um" | "µm" | "μm" | "micron" | "microns" | "\\u00B5m" | "\\u00b5m" => 1e-3,
        "nm" => 1e-6,
        "Å" | "pm" => {
            if unit == "pm" {
                1e-9
            } else {
                1e-7
            }
        }
        "in" | "inch" => 25.4,
        _ => return None,
    })
}

fn positive(text: Option<&str>) -> Option<f64> {
    text?.trim().parse::<f64>().ok().filter(|v| v.is_finite() && *v > 0.0)
}

/// Pages in the given order of axes (a permutation of `ZCT`, fastest first), one after the other.
fn in_order(order: &str, size_zct: [usize; 3]) -> Option<Vec<usize>> {
    let [z, c, t] = size_zct;
    let mut pages = vec![0; z.checked_mul(c)?.checked_mul(t)?];
    for n in 0..pages.len() {
        let [iz, ic, it] = place(order, size_zct, n)?;
        *pages.get_mut((it * c + ic) * z + iz)? = n;
    }
    Some(pages)
}

/// Slice, channel and time of plane `n` counted in an order of axes; `None` beyond the last.
fn place(order: &str, size_zct: [usize; 3], mut n: usize) -> Option<[usize; 3]> {
    let mut at = [0; 3];
    for axis in order.chars() {
        let x = "ZCT".find(axis)?;
        at[x] = n % size_zct[x];
        n /= size_zct[x];
    }
    (n == 0).then_some(at)
}

/// Whether a description is OME-XML.
pub fn is_ome(text: &str) -> bool {
    text.contains("<OME") && text.contains("Pixels")
}

/// The first image of an OME-XML description over `pages` pages with `samples` samples per pixel, in a file of `present`
/// bytes; the reason when it does not fit them.
pub fn ome(text: &str, pages: usize, samples: usize, present: usize) -> Result<Arrangement, String> {
    if text.len() > XML_BYTES.saturating_add(present / XML_SHARE) {
        return Err(format!("{} bytes of XML", text.len()));
    }
    // roxmltree neither follows external entities nor expands DTDs.
    let nodes = u32::try_from(text.len() / XML_SHARE).unwrap_or(u32::MAX).max(1000);
    let options = ParsingOptions { nodes_limit: nodes, ..ParsingOptions::default() };
    let xml = Document::parse_with_options(text.trim_start_matches('\u{feff}').trim(), options)
        .map_err(|e| e.to_string())?;
    let find = |name: &str| xml.descendants().find(|n| n.has_tag_name_local(name));
    let pixels = find("Pixels").ok_or("no Pixels element")?;
    let size = |name: &str| {
        let v = pixels.attribute(name).and_then(|v| v.trim().parse::<usize>().ok());
        v.filter(|v| (1..=1 << 20).contains(v)).ok_or(format!("no sound {name}"))
    };
    let (z, t) = (size("SizeZ")?, size("SizeT")?);
    let mut c = size("SizeC")?;
    if samples > 1 && c.is_multiple_of(samples) {
        c /= samples; // Samples of a pixel count as channels in OME.
    }
    let size_zct = [z, c, t];
    let planes = z.checked_mul(c).and_then(|n| n.checked_mul(t)).ok_or("too many planes")?;
    if planes > pages {
        return Err(format!("{planes} planes of {pages} pages (other files hold the rest?)"));
    }
    let order = pixels.attribute("DimensionOrder").unwrap_or("XYZCT");
    let order = order.strip_prefix("XY").filter(|o| o.len() == 3).ok_or("no sound DimensionOrder")?;
    let by_order = in_order(order, size_zct).ok_or("no sound DimensionOrder")?;
    let pages = by_tiff_data(pixels, order, size_zct, pages).unwrap_or(by_order);

    let spacing = |axis: &str| {
        let unit = pixels.attribute(format!("PhysicalSize{axis}Unit").as_str()).unwrap_or("µm");
        Some(positive(pixels.attribute(format!("PhysicalSize{axis}").as_str()))? * millimetres(unit)?)
    };
    let seconds = match pixels.attribute("TimeIncrementUnit").unwrap_or("s") {
        "s" => 1.0,
        "ms" => 1e-3,
        "min" => 60.0,
        _ => 0.0,
    };
    let step_s = positive(pixels.attribute("TimeIncrement")).unwrap_or(0.0) * seconds;
    Ok(Arrangement { size_zct, pages, spacing_mm: [spacing("X"), spacing("Y"), spacing("Z")], step_s })
}

/// Pages by the `TiffData` elements; `None` when they do not name each plane once.
fn by_tiff_data(
    pixels: Node<'_, '_>,
    order: &str,
    size_zct: [usize; 3],
    page_count: usize,
) -> Option<Vec<usize>> {
    let [z, c, t] = size_zct;
    let mut pages = vec![None; z * c * t];
    let mut named = 0_usize;
    for data in pixels.children().filter(|n| n.has_tag_name_local("TiffData")) {
        let number = |name: &str| data.attribute(name).and_then(|v| v.trim().parse::<usize>().ok());
        let ifd = number("IFD");
        let count = number("PlaneCount").unwrap_or(if ifd.is_some() { 1 } else { pages.len() });
        let first = ["FirstZ", "FirstC", "FirstT"].map(|n| number(n).unwrap_or(0));
        // The number of the first plane in the order of axes.
        let (mut start, mut step) = (0_usize, 1_usize);
        for axis in order.chars() {
            let x = "ZCT".find(axis)?;
            start = start.checked_add(first[x].checked_mul(step)?)?;
            step *= size_zct[x];
        }
        // Planes named again and again are not worth the time.
        named = named.saturating_add(count.min(pages.len()));
        if named > pages.len() {
            return None;
        }
        for n in 0..count.min(pages.len()) {
            let [iz, ic, it] = place(order, size_zct, start.checked_add(n)?)?;
            let page = ifd.unwrap_or(0).checked_add(n).filter(|p| *p < page_count)?;
            *pages.get_mut((it * c + ic) * z + iz)? = Some(page);
        }
    }
    pages.into_iter().collect()
}

trait LocalName {
    fn has_tag_name_local(&self, name: &str) -> bool;
}

impl LocalName for Node<'_, '_> {
    /// Whatever the name space: it carries the year of the schema.
    fn has_tag_name_local(&self, name: &str) -> bool {
        self.is_element() && self.tag_name().name() == name
    }
}

/// ImageJ's description. `pixels_per_unit` are the two resolutions of the first page.
pub fn imagej(text: &str, pages: usize, pixels_per_unit: [Option<f64>; 2]) -> Option<Arrangement> {
    if !text.starts_with("ImageJ=") {
        return None;
    }
    let get =
        |key: &str| text.lines().filter_map(|l| l.split_once('=')).find(|(k, _)| *k == key).map(|(_, v)| v);
    let count =
        |key: &str| get(key).and_then(|v| v.trim().parse::<usize>().ok()).filter(|v| *v > 0).unwrap_or(1);
    let (mut z, c, t) = (count("slices"), count("channels"), count("frames"));
    if (z, c, t) == (1, 1, 1) {
        z = pages;
    }
    if z.checked_mul(c)?.checked_mul(t)? != pages {
        return None;
    }
    let per_unit = get("unit").and_then(millimetres);
    let [x, y] = pixels_per_unit.map(|r| Some(per_unit? / r?));
    let z_mm = positive(get("spacing")).and_then(|s| Some(s * per_unit?));
    let pages = in_order("CZT", [z, c, t])?;
    let step_s = positive(get("finterval")).unwrap_or(0.0);
    Some(Arrangement { size_zct: [z, c, t], pages, spacing_mm: [x, y, z_mm], step_s })
}

/// OME-XML for pages in the order slices, channels, time.
pub fn write_ome(
    size_xyzct: [usize; 5],
    samples: usize,
    pixel_type: &str,
    spacing_mm: [f64; 3],
    step_s: f64,
) -> String {
    let [x, y, z, c, t] = size_xyzct;
    let channels: String =
        (0..c).map(|n| format!("<Channel ID=\"Channel:0:{n}\" SamplesPerPixel=\"{samples}\"/>")).collect();
    let time = if step_s > 0.0 {
        format!(" TimeIncrement=\"{step_s}\" TimeIncrementUnit=\"s\"")
    } else {
        String::new()
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><OME xmlns=\"http://www.openmicroscopy.org/Schemas/OME/2016-06\">\
         <Image ID=\"Image:0\"><Pixels ID=\"Pixels:0\" DimensionOrder=\"XYZCT\" Type=\"{pixel_type}\" \
         SizeX=\"{x}\" SizeY=\"{y}\" SizeZ=\"{z}\" SizeC=\"{}\" SizeT=\"{t}\" \
         PhysicalSizeX=\"{}\" PhysicalSizeXUnit=\"mm\" PhysicalSizeY=\"{}\" PhysicalSizeYUnit=\"mm\" \
         PhysicalSizeZ=\"{}\" PhysicalSizeZUnit=\"mm\"{time}>{channels}<TiffData/></Pixels></Image></OME>",
        c * samples,
        spacing_mm[0],
        spacing_mm[1],
        spacing_mm[2],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_the_dimension_order() {
        let pixels = |inner: &str| {
            format!(
                "<OME><Image><Pixels DimensionOrder=\"XYCTZ\" SizeZ=\"2\" SizeC=\"3\" SizeT=\"2\" \
                 PhysicalSizeX=\"2\" PhysicalSizeZ=\"1.5\" PhysicalSizeZUnit=\"mm\">{inner}</Pixels></Image></OME>"
            )
        };
        let a = ome(&pixels("<TiffData/>"), 12, 1, 0).unwrap();
        // Channel fastest, then time, then slice.
        assert_eq!(a.pages, [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]);
        assert_eq!(a.spacing_mm, [Some(2e-3), None, Some(1.5)]);
        // Pages listed backwards.
        let all: String = (0..12)
            .map(|n| {
                let [z, c, t] = place("CTZ", [2, 3, 2], n).unwrap();
                format!("<TiffData IFD=\"{}\" FirstZ=\"{z}\" FirstC=\"{c}\" FirstT=\"{t}\"/>", 11 - n)
            })
            .collect();
        assert_eq!(ome(&pixels(&all), 12, 1, 0).unwrap().pages, [11, 5, 10, 4, 9, 3, 8, 2, 7, 1, 6, 0]);
        assert!(ome(&pixels(""), 11, 1, 0).is_err() && ome("<OME", 1, 1, 0).is_err());
        let huge = "<OME><Pixels SizeZ=\"1048576\" SizeC=\"1048576\" SizeT=\"1048576\"/></OME>";
        assert!(ome(huge, 12, 1, 0).is_err());
    }

    #[test]
    fn endless_lists_of_planes_end() {
        let start = std::time::Instant::now();
        let (pages, elements) = (100_000, "<TiffData/>".repeat(100_000));
        let text =
            format!("<OME><Pixels SizeZ=\"{pages}\" SizeC=\"1\" SizeT=\"1\">{elements}</Pixels></OME>");
        assert_eq!(ome(&text, pages, 1, 10 * pages).unwrap().pages[..3], [0, 1, 2]);
        let empty = "<a/>".repeat(500_000);
        assert!(ome(&format!("<OME><Pixels>{empty}</Pixels></OME>"), 1, 1, 0).is_err());
        let long = " ".repeat(3 << 20);
        assert!(ome(&format!("<OME><Pixels>{long}</Pixels></OME>"), 1, 1, 0).unwrap_err().contains("bytes"));
        assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    }

    #[test]
    fn imagej_has_channels_fastest() {
        let text = "ImageJ=1.53t\nimages=12\nchannels=2\nslices=3\nframes=2\nunit=micron\nspacing=4\nfinterval=0.5\n";
        let a = imagej(text, 12, [Some(2.0), Some(4.0)]).unwrap();
        assert_eq!(a.pages[..6], [0, 2, 4, 1, 3, 5]);
        assert_eq!((a.spacing_mm, a.step_s), ([Some(5e-4), Some(2.5e-4), Some(4e-3)], 0.5));
        assert!(imagej(text, 11, [None, None]).is_none());
    }
}
