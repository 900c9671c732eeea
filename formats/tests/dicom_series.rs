//! From DICOM files to volumes: the truth table of the shared data, and series of our own making.

mod common;
mod dicom_files;

use std::path::{Path, PathBuf};

use common::{after, close, number, rows, shared};
use dicom_files::{Slice, folder};
use formats::dicom::{self, Kind, Tree};
use formats::{Affine, Error, Image, Task, Voxels};
use proptest::prelude::*;

fn scan(path: &Path) -> Tree {
    dicom::scan(&[path.to_owned()], &Task::silent()).unwrap()
}

fn load(stack: &dicom::Stack) -> Image {
    dicom::load(stack, &Task::silent()).unwrap()
}

fn codes(notices: &[formats::Notice]) -> Vec<&str> {
    notices.iter().map(|n| n.code.as_str()).collect()
}

/// The only stack of a folder.
fn only(path: &Path) -> (dicom::Stack, Image) {
    let tree = scan(path);
    let stacks: Vec<_> = tree.stacks().cloned().collect();
    assert_eq!(stacks.len(), 1, "{stacks:#?}");
    let image = load(&stacks[0]);
    (stacks[0].clone(), image)
}

// ---- shared data -------------------------------------------------------------------------------------------------

fn list(text: &str) -> Vec<f64> {
    text.split(',').map(|v| number(v.trim())).collect()
}

/// Everything a row of the table says about a folder of one stack (or of repeated positions).
#[test]
fn series_of_the_shared_data_have_the_true_geometry_and_values() {
    let Some(data) = shared("series_of_the_shared_data_have_the_true_geometry_and_values") else { return };
    let mut wrong = Vec::new();
    let mut checked = 0;
    for (file, truth) in rows(&data, "dicom") {
        if !file.ends_with('/') || !truth.contains("distinct slice positions") {
            continue;
        }
        checked += 1;
        let tree = scan(&data.join(&file));
        let mut expect = |ok: bool, what: String| {
            if !ok {
                wrong.push(format!("{file}: {what}"));
            }
        };
        let stacks: Vec<_> = tree.stacks().collect();
        expect(stacks.len() == 1, format!("{} stacks", stacks.len()));
        let stack = stacks[0];
        let image = load(stack);
        let grid = image.first().grid;
        let [columns, rows, slices] = grid.size_ijk;
        let field = |key: &str, end: &[char]| after(&truth, key, end);
        let files: usize = truth.split(" files").next().unwrap().trim().parse().unwrap();
        expect(stack.slice_count() == files, format!("{} slices of {files} files", stack.slice_count()));
        let shape = format!("{rows} rows × {columns} columns, {slices} distinct slice positions");
        expect(truth.contains(&shape), shape);
        if let Some(frames) = field("positions (", &[' ']) {
            expect(
                image.frames.len() == frames.parse::<usize>().unwrap(),
                format!("{} frames", image.frames.len()),
            );
        }
        let spacing = grid.spacing_mm();
        let pixel = field("PixelSpacing ", &[' ', ',']).unwrap();
        expect(close(spacing[0], pixel), format!("pixel spacing {}", spacing[0]));
        let lattice = stack.lattice.as_ref().unwrap();
        let gap = field("slice gaps ", &[' ']).unwrap();
        let along = lattice.step_mm() * lattice.tilt_degrees.to_radians().cos();
        expect(
            (along - number(gap.split('–').next().unwrap())).abs() < 2.1e-3,
            format!("step {along} along the normal"),
        );
        // Positions are printed in LPS with three decimals.
        for (key, k) in [("(lowest along the normal) at [", 0), ("last at [", slices - 1)] {
            let want = list(field(key, &[']']).unwrap());
            let p = grid.world_from_voxel.apply([0.0, 0.0, k as f64]);
            let found = [-p[0], -p[1], p[2]];
            let off = (0..3).map(|r| (found[r] - want[r]).abs()).fold(0.0, f64::max);
            expect(off < 6e-4, format!("slice {k} at {found:?} instead of {want:?}"));
        }
        let cosines = list(field("ImageOrientationPatient [", &[']']).unwrap());
        let columns_of = [0, 1].map(|a| grid.world_from_voxel.column(a).map(|v| v / spacing[a]));
        for (n, want) in cosines.iter().enumerate() {
            let sign = if n % 3 == 2 { 1.0 } else { -1.0 };
            expect((columns_of[n / 3][n % 3] * sign - want).abs() < 6e-5, format!("direction cosine {n}"));
        }
        if let Some(tilt) = field("stack axis is ", &['°']) {
            expect(close(lattice.tilt_degrees, tilt), format!("tilt {}", lattice.tilt_degrees));
            expect(codes(&image.notices).contains(&"dicom-tilted-gantry"), "no notice of the tilt".into());
        } else {
            expect(lattice.tilt_degrees == 0.0, format!("a tilt of {}", lattice.tilt_degrees));
        }
        let statistics =
            common::statistics(&file, truth.split("whole series after rescale").last().unwrap(), &image);
        for s in statistics {
            expect(false, s);
        }
        let origin = image.first().meta.dicom.clone().unwrap();
        expect(
            origin.slices.len() == slices && origin.slices.iter().all(Option::is_some),
            "slices not referred to".into(),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked >= 7, "{checked} rows");
}

/// Grids and values as dcm2niix and SimpleITK see them; see `dicom_truth.py`.
#[test]
fn volumes_equal_those_of_other_programs() {
    let Some(data) = shared("volumes_equal_those_of_other_programs") else { return };
    let truth: serde_json::Value = serde_json::from_str(include_str!("dicom_truth.json")).unwrap();
    let mut compared = 0;
    for (series, programs) in truth.as_object().unwrap() {
        let tree = scan(&data.join("dicom").join(series));
        for stack in tree.stacks() {
            let image = load(stack);
            let frames: Vec<_> = image.frames.iter().map(|f| f.reordered(f.grid.order_to_ras())).collect();
            for (program, volumes) in programs.as_object().unwrap() {
                let shape = frames[0].grid.size_ijk;
                // Segmentations in the folder are volumes to dcm2niix; CT values go below any label's sum.
                let same = |v: &&serde_json::Value| {
                    v["shape"] == serde_json::json!(shape)
                        && !(stack.modality == "CT" && v["sums"][0].as_f64() > Some(0.0))
                };
                let wanted = volumes.as_array().unwrap().iter().find(same);
                let wanted =
                    wanted.unwrap_or_else(|| panic!("{series}: {program} has no volume of {shape:?}"));
                let affine: Vec<Vec<f64>> = serde_json::from_value(wanted["affine"].clone()).unwrap();
                for r in 0..3 {
                    for c in 0..4 {
                        // dcm2niix writes tilted stacks as if they were not, and again resampled.
                        if series.contains("tilt") && c == 2 {
                            continue;
                        }
                        let ours = frames[0].grid.world_from_voxel.0[r][c];
                        // NIfTI stores float32, and positions are rounded to 0.001 mm in some headers.
                        assert!(
                            (ours - affine[r][c]).abs() < 2e-3,
                            "{series}, {program}: {ours} instead of {} at {r} {c}",
                            affine[r][c]
                        );
                    }
                }
                let sums = frames.iter().map(|f| f.to_f32().iter().map(|v| f64::from(*v)).sum::<f64>());
                assert_eq!(
                    serde_json::json!(sums.collect::<Vec<_>>()),
                    wanted["sums"],
                    "{series}, {program}"
                );
                let crc = frames.iter().map(|f| {
                    let mut crc = flate2::Crc::new();
                    f.to_f32().iter().for_each(|v| crc.update(&(v.round() as i32).to_le_bytes()));
                    crc.sum()
                });
                assert_eq!(
                    serde_json::json!(crc.collect::<Vec<_>>()),
                    wanted["crc32"],
                    "{series}, {program}"
                );
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 14);
}

#[test]
fn fmri_equals_the_conversion_of_dcm2niix() {
    let Some(data) = shared("fmri_equals_the_conversion_of_dcm2niix") else { return };
    let (stack, image) = only(&data.join("dicom/series_fmri_4d"));
    let expected = common::open(&data.join("dicom/series_fmri_4d_expected.nii.gz")).unwrap();
    assert_eq!(image.shape_text(), "64×64×15×10");
    assert_eq!((stack.axes[0].name.as_str(), stack.axes[0].step), ("time", 5.0));
    for (ours, theirs) in image.frames.iter().zip(&expected.frames) {
        let theirs = theirs.reordered(theirs.grid.order_to_ras());
        let ours = ours.reordered(ours.grid.order_to_ras());
        assert!(ours.grid.is_same(&theirs.grid, 2e-3), "{:?} {:?}", ours.grid, theirs.grid);
        assert_eq!(ours.to_f32(), theirs.to_f32());
    }
}

#[test]
fn labels_of_a_nifti_file_lie_on_the_liver() {
    let Some(data) = shared("labels_of_a_nifti_file_lie_on_the_liver") else { return };
    let (_, image) = only(&data.join("dicom/series_ct_j2k"));
    let labels = common::open(&data.join("dicom/series_ct_j2k_totalseg.nii.gz")).unwrap();
    let (ct, labels) = (image.first(), labels.first());
    let voxel_from_world = ct.grid.voxel_from_world().unwrap();
    let (mut sum, mut count) = (0.0, 0);
    for k in 0..20 {
        for j in 0..512 {
            for i in 0..512 {
                if labels.value([i, j, k]) == Some(5.0) {
                    let world = labels.grid.world_from_voxel.apply([i as f64, j as f64, k as f64]);
                    let at = voxel_from_world.apply(world);
                    let near = at.map(|v| v.round() as usize);
                    assert!(at.iter().zip(near).all(|(a, n)| (a - n as f64).abs() < 0.01), "{at:?}");
                    sum += ct.value(near).unwrap();
                    count += 1;
                }
            }
        }
    }
    assert_eq!(count, 366_708);
    assert!((sum / f64::from(count) - 89.3).abs() < 0.05, "{}", sum / f64::from(count));
    assert_eq!(ct.meta.facts.get("units").map(String::as_str), Some("HU"));
}

#[test]
fn mosaics_are_unfolded() {
    let Some(data) = shared("mosaics_are_unfolded") else { return };
    let (stack, image) = only(&data.join("dicom/series_siemens_mosaic"));
    assert_eq!(image.shape_text(), "64×64×40×3");
    assert_eq!(stack.axes[0].name, "time");
    let grid = image.first().grid;
    assert!((grid.spacing_mm()[2] - 3.6).abs() < 1e-3);
    let s = image.statistics();
    assert_eq!((s.min, s.max), (0.0, 22469.0));
    // 40 of 49 tiles hold all the signal.
    assert!((s.mean * 40.0 / 49.0 - 1090.28).abs() < 0.02, "{}", s.mean * 40.0 / 49.0);
}

#[test]
fn mixed_orientations_are_two_stacks() {
    let Some(data) = shared("mixed_orientations_are_two_stacks") else { return };
    let tree = scan(&data.join("dicom/series_mixed_orientation"));
    let mut found: Vec<_> =
        tree.stacks().map(|s| (s.grid.size_ijk[2], (s.grid.spacing_mm()[0] * 1e6).round() / 1e6)).collect();
    found.sort_by(|a, b| a.1.total_cmp(&b.1));
    assert_eq!(found, [(2, 0.32), (2, 0.555_556)]);
}

#[test]
fn objects_without_pictures_are_listed_and_not_stacked() {
    let Some(data) = shared("objects_without_pictures_are_listed_and_not_stacked") else { return };
    let of = |folder: &str| {
        let tree = scan(&data.join(folder));
        let mut all: Vec<_> = tree
            .series()
            .map(|s| {
                (
                    s.modality.clone(),
                    s.records.len(),
                    s.stacks.iter().map(|s| s.grid.size_ijk).collect::<Vec<_>>(),
                )
            })
            .collect();
        all.sort();
        all
    };
    let rt = of("dicom/series_rtstruct");
    assert_eq!(rt, [("CT".to_owned(), 2, vec![[512, 512, 2]]), ("RTSTRUCT".to_owned(), 1, vec![])]);
    let seg = of("dicom/series_ct_with_seg");
    assert_eq!(seg[0], ("CT".to_owned(), 3, vec![[512, 512, 3]]));
    assert!(seg[1..].iter().all(|s| s.0 == "SEG" && s.2.is_empty()));
    let error = common::open(&data.join("dicom/series_rtstruct/rt.dcm")).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}

#[test]
fn a_dicomdir_leads_to_two_patients() {
    let Some(data) = shared("a_dicomdir_leads_to_two_patients") else { return };
    let by_folder = scan(&data.join("dicom/dicomdir"));
    let by_index = scan(&data.join("dicom/dicomdir/DICOMDIR"));
    for tree in [by_folder, by_index] {
        let patients: Vec<_> = tree.patients.iter().map(|p| (p.id.as_str(), p.studies.len())).collect();
        assert_eq!(patients, [("77654033", 2), ("98890234", 4)], "{:?}", tree.notices);
        assert_eq!(tree.series().map(|s| s.records.len()).sum::<usize>(), 31);
    }
}

#[test]
fn single_files_open_by_themselves() {
    let Some(data) = shared("single_files_open_by_themselves") else { return };
    let single = |name: &str| common::open(&data.join("dicom/single").join(name)).unwrap();
    // Its functional groups were removed: nothing says where the frames lie.
    let mr = single("emri_small.dcm");
    assert_eq!((mr.shape_text().as_str(), mr.is_picture), ("64×64×1×10", true));
    assert!(codes(&mr.notices).contains(&"dicom-no-position"), "{:?}", mr.notices);
    let ct = single("eCT_Supplemental.dcm");
    assert_eq!((ct.shape_text().as_str(), ct.first().grid.spacing_mm()[2]), ("512×512×2", 10.0));
    let dose = single("rtdose.dcm");
    assert_eq!(dose.shape_text(), "10×10×15");
    let cine = single("examples_rgb_color.dcm");
    assert!(cine.is_picture);
    let dx = single("dx_image.dcm");
    assert_eq!(dx.first().meta.facts.get("display-inverted").map(String::as_str), Some("true"));
    let palette = single("examples_palette.dcm");
    assert!(matches!(palette.first().voxels, Voxels::Rgb8(_)));
}

// ---- own series --------------------------------------------------------------------------------------------------

const AXES: [[f64; 3]; 6] =
    [[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, -1.0]];

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// Slices along `normal · sign` in the order of their numbers.
fn slices(row: [f64; 3], column: [f64; 3], offsets: &[f64]) -> Vec<Slice> {
    let normal = cross(row, column);
    let of = |(n, offset): (usize, &f64)| Slice {
        position: [0, 1, 2].map(|r| [12.5, -30.0, 77.0][r] + offset * normal[r]),
        orientation: [row[0], row[1], row[2], column[0], column[1], column[2]],
        number: n as i64 + 1,
        // The value tells the slice, the row and the column.
        pixels: (0..3 * 4).map(|p| (100 * n + p) as i16).collect(),
        ..Slice::default()
    };
    offsets.iter().enumerate().map(of).collect()
}

/// Every voxel has the value of the pixel that equation C.7.6.2.1-1 puts at its place.
fn check_places(image: &Image, slices: &[Slice]) {
    let grid = image.first().grid;
    let voxel_from_world = grid.voxel_from_world().unwrap();
    for slice in slices {
        for j in 0..3 {
            for i in 0..4 {
                let [a, b, c, d, e, f] = slice.orientation;
                let step = |x: f64, y: f64, s: f64| {
                    s + x * slice.spacing[1] * i as f64 + y * slice.spacing[0] * j as f64
                };
                let lps = [
                    step(a, d, slice.position[0]),
                    step(b, e, slice.position[1]),
                    step(c, f, slice.position[2]),
                ];
                let at = voxel_from_world.apply([-lps[0], -lps[1], lps[2]]);
                let near = at.map(f64::round);
                assert!(at.iter().zip(near).all(|(a, n)| (a - n).abs() < 1e-6), "{at:?}");
                let value = image.first().value(near.map(|v| v as usize));
                assert_eq!(value, Some(f64::from(slice.pixels[j * 4 + i])), "{near:?}");
            }
        }
    }
}

#[test]
fn all_orientations_shuffled_names_and_both_directions() {
    for row in AXES {
        for column in AXES.into_iter().filter(|c| c.iter().zip(row).all(|(a, b)| a * b == 0.0)) {
            for offsets in [[0.0, 2.0, 4.0, 6.0], [6.0, 4.0, 2.0, 0.0]] {
                let slices = slices(row, column, &offsets);
                let folder = folder(&slices);
                let (stack, image) = only(folder.path());
                assert_eq!(image.shape_text(), "4×3×4");
                assert_eq!(stack.kind, Kind::Volume);
                assert!(image.first().grid.world_from_voxel.determinant().abs() > 0.0);
                check_places(&image, &slices);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn oblique_and_tilted_series_lie_where_the_standard_says(
        angles in prop::array::uniform3(-3.1f64..3.1), step in 0.5f64..5.0, shear in -0.6f64..0.6,
    ) {
        let turn = |mut v: [f64; 3]| {
            for (axis, angle) in angles.iter().enumerate() {
                let (s, c) = angle.sin_cos();
                let (p, q) = ((axis + 1) % 3, (axis + 2) % 3);
                (v[p], v[q]) = (c * v[p] - s * v[q], s * v[p] + c * v[q]);
            }
            v
        };
        let (row, column) = (turn([1.0, 0.0, 0.0]), turn([0.0, 1.0, 0.0]));
        let mut slices = slices(row, column, &[0.0, step, 2.0 * step, 3.0 * step, 4.0 * step]);
        for (k, s) in slices.iter_mut().enumerate() {
            for r in 0..3 {
                s.position[r] += k as f64 * shear * column[r];
            }
        }
        let folder = folder(&slices);
        let (_, image) = only(folder.path());
        check_places(&image, &slices);
        prop_assert_eq!(codes(&image.notices).contains(&"dicom-tilted-gantry"), (shear / step).abs().atan().to_degrees() >= 0.05);
    }
}

#[test]
fn missing_slices_are_filled_and_told() {
    let slices = slices([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], &[0.0, 2.0, 6.0, 8.0]);
    let folder = folder(&slices);
    let (_, image) = only(folder.path());
    assert_eq!(image.shape_text(), "4×3×5");
    check_places(&image, &slices);
    let notice = image.notices.iter().find(|n| n.code == "dicom-missing-slices").unwrap();
    assert!(notice.message.contains("1 of 5") && notice.message.ends_with(": 3"), "{}", notice.message);
    assert_eq!(image.first().value([1, 1, 2]), Some(0.0));
    let origin = image.first().meta.dicom.clone().unwrap();
    let given: Vec<bool> = origin.slices.iter().map(Option::is_some).collect();
    assert_eq!(given, [true, true, false, true, true]);
}

#[test]
fn uneven_slices_are_interpolated_and_told() {
    let slices = slices([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], &[0.0, 1.0, 2.5, 4.0]);
    let folder = folder(&slices);
    let (_, image) = only(folder.path());
    assert!(codes(&image.notices).contains(&"dicom-uneven-spacing"));
    assert_eq!(image.shape_text(), "4×3×5");
    // At 2 mm, two thirds of the way from slice 1 to slice 2.
    assert_eq!(image.first().value([0, 0, 2]), Some(167.0));
    assert_eq!(image.first().value([0, 0, 4]), Some(300.0));
    assert!(image.first().meta.dicom.clone().unwrap().slices.is_empty());
}

#[test]
fn copies_are_kept_once_and_other_pixels_are_another_frame() {
    let mut twice = slices([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], &[0.0, 2.0, 4.0]);
    let mut copy = twice[1].clone();
    copy.number = 9; // a new UID, the same pixels
    twice.push(copy);
    let one = folder(&twice);
    let (_, image) = only(one.path());
    assert_eq!(image.shape_text(), "4×3×3");
    assert!(codes(&image.notices).contains(&"dicom-duplicates"));

    let mut two = slices([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], &[0.0, 2.0, 4.0]);
    let later = two.clone().into_iter().map(|mut s| {
        s.number += 3;
        s.pixels.iter_mut().for_each(|p| *p += 1000);
        s
    });
    two.extend(later);
    let two = folder(&two);
    let (_, image) = only(two.path());
    assert_eq!(image.shape_text(), "4×3×3×2");
    assert_eq!(image.frames[1].value([0, 0, 2]), Some(1200.0));
}

#[test]
fn echoes_are_frames_in_ascending_order() {
    let mut all = Vec::new();
    for (n, echo) in ["30.5", "10.5"].iter().enumerate() {
        all.extend(slices([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], &[0.0, 2.0, 4.0]).into_iter().map(|mut s| {
            s.number += 10 * n as i64;
            s.pixels.iter_mut().for_each(|p| *p += 1000 * n as i16);
            s.text(dicom_files::ECHO_TIME, echo)
        }));
    }
    let folder = folder(&all);
    let (stack, image) = only(folder.path());
    assert_eq!(
        (stack.axes[0].name.as_str(), stack.axes[0].step, stack.axes[0].unit.as_str()),
        ("echo", 20.0, "ms")
    );
    assert_eq!(stack.frame_values, ["10.5", "30.5"]);
    assert_eq!(image.frames[0].value([0, 0, 0]), Some(1000.0));
}

#[test]
fn scalings_that_differ_give_computed_values() {
    let mut all = slices([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], &[0.0, 2.0]);
    all[1] =
        all[1].clone().text(dicom_files::RESCALE_SLOPE, "2").text(dicom_files::RESCALE_INTERCEPT, "-0.5");
    let one = folder(&all);
    let (_, image) = only(one.path());
    assert!(matches!(image.first().voxels, Voxels::F32(_)) && image.first().scaling.is_none());
    assert_eq!(image.first().value([1, 0, 1]), Some(2.0 * 101.0 - 0.5));
    assert!(codes(&image.notices).contains(&"dicom-values-computed"));
}

#[test]
fn what_differs_in_size_is_apart() {
    let mut all = slices([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], &[0.0, 2.0, 4.0]);
    let mut scout = slices([0.0, 1.0, 0.0], [0.0, 0.0, -1.0], &[0.0])[0].clone();
    scout.number = 50;
    scout = scout.text(dicom_files::IMAGE_TYPE, "ORIGINAL\\PRIMARY\\LOCALIZER");
    all.push(scout);
    let folder = folder(&all);
    let tree = scan(folder.path());
    let labels: Vec<_> = tree.stacks().map(|s| (s.grid.size_ijk[2], s.label.clone())).collect();
    assert_eq!(labels.len(), 2);
    assert_eq!(labels[0].0, 3);
    assert!(labels[1].1.contains("localiser"), "{labels:?}");
}

#[test]
fn enhanced_frames_are_slices() {
    let slices = slices([0.0, 1.0, 0.0], [0.0, 0.0, -1.0], &[4.0, 0.0, 2.0]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("enhanced");
    dicom_files::write_enhanced(&slices, &file);
    let image = formats::open(&file, &Task::silent()).unwrap();
    assert_eq!(image.shape_text(), "4×3×3");
    check_places(&image, &slices);
    let origin = image.first().meta.dicom.clone().unwrap();
    let frames: Vec<_> = origin.slices.iter().map(|s| s.as_ref().unwrap().frame_number.unwrap()).collect();
    assert_eq!(frames, [2, 3, 1]);
}

#[test]
fn a_mosaic_of_our_own_lies_where_its_slices_were() {
    // Four slices of 4 × 3 pixels in a 2 × 2 mosaic, against the normal.
    for reversed in [false, true] {
        let offsets = if reversed { [0.0, -3.0, -6.0, -9.0] } else { [0.0, 3.0, 6.0, 9.0] };
        let slices = slices([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], &offsets);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mosaic");
        dicom_files::write_mosaic(&slices, 3.0, reversed, &file);
        let image = formats::open(&file, &Task::silent()).unwrap();
        assert_eq!(image.shape_text(), "4×3×4");
        check_places(&image, &slices);
    }
}

#[test]
fn archives_and_folders_hold_the_same() {
    let slices = slices([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], &[0.0, 2.0, 4.0]);
    let folder = folder(&slices);
    std::fs::write(folder.path().join("notes.txt"), "not an image").unwrap();
    let plain = scan(folder.path());
    assert_eq!((plain.files, plain.others), (4, 1));
    let elsewhere = tempfile::tempdir().unwrap();
    let archive = elsewhere.path().join("study.zip");
    dicom_files::zip(folder.path(), &archive, "../../outside/");
    let tree = scan(&archive);
    let stack = tree.stacks().next().unwrap();
    check_places(&load(stack), &slices);
    assert_eq!(stack.id, plain.stacks().next().unwrap().id);
    // Names that climb out were not followed.
    assert!(!elsewhere.path().parent().unwrap().join("outside").exists());
}

#[test]
fn a_dicomdir_does_not_lead_out_of_its_folder() {
    let outer = tempfile::tempdir().unwrap();
    let slices = slices([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], &[0.0, 2.0]);
    slices[0].write(&outer.path().join("SECRET"));
    let inner = outer.path().join("disc");
    std::fs::create_dir(&inner).unwrap();
    slices[1].write(&inner.join("IM1"));
    let index = inner.join("DICOMDIR");
    dicom_files::write_dicomdir(&[&["..", "SECRET"], &["IM1"], &["IM2"], &["/etc", "passwd"]], &index);
    let tree = scan(&index);
    assert_eq!(tree.files, 1);
    assert!(codes(&tree.notices).contains(&"dicomdir-files-outside"));
    assert!(codes(&tree.notices).contains(&"dicomdir-files-missing"));
}

/// Whatever a file holds, it opens or is refused; neither panics, and nothing large is asked for.
#[test]
fn damaged_files_are_refused_or_read() {
    let slices = slices([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], &[0.0, 3.0, 6.0, 9.0]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let (mut opened, mut refused) = (0, 0);
    for kind in 0..3 {
        match kind {
            0 => dicom_files::write_enhanced(&slices, &file),
            1 => dicom_files::write_mosaic(&slices, 3.0, true, &file),
            _ => slices[1].write(&file),
        }
        let whole = std::fs::read(&file).unwrap();
        let mut state = 1u64;
        let mut random = move |below: usize| {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        for round in 0..400 {
            let mut bytes = whole.clone();
            if round % 4 == 0 {
                bytes.truncate(random(whole.len()));
            }
            for _ in 0..=random(3) {
                let at = random(bytes.len().max(1));
                // Small numbers, digits and all bits set do the most harm.
                let value = [0, 1, 0x7f, 0x80, 0xff, b'9', b'-', random(256) as u8][random(8)];
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            std::fs::write(&file, &bytes).unwrap();
            match formats::open(&file, &Task::silent()) {
                Ok(image) => {
                    assert!(image.first().grid.voxel_count() < 1 << 20);
                    opened += 1;
                }
                Err(_) => refused += 1,
            }
            let _ = scan(folder.path());
        }
    }
    assert!(opened > 200 && refused > 200, "{opened} opened, {refused} refused");
}

#[test]
fn corrupt_files_of_the_shared_data_do_no_harm() {
    let Some(data) = shared("corrupt_files_of_the_shared_data_do_no_harm") else { return };
    let tree = scan(&data.join("corrupt"));
    for stack in tree.stacks() {
        let _ = dicom::load(stack, &Task::silent());
        let _ = dicom::thumbnail(stack, 64);
    }
    // Its elements begin at an odd byte: no DICOM. One that only lacks the preamble opens.
    let error = common::open(&data.join("corrupt/no_meta.dcm")).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    let bare = common::open(&data.join("dicom/single/JLSL_RGB_ILV2.dcm")).unwrap();
    assert_eq!((bare.format, bare.shape_text().as_str()), ("dicom", "256×256×1"));
}

#[test]
fn a_cancelled_scan_and_load_stop() {
    let slices = slices([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], &[0.0, 2.0]);
    let folder = folder(&slices);
    let tree = scan(folder.path());
    let task = Task::silent();
    task.cancel().cancel();
    assert!(matches!(dicom::scan(&[folder.path().to_owned()], &task), Err(Error::Cancelled)));
    assert!(matches!(dicom::load(tree.stacks().next().unwrap(), &task), Err(Error::Cancelled)));
}

#[test]
fn thumbnails_show_the_middle_slice() {
    let slices = slices([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], &[0.0, 2.0, 4.0]);
    let folder = folder(&slices);
    let tree = scan(folder.path());
    let t = dicom::thumbnail(tree.stacks().next().unwrap(), 32).unwrap();
    // 4 × 0.7 by 3 × 0.5 mm.
    assert_eq!((t.width, t.height, t.rgba.len()), (32, 17, 32 * 17 * 4));
    assert!(t.rgba[0] < t.rgba[t.rgba.len() - 4]);
}

#[test]
fn no_patient_data_in_what_images_carry() {
    let slices = slices([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], &[0.0, 2.0]);
    let folder = folder(&slices);
    let (stack, image) = only(folder.path());
    let meta = &image.first().meta;
    let text = format!(
        "{} {:?} {} {} {:?}",
        meta.description, meta.facts, image.encoding, stack.label, image.notices
    );
    for secret in ["Doe", "PAT-1", "19700101", "head of"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn affine_is_the_one_written_by_hand() {
    let slices = slices([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], &[0.0, 2.0]);
    let folder = folder(&slices);
    let (_, image) = only(folder.path());
    let want = Affine([[-0.7, 0.0, 0.0, -12.5], [0.0, -0.5, 0.0, 30.0], [0.0, 0.0, 2.0, 77.0]]);
    assert!(image.first().grid.world_from_voxel.is_close(&want, 1e-12));
    let _: PathBuf = image.first().meta.path.clone().unwrap();
}
