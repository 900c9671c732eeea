//! Polygons into voxels: centres inside, even-odd.

/// Scan lines of one plane. Polygons are added, then the inside is asked for once.
///
/// An edge crosses the scan line through the centres of a row when one end lies above or on it and the other below; the
/// crossing flips everything from the first centre at or right of it. So a centre on a left or upper border is in and
/// one on a right or lower border is not, and polygons that share a border share no voxel and leave none out.
pub(super) struct Fill {
    columns: usize,
    rows: usize,
    /// Whether inside and outside change at a pixel; one more column for crossings right of the last.
    flips: Vec<bool>,
    /// Rows that polygons touch: first, and one past the last.
    touched: (usize, usize),
}

impl Fill {
    /// An empty plane.
    pub fn new(columns: usize, rows: usize) -> Self {
        Self { columns, rows, flips: vec![false; (columns + 1) * rows], touched: (rows, 0) }
    }

    /// Empties the plane again.
    pub fn clear(&mut self) {
        self.touched_flips().fill(false);
        self.touched = (self.rows, 0);
    }

    fn touched_flips(&mut self) -> &mut [bool] {
        let (first, end) = self.touched;
        let width = self.columns + 1;
        self.flips.get_mut(first * width..end * width).unwrap_or_default()
    }

    /// Adds a closed polygon of points (column, row), pixel centres at whole numbers. It may reach beyond the plane.
    pub fn add(&mut self, points: &[[f64; 2]]) {
        let Some(&last) = points.last() else { return };
        let mut from = last;
        for &to in points {
            let (top, bottom) = if from[1] <= to[1] { (from, to) } else { (to, from) };
            let first_row = top[1].ceil().clamp(0.0, self.rows as f64) as usize;
            let end_row = bottom[1].ceil().clamp(0.0, self.rows as f64) as usize;
            if first_row < end_row {
                self.touched = (self.touched.0.min(first_row), self.touched.1.max(end_row));
            }
            for row in first_row..end_row {
                let part = (row as f64 - top[1]) / (bottom[1] - top[1]);
                let x = top[0] + part * (bottom[0] - top[0]);
                let column = x.ceil().clamp(0.0, self.columns as f64) as usize;
                if let Some(flip) = self.flips.get_mut(row * (self.columns + 1) + column) {
                    *flip = !*flip;
                }
            }
            from = to;
        }
    }

    /// Calls `f(column, row)` for each pixel inside.
    pub fn inside(&self, mut f: impl FnMut(usize, usize)) {
        let (first, end) = self.touched;
        let rows = self.flips.chunks(self.columns + 1).enumerate();
        for (row, flips) in rows.skip(first).take(end.saturating_sub(first)) {
            let mut inside = false;
            for (column, flip) in flips.iter().take(self.columns).enumerate() {
                inside ^= flip;
                if inside {
                    f(column, row);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filled(size: usize, polygons: &[&[[f64; 2]]]) -> Vec<(usize, usize)> {
        let mut fill = Fill::new(size, size);
        polygons.iter().for_each(|p| fill.add(p));
        let mut out = Vec::new();
        fill.inside(|c, r| out.push((c, r)));
        out
    }

    #[test]
    fn a_border_through_centres_belongs_to_one_side() {
        let square = [[1.0, 1.0], [3.0, 1.0], [3.0, 3.0], [1.0, 3.0]];
        assert_eq!(filled(5, &[&square]), [(1, 1), (2, 1), (1, 2), (2, 2)]);
        let beside = [[3.0, 1.0], [4.5, 1.0], [4.5, 3.0], [3.0, 3.0]];
        assert_eq!(filled(5, &[&beside]), [(3, 1), (4, 1), (3, 2), (4, 2)]);
    }

    #[test]
    fn holes_and_what_lies_outside() {
        let outer = [[-9.0, -9.0], [9.0, -9.0], [9.0, 9.0], [-9.0, 9.0]];
        let hole = [[0.5, 0.5], [1.5, 0.5], [1.5, 1.5], [0.5, 1.5]];
        assert_eq!(filled(3, &[&outer, &hole]).len(), 8);
        assert_eq!(filled(3, &[&outer, &outer]).len(), 0);
        assert!(filled(3, &[&[[7.0, 0.0], [9.0, 0.0], [8.0, 2.0]]]).is_empty());
        assert!(filled(3, &[&[[f64::NAN, 0.0], [1.0, f64::NAN], [8.0, 2.0]]]).len() <= 9);
    }

    proptest! {
        /// Against the angle that the polygon winds round a centre: odd windings are in.
        #[test]
        fn agrees_with_the_crossing_rule(points in prop::collection::vec((-20_i32..120, -20_i32..120), 3..12)) {
            // Tenths that never meet a centre.
            let points: Vec<[f64; 2]> =
                points.iter().map(|&(x, y)| [f64::from(x) / 10.0 + 0.013, f64::from(y) / 10.0 + 0.027]).collect();
            let mut fill = Fill::new(10, 10);
            fill.add(&points);
            let mut found = [[false; 10]; 10];
            fill.inside(|c, r| found[r][c] = true);
            for r in 0..10 {
                for c in 0..10 {
                    let angle = |p: [f64; 2]| (p[1] - r as f64).atan2(p[0] - c as f64);
                    let winding: f64 = (0..points.len()).map(|n| {
                        let d = angle(points[(n + 1) % points.len()]) - angle(points[n]);
                        d - (d / std::f64::consts::TAU).round() * std::f64::consts::TAU
                    }).sum();
                    let turns = (winding / std::f64::consts::TAU).round() as i64;
                    prop_assert_eq!(found[r][c], turns % 2 != 0, "{} {}", c, r);
                }
            }
        }
    }
}
