//! Weights files and model packs.

use std::path::Path;

use insula_fuzz::zip;

use crate::Corpus;

pub fn make(corpus: &Corpus) {
    weights(corpus);
    packs(corpus);
}

/// Instructions of a pickle (CPython's `Lib/pickletools.py`).
mod op {
    pub fn text(s: &str) -> Vec<u8> {
        [b"X".as_slice(), &(s.len() as u32).to_le_bytes(), s.as_bytes()].concat()
    }
    pub fn int(n: i32) -> Vec<u8> {
        [b"J".as_slice(), &n.to_le_bytes()].concat()
    }
    pub fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
        [b"(".to_vec(), items.concat(), b"t".to_vec()].concat()
    }
    pub fn tensor(class: &str, key: &str, len: i32, shape: &[i32], stride: &[i32]) -> Vec<u8> {
        let ints = |v: &[i32]| tuple(&v.iter().map(|&n| int(n)).collect::<Vec<_>>());
        let storage =
            [text("storage"), format!("ctorch\n{class}\n").into(), text(key), text("cpu"), int(len)];
        let arguments = [
            [tuple(&storage), b"Q".to_vec()].concat(),
            int(0),
            ints(shape),
            ints(stride),
            b"\x89".to_vec(),
            b"ccollections\nOrderedDict\n)R".to_vec(),
        ];
        [b"ctorch._utils\n_rebuild_tensor_v2\n".to_vec(), tuple(&arguments), b"R".to_vec()].concat()
    }
}

fn weights(corpus: &Corpus) {
    let classes =
        ["FloatStorage", "DoubleStorage", "HalfStorage", "BFloat16Storage", "LongStorage", "BoolStorage"];
    for class in classes {
        let items = [
            op::text("module.a"),
            op::tensor(class, "0", 6, &[2, 3], &[3, 1]),
            op::text("module.b"),
            op::tensor(class, "1", 4, &[2, 2], &[1, 2]),
        ];
        let dict = [b"}(".to_vec(), items.concat(), b"u".to_vec()].concat();
        let wrapped = [b"}q\0(".to_vec(), op::text("state_dict"), dict.clone(), b"u".to_vec()].concat();
        for (name, root) in [("plain", dict), ("wrapped", wrapped)] {
            let pickle = [b"\x80\x02".to_vec(), root, b".".to_vec()].concat();
            corpus.put("pickle", &format!("{name}-{class}"), &pickle);
            let data = [0x3f; 64];
            let parts: [(&str, &[u8]); 4] = [
                ("m/data.pkl", &pickle),
                ("m/byteorder", b"little"),
                ("m/data/0", &data),
                ("m/data/1", &data),
            ];
            corpus.put("checkpoint", &format!("{name}-{class}"), zip::stored(&parts));
        }
    }
    let newer = b"\x80\x04\x95\x10\0\0\0\0\0\0\0}\x94(\x8c\x01a\x94]\x94(K\x01M\x01\x02\x8a\x02\xff\x7feNu.";
    corpus.put("pickle", "newer", newer);
    for (kind, size) in [("F32", 4), ("F64", 8), ("F16", 2), ("BF16", 2), ("I64", 8), ("U8", 1), ("BOOL", 1)]
    {
        let (one, all) = (2 * size, 3 * size);
        let header = format!(
            r#"{{"__metadata__":{{"k":"v"}},"a":{{"dtype":"{kind}","shape":[2],"data_offsets":[0,{one}]}},"b":{{"dtype":"{kind}","shape":[],"data_offsets":[{one},{all}]}}}}"#
        );
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![1; all]].concat();
        corpus.put("safetensors", kind, bytes);
    }
}

/// Manifests of the packs in the repository and small ones, each with a small ONNX file.
fn packs(corpus: &Corpus) {
    // model { ir_version: 9; graph { node { attribute { t { dims, raw_data } } }; initializer; input } }
    let field = |number: u8, content: &[u8]| [&[number << 3 | 2, content.len() as u8], content].concat();
    let tensor = [vec![1 << 3, 2, 2 << 3, 1], field(8, b"w"), field(9, &[0; 8])].concat();
    let attribute = [field(1, b"value"), field(5, &tensor), vec![20 << 3 & 0x7f | 0x80, 1, 4]].concat();
    let node = [field(2, b"y"), field(4, b"Constant"), field(5, &attribute)].concat();
    let graph = [field(1, &node), field(2, b"g"), field(5, &tensor), field(11, &field(1, b"x"))].concat();
    let network = [vec![1 << 3, 9], field(2, b"insula"), field(7, &graph)].concat();

    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let folders = std::fs::read_dir(root.join("packs")).into_iter().flatten().flatten();
    for folder in folders {
        if let Ok(text) = std::fs::read(folder.path().join("pack.toml")) {
            let name = folder.file_name().to_string_lossy().into_owned();
            corpus.put("pack", &name, [text, vec![0], network.clone()].concat());
        }
    }
    let presets = std::fs::read_dir(root.join("presets")).into_iter().flatten().flatten();
    for preset in presets {
        if let Ok(text) = std::fs::read_to_string(preset.path()) {
            let file = format!(
                "\n[[file]]\nrole = \"network\"\npath = \"model.onnx\"\nsha256 = \"{}\"\nbytes = 9\n",
                "0".repeat(64)
            );
            let head = "schema = 1\nid = \"a\"\nversion = \"1\"\nlicence = \"unknown\"\n";
            let name = preset.file_name().to_string_lossy().into_owned();
            corpus.put(
                "pack",
                &name,
                [head.as_bytes(), text.as_bytes(), file.as_bytes(), &[0], &network].concat(),
            );
        }
    }
    let external = [vec![14 << 3, 1], field(13, &field(1, b"location"))].concat();
    for (name, bad) in [("outside", field(7, &field(5, &external))), ("empty", Vec::new())] {
        corpus.put("pack", name, [b"schema = 1\n\0".as_slice(), &bad].concat());
    }
}
