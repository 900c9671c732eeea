//! Brush and eraser.

use std::ops::Range;

use formats::affine::norm;
use formats::{Grid, Shared};
use serde::{Deserialize, Serialize};

use super::edit::{EditBuilder, LabelEdit};
use super::error::{Error, Result};
use super::geometry::{Capsule, sub, voxel_at};
use super::mask::{Gate, Over, ValueRange};
use crate::view::Plane;

/// The form of a brush.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tip {
    /// A disc in a plane of the world, as thick as the voxels that the plane passes through: on grids along the world's
    /// axes one layer, on oblique ones every voxel that the slice's picture shows.
    Disc(Plane),
    /// A ball in space.
    Ball,
}

/// What a stroke paints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Brush {
    /// Disc or ball.
    pub tip: Tip,
    /// Millimetres from the middle to the rim, on the true geometry. The voxel under the middle is always painted.
    pub radius_mm: f64,
    /// The label to paint; 0 erases.
    pub label: u16,
    /// What may be painted over.
    pub over: Over,
}

/// Paints along world points (RAS+ mm): a voxel is painted when its centre lies no further than the radius from the line
/// through the points (for a disc: in the projection onto its plane), so that fast movements leave no gaps. One point is
/// a dab. For a disc all points should lie in one plane; each segment is painted in the slice of its end.
///
/// While the button is down give `[last, here]` for every movement, apply each edit and join them with
/// [`super::History::extend`].
///
/// # Errors
/// [`Error::Singular`], and [`Error::Argument`] for points or a radius that are not finite, or a negative radius.
pub fn stroke(
    labels: &Shared<u16>,
    grid: &Grid,
    brush: &Brush,
    points_ras: &[[f64; 3]],
    values: Option<ValueRange<'_>>,
) -> Result<LabelEdit> {
    if !brush.radius_mm.is_finite()
        || brush.radius_mm < 0.0
        || points_ras.iter().flatten().any(|v| !v.is_finite())
    {
        return Err(Error::Argument("a brush needs finite points and a radius of 0 or more".to_owned()));
    }
    let gate = Gate::new(&brush.over, values, grid)?;
    let plane = match brush.tip {
        Tip::Disc(plane) => Some(plane),
        Tip::Ball => None,
    };
    // Ranges of i by row.
    let mut rows: Vec<(usize, Range<usize>)> = Vec::new();
    let [ni, nj, _] = grid.size_ijk;
    let dab = if let [p] = points_ras { Some([*p, *p]) } else { None };
    let segments = points_ras.windows(2).map(|w| [w[0], w[1]]).chain(dab);
    for [from, to] in segments {
        let capsule = Capsule::new(grid, plane, brush.radius_mm, from, to)?;
        capsule.rows(|j, k, range| rows.push((k * nj + j, range)));
        // The voxels under the line, for brushes thinner than voxels.
        let finest = grid.spacing_mm().into_iter().fold(f64::INFINITY, f64::min);
        let steps = (2.0 * norm(sub(to, from)) / finest).ceil().clamp(1.0, 1e5);
        for n in 0..=steps as usize {
            let t = n as f64 / steps;
            let mut p = [0, 1, 2].map(|a| from[a] + t * (to[a] - from[a]));
            if let Some(plane) = plane {
                let through = plane.axes()[2];
                p[through] = to[through];
            }
            if let Some([i, j, k]) = voxel_at(grid, p)? {
                rows.push((k * nj + j, i..i + 1));
            }
        }
    }
    rows.sort_unstable_by_key(|(row, range)| (*row, range.start));
    let mut builder = EditBuilder::new(labels);
    let mut done = (usize::MAX, 0);
    for (row, range) in rows {
        let from = if done.0 == row { range.start.max(done.1) } else { range.start };
        if from < range.end {
            let (j, k) = (row % nj, row / nj);
            builder.paint(row * ni + from, range.end - from, |n, old| {
                if gate.allows([from + n, j, k], old) { brush.label } else { old }
            });
            done = (row, range.end);
        }
    }
    Ok(builder.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::geometry::tests::oblique;
    use formats::{Affine, LabelTable, Volume, Voxels};
    use ndarray::Array3;
    use proptest::prelude::*;

    fn empty(grid: &Grid) -> Shared<u16> {
        Array3::zeros(grid.shape_kji()).into_shared()
    }

    fn brush(tip: Tip, radius_mm: f64) -> Brush {
        Brush { tip, radius_mm, label: 1, over: Over::Everything }
    }

    fn painted(labels: &Shared<u16>, edit: &LabelEdit) -> Shared<u16> {
        let mut out = labels.clone();
        edit.apply(&mut out, &mut LabelTable::default()).unwrap();
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_ball_has_its_volume(
            spacing in prop::array::uniform3(0.5f64..1.5),
            (turn, tilt) in (-3.0f64..3.0, -1.0f64..1.0),
            off in prop::array::uniform3(-0.5f64..0.5),
        ) {
            let grid = oblique([40, 40, 40], spacing, turn, tilt);
            let centre = grid.world_from_voxel.apply(off.map(|o| 20.0 + o));
            let radius = 9.0;
            let edit = stroke(&empty(&grid), &grid, &brush(Tip::Ball, radius), &[centre], None).unwrap();
            let volume = edit.voxels() as f64 * grid.voxel_volume_mm3();
            let inside = spacing.iter().all(|s| 19.0 * s > radius);
            let truth = 4.0 / 3.0 * std::f64::consts::PI * radius.powi(3);
            prop_assert!(!inside || (volume / truth - 1.0).abs() < 0.03, "{volume} {truth}");
        }

        /// On grids along the axes a disc is one layer of the right area; on oblique ones its picture is.
        #[test]
        fn a_disc_has_its_area(
            spacing in prop::array::uniform3(0.5f64..1.2),
            (turn, tilt) in prop::sample::select(vec![(0.0, 0.0), (0.5, 0.3), (-2.0, 0.8)]),
            off in prop::array::uniform3(-0.4f64..0.4),
            plane in prop::sample::select(Plane::ALL.to_vec()),
        ) {
            let grid = oblique([40, 40, 40], spacing, turn, tilt);
            let centre = grid.world_from_voxel.apply(off.map(|o| 20.0 + o));
            let radius = 8.0;
            let labels = empty(&grid);
            let edit = stroke(&labels, &grid, &brush(Tip::Disc(plane), radius), &[centre], None).unwrap();
            let after = painted(&labels, &edit);
            let [across, down, through] = plane.axes();
            let mut seen = 0;
            for n in 0..200 * 200 {
                let mut p = centre;
                p[across] += (n % 200) as f64 * 0.1 - 9.95;
                p[down] += (n / 200) as f64 * 0.1 - 9.95;
                seen += usize::from(voxel_at(&grid, p).unwrap().is_some_and(|[i, j, k]| after[[k, j, i]] == 1));
            }
            let (area, truth) = (seen as f64 * 0.01, std::f64::consts::PI * radius * radius);
            prop_assume!(spacing.iter().all(|s| 18.0 * s > radius));
            prop_assert!((area / truth - 1.0).abs() < 0.05, "{area} {truth}");
            if turn == 0.0 {
                let layer = edit.bounds().unwrap().size_ijk()[through];
                prop_assert_eq!(layer, 1);
                let counted = edit.voxels() as f64 * spacing[across] * spacing[down];
                prop_assert!((counted / truth - 1.0).abs() < 0.05, "{counted} {truth}");
            }
        }

        /// A stroke through many points is the union of the strokes between them.
        #[test]
        fn strokes_join(
            points in prop::collection::vec(prop::array::uniform3(-5.0f64..25.0), 1..6),
            radius in 0.0f64..6.0,
        ) {
            let grid = oblique([20, 18, 16], [1.0, 1.2, 1.5], 0.3, 0.2);
            let brush = brush(Tip::Ball, radius);
            let start = empty(&grid);
            let whole = stroke(&start, &grid, &brush, &points, None).unwrap();
            let (mut labels, mut joined) = (start.clone(), None::<LabelEdit>);
            let pairs: Vec<_> = if points.len() == 1 { vec![vec![points[0]]] } else { points.windows(2).map(<[_]>::to_vec).collect() };
            for pair in pairs {
                let edit = stroke(&labels, &grid, &brush, &pair, None).unwrap();
                labels = painted(&labels, &edit);
                joined = Some(match joined { None => edit, Some(before) => before.then(edit) });
            }
            prop_assert_eq!(Some(whole), joined);
        }
    }

    #[test]
    fn a_fast_movement_leaves_no_gap() {
        let grid = Grid::unit([100, 20, 20]);
        let labels = empty(&grid);
        let thin = brush(Tip::Disc(Plane::Axial), 0.0);
        let edit = stroke(&labels, &grid, &thin, &[[2.0, 3.0, 5.0], [97.0, 16.0, 5.0]], None).unwrap();
        let after = painted(&labels, &edit);
        for i in 2..=97 {
            assert!((0..20).any(|j| after[[5, j, i]] == 1), "column {i}");
        }
        assert_eq!(edit.bounds().unwrap().size_ijk()[2], 1);
        let dab = stroke(&labels, &grid, &thin, &[[2.4, 3.0, 5.0]], None).unwrap();
        assert_eq!(dab.voxels(), 1);
    }

    #[test]
    fn masks_and_values_limit_the_brush() {
        let grid = Grid::unit([20, 20, 20]);
        let mut labels = empty(&grid);
        labels[[10, 10, 10]] = 5;
        labels[[10, 10, 11]] = 6;
        let mut brush = brush(Tip::Ball, 3.0);
        let all = stroke(&labels, &grid, &brush, &[[10.0; 3]], None).unwrap().voxels();
        brush.over = Over::Background;
        assert_eq!(stroke(&labels, &grid, &brush, &[[10.0; 3]], None).unwrap().voxels(), all - 2);
        brush.over = Over::Labels(vec![5]);
        assert_eq!(stroke(&labels, &grid, &brush, &[[10.0; 3]], None).unwrap().voxels(), 1);
        brush.over = Over::Everything;
        // Values on a grid of half the spacing, moved by a quarter: i world coordinate as value.
        let fine = Grid { size_ijk: [40, 40, 40], world_from_voxel: Affine::scale_shift([0.5; 3], [0.0; 3]) };
        let values =
            Array3::from_shape_fn((40, 40, 40), |(_, _, i)| if i == 24 { f32::NAN } else { i as f32 * 0.5 });
        let image = Volume::new(Voxels::F32(values.into_shared()), fine).unwrap();
        let range = ValueRange { image: &image, low: 10.0, high: 12.0 };
        let edit = stroke(&labels, &grid, &brush, &[[10.0; 3]], Some(range)).unwrap();
        let bounds = edit.bounds().unwrap();
        assert_eq!((bounds.first_ijk[0], bounds.last_ijk[0]), (10, 11), "12 is NaN");
        let outside = ValueRange { image: &image, low: f64::NEG_INFINITY, high: f64::INFINITY };
        let edge = stroke(&labels, &grid, &brush, &[[19.0, 10.0, 10.0]], Some(outside)).unwrap();
        assert!(edge.voxels() > 0);
        brush.label = 0;
        assert_eq!(stroke(&labels, &grid, &brush, &[[10.0; 3]], None).unwrap().voxels(), 2, "the eraser");
    }

    #[test]
    fn nonsense_is_refused() {
        let grid = Grid::unit([2, 2, 2]);
        let labels = empty(&grid);
        let ball = brush(Tip::Ball, f64::NAN);
        assert!(matches!(stroke(&labels, &grid, &ball, &[[0.0; 3]], None), Err(Error::Argument(_))));
        let ball = brush(Tip::Ball, 1.0);
        assert!(matches!(
            stroke(&labels, &grid, &ball, &[[f64::INFINITY; 3]], None),
            Err(Error::Argument(_))
        ));
        assert!(stroke(&labels, &grid, &ball, &[], None).unwrap().is_empty());
        assert!(stroke(&labels, &grid, &ball, &[[900.0; 3]], None).unwrap().is_empty());
    }
}
