//! Descriptions that others put beside their networks, and files that mean no good: what is read, what is asked, what is
//! refused.

use std::path::{Path, PathBuf};

use insula_tests::nets::{self, write};
use models::manifest::{Of, Scheme, Spacing, When};
use models::plain::import::{Look, Options, import, look};
use models::plain::{Answers, Kind, Values};
use tempfile::tempdir;

fn segmentation() -> Answers {
    Answers { kind: Some(Kind::Segmentation), ..Answers::default() }
}

fn missing(look: &Look) -> Vec<&'static str> {
    look.missing.iter().map(|m| m.option).collect()
}

fn put(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn nnunet_says_all_but_nothing_is_taken_on_trust() {
    let folder = tempdir().unwrap();
    let inside = folder.path().join("nnUNetTrainer__nnUNetPlans__3d_fullres");
    std::fs::create_dir(&inside).unwrap();
    let model = inside.join("model.onnx");
    write(&model, nets::octant_segmenter("NCDHW", [12, 10, 8]), &[]);
    put(
        &inside.join("dataset.json"),
        r#"{"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1, "tumour": 2}, "name": "Livers",
            "licence": "CC-BY-4.0", "file_ending": ".nii.gz"}"#,
    );
    // Arrays z, y, x are given to the network as y, x, z.
    put(
        &inside.join("plans.json"),
        r#"{"transpose_forward": [1, 2, 0], "configurations": {
              "2d": {"patch_size": [512, 512], "spacing": [0.8, 0.8], "normalization_schemes": ["CTNormalization"]},
              "3d_fullres": {"patch_size": [12, 10, 8], "spacing": [0.8, 0.7, 2.5], "batch_size": 2,
                "normalization_schemes": ["CTNormalization"], "use_mask_for_norm": [false]}},
            "foreground_intensity_properties_per_channel": {"0": {"mean": 99.5, "std": 37.5, "percentile_00_5": -15,
              "percentile_99_5": 197, "median": 100}}}"#,
    );
    let seen = look(&model, &segmentation()).unwrap();
    assert!(missing(&seen).is_empty(), "{:?}", seen.missing);
    let m = seen.manifest.unwrap();
    assert_eq!(
        (m.name.as_str(), m.licence.as_str(), m.input.axes.as_str()),
        ("Livers", "CC-BY-4.0", "stored")
    );
    // The first axis of the graph is the file's second, and so on: H, W, D.
    assert_eq!(m.graph.as_ref().unwrap().input, "NCHWD");
    assert_eq!(m.tiles.patch, [8, 12, 10]);
    assert_eq!(m.input.spacing_mm, Spacing::Mm([2.5, 0.8, 0.7]));
    let fixed = Scheme::Fixed { low: -15.0, high: 197.0, mean: 99.5, deviation: 37.5 };
    assert_eq!((m.intensity.len(), &m.intensity[0].apply, m.intensity[0].when), (1, &fixed, When::Stored));
    assert_eq!(m.labels.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(), ["liver", "tumour"]);
    assert_eq!(seen.described_by.len(), 2);
    assert!(seen.readings.iter().any(|r| r.what == "spacing" && r.from == "nnU-Net plans.json"));

    // A person knows better than a file.
    let said = Answers { spacing: Some("1,1,1".to_owned()), ..segmentation() };
    let seen = look(&model, &said).unwrap();
    assert!(seen.readings.iter().any(|r| r.what == "spacing" && r.from == "you"));
    // Regions and unknown rules are asked for, and said to be.
    put(
        &inside.join("dataset.json"),
        r#"{"channel_names": {"0": "CT"}, "labels": {"background": 0, "whole": [1, 2]}}"#,
    );
    let seen = look(&model, &segmentation()).unwrap();
    assert_eq!(missing(&seen), ["classes"]);
    assert!(seen.remarks.iter().any(|r| r.contains("regions")), "{:?}", seen.remarks);
    put(
        &inside.join("plans.json"),
        r#"{"configurations": {"3d_fullres": {"patch_size": [12, 10, 8], "normalization_schemes": ["Mine"]}}}"#,
    );
    assert_eq!(missing(&look(&model, &segmentation()).unwrap()), ["spacing", "intensity", "classes"]);
    put(&inside.join("plans.json"), "{\"configurations\": ");
    assert!(look(&model, &segmentation()).unwrap_err().to_string().contains("plans.json"));
}

#[test]
fn monai_bundles_say_what_their_transforms_do() {
    let folder = tempdir().unwrap();
    let model = folder.path().join("models/model.onnx");
    std::fs::create_dir(folder.path().join("models")).unwrap();
    write(&model, nets::octant_segmenter("NCDHW", [12, 10, 8]), &[]);
    put(
        &folder.path().join("configs/metadata.json"),
        r#"{"name": "Spleen", "description": "Finds spleens", "network_data_format": {
             "inputs": {"image": {"num_channels": 1, "spatial_shape": [12, 10, 8], "channel_def": {"0": "image"}}},
             "outputs": {"pred": {"num_channels": 3, "channel_def": {"0": "background", "1": "spleen", "2": "cyst"}}}}}"#,
    );
    // Without the transforms, three questions are open.
    assert_eq!(missing(&look(&model, &segmentation()).unwrap()), ["axes", "spacing", "intensity"]);
    let transforms = |range: &str| {
        format!(
            r#"{{"preprocessing": {{"transforms": [{{"_target_": "LoadImaged"}}, {{"_target_": "EnsureChannelFirstd"}},
               {{"_target_": "Orientationd", "axcodes": "RAS"}}, {{"_target_": "Spacingd", "pixdim": [1.5, 1.2, 2]}}, {range}]}},
               "inferer": {{"_target_": "SlidingWindowInferer", "overlap": 0.25, "roi_size": [12, 10, 8]}}}}"#
        )
    };
    let file = folder.path().join("configs/inference.json");
    let range = r#"{"_target_": "ScaleIntensityRanged", "a_min": -57, "a_max": 164, "b_min": 0, "b_max": 1, "clip": true}"#;
    put(&file, &transforms(range));
    let seen = look(&model, &segmentation()).unwrap();
    let m = seen.manifest.unwrap();
    // Arrays x, y, z: the first axis grows to the right.
    assert_eq!((m.input.axes.as_str(), m.input.spacing_mm), ("RAS", Spacing::Mm([1.5, 1.2, 2.0])));
    assert_eq!(m.intensity[0].apply, Scheme::Range { low: -57.0, high: 164.0 });
    assert!((m.tiles.overlap - 0.25).abs() < 1e-9);
    // To −1..1, clamped: (v + 57) / 221 · 2 − 1 = (v − 53.5) / 110.5.
    put(&file, &transforms(&range.replace("\"b_min\": 0", "\"b_min\": -1")));
    let seen = look(&model, &segmentation()).unwrap();
    let fixed = Scheme::Fixed { low: -57.0, high: 164.0, mean: 53.5, deviation: 110.5 };
    assert_eq!(seen.manifest.unwrap().intensity[0].apply, fixed);
    put(&file, &transforms(r#"{"_target_": "NormalizeIntensityd", "nonzero": true}"#));
    let seen = look(&model, &segmentation()).unwrap();
    assert_eq!(seen.manifest.unwrap().intensity[0].apply, Scheme::Zscore { of: Of::Nonzero });
    // A transform that is not known leaves values to be asked for, and so does a reference.
    put(
        &file,
        &transforms(
            r#"{"_target_": "ScaleIntensityRanged", "a_min": "@low", "a_max": 164, "b_min": 0, "b_max": 1}"#,
        ),
    );
    let seen = look(&model, &segmentation()).unwrap();
    assert_eq!(missing(&seen), ["intensity"]);
    assert!(seen.remarks[0].contains("ScaleIntensityRanged"));
}

#[test]
fn bioimage_descriptions_of_both_formats_are_read() {
    let folder = tempdir().unwrap();
    let model = folder.path().join("weights.onnx");
    write(&model, nets::threshold_segmenter(0.5), &[]);
    let old = "format_version: 0.4.9\nname: Nuclei\nlicense: MIT\ninputs:\n- name: raw\n  axes: bcyx\n  shape: {min: [1, 1, 64, 64], \
               step: [0, 0, 16, 16]}\n  preprocessing:\n  - name: zero_mean_unit_variance\n    kwargs: {axes: yx, mode: per_sample}\n\
               outputs:\n- name: mask\n  axes: bcyx\nweights:\n  onnx: {source: ./weights.onnx}\n";
    put(&folder.path().join("rdf.yaml"), old);
    let seen = look(&model, &segmentation()).unwrap();
    assert_eq!(missing(&seen), ["classes"], "{:?}", seen.readings);
    let with = Answers { classes: Some("nucleus".to_owned()), ..segmentation() };
    let m = look(&model, &with).unwrap().manifest.unwrap();
    assert_eq!((m.tiles.patch, m.input.axes.as_str(), m.licence.as_str()), ([1, 64, 64], "stored", "MIT"));
    assert_eq!(m.intensity[0].apply, Scheme::Zscore { of: Of::All });
    assert_eq!(m.graph.unwrap().values, Values::Probabilities, "the graph ends in a sigmoid");
    let new = "format_version: 0.5.3\nname: Nuclei\ninputs:\n- id: raw\n  axes:\n  - {type: batch}\n  - {type: channel, channel_names: [dna]}\n  \
               - {type: space, id: y, size: {min: 64, step: 16}}\n  - {type: space, id: x, size: 96}\n  preprocessing:\n  \
               - {id: ensure_dtype, kwargs: {dtype: float32}}\n  - {id: scale_linear, kwargs: {gain: 0.5, offset: -1}}\noutputs:\n\
               - id: mask\n  axes:\n  - {type: batch}\n  - {type: channel, channel_names: [nucleus]}\n  - {type: space, id: y}\n  \
               - {type: space, id: x}\n";
    put(&folder.path().join("rdf.yaml"), new);
    let m = look(&model, &segmentation()).unwrap().manifest.unwrap();
    assert_eq!((m.tiles.patch, m.labels[0].name.as_str()), ([1, 64, 96], "nucleus"));
    // 0.5 v − 1 = (v − 2) / 2.
    assert_eq!(m.intensity[0].apply, Scheme::Linear { subtract: 2.0, divide: 2.0 });
    // About another file, or with an alias: not read.
    put(&folder.path().join("rdf.yaml"), &old.replace("./weights.onnx", "other.onnx"));
    let seen = look(&model, &segmentation()).unwrap();
    assert!(seen.remarks[0].contains("other.onnx") && missing(&seen).len() == 5, "{:?}", missing(&seen));
    put(&folder.path().join("rdf.yaml"), "inputs: &a [1]\noutputs: *a\n");
    assert!(look(&model, &segmentation()).unwrap_err().to_string().contains("alias"));
}

#[test]
fn links_and_what_is_no_model_are_refused() {
    let folder = tempdir().unwrap();
    let at = folder.path();
    let good = at.join("good.onnx");
    write(&good, nets::octant_segmenter("NCDHW", [12, 10, 8]), &[]);
    let bytes = std::fs::read(&good).unwrap();
    let refused = |path: &PathBuf, word: &str| {
        let message = look(path, &segmentation()).unwrap_err().to_string();
        assert!(message.contains(word) && message.contains(&*path.to_string_lossy()), "{message}");
    };
    // Cut anywhere, changed anywhere: an error or a model, never a panic.
    let cut = at.join("cut.onnx");
    for n in (0..bytes.len()).step_by(97) {
        std::fs::write(&cut, &bytes[..n]).unwrap();
        let _ = look(&cut, &segmentation());
        let mut changed = bytes.clone();
        changed[n] ^= 0x55;
        std::fs::write(&cut, &changed).unwrap();
        let _ = look(&cut, &segmentation());
    }
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    refused(&cut, "sound ONNX file");
    refused(&at.join("absent.onnx"), "absent.onnx");
    std::fs::create_dir(at.join("folder.onnx")).unwrap();
    refused(&at.join("folder.onnx"), "a link or folder");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&good, at.join("link.onnx")).unwrap();
        refused(&at.join("link.onnx"), "a link or folder");
        // Descriptions are not read through links either.
        put(&at.join("elsewhere.json"), r#"{"labels": {"background": 0, "secret": 1}}"#);
        std::os::unix::fs::symlink(at.join("elsewhere.json"), at.join("dataset.json")).unwrap();
        let message = look(&good, &segmentation()).unwrap_err().to_string();
        assert!(message.contains("dataset.json: a link"), "{message}");
        std::fs::remove_file(at.join("dataset.json")).unwrap();
    }
    // Nothing is left of an import that failed, and a bundled pack keeps its name.
    let answers = Answers {
        axes: Some("SAR".to_owned()),
        spacing: Some("native".to_owned()),
        intensity: Some("none".to_owned()),
        classes: Some("a,b,c".to_owned()),
        ..segmentation()
    };
    let options = |id: &str| Options {
        id: id.to_owned(),
        name: None,
        licence: None,
        out_dir: at.join("packs"),
        replace: false,
    };
    let task = formats::Task::silent();
    for id in ["../evil", "segformer3d-brain", "A b"] {
        import(&good, &answers, &options(id), &task).unwrap_err();
    }
    import(&cut, &answers, &options("cut"), &task).unwrap_err();
    assert!(!at.join("packs").exists());
    let (pack, _) = import(&good, &answers, &options("mine"), &task).unwrap();
    pack.verify().unwrap();
    assert_eq!(std::fs::read(at.join("packs/mine/model.onnx")).unwrap(), bytes, "the file itself, unchanged");
    import(&good, &answers, &options("mine"), &task).unwrap_err();
}
