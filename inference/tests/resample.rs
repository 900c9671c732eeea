//! Geometry: 48 axis orders, oblique and sheared grids, and the three roads of resampling against each other.

use formats::{Affine, AxisOrder, Grid, Task};
use inference::Gridded;
use inference::postprocess;
use inference::reorient::{inverse, order_to, reorient};
use inference::resample::{
    Decide, Interpolation, Outside, is_copy, resample, resample_nearest_labels, scores_argmax,
    scores_to_labels,
};
use ndarray::{Array3, Array4, Axis};
use proptest::prelude::*;

fn all_orders() -> impl Iterator<Item = AxisOrder> {
    [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]].into_iter().flat_map(|source| {
        (0..8).map(move |f| AxisOrder { source, reversed: [f & 1 == 1, f & 2 == 2, f & 4 == 4] })
    })
}

/// Rotated about all axes, sheared a little, with unequal spacing.
fn oblique(size_ijk: [usize; 3]) -> Grid {
    let (a, b) = (0.3_f64, -0.2_f64);
    let turn_z = [[a.cos(), -a.sin(), 0.0], [a.sin(), a.cos(), 0.0], [0.0, 0.0, 1.0]];
    let turn_x = [[1.0, 0.0, 0.0], [0.0, b.cos(), -b.sin()], [0.0, b.sin(), b.cos()]];
    let spacing = [0.9, 1.1, 1.7];
    let columns = [0, 1, 2].map(|c| {
        [0, 1, 2].map(|r| {
            (0..3).map(|n| turn_x[r][n] * turn_z[n][c]).sum::<f64>() * spacing[c]
                + if c == 2 { 0.05 } else { 0.0 }
        })
    });
    Grid { size_ijk, world_from_voxel: Affine::from_columns(columns, [-11.0, 7.0, 3.0]) }
}

fn noise(shape: [usize; 3], seed: u32) -> Array3<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    Array3::from_shape_simple_fn(shape, || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state % 2001) as f32 - 1000.0
    })
}

/// Continuous source index of a target voxel, and whether it is within the outer faces.
fn place(source: &Grid, target: &Grid, [k, j, i]: [usize; 3]) -> ([f64; 3], bool) {
    let world = target.world_from_voxel.apply([i as f64, j as f64, k as f64]);
    let x = source.voxel_from_world().unwrap().apply(world);
    (x, (0..3).all(|a| x[a] >= -0.5 - 1e-6 && x[a] <= source.size_ijk[a] as f64 - 0.5 + 1e-6))
}

/// Trilinear by its definition, in f64.
fn naive_linear(source: &Array3<f32>, x: [f64; 3]) -> f64 {
    let n = [source.dim().2, source.dim().1, source.dim().0];
    let mut sum = 0.0;
    for corner in 0..8 {
        let (mut weight, mut at) = (1.0, [0usize; 3]);
        for a in 0..3 {
            let x = x[a].clamp(0.0, n[a] as f64 - 1.0);
            let (low, up) = (x.floor(), corner >> a & 1);
            weight *= if up == 1 { x - low } else { 1.0 - (x - low) };
            at[a] = (low as usize + up).min(n[a] - 1);
        }
        sum += weight * f64::from(source[[at[2], at[1], at[0]]]);
    }
    sum
}

#[test]
fn an_order_and_its_inverse_change_nothing() {
    let grid = oblique([3, 4, 5]);
    let source = Gridded { array: noise(grid.shape_kji(), 1), grid };
    for order in all_orders() {
        let there = reorient(&source.view(), order);
        assert_eq!(there.array.shape(), there.grid.shape_kji());
        let back = reorient(&there.view(), inverse(order));
        assert_eq!(back.array, source.array);
        assert!(back.grid.is_same(&grid, 1e-9));
        // The same by resampling, which finds the copy by itself.
        assert!(is_copy(&grid, &there.grid));
        for how in [Interpolation::Nearest, Interpolation::Linear, Interpolation::Cubic] {
            let moved =
                resample(&source.view(), &there.grid, how, Outside::Value(0.0), &Task::silent()).unwrap();
            assert_eq!(moved, there.array, "{order:?}");
        }
    }
}

#[test]
fn codes_name_orders() {
    for order in all_orders() {
        let grid = oblique([3, 4, 5]).reordered(order);
        for code in ["RAS", "LPI", "SAR", "PIR", "ILA"] {
            let to = order_to(&grid, code).unwrap();
            assert_eq!(grid.reordered(to).orientation_code(), code);
        }
    }
    assert_eq!(order_to(&Grid::unit([1, 1, 1]), "RAL"), None);
    assert_eq!(order_to(&Grid::unit([1, 1, 1]), "RA"), None);
}

#[test]
fn whole_voxels_are_copied_and_the_rest_is_outside() {
    let grid = oblique([5, 6, 7]);
    let source = Gridded { array: noise(grid.shape_kji(), 2), grid };
    for order in all_orders() {
        let onto = grid.reordered(order).window([-2, 1, 3], [8, 3, 9]);
        assert!(is_copy(&grid, &onto));
        for outside in [Outside::Value(-7.0), Outside::Edge] {
            let moved =
                resample(&source.view(), &onto, Interpolation::Linear, outside, &Task::silent()).unwrap();
            for (at, &v) in moved.indexed_iter() {
                let (x, inside) = place(&grid, &onto, at.into());
                let clamp = |a: usize| (x[a].round().max(0.0) as usize).min(grid.size_ijk[a] - 1);
                let wanted = match outside {
                    Outside::Value(v) if !inside => v,
                    _ => source.array[[clamp(2), clamp(1), clamp(0)]],
                };
                assert_eq!(v, wanted, "{order:?} {at:?}");
            }
        }
    }
}

#[test]
fn linear_equals_its_definition_on_every_road() {
    let grid = oblique([6, 7, 5]);
    let source = Gridded { array: noise(grid.shape_kji(), 3), grid };
    let finer = grid.with_spacing([0.6, 0.8, 0.9]);
    let coarser = grid.with_spacing([2.0, 1.9, 3.1]);
    let wider =
        Grid { size_ijk: [14, 3, 9], ..grid.with_spacing([0.7, 1.5, 1.3]).window([-3, -1, 2], [14, 3, 9]) };
    let mut targets: Vec<Grid> =
        vec![Grid::unit([9, 8, 7]), oblique([4, 4, 4]).with_spacing([1.0, 1.0, 1.0])];
    for order in all_orders() {
        targets.extend([finer, coarser, wider].map(|g| g.reordered(order)));
    }
    let mut turned = grid;
    turned.world_from_voxel = Affine([[0.0, 1.3, 0.1, -9.0], [-0.7, 0.1, 0.2, 8.0], [0.1, 0.0, 1.1, 2.0]]);
    targets.push(turned);
    for onto in targets {
        for outside in [Outside::Value(5.0), Outside::Edge] {
            let moved =
                resample(&source.view(), &onto, Interpolation::Linear, outside, &Task::silent()).unwrap();
            for (at, &v) in moved.indexed_iter() {
                let (x, inside) = place(&grid, &onto, at.into());
                let wanted = match outside {
                    Outside::Value(v) if !inside => f64::from(v),
                    _ => naive_linear(&source.array, x),
                };
                assert!((f64::from(v) - wanted).abs() < 2e-3, "{onto:?} {at:?}: {v} {wanted}");
            }
        }
    }
}

#[test]
fn separable_and_general_roads_agree() {
    // Turned by so little that the axes no longer count as parallel, but values hardly change.
    let grid = oblique([16, 15, 14]);
    let smooth = Array3::from_shape_fn(grid.shape_kji(), |(k, j, i)| {
        ((i as f32) * 0.4).sin() + ((j as f32) * 0.3).cos() + (k as f32) * 0.1
    });
    let source = Gridded { array: smooth, grid };
    let onto = grid.with_spacing([0.7, 1.3, 1.2]);
    let mut turned = onto;
    turned.world_from_voxel.0[0][1] += 2e-4;
    for how in [Interpolation::Linear, Interpolation::Cubic] {
        let a = resample(&source.view(), &onto, how, Outside::Edge, &Task::silent()).unwrap();
        let b = resample(&source.view(), &turned, how, Outside::Edge, &Task::silent()).unwrap();
        let most = (&a - &b).iter().fold(0.0f32, |m, d| m.max(d.abs()));
        assert!(most > 0.0 && most < 5e-3, "{how:?}: {most}");
    }
}

#[test]
fn linear_fields_are_exact_and_cubic_reproduces_quadratics() {
    let field = |p: [f64; 3]| 3.0 * p[0] - 2.0 * p[1] + 0.5 * p[2] + 10.0;
    let grid = oblique([12, 11, 10]);
    let at =
        |g: &Grid, (k, j, i): (usize, usize, usize)| g.world_from_voxel.apply([i as f64, j as f64, k as f64]);
    let source =
        Gridded { array: Array3::from_shape_fn(grid.shape_kji(), |n| field(at(&grid, n)) as f32), grid };
    let inner = Grid {
        world_from_voxel: Affine::scale_shift([0.5; 3], grid.world_from_voxel.apply([4.0, 3.0, 3.0])),
        size_ijk: [6, 5, 4],
    };
    for how in [Interpolation::Linear, Interpolation::Cubic] {
        let moved = resample(&source.view(), &inner, how, Outside::Value(f32::NAN), &Task::silent()).unwrap();
        for (n, &v) in moved.indexed_iter() {
            assert!((f64::from(v) - field(at(&inner, n))).abs() < 1e-4);
        }
    }
    let square = |x: f64| 0.3 * x * x - x + 2.0;
    let line = Grid::unit([12, 1, 1]);
    let source =
        Gridded { array: Array3::from_shape_fn((1, 1, 12), |(_, _, i)| square(i as f64) as f32), grid: line };
    let onto = Grid {
        size_ijk: [20, 1, 1],
        world_from_voxel: Affine::scale_shift([0.37, 1.0, 1.0], [1.5, 0.0, 0.0]),
    };
    let moved =
        resample(&source.view(), &onto, Interpolation::Cubic, Outside::Edge, &Task::silent()).unwrap();
    for (n, &v) in moved.iter().enumerate() {
        let wanted = square(1.5 + 0.37 * n as f64);
        assert!((f64::from(v) - wanted).abs() < 1e-4, "{n}: {v} {wanted}");
    }
}

#[test]
fn labels_come_back_unmirrored() {
    // A large block on the right, a small one on the left and in front, another on top: no symmetry is left.
    let ras = oblique([20, 18, 16]);
    let phantom = Array3::from_shape_fn(ras.shape_kji(), |(k, j, i)| match (i, j, k) {
        (12..18, 4..12, 4..12) => 1u16,
        (3..6, 12..16, 5..8) => 2,
        (8..12, 6..9, 12..15) => 3,
        _ => 0,
    });
    for order in all_orders() {
        let stored = reorient(&Gridded { array: phantom.view(), grid: ras }, order);
        // As a pipeline does: to RAS, to another spacing, back.
        let to_ras = reorient(&stored.view(), stored.grid.order_to_ras());
        assert_eq!(to_ras.grid.orientation_code(), "RAS");
        let fine = to_ras.grid.with_spacing([0.45, 0.55, 0.85]);
        let up = resample_nearest_labels(&to_ras.view(), &fine, &Task::silent()).unwrap();
        let up = Gridded { array: up, grid: fine };
        let back = resample_nearest_labels(&up.view(), &stored.grid, &Task::silent()).unwrap();
        assert_eq!(back, stored.array, "{order:?}");
        let scores = Array4::from_shape_fn(
            (4, fine.size_ijk[2], fine.size_ijk[1], fine.size_ijk[0]),
            |(c, k, j, i)| {
                if usize::from(up.array[[k, j, i]]) == c { 1.0 } else { 0.0 }
            },
        );
        let argmax = scores_argmax(scores.view(), &fine, &stored.grid, &Task::silent()).unwrap();
        let wrong = argmax.iter().zip(&stored.array).filter(|(a, b)| a != b).count();
        assert!(wrong * 50 < argmax.len(), "{order:?}: {wrong} of {}", argmax.len());
        for label in 1..=3 {
            let centre = |a: &Array3<u16>| {
                let mut sum = [0.0; 3];
                let mut n = 0.0;
                for ((k, j, i), _) in a.indexed_iter().filter(|(_, v)| **v == label) {
                    let p = stored.grid.world_from_voxel.apply([i as f64, j as f64, k as f64]);
                    (0..3).for_each(|r| sum[r] += p[r]);
                    n += 1.0;
                }
                sum.map(|s| s / n)
            };
            let (a, b) = (centre(&argmax), centre(&stored.array));
            assert!((0..3).all(|r| (a[r] - b[r]).abs() < 1.0), "{order:?} {label}: {a:?} {b:?}");
        }
    }
}

/// What `scores_to_labels` must give, by resampling every channel whole.
fn naive_labels(scores: &Array4<f32>, working: &Grid, onto: &Grid, decide: &Decide<'_>) -> Array3<u16> {
    let mut all =
        Array4::<f32>::zeros((scores.dim().0, onto.size_ijk[2], onto.size_ijk[1], onto.size_ijk[0]));
    for (c, channel) in scores.outer_iter().enumerate() {
        let channel = Gridded { array: channel, grid: *working };
        let moved = resample(&channel, onto, Interpolation::Linear, Outside::Edge, &Task::silent()).unwrap();
        all.index_axis_mut(Axis(0), c).assign(&moved);
    }
    let mut labels = postprocess::decide(all.view(), decide);
    for (at, l) in labels.indexed_iter_mut() {
        if !place(working, onto, at.into()).1 {
            *l = 0;
        }
    }
    labels
}

/// Blobs of classes with a background, and noise.
fn blobs(classes: usize, grid: &Grid, noisy: f32) -> Array4<f32> {
    let [d, h, w] = grid.shape_kji();
    let jitter = noise([classes * d, h, w], 9);
    Array4::from_shape_fn((classes, d, h, w), |(c, k, j, i)| {
        let centre = |n: usize, m: usize| (0.2 + 0.6 * (((c + 1) * m) % 7) as f32 / 6.0) * n as f32;
        let r2 = (i as f32 - centre(w, 3)).powi(2)
            + (j as f32 - centre(h, 5)).powi(2)
            + (k as f32 - centre(d, 2)).powi(2);
        let score = if c == 0 { 2.0 } else { 8.0 - r2 * 0.15 };
        score + noisy * jitter[[c * d + k, j, i]] / 1000.0
    })
}

fn same_but_for_ties(a: &Array3<u16>, b: &Array3<u16>) {
    let wrong = a.iter().zip(b).filter(|(a, b)| a != b).count();
    // Sums in another order may decide a near-tie otherwise.
    assert!(wrong * 2000 <= a.len(), "{wrong} of {} differ", a.len());
}

#[test]
fn scores_to_labels_equals_resampling_every_channel() {
    let working = oblique([22, 19, 25]);
    let mut turned = Grid::unit([24, 26, 40]);
    turned.world_from_voxel = working.world_from_voxel.after(&Affine([
        [0.7, 0.2, 0.0, -1.0],
        [-0.2, 0.6, 0.1, 3.0],
        [0.0, -0.1, 0.6, 1.0],
    ]));
    for noisy in [0.0, 1.0, 50.0] {
        let scores = blobs(6, &working, noisy);
        let numbers = [0, 10, 20, 30, 40, 50];
        let rules = [(0b110, 7), (0b010, 5), (0b1000, 9)];
        let mut targets = vec![
            working,
            working.with_spacing([0.5, 0.6, 0.8]),
            working.with_spacing([1.9, 2.1, 2.7]),
            working.with_spacing([0.61, 0.83, 1.1]).window([-5, 3, -4], [50, 20, 60]),
            turned,
        ];
        for order in all_orders().step_by(5) {
            targets.push(working.with_spacing([0.7, 0.8, 0.9]).reordered(order));
        }
        for onto in targets {
            for decide in [Decide::Largest(&numbers), Decide::Regions { logit: 0.5, rules: &rules }] {
                let labels =
                    scores_to_labels(scores.view(), &working, &onto, &decide, &Task::silent()).unwrap();
                same_but_for_ties(&labels, &naive_labels(&scores, &working, &onto, &decide));
            }
        }
    }
}

#[test]
fn one_voxel_axes_and_broken_grids() {
    let grid = Grid { size_ijk: [5, 4, 1], world_from_voxel: Affine::scale_shift([1.0, 1.0, 4.0], [0.0; 3]) };
    let source = Gridded { array: noise(grid.shape_kji(), 4), grid };
    let onto = grid.with_spacing([0.5, 0.5, 1.0]);
    assert_eq!(onto.size_ijk, [10, 8, 4]);
    let moved = resample(&source.view(), &onto, Interpolation::Linear, Outside::Value(-1.0), &Task::silent())
        .unwrap();
    assert_eq!(moved.index_axis(Axis(0), 0), moved.index_axis(Axis(0), 3));
    let mut flat = grid;
    flat.world_from_voxel.0[2] = [0.0; 4];
    assert!(resample(&source.view(), &flat, Interpolation::Linear, Outside::Edge, &Task::silent()).is_ok());
    let broken = Gridded { array: source.array.view(), grid: flat };
    assert!(resample(&broken, &grid, Interpolation::Linear, Outside::Edge, &Task::silent()).is_err());
    let cancelled = Task::silent();
    cancelled.cancel().cancel();
    let result = resample(&source.view(), &onto, Interpolation::Linear, Outside::Edge, &cancelled);
    assert!(matches!(result, Err(inference::Error::Cancelled)));
}

#[test]
fn nan_stays_where_it_touches() {
    let grid = Grid::unit([6, 1, 1]);
    let mut array = Array3::from_shape_fn((1, 1, 6), |(_, _, i)| i as f32);
    array[[0, 0, 3]] = f32::NAN;
    let source = Gridded { array, grid };
    let onto =
        Grid { size_ijk: [11, 1, 1], world_from_voxel: Affine::scale_shift([0.5, 1.0, 1.0], [0.0; 3]) };
    let moved =
        resample(&source.view(), &onto, Interpolation::Linear, Outside::Edge, &Task::silent()).unwrap();
    let bad: Vec<usize> = moved.iter().enumerate().filter(|(_, v)| v.is_nan()).map(|(n, _)| n).collect();
    assert_eq!(bad, [5, 6, 7]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn onto_itself_is_the_identity(i in 1usize..7, j in 1usize..7, k in 1usize..7, seed in 0u32..1000,
                                   m in proptest::array::uniform9(-2.0f64..2.0)) {
        let mut grid = oblique([i, j, k]);
        for r in 0..3 { for c in 0..3 { grid.world_from_voxel.0[r][c] += 0.2 * m[3 * r + c]; } }
        prop_assume!(grid.voxel_from_world().is_some());
        let source = Gridded { array: noise(grid.shape_kji(), seed), grid };
        for how in [Interpolation::Nearest, Interpolation::Linear, Interpolation::Cubic] {
            let moved = resample(&source.view(), &grid, how, Outside::Value(0.0), &Task::silent()).unwrap();
            prop_assert_eq!(&moved, &source.array);
        }
    }

    #[test]
    fn values_stay_in_range_under_linear(m in proptest::array::uniform9(-1.0f64..1.0), t in proptest::array::uniform3(-5.0f64..5.0)) {
        let grid = Grid::unit([5, 6, 4]);
        let mut onto = Grid::unit([7, 5, 6]);
        for r in 0..3 { for c in 0..3 { onto.world_from_voxel.0[r][c] += m[3 * r + c]; } onto.world_from_voxel.0[r][3] = t[r]; }
        let source = Gridded { array: noise(grid.shape_kji(), 5), grid };
        let moved = resample(&source.view(), &onto, Interpolation::Linear, Outside::Value(0.0), &Task::silent()).unwrap();
        let (low, high) = source.array.iter().fold((0.0f32, 0.0f32), |(a, b), &v| (a.min(v), b.max(v)));
        prop_assert!(moved.iter().all(|v| *v >= low - 1e-3 && *v <= high + 1e-3));
    }
}
