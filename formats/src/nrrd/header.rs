//! The text of an NRRD header, field by field, not yet understood as an image.

use std::collections::BTreeMap;
use std::path::Path;

use crate::block::{Kind, Order};
use crate::error::{Error, Result};

/// Longest header looked at: room for ten thousand data files or gradients. Parsed, a header of nothing but the shortest
/// entries takes some thirty times its length.
pub const MAX_HEADER: u64 = 2 << 20;

/// teem's limit on dimensions (NRRD_DIM_MAX).
const MAX_DIMENSION: usize = 16;

/// How the voxels are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Raw,
    Gzip,
    Bzip2,
    Text,
    Hex,
}

/// Where the voxels are.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// After the header.
    Attached,
    /// In one or more files, in order.
    Files(Vec<String>),
}

/// A header as written, checked for form.
#[derive(Debug)]
pub struct Header {
    /// Bytes up to the first byte of attached data.
    pub len: usize,
    /// The magic, e.g. `"NRRD0004"`.
    pub magic: String,
    pub kind: Kind,
    /// Lengths, fastest axis first.
    pub sizes: Vec<usize>,
    pub encoding: Encoding,
    /// `None` when not stated.
    pub order: Option<Order>,
    pub data: Data,
    pub line_skip: u64,
    /// −1: the data are the last bytes of the file.
    pub byte_skip: i64,
    /// The other fields, lower case, by their usual name.
    pub fields: BTreeMap<String, String>,
    /// Key/value pairs, unescaped.
    pub pairs: BTreeMap<String, String>,
}

/// Length of the header text, up to and with the empty line that ends it; `None` without one.
pub fn end(bytes: &[u8]) -> Option<usize> {
    let mut start = 0;
    while let Some(n) = bytes.get(start..)?.iter().position(|&b| b == b'\n') {
        let line = bytes.get(start..start + n)?;
        start += n + 1;
        if line.is_empty() || line == b"\r" {
            return Some(start);
        }
    }
    None
}

/// Parses a header; `bytes` may run on into the data.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Header> {
    let len = end(bytes).unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(bytes.get(..len).unwrap_or_default());
    let mut lines = text.lines().map(str::trim_end);
    let magic = lines.next().unwrap_or_default().to_owned();
    let version = magic.strip_prefix("NRRD").and_then(|v| v.parse::<u32>().ok());
    if !version.is_some_and(|v| (1..=6).contains(&v)) {
        return Err(Error::unsupported(
            path,
            format!("the version “{}”", magic.chars().take(20).collect::<String>()),
            "NRRD0001 to NRRD0006",
            "Save the file again with a current program",
        ));
    }
    let (mut fields, mut pairs) = (BTreeMap::new(), BTreeMap::new());
    let mut list: Option<Vec<String>> = None;
    for line in lines {
        if let Some(list) = &mut list {
            if !line.trim().is_empty() {
                list.push(line.trim().to_owned());
            }
            continue;
        }
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        let field = line.find(": ").or_else(|| line.strip_suffix(':').map(str::len));
        match (line.find(":="), field) {
            (Some(at), f) if f.is_none_or(|f| at < f) => {
                pairs.insert(unescape(&line[..at]), unescape(&line[at + 2..]));
            }
            (_, Some(at)) => {
                let value = line.get(at + 1..).unwrap_or_default().trim().to_owned();
                let name = canonical(&line[..at]);
                if name == "data file" && value.split_whitespace().next() == Some("LIST") {
                    list = Some(Vec::new());
                }
                fields.insert(name, value);
            }
            _ => {
                let shown: String = line.chars().take(40).collect();
                return Err(Error::malformed(path, format!("the header line “{shown}”"), "“field: value”"));
            }
        }
    }
    let mut take = |name: &str| fields.remove(name);
    let need = |name: &str, value: Option<String>| {
        value.ok_or_else(|| Error::malformed(path, format!("a header without “{name}”"), "that field"))
    };
    let type_name = need("type", take("type"))?;
    let sizes_text = need("sizes", take("sizes"))?;
    let encoding_name = need("encoding", take("encoding"))?;
    let dimension: usize = number(path, "dimension", &need("dimension", take("dimension"))?)?;
    let sizes: Vec<usize> =
        sizes_text.split_whitespace().map(|s| number(path, "sizes", s)).collect::<Result<_>>()?;
    if sizes.len() != dimension || !(1..=MAX_DIMENSION).contains(&dimension) {
        return Err(Error::malformed(
            path,
            format!("dimension {dimension} with {} sizes", sizes.len()),
            format!("as many sizes as dimensions, 1 to {MAX_DIMENSION}"),
        ));
    }
    let data = match (list, take("data file")) {
        (Some(list), _) => Data::Files(list),
        (None, Some(value)) => data_files(path, &value)?,
        (None, None) => Data::Attached,
    };
    Ok(Header {
        len,
        magic,
        kind: kind(path, &type_name)?,
        encoding: encoding(path, &encoding_name)?,
        order: match take("endian").as_deref().map(str::to_lowercase).as_deref() {
            Some("little") => Some(Order::Little),
            Some("big") => Some(Order::Big),
            Some(other) => {
                return Err(Error::malformed(path, format!("endian “{other}”"), "little or big"));
            }
            None => None,
        },
        data,
        line_skip: take("line skip").map_or(Ok(0), |v| number(path, "line skip", &v))?,
        byte_skip: take("byte skip").map_or(Ok(0), |v| number(path, "byte skip", &v))?,
        sizes,
        fields,
        pairs,
    })
}

/// One file, or a pattern with a range.
fn data_files(path: &Path, value: &str) -> Result<Data> {
    let words: Vec<&str> = value.split_whitespace().collect();
    if let [pattern, from, to, step] | [pattern, from, to, step, _] = *words.as_slice()
        && pattern.contains('%')
    {
        let n = |v: &str| number(path, "data file", v);
        return Ok(Data::Files(crate::block::expand(path, pattern, n(from)?, n(to)?, n(step)?)?));
    }
    Ok(Data::Files(vec![value.to_owned()]))
}

fn number<T: std::str::FromStr>(path: &Path, field: &str, text: &str) -> Result<T> {
    text.trim().parse().map_err(|_| {
        let shown: String = text.chars().take(40).collect();
        Error::malformed(path, format!("“{shown}” in the field “{field}”"), "a whole number")
    })
}

/// Fields have several spellings; case does not count in any.
fn canonical(name: &str) -> String {
    let name = name.trim().to_lowercase();
    match name.as_str() {
        "datafile" => "data file".to_owned(),
        "lineskip" => "line skip".to_owned(),
        "byteskip" => "byte skip".to_owned(),
        "centers" => "centerings".to_owned(),
        "axismins" => "axis mins".to_owned(),
        "axismaxs" => "axis maxs".to_owned(),
        "sampleunits" => "sample units".to_owned(),
        _ => name,
    }
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some('\\') => out.push('\\'),
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            },
            (c, false) => out.push(c),
        }
    }
    out
}

fn kind(path: &Path, name: &str) -> Result<Kind> {
    let name = name.to_lowercase();
    let words: Vec<&str> = name.split_whitespace().collect();
    Ok(match words.join(" ").as_str() {
        "signed char" | "int8" | "int8_t" => Kind::I8,
        "uchar" | "unsigned char" | "uint8" | "uint8_t" => Kind::U8,
        "short" | "short int" | "signed short" | "signed short int" | "int16" | "int16_t" => Kind::I16,
        "ushort" | "unsigned short" | "unsigned short int" | "uint16" | "uint16_t" => Kind::U16,
        "int" | "signed int" | "int32" | "int32_t" => Kind::I32,
        "uint" | "unsigned int" | "uint32" | "uint32_t" => Kind::U32,
        "longlong"
        | "long long"
        | "long long int"
        | "signed long long"
        | "signed long long int"
        | "int64"
        | "int64_t" => Kind::I64,
        "ulonglong" | "unsigned long long" | "unsigned long long int" | "uint64" | "uint64_t" => Kind::U64,
        "float" => Kind::F32,
        "double" => Kind::F64,
        other => {
            return Err(Error::unsupported(
                path,
                format!("the voxel type “{}”", other.chars().take(40).collect::<String>()),
                "integers of 8 to 64 bits, float, double",
                "Convert the file with teem (unu convert)",
            ));
        }
    })
}

fn encoding(path: &Path, name: &str) -> Result<Encoding> {
    Ok(match name.to_lowercase().as_str() {
        "raw" => Encoding::Raw,
        "gzip" | "gz" => Encoding::Gzip,
        "bzip2" | "bz2" => Encoding::Bzip2,
        "txt" | "text" | "ascii" => Encoding::Text,
        "hex" => Encoding::Hex,
        other => {
            return Err(Error::unsupported(
                path,
                format!("the encoding “{}”", other.chars().take(40).collect::<String>()),
                "raw, gzip, bzip2, text, hex",
                "Save the file again with gzip",
            ));
        }
    })
}

/// Values of a per-axis field separated by white space; quoted ones may hold spaces.
pub fn words(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"').and_then(|r| r.split_once('"')) {
            Some(quoted) => quoted,
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        out.push(word.to_owned());
        rest = after.trim_start();
    }
    out
}

/// Vectors `(x,y,z)` or `none` (also for vectors with a component that is not a number).
pub fn vectors(path: &Path, field: &str, text: &str) -> Result<Vec<Option<Vec<f64>>>> {
    let wrong = || {
        let shown: String = text.chars().take(60).collect();
        Error::malformed(path, format!("“{shown}” in the field “{field}”"), "vectors such as (1,0,0)")
    };
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("none") {
            out.push(None);
            rest = after.trim_start();
            continue;
        }
        let (inside, after) = rest.strip_prefix('(').and_then(|r| r.split_once(')')).ok_or_else(wrong)?;
        let v: Vec<f64> =
            inside.split(',').map(|x| x.trim().parse().map_err(|_| wrong())).collect::<Result<_>>()?;
        out.push(v.iter().all(|x| x.is_finite()).then_some(v));
        rest = after.trim_start();
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_words_and_escapes() {
        let p = Path::new("x");
        assert_eq!(
            vectors(p, "f", "none ( 1, 2e1,-3) (nan,0,0)").unwrap(),
            [None, Some(vec![1.0, 20.0, -3.0]), None]
        );
        assert!(vectors(p, "f", "(1,2").is_err() && vectors(p, "f", "1,2").is_err());
        assert_eq!(words(r#""a b" c """#), ["a b", "c", ""]);
        assert_eq!(unescape(r"a\nb\\n\x"), "a\nb\\n\\x");
        assert_eq!(end(b"NRRD0001\r\ntype: x\r\n\r\nrest"), Some(21));
        assert_eq!(end(b"NRRD0001\ntype: x\n"), None);
    }
}
