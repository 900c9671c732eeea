//! Weights beside an ONNX file taken into it: exporters put large ones into a file of their own, and packs vouch for one.
//!
//! Only initializers of the main graph are looked at, and only plain files of the folder that the model lies in: no folders,
//! no links, nothing beyond the end of the file. Whatever else lies outside is refused afterwards by
//! [`crate::onnx_check`].

use std::collections::BTreeMap;
use std::path::{Component, Path};

use super::protobuf::Message;
use super::wire::{Fields, Malformed, Value};
use crate::error::{Error, Result};

/// Longest file that protobuf can hold.
const LIMIT: u64 = i32::MAX as u64;

/// Fields of the messages on the way to an initializer.
const GRAPH: u32 = 7;
const INITIALIZER: u32 = 5;
const RAW_DATA: u32 = 9;
const EXTERNAL_DATA: u32 = 13;
const DATA_LOCATION: u32 = 14;

/// The model with the weights that lie beside it; none when there are none.
///
/// # Errors
/// [`Error::Pack`] for weights that lie elsewhere, are links, are missing or cut short, and for more than 2 GiB in all.
pub fn embedded(path: &Path, bytes: &[u8]) -> Result<Option<Vec<u8>>> {
    let malformed = |Malformed| {
        Error::pack(path, "bytes that are not a sound ONNX file", "an ONNX model", "Export the model again")
    };
    if !has_outside(bytes).map_err(malformed)? {
        return Ok(None);
    }
    let model = bytes.len() as u64;
    let mut beside = Beside { path, files: BTreeMap::new(), model, total: model };
    let mut model = Message::default();
    for field in Fields::of(bytes) {
        match field.map_err(malformed)? {
            (GRAPH, Value::Bytes(graph)) => {
                let mut out = Message::default();
                for field in Fields::of(graph) {
                    match field.map_err(malformed)? {
                        (INITIALIZER, Value::Bytes(tensor)) => {
                            let place = outside(tensor).map_err(malformed)?;
                            match place {
                                Some(place) => {
                                    out.message(INITIALIZER.into(), &beside.inside(tensor, &place)?);
                                }
                                None => out.bytes(INITIALIZER.into(), tensor),
                            }
                        }
                        (number, value) => out.copy(number, value),
                    }
                }
                model.message(GRAPH.into(), &out);
            }
            (number, value) => model.copy(number, value),
        }
    }
    Ok(Some(model.into_bytes()))
}

/// Whether an initializer of the main graph lies in another file.
fn has_outside(bytes: &[u8]) -> Result<bool, Malformed> {
    for field in Fields::of(bytes) {
        let (GRAPH, Value::Bytes(graph)) = field? else { continue };
        for field in Fields::of(graph) {
            if let (INITIALIZER, Value::Bytes(tensor)) = field?
                && outside(tensor)?.is_some()
            {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Where the values of a tensor lie: `location`, `offset`, `length`.
type Place = BTreeMap<String, String>;

fn outside(tensor: &[u8]) -> Result<Option<Place>, Malformed> {
    let (mut place, mut is_outside) = (Place::new(), false);
    for field in Fields::of(tensor) {
        match field? {
            (DATA_LOCATION, Value::Int(n)) => is_outside = n != 0,
            (EXTERNAL_DATA, Value::Bytes(entry)) => {
                let (mut key, mut value) = (String::new(), String::new());
                for field in Fields::of(entry) {
                    match field? {
                        (1, Value::Bytes(b)) => key = String::from_utf8_lossy(b).into_owned(),
                        (2, Value::Bytes(b)) => value = String::from_utf8_lossy(b).into_owned(),
                        _ => {}
                    }
                }
                place.insert(key, value);
            }
            _ => {}
        }
    }
    Ok(is_outside.then_some(place))
}

/// The files beside a model that it names.
struct Beside<'a> {
    path: &'a Path,
    files: BTreeMap<String, Vec<u8>>,
    /// Bytes of the file as it is.
    model: u64,
    /// Bytes of the model that comes of it, so far.
    total: u64,
}

impl Beside<'_> {
    /// The tensor with its values.
    fn inside(&mut self, tensor: &[u8], place: &Place) -> Result<Message> {
        let location = place.get("location").cloned().unwrap_or_default();
        let number = |key: &str| place.get(key).map(|t| t.parse::<usize>());
        let whole = self.file(&location)?;
        let offset = number("offset").unwrap_or(Ok(0)).ok();
        let length = number("length").map_or(offset.map(|o| whole.len().saturating_sub(o)), |n| n.ok());
        let part = offset.zip(length).and_then(|(o, n)| whole.get(o..o.checked_add(n)?));
        let Some(part) = part else {
            let found = format!("weights at {place:?} of a file of {} bytes", whole.len());
            return Err(self.refuse(found, "weights inside the file"));
        };
        let mut out = Message::default();
        let mut size = part.len() as u64;
        for field in Fields::of(tensor).flatten() {
            match field {
                (RAW_DATA | EXTERNAL_DATA | DATA_LOCATION, _) => {}
                (number, value) => out.copy(number, value),
            }
        }
        out.bytes(RAW_DATA.into(), part);
        size += self.total;
        self.total = size;
        // Tensors may share weights, but not so that a small file stands for any amount of them.
        let there = self.model + 2 * self.files.values().map(|f| f.len() as u64).sum::<u64>();
        if size > LIMIT.min(there) {
            return Err(self.refuse(
                format!("tensors of {size} bytes out of {there}, or more than 2 GiB"),
                "weights that are there, at most 2 GiB in all",
            ));
        }
        Ok(out)
    }

    /// A plain file in the folder of the model.
    fn file(&mut self, location: &str) -> Result<&Vec<u8>> {
        if !self.files.contains_key(location) {
            // As it stands in the file: one name, no way up or down or to another drive.
            let mut parts = Path::new(location).components();
            let is_name = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
            if !is_name || location.contains(['/', '\\', ':', '\0']) {
                return Err(
                    self.refuse(format!("weights in “{location}”"), "a file in the folder of the model")
                );
            }
            let file = self.path.with_file_name(location);
            let is_plain = std::fs::symlink_metadata(&file).is_ok_and(|d| d.is_file() && d.len() <= LIMIT);
            if !is_plain {
                let found =
                    format!("weights in “{location}”, which is missing, a link, or larger than 2 GiB");
                return Err(self.refuse(found, "a plain file in the folder of the model"));
            }
            let bytes = std::fs::read(&file).map_err(formats::Error::io(&file, "read"))?;
            self.files.insert(location.to_owned(), bytes);
        }
        Ok(&self.files[location])
    }

    fn refuse(&self, found: String, expected: &str) -> Error {
        Error::pack(self.path, found, expected, "Export the model with all weights inside the .onnx file")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::{Builder, Model, Precision};

    /// A model with two initializers, and the same with their values in `location`.
    fn models(location: &str, rest: &[(&str, &str)]) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let mut b = Builder::new("two", Precision::F32);
        b.exact("a", &[3], &[1.0, 2.0, 3.0]);
        b.exact("b", &[2], &[4.0, 5.0]);
        let inside = Model { graph: b.finish(), metadata: Vec::new() }.encode();
        let (mut model, mut data) = (Message::default(), Vec::new());
        for field in Fields::of(&inside).flatten() {
            let (GRAPH, Value::Bytes(graph)) = field else {
                model.copy(field.0, field.1);
                continue;
            };
            let mut out = Message::default();
            for field in Fields::of(graph).flatten() {
                let (INITIALIZER, Value::Bytes(tensor)) = field else {
                    out.copy(field.0, field.1);
                    continue;
                };
                let mut moved = Message::default();
                for field in Fields::of(tensor).flatten() {
                    let (RAW_DATA, Value::Bytes(raw)) = field else {
                        moved.copy(field.0, field.1);
                        continue;
                    };
                    let (offset, length) = (data.len().to_string(), raw.len().to_string());
                    data.extend_from_slice(raw);
                    let mut keys = vec![("location", location), ("offset", &offset), ("length", &length)];
                    keys.retain(|(k, _)| rest.iter().all(|(r, _)| r != k));
                    for (key, value) in keys.iter().chain(rest) {
                        let mut entry = Message::default();
                        entry.text(1, key);
                        entry.text(2, value);
                        moved.message(EXTERNAL_DATA.into(), &entry);
                    }
                    moved.int(DATA_LOCATION.into(), 1);
                }
                out.message(INITIALIZER.into(), &moved);
            }
            model.message(GRAPH.into(), &out);
        }
        (inside, model.into_bytes(), data)
    }

    #[test]
    fn weights_beside_the_model_come_in_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        let (inside, outside, data) = models("model.onnx.data", &[]);
        assert_eq!(embedded(&path, &inside).unwrap(), None);
        let refused = |model: &[u8], word: &str| {
            let message = embedded(&path, model).unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        };
        refused(&outside, "missing");
        std::fs::write(folder.path().join("model.onnx.data"), &data).unwrap();
        assert_eq!(embedded(&path, &outside).unwrap().unwrap(), inside);
        for place in ["../model.onnx.data", "/etc/hostname", "sub/x", "..\\x", "C:x", "", "."] {
            refused(&models(place, &[]).1, "a file in the folder");
        }
        for rest in [("offset", "9"), ("length", "18446744073709551615"), ("offset", "-1"), ("length", "x")] {
            refused(&models("model.onnx.data", &[rest]).1, "weights inside the file");
        }
        // Cut short.
        std::fs::write(folder.path().join("model.onnx.data"), &data[..10]).unwrap();
        refused(&outside, "weights inside the file");
        #[cfg(unix)]
        {
            std::fs::write(folder.path().join("real"), &data).unwrap();
            std::os::unix::fs::symlink(folder.path().join("real"), folder.path().join("link")).unwrap();
            refused(&models("link", &[]).1, "a link");
        }
    }
}
