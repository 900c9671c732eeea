#![no_main]
//! Model packs. The input is a manifest and, after the first zero byte, an ONNX file. A manifest that is accepted is
//! written, read and compared; then lengths and hashes are set to those of the ONNX file, as nobody guesses a SHA-256,
//! and the whole pack is opened.

use std::path::{Component, Path};

use insula_fuzz::{Place, fenced, fuzz_target, weights};
use models::ModelPack;
use models::manifest::Role;
use models::onnx_check::refuse_outside_data;
use models::pack::{parse, sha256_hex};

fuzz_target!(|input: &[u8]| {
    let split = input.iter().position(|&b| b == 0).unwrap_or(input.len());
    let (text, rest) = input.split_at(split);
    let network = rest.get(1..).unwrap_or_default();
    fenced(input.len(), || {
        let is_inside =
            refuse_outside_data(Path::new("model.onnx"), network).map_err(|e| weights::blames_the_file(&e));
        let manifest = match parse(Path::new("pack.toml"), text) {
            Ok(manifest) => manifest,
            Err(e) => return weights::blames_the_file(&e),
        };
        let written = toml::to_string(&manifest).expect("a manifest can be written");
        let again = parse(Path::new("pack.toml"), written.as_bytes()).expect("what was written can be read");
        assert!(again == manifest, "manifests differ");
        let _ = manifest.label_table();

        let mut honest = manifest;
        for file in &mut honest.files {
            let mut parts = Path::new(&file.path).components();
            let is_plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
            assert!(is_plain, "a pack that names {}", file.path);
            Place::get().put(&format!("pack/{}", file.path), network);
            (file.bytes, file.sha256) = (network.len() as u64, sha256_hex(network));
        }
        let text = toml::to_string(&honest).expect("a manifest can be written");
        Place::get().put("pack/pack.toml", text.as_bytes());
        let pack = ModelPack::from_folder(&Place::get().path("pack")).expect("a sound pack");
        assert!(pack.verify().is_ok() && pack.read(Role::Network).is_ok_and(|b| *b == *network));
        let _ = is_inside;
    });
});
