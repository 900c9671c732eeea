//! Surfaces against what is known without them: counts of voxels, and shapes with formulas.

use std::collections::HashMap;
use std::path::Path;

use ndarray::Array3;
use proptest::prelude::*;

use super::*;
use crate::labels::{LabelEntry, LabelMap, LabelTable};
use crate::volume::Meta;
use crate::{Affine, Grid, Task};

fn map(grid: Grid, label: impl Fn([usize; 3]) -> u16) -> LabelMap {
    let labels = Array3::from_shape_fn(grid.shape_kji(), |(k, j, i)| label([i, j, k]));
    LabelMap {
        labels: labels.into_shared(),
        grid,
        table: LabelTable { entries: vec![LabelEntry::new(1, "one", [200, 100, 50])] },
        meta: Meta::default(),
    }
}

/// Grids of every kind: unit, anisotropic, oblique, sheared, left-handed.
fn grids(size_ijk: [usize; 3]) -> Vec<Grid> {
    let rotated = Affine([[0.8, -0.6, 0.0, -20.0], [0.36, 0.48, -0.8, 35.0], [0.48, 0.64, 0.6, 7.0]]);
    let thick = Affine::scale_shift([0.9, 0.9, 3.5], [-90.0, 126.0, -72.0]);
    let sheared = Affine([[1.0, 0.3, 0.0, 5.0], [0.0, 1.2, -0.2, 0.0], [0.1, 0.0, 2.0, -4.0]]);
    let mirrored = Affine::scale_shift([-1.0, 1.0, 1.5], [90.0, -126.0, -72.0]);
    let all = [Affine::IDENTITY, thick, rotated.after(&thick), sheared, mirrored, rotated.after(&mirrored)];
    all.map(|world_from_voxel| Grid { size_ijk, world_from_voxel }).to_vec()
}

fn cut(map: &LabelMap, label: u16, smoothing: &Smoothing) -> Surface {
    surface(map, label, smoothing, &Task::silent()).unwrap()
}

/// The triangles around every vertex form one closed fan.
fn has_one_fan_per_vertex(mesh: &Mesh) -> bool {
    let mut next: Vec<HashMap<u32, u32>> = vec![HashMap::new(); mesh.vertices.len()];
    for &[a, b, c] in &mesh.triangles {
        for [v, from, to] in [[a, b, c], [b, c, a], [c, a, b]] {
            if next[v as usize].insert(from, to).is_some() {
                return false;
            }
        }
    }
    next.iter().all(|ring| {
        let Some(&start) = ring.keys().next() else { return false };
        let mut at = start;
        for steps in 1..=ring.len() {
            match ring.get(&at) {
                Some(&to) => at = to,
                None => return false,
            }
            if at == start {
                return steps == ring.len();
            }
        }
        false
    })
}

#[track_caller]
fn check(found: &Surface) {
    assert!(found.mesh.is_closed());
    assert!(has_one_fan_per_vertex(&found.mesh));
    let (volume, expected) = (found.mesh.volume_mm3(), found.voxel_volume_mm3);
    assert!((volume / expected - 1.0).abs() < 5e-4, "{volume} mm³ instead of {expected}");
    assert_eq!(found.mesh.normals.len(), found.mesh.vertices.len());
    assert!(found.mesh.normals.iter().all(|n| (crate::affine::norm(n.map(f64::from)) - 1.0).abs() < 1e-5));
}

fn is_in_ball(ijk: [usize; 3], centre: f64, radius: f64) -> bool {
    crate::affine::norm(ijk.map(|v| v as f64 - centre)) <= radius
}

#[test]
fn all_configurations_of_eight_voxels_are_manifold() {
    for bits in 1..256usize {
        let map = map(Grid::unit([2, 2, 2]), |[i, j, k]| (bits >> (i + 2 * j + 4 * k) & 1) as u16);
        for smoothing in [Smoothing::NONE, Smoothing::default()] {
            check(&cut(&map, 1, &smoothing));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Noise has every way in which voxels can touch.
    #[test]
    fn noise_is_manifold_and_keeps_its_volume(
        voxels in prop::collection::vec(0u16..3, 5 * 4 * 6),
        grid in 0usize..6,
        iterations in 0u32..12,
    ) {
        let map = map(grids([5, 4, 6])[grid], |[i, j, k]| voxels[i + 5 * (j + 4 * k)]);
        for label in [1, 2] {
            if voxels.contains(&label) {
                check(&cut(&map, label, &Smoothing { iterations, ..Smoothing::default() }));
            }
        }
    }
}

#[test]
fn two_edges_between_the_same_vertices_are_told_apart() {
    // Two bars side by side on opposite sides of a lattice edge, joined by plates at both of its ends.
    let map = map(Grid::unit([4, 4, 3]), |[i, j, k]| {
        let bars = (i, j) == (1, 1) || (i, j) == (2, 2);
        u16::from(if k == 1 { bars } else { bars || (i, j) == (1, 2) })
    });
    let extents = crate::measure::label_extents(&map.labels);
    let shell = extract::shell(&map.labels, &extents[0], &Task::silent()).unwrap();
    assert!(!shell.triangles.is_empty());
    for smoothing in [Smoothing::NONE, Smoothing::default()] {
        check(&cut(&map, 1, &smoothing));
    }
}

#[test]
fn unsmoothed_surfaces_are_the_faces_of_the_voxels() {
    let map = map(Grid::unit([1, 1, 1]), |_| 1);
    let found = cut(&map, 1, &Smoothing::NONE);
    check(&found);
    assert_eq!((found.mesh.vertices.len(), found.mesh.triangles.len()), (8, 12));
    assert_eq!((found.mesh.area_mm2(), found.largest_shift_mm), (6.0, 0.0));
    assert!(found.mesh.vertices.iter().flatten().all(|v| v.abs() == 0.5));
    assert_eq!((found.mesh.name.as_str(), found.mesh.rgb), ("one", [200, 100, 50]));
}

#[test]
fn a_ring_has_a_hole_and_a_shell_has_an_inside() {
    let ring =
        map(Grid::unit([7, 7, 3]), |[i, j, _]| u16::from(!(2..5).contains(&i) || !(2..5).contains(&j)));
    let found = cut(&ring, 1, &Smoothing::default());
    check(&found);
    let euler = |m: &Mesh| m.vertices.len() as i64 - m.triangles.len() as i64 / 2;
    assert_eq!(euler(&found.mesh), 0);

    let shell =
        map(Grid::unit([24; 3]), |p| u16::from(is_in_ball(p, 11.5, 10.0) && !is_in_ball(p, 11.5, 6.0)));
    let found = cut(&shell, 1, &Smoothing::default());
    check(&found);
    assert_eq!(euler(&found.mesh), 4);
}

#[test]
fn a_smoothed_ball_is_round() {
    let (centre, radius) = (15.5, 12.0);
    for grid in [Grid::unit([32; 3]), grids([32; 3])[4]] {
        let map = map(grid, |p| u16::from(is_in_ball(p, centre, radius)));
        let (rough, found) = (cut(&map, 1, &Smoothing::NONE), cut(&map, 1, &Smoothing::default()));
        check(&found);
        assert_eq!(found.unsmoothed_pieces, 0);
        let voxel_from_world = grid.voxel_from_world().unwrap();
        let deviations = |m: &Mesh| -> (f64, f64) {
            let each: Vec<f64> = m
                .vertices
                .iter()
                .map(|v| {
                    let p = voxel_from_world.apply(v.map(f64::from));
                    crate::affine::norm(p.map(|v| v - centre)) - radius
                })
                .collect();
            let square = each.iter().map(|d| d * d).sum::<f64>() / each.len() as f64;
            (square.sqrt(), each.iter().fold(0.0, |a: f64, d| a.max(d.abs())))
        };
        let ((before, _), (rms, most)) = (deviations(&rough.mesh), deviations(&found.mesh));
        assert!(rms < 0.15 && rms < 0.5 * before && most < 0.5, "{before} {rms} {most}");
        let outwards = |m: &Mesh| {
            let c = grid.world_from_voxel.apply([centre; 3]);
            m.vertices
                .iter()
                .zip(&m.normals)
                .all(|(v, n)| dot(sub(v.map(f64::from), c), n.map(f64::from)) > 0.0)
        };
        assert!(outwards(&found.mesh));
        // The staircase has half as much area again; smoothed, it is that of the ball, where lengths are equal.
        if grid == Grid::unit([32; 3]) {
            let area = 4.0 * std::f64::consts::PI * radius * radius;
            assert!((found.mesh.area_mm2() / area - 1.0).abs() < 0.02, "{}", found.mesh.area_mm2() / area);
            assert!(rough.mesh.area_mm2() / area > 1.4);
        }
    }
}

#[test]
fn every_grid_gives_a_closed_outward_surface_with_the_right_volume_and_place() {
    for grid in grids([20, 22, 12]) {
        let semi = [8.0, 6.0, 3.0];
        let map = map(grid, |p| {
            let q = [0, 1, 2].map(|a| (p[a] as f64 - [9.0, 10.0, 5.0][a]) / semi[a]);
            u16::from(crate::affine::norm(q) <= 1.0)
        });
        let found = cut(&map, 1, &Smoothing::default());
        check(&found);
        let n = found.mesh.vertices.len() as f64;
        let mean = [0, 1, 2].map(|a| found.mesh.vertices.iter().map(|v| f64::from(v[a])).sum::<f64>() / n);
        let centre = grid.world_from_voxel.apply([9.0, 10.0, 5.0]);
        assert!(crate::affine::norm(sub(mean, centre)) < 0.3, "{mean:?} {centre:?}");
    }
}

#[test]
fn labels_at_the_border_are_closed_there() {
    for grid in grids([6, 5, 4]) {
        let full = map(grid, |_| 1);
        for smoothing in [Smoothing::NONE, Smoothing::default()] {
            check(&cut(&full, 1, &smoothing));
        }
        let halves = map(grid, |[i, ..]| if i < 2 { 1 } else { 2 });
        for found in surfaces(&halves, None, &Smoothing::default(), &Task::silent()).unwrap() {
            check(&found);
        }
    }
}

#[test]
fn thin_and_tiny_things_survive_smoothing() {
    // A sheet, a rod and a single voxel, each one voxel thin.
    let map = map(Grid::unit([16; 3]), |[i, j, k]| match (i, j, k) {
        (2, 1..15, 1..15) => 1,
        (6, 6, 1..15) => 2,
        (10, 10, 10) => 3,
        _ => 0,
    });
    for found in surfaces(&map, None, &Smoothing::default(), &Task::silent()).unwrap() {
        check(&found);
        assert!(found.largest_shift_mm < 1.0, "{} {}", found.label, found.largest_shift_mm);
    }
}

#[test]
fn odd_requests_are_answered() {
    let map = map(Grid::unit([3; 3]), |_| 1);
    let absent = cut(&map, 9, &Smoothing::default());
    assert_eq!((absent.voxels, absent.mesh.triangles.len(), absent.mesh.is_closed()), (0, 0, false));
    let task = Task::silent();
    assert!(matches!(surface(&map, 0, &Smoothing::NONE, &task), Err(crate::Error::Argument(_))));
    let mut flat = map.clone();
    flat.grid.world_from_voxel.0[2] = [0.0; 4];
    assert!(matches!(surface(&flat, 1, &Smoothing::NONE, &task), Err(crate::Error::Argument(_))));
    task.cancel().cancel();
    assert!(matches!(surface(&map, 1, &Smoothing::NONE, &task), Err(crate::Error::Cancelled)));
}

#[test]
fn the_labels_of_the_sample_head() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/sample/head_labels.nii.gz");
    let map = crate::open(&path, &Task::silent()).unwrap().first().to_labels().unwrap();
    let found = surfaces(&map, None, &Smoothing::default(), &Task::silent()).unwrap();
    assert!(found.len() >= 14);
    for one in found {
        check(&one);
        assert_eq!(one.unsmoothed_pieces, 0);
        // Readers of STL weld corners by position: no two vertices share one.
        let mut places: Vec<_> = one.mesh.vertices.iter().map(|v| v.map(f32::to_bits)).collect();
        places.sort_unstable();
        assert!(places.windows(2).all(|w| w[0] != w[1]));
    }
}
