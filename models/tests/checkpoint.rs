//! Checkpoint readers on files made byte by byte: what they accept, and that nothing else gets further than an error.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use models::Error;
use models::checkpoint::{Checkpoint, read};
use proptest::prelude::*;

/// A ZIP archive with stored entries, as `torch.save` writes it (without its alignment padding).
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    count: u16,
}

impl Archive {
    fn with(mut self, name: &str, content: &[u8]) -> Self {
        let at = self.bytes.len() as u32;
        let len = content.len() as u32;
        let mut common = Vec::new();
        common.extend([0u8; 8]); // version, flags, method, time
        common.extend([0u8; 2]); // date
        common.extend(crc32fast::hash(content).to_le_bytes());
        common.extend(len.to_le_bytes());
        common.extend(len.to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0u8; 2]); // extra field
        self.bytes.extend(b"PK\x03\x04");
        self.bytes.extend(&common);
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(content);
        self.directory.extend(b"PK\x01\x02\0\0");
        self.directory.extend(&common);
        self.directory.extend([0u8; 10]); // comment, disk, attributes
        self.directory.extend(at.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.count += 1;
        self
    }

    fn finish(mut self) -> Vec<u8> {
        let at = self.bytes.len() as u32;
        self.bytes.extend(&self.directory);
        self.bytes.extend(b"PK\x05\x06\0\0\0\0");
        self.bytes.extend(self.count.to_le_bytes());
        self.bytes.extend(self.count.to_le_bytes());
        self.bytes.extend((self.directory.len() as u32).to_le_bytes());
        self.bytes.extend(at.to_le_bytes());
        self.bytes.extend([0u8; 2]);
        self.bytes
    }
}

/// Pickle instructions for small values.
mod op {
    pub fn text(s: &str) -> Vec<u8> {
        [b"X".as_slice(), &(s.len() as u32).to_le_bytes(), s.as_bytes()].concat()
    }

    pub fn int(n: i32) -> Vec<u8> {
        [b"J".as_slice(), &n.to_le_bytes()].concat()
    }

    pub fn global(module: &str, name: &str) -> Vec<u8> {
        format!("c{module}\n{name}\n").into_bytes()
    }

    pub fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
        [b"(".to_vec(), items.concat(), b"t".to_vec()].concat()
    }

    pub fn ints(values: &[i32]) -> Vec<u8> {
        tuple(&values.iter().map(|&n| int(n)).collect::<Vec<_>>())
    }

    pub fn dict(items: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let items: Vec<u8> = items.iter().flat_map(|(k, v)| [text(k), v.clone()].concat()).collect();
        [b"}(".to_vec(), items, b"u".to_vec()].concat()
    }

    pub fn tensor(class: &str, key: &str, len: i32, offset: i32, shape: &[i32], stride: &[i32]) -> Vec<u8> {
        let storage = [text("storage"), global("torch", class), text(key), text("cpu"), int(len)];
        let arguments = [
            [tuple(&storage), b"Q".to_vec()].concat(),
            int(offset),
            ints(shape),
            ints(stride),
            b"\x89".to_vec(),
            [global("collections", "OrderedDict"), b")R".to_vec()].concat(),
        ];
        [global("torch._utils", "_rebuild_tensor_v2"), tuple(&arguments), b"R".to_vec()].concat()
    }

    pub fn pickle(root: &[u8]) -> Vec<u8> {
        [b"\x80\x02", root, b"."].concat()
    }
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn archive(root: &[u8], storages: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let archive = Archive::default().with("m/data.pkl", &op::pickle(root)).with("m/byteorder", b"little");
    let add = |a: Archive, (key, bytes): &(&str, Vec<u8>)| a.with(&format!("m/data/{key}"), bytes);
    storages.iter().fold(archive, add).finish()
}

fn read_bytes(bytes: &[u8]) -> Result<Checkpoint, Error> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("weights.pt");
    std::fs::write(&path, bytes).expect("written");
    read(&path)
}

/// The message of the error that reading must give, quickly.
fn refusal(bytes: &[u8]) -> String {
    let start = Instant::now();
    let error = read_bytes(bytes).expect_err("to be refused");
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(matches!(error, Error::Checkpoint { .. }), "{error:?}");
    error.to_string()
}

#[test]
fn views_types_and_byte_orders_are_understood() {
    let root = op::dict(&[
        ("plain", op::tensor("FloatStorage", "0", 6, 0, &[2, 3], &[3, 1])),
        ("turned", op::tensor("FloatStorage", "0", 6, 0, &[3, 2], &[1, 3])),
        ("part", op::tensor("FloatStorage", "0", 6, 4, &[2], &[1])),
        ("double", op::tensor("DoubleStorage", "1", 2, 0, &[2], &[1])),
        ("half", op::tensor("HalfStorage", "2", 2, 0, &[2], &[1])),
        ("brain", op::tensor("BFloat16Storage", "3", 1, 0, &[1], &[1])),
        ("count", op::tensor("LongStorage", "4", 1, 0, &[], &[])),
        ("none", op::tensor("FloatStorage", "0", 6, 0, &[0, 3], &[3, 1])),
    ]);
    let storages = [
        ("0", floats(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])),
        ("1", [0.5f64.to_le_bytes(), (-2.0f64).to_le_bytes()].concat()),
        ("2", vec![0x00, 0x3c, 0x00, 0xc0]),
        ("3", vec![0x40, 0x40]),
        ("4", 1234i64.to_le_bytes().to_vec()),
    ];
    let read = read_bytes(&archive(&root, &storages)).expect("a checkpoint");
    assert!(read.notes.is_empty(), "{:?}", read.notes);
    let data = |name: &str| read.get(name).map(|t| (t.shape.clone(), t.data.clone())).expect(name);
    assert_eq!(data("plain"), (vec![2, 3], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]));
    assert_eq!(data("turned"), (vec![3, 2], vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0]));
    assert_eq!(data("part"), (vec![2], vec![4.0, 5.0]));
    assert_eq!(data("double").1, [0.5, -2.0]);
    assert_eq!(data("half").1, [1.0, -2.0]);
    assert_eq!(data("brain").1, [3.0]);
    assert_eq!(data("count"), (vec![], vec![1234.0]));
    assert_eq!(data("none"), (vec![0, 3], vec![]));

    let big = Archive::default()
        .with(
            "m/data.pkl",
            &op::pickle(&op::dict(&[("x", op::tensor("FloatStorage", "0", 1, 0, &[1], &[1]))])),
        )
        .with("m/byteorder", b"big")
        .with("m/data/0", &1.5f32.to_be_bytes())
        .finish();
    assert_eq!(read_bytes(&big).expect("a checkpoint").tensors[0].data, [1.5]);
}

#[test]
fn wrappers_and_prefixes_are_removed() {
    let weights = op::dict(&[
        ("module.a", op::tensor("FloatStorage", "0", 1, 0, &[1], &[1])),
        ("module.b", op::tensor("FloatStorage", "0", 1, 0, &[1], &[1])),
    ]);
    let inner = op::dict(&[("epoch", op::int(3)), ("model_state_dict", weights)]);
    let root = op::dict(&[("model", inner), ("lr", b"G\x3f\xf0\0\0\0\0\0\0".to_vec())]);
    let read = read_bytes(&archive(&root, &[("0", floats(&[7.0]))])).expect("a checkpoint");
    let names: Vec<_> = read.tensors.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(read.notes.len(), 3);
}

#[test]
fn requests_to_run_something_are_refused_by_name() {
    let call = |how: Vec<u8>| [how, op::tuple(&[op::text("echo owned")]), b"R".to_vec()].concat();
    let by_stack = [op::text("os"), op::text("system"), b"\x93".to_vec()].concat();
    for how in [op::global("os", "system"), by_stack] {
        for root in [call(how.clone()), op::dict(&[("x", call(how.clone()))])] {
            let message = refusal(&archive(&root, &[]));
            assert!(message.contains("asks to run `os.system`; refused"), "{message}");
        }
    }
    for (root, name) in [
        (b"(ios\nsystem\n".to_vec(), "os.system"),
        (op::global("builtins", "eval"), "builtins.eval"),
        (op::global("torch", "load"), "torch.load"),
        (op::global("torch._utils", "_rebuild_tensor_v2.__globals__"), "__globals__"),
        (op::global("torch.nn.modules.linear", "Linear"), "torch.nn.modules.linear.Linear"),
        ([op::global("collections", "OrderedDict"), b")\x81".to_vec()].concat(), "create an object"),
        ([op::ints(&[1]), op::ints(&[2]), b"b".to_vec()].concat(), "restore the state"),
    ] {
        let message = refusal(&archive(&root, &[]));
        assert!(message.contains(name) && message.contains("refused"), "{message}");
    }
}

#[test]
fn bombs_go_off_unheard() {
    // Nesting that would overflow the stack of a recursive reader, and endless copies by reference.
    refusal(&archive(&[b")".to_vec(), vec![0x85; 3_000_000]].concat(), &[]));
    refusal(&archive(&[b"]".to_vec(), b"]a".repeat(200_000)].concat(), &[]));
    refusal(&archive(&[b"]q\0".to_vec(), b"h\0a".repeat(2_000_000)].concat(), &[]));
    refusal(&archive(&[b")q\0".to_vec(), b"h\0h\0\x86q\0".repeat(100_000)].concat(), &[]));
    refusal(&archive(&b"(".repeat(4_000_000), &[]));
    // Tensors by the hundred thousand, five bytes each.
    let tensor = op::tensor("FloatStorage", "0", 1, 0, &[1; 16], &[1; 16]);
    let [function, arguments] = {
        let at = tensor.windows(2).position(|w| w == b"\n(").expect("arguments") + 1;
        [&tensor[..at], &tensor[at..tensor.len() - 1]]
    };
    let calls = b"h\0h\x01R".repeat(100_000);
    let root = [b"(", function, b"q\0", arguments, b"q\x01", &calls, b"t"].concat();
    assert!(refusal(&archive(&root, &[])).contains("tensors"));
    // A name longer than any name.
    let mut long = String::new();
    write!(long, "{:>9000}", "x").expect("written");
    refusal(&archive(&op::text(&long), &[]));
    // Lengths that promise what is not there.
    refusal(&archive(b"X\xff\xff\xff\xff", &[]));
    refusal(&archive(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff", &[]));
    refusal(&archive(b"\x8a\xff", &[]));
}

#[test]
fn views_outside_their_storage_are_refused() {
    let bytes = floats(&[0.0; 8]);
    for (len, offset, shape, stride) in [
        (8, 0, vec![9], vec![1]),
        (8, 5, vec![4], vec![1]),
        (8, 0, vec![2, 2], vec![7, 2]),
        (8, 0, vec![1 << 30, 1 << 30, 1 << 30], vec![0, 0, 0]),
        (8, 0, vec![1 << 20], vec![0]),
        (8, -1, vec![1], vec![1]),
        (8, 0, vec![-1], vec![1]),
        (8, 0, vec![2], vec![1, 1]),
        (9, 0, vec![9], vec![1]),
        (i32::MAX, 0, vec![i32::MAX], vec![1]),
    ] {
        let root = op::dict(&[("x", op::tensor("FloatStorage", "0", len, offset, &shape, &stride))]);
        refusal(&archive(&root, &[("0", bytes.clone())]));
    }
    let root = op::dict(&[("x", op::tensor("FloatStorage", "7", 8, 0, &[8], &[1]))]);
    refusal(&archive(&root, &[("0", bytes.clone())]));
    let root = op::dict(&[("x", op::tensor("QInt8Storage", "0", 8, 0, &[8], &[1]))]);
    assert!(refusal(&archive(&root, &[("0", bytes)])).contains("QInt8Storage"));
    // One storage shown many times is not a way to fill memory.
    let big = op::tensor("FloatStorage", "0", 1 << 20, 0, &[1 << 20], &[1]);
    let names: Vec<String> = (0..40).map(|i| format!("t{i}")).collect();
    let items: Vec<(&str, Vec<u8>)> = names.iter().map(|n| (n.as_str(), big.clone())).collect();
    refusal(&archive(&op::dict(&items), &[("0", floats(&vec![0.0; 1 << 20]))]));
}

fn sound() -> Vec<u8> {
    let root = op::dict(&[
        ("a", op::tensor("FloatStorage", "0", 6, 0, &[2, 3], &[3, 1])),
        ("b", op::tensor("LongStorage", "1", 1, 0, &[], &[])),
    ]);
    archive(&root, &[("0", floats(&[1.0; 6])), ("1", 5i64.to_le_bytes().to_vec())])
}

#[test]
fn every_cut_is_noticed() {
    let whole = sound();
    assert!(read_bytes(&whole).is_ok());
    for len in 0..whole.len() {
        let error = read_bytes(&whole[..len]).expect_err("a cut file");
        assert!(matches!(error, Error::Checkpoint { .. }), "{len}: {error:?}");
    }
}

#[test]
fn damaged_parts_are_mentioned() {
    let mut bytes = sound();
    let at = bytes.windows(4).position(|w| w == 1.0f32.to_le_bytes()).expect("a value");
    bytes[at] ^= 1;
    let read = read_bytes(&bytes).expect("readable");
    assert!(read.notes.iter().any(|n| n.contains("checksum")), "{:?}", read.notes);
}

#[test]
fn archives_that_lie_are_refused() {
    let at = |bytes: &[u8], mark: &[u8]| bytes.windows(mark.len()).position(|w| w == mark).expect("a record");
    let whole = sound();
    let directory = at(&whole, b"PK\x01\x02");
    let end = at(&whole, b"PK\x05\x06");
    for (place, value) in [
        (directory + 8, 1u32),         // encrypted
        (directory + 10, 8),           // deflated
        (directory + 20, 1 << 30),     // stored size
        (directory + 24, 1 << 30),     // size
        (directory + 42, 0x7fff_0000), // place of the entry
        (directory + 28, 0xffff),      // length of its name
        (end + 12, 0x7fff_0000),       // size of the directory
        (end + 16, 0x7fff_0000),       // place of the directory
    ] {
        let mut bytes = whole.clone();
        let width = if matches!(place - directory, 8 | 10 | 28) { 2 } else { 4 };
        bytes[place..place + width].copy_from_slice(&value.to_le_bytes()[..width]);
        refusal(&bytes);
    }
    let doubled =
        Archive::default().with("m/data.pkl", b"\x80\x02}.").with("m/data.pkl", b"\x80\x02}.").finish();
    refusal(&doubled);
    let script =
        Archive::default().with("m/data.pkl", b"\x80\x02}.").with("m/code/__torch__.py", b"").finish();
    assert!(refusal(&script).contains("TorchScript"));
    assert!(refusal(&Archive::default().with("readme.txt", b"hello").finish()).contains("not a PyTorch"));
}

#[test]
fn other_files_are_recognised() {
    assert!(refusal(b"").contains("empty"));
    assert!(refusal(b"<!DOCTYPE html><html>").contains("web page"));
    assert!(refusal(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02").contains("before version 1.6"));
    assert!(refusal(&[0x1f; 100]).contains("no known kind"));
    assert!(refusal(&archive(&op::dict(&[]), &[])).contains("not a dictionary of tensors"));
    assert!(refusal(&archive(&op::int(1), &[])).contains("not a dictionary of tensors"));
    let folder = tempfile::tempdir().expect("a folder");
    assert!(read(folder.path()).expect_err("no weights").to_string().contains("pytorch_model.bin"));
    assert!(read(&folder.path().join("absent.pt")).is_err());
    std::fs::write(folder.path().join("pytorch_model.bin"), sound()).expect("written");
    let inside = read(folder.path()).expect("weights in the folder");
    assert_eq!(inside.path, folder.path().join("pytorch_model.bin"));
}

#[test]
fn safetensors_are_read_and_cuts_noticed() {
    let header = r#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[],"data_offsets":[4,8]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend([0x00, 0x3c, 0x00, 0xc0]);
    bytes.extend(2.5f32.to_le_bytes());
    let read = read_bytes(&bytes).expect("weights");
    assert_eq!(read.get("a").map(|t| t.data.clone()), Some(vec![1.0, -2.0]));
    assert_eq!(read.get("b").map(|t| (t.shape.len(), t.data.clone())), Some((0, vec![2.5])));
    for len in 0..bytes.len() {
        assert!(read_bytes(&bytes[..len]).is_err());
    }
    bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    refusal(&bytes);
}

#[test]
fn safetensors_that_would_grow_are_refused() {
    let file = |header: &str, data: usize| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    };
    // Parsed, such a header takes ten times its length.
    let mut header = r#"{"__metadata__":{"#.to_owned();
    (0..400_000).for_each(|n| write!(header, r#""{n:x}":"","#).expect("written"));
    let header = header.trim_end_matches(',').to_owned() + "}}";
    assert!(refusal(&file(&header, 0)).contains("header"));
    // Bytes become four each.
    let bytes =
        |n: usize| file(&format!(r#"{{"a":{{"dtype":"U8","shape":[{n}],"data_offsets":[0,{n}]}}}}"#), n);
    assert!(read_bytes(&bytes(1 << 20)).is_ok());
    assert!(refusal(&bytes(17 << 20)).contains("integer weights"));
}

/// Places of the official checkpoint files, cut and changed; skipped where they are absent.
#[test]
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn the_official_file_survives_no_cut() {
    let root = std::env::var_os("INSULA_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")), PathBuf::from);
    let Ok(whole) = std::fs::read(root.join("golden/segformer3d/checkpoint_formats/wrapped.pth.tar")) else {
        eprintln!("SKIPPED the_official_file_survives_no_cut: no golden vectors in {}", root.display());
        return;
    };
    for part in 0..40 {
        assert!(read_bytes(&whole[..whole.len() * part / 40]).is_err());
    }
    assert!(read_bytes(&whole[..whole.len() - 1]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever a file holds, reading it ends with weights or with one error.
    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((0usize..4096, any::<u8>()), 1..6)) {
        let mut bytes = sound();
        let len = bytes.len();
        for (at, value) in changes {
            bytes[at % len] = value;
        }
        if let Err(error) = read_bytes(&bytes) {
            prop_assert!(matches!(error, Error::Checkpoint { .. }), "{:?}", error);
        }
    }

    #[test]
    fn any_pickle_ends(pickle in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Archive::default().with("m/data.pkl", &pickle).finish();
        if let Err(error) = read_bytes(&bytes) {
            prop_assert!(matches!(error, Error::Checkpoint { .. }), "{:?}", error);
        }
    }
}
