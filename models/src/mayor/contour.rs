//! Outlines of regions, as `insula_authoring.mayor.contour`: a polygon along pixel edges, its simplification, the smallest
//! rectangle round it; connected parts; widening.
//!
//! Vertices are corners of pixels, `[x, y]`, y down. A polygon runs with the region on its right hand (clockwise on the screen), from the
//! left end of the top edge of the region's first pixel in reading order.

use ndarray::Array2;

/// A corner of a pixel, or a point between them.
pub type Point = [f64; 2];

/// Steps to the right, down, left, up.
const STEPS: [[isize; 2]; 4] = [[1, 0], [0, 1], [-1, 0], [0, -1]];
/// For each direction at a corner: the pixel ahead on the right and ahead on the left, as offsets from the corner.
const AHEAD: [[[isize; 2]; 2]; 4] =
    [[[0, 0], [0, -1]], [[-1, 0], [0, 0]], [[-1, -1], [-1, 0]], [[0, -1], [-1, -1]]];

/// Connected parts: labels from 1 in reading order of their first pixels (0 outside), and their sizes. Pixels that touch
/// at corners are connected where `diagonal`.
#[must_use]
pub fn components(inside: &Array2<bool>, diagonal: bool) -> (Array2<usize>, Vec<usize>) {
    let (h, w) = inside.dim();
    let mut labels = Array2::zeros((h, w));
    let (mut sizes, mut stack) = (Vec::new(), Vec::new());
    for y in 0..h {
        for x in 0..w {
            if !inside[[y, x]] || labels[[y, x]] != 0 {
                continue;
            }
            let label = sizes.len() + 1;
            labels[[y, x]] = label;
            stack.push((y, x));
            let mut size = 0;
            while let Some((y, x)) = stack.pop() {
                size += 1;
                for ny in y.saturating_sub(1)..(y + 2).min(h) {
                    for nx in x.saturating_sub(1)..(x + 2).min(w) {
                        let is_neighbour = diagonal || ny == y || nx == x;
                        if is_neighbour && inside[[ny, nx]] && labels[[ny, nx]] == 0 {
                            labels[[ny, nx]] = label;
                            stack.push((ny, nx));
                        }
                    }
                }
            }
            sizes.push(size);
        }
    }
    (labels, sizes)
}

/// The outline of a 4-connected region without holes whose first pixel is at `origin`: its corners where the direction
/// changes. Empty for none.
#[must_use]
pub fn trace(region: &Array2<bool>, origin: [usize; 2]) -> Vec<Point> {
    let (h, w) = region.dim();
    let is_in = |x: isize, y: isize| {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return false };
        x < w && y < h && region[[y, x]]
    };
    let Some(first) = region.iter().position(|&v| v) else { return Vec::new() };
    let start = [(first % w) as isize, (first / w) as isize];
    let (mut at, mut direction, mut out) = (start, 0usize, Vec::new());
    loop {
        let [right, left] = AHEAD[direction];
        let turn = if out.is_empty() {
            None
        } else if !is_in(at[0] + right[0], at[1] + right[1]) {
            // Also where two pixels touch at the corner only: they are not connected.
            Some(1)
        } else if is_in(at[0] + left[0], at[1] + left[1]) {
            Some(3)
        } else {
            None
        };
        if out.is_empty() || turn.is_some() {
            out.push([at[0] as f64 + origin[0] as f64, at[1] as f64 + origin[1] as f64]);
        }
        direction = (direction + turn.unwrap_or(0)) % 4;
        at = [at[0] + STEPS[direction][0], at[1] + STEPS[direction][1]];
        if at == start {
            return out;
        }
    }
}

fn distance(a: Point, b: Point) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

fn edges(polygon: &[Point]) -> impl Iterator<Item = (Point, Point)> + '_ {
    polygon.iter().copied().zip(polygon.iter().copied().cycle().skip(1))
}

/// Length of the closed polygon.
#[must_use]
pub fn perimeter(polygon: &[Point]) -> f64 {
    edges(polygon).map(|(a, b)| distance(a, b)).sum()
}

/// Signed area; positive for outlines of [`trace`].
#[must_use]
pub fn area(polygon: &[Point]) -> f64 {
    edges(polygon).map(|(a, b)| a[0] * b[1] - b[0] * a[1]).sum::<f64>() / 2.0
}

/// Douglas–Peucker of an open line; the last point is left out.
fn reduce(points: &[Point], tolerance: f64, out: &mut Vec<Point>) {
    let (Some(&a), Some(&b)) = (points.first(), points.last()) else { return };
    if points.len() < 3 {
        out.push(a);
        return;
    }
    let length = distance(a, b);
    let (mut far, mut most) = (0, -1.0);
    for (i, &p) in points.iter().enumerate().take(points.len() - 1).skip(1) {
        let d = if length > 0.0 {
            ((b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])).abs() / length
        } else {
            distance(a, p)
        };
        if d > most {
            (far, most) = (i, d);
        }
    }
    if most <= tolerance {
        out.push(a);
        return;
    }
    reduce(&points[..=far], tolerance, out);
    reduce(&points[far..], tolerance, out);
}

/// Fewer vertices (Douglas & Peucker 1973) with a tolerance of `part` of the perimeter, at least 1 pixel: split at the first vertex and at
/// the one farthest from it (the earliest among equals). Never fewer than 3 vertices of those given.
#[must_use]
pub fn simplify(polygon: &[Point], part: f64) -> Vec<Point> {
    let (Some(&first), true) = (polygon.first(), polygon.len() > 4) else { return polygon.to_vec() };
    let tolerance = (part * perimeter(polygon)).max(1.0);
    let mut away = 0;
    for (i, &p) in polygon.iter().enumerate() {
        if distance(first, p) > distance(first, polygon[away]) {
            away = i;
        }
    }
    let mut out = Vec::new();
    reduce(&polygon[..=away], tolerance, &mut out);
    let rest: Vec<Point> = polygon[away..].iter().copied().chain([first]).collect();
    reduce(&rest, tolerance, &mut out);
    if out.len() >= 3 { out } else { polygon.to_vec() }
}

/// Convex hull, clockwise on the screen, without collinear points (Andrew's monotone chain, 1979).
#[must_use]
pub fn hull(points: &[Point]) -> Vec<Point> {
    let mut ordered = points.to_vec();
    ordered.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    ordered.dedup();
    if ordered.len() < 3 {
        return ordered;
    }
    let chain = |points: &mut dyn Iterator<Item = &Point>| {
        let mut out: Vec<Point> = Vec::new();
        for &p in points {
            while let [.., a, b] = out[..] {
                if (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]) > 0.0 {
                    break;
                }
                out.pop();
            }
            out.push(p);
        }
        out.pop();
        out
    };
    let mut out = chain(&mut ordered.iter());
    out.extend(chain(&mut ordered.iter().rev()));
    out
}

/// The smallest rectangle round the points, one side along an edge of their hull (the first such among equals): corners clockwise on
/// the screen, the first being the one with the least x + y, then the least y. None for fewer than 3 points that are not
/// on a line.
#[must_use]
pub fn rectangle(points: &[Point]) -> Option<[Point; 4]> {
    let h = hull(points);
    let mut best: Option<(f64, [f64; 2], [f64; 4])> = None;
    for (a, b) in edges(&h) {
        let length = distance(a, b);
        if length == 0.0 {
            continue;
        }
        let (ux, uy) = ((b[0] - a[0]) / length, (b[1] - a[1]) / length);
        let (mut lo, mut hi) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
        for p in &h {
            for (axis, v) in [p[0] * ux + p[1] * uy, p[1] * ux - p[0] * uy].into_iter().enumerate() {
                lo[axis] = lo[axis].min(v);
                hi[axis] = hi[axis].max(v);
            }
        }
        let size = (hi[0] - lo[0]) * (hi[1] - lo[1]);
        if best.is_none_or(|(least, ..)| size < least - 1e-9) {
            best = Some((size, [ux, uy], [lo[0], hi[0], lo[1], hi[1]]));
        }
    }
    let (_, [ux, uy], [u0, u1, v0, v1]) = best?;
    let corners = [(u0, v0), (u1, v0), (u1, v1), (u0, v1)].map(|(u, v)| [u * ux - v * uy, u * uy + v * ux]);
    let rounded = |v: f64| (v * 1e6).round();
    let key = |p: Point| [rounded(p[0] + p[1]), rounded(p[1])];
    let mut first = 0;
    for i in 1..4 {
        if key(corners[i]) < key(corners[first]) {
            first = i;
        }
    }
    Some(std::array::from_fn(|i| corners[(first + i) % 4]))
}

/// The short side of the smallest rectangle: the text's height where it is a straight line. 0 for fewer than 3 points.
#[must_use]
pub fn thickness(points: &[Point]) -> f64 {
    rectangle(points).map_or(0.0, |r| distance(r[0], r[1]).min(distance(r[1], r[2])))
}

/// Sets all pixels of `out` within `radius` of a pixel of the region at `origin`: whatever the region holds, and round it.
pub fn widen_into(out: &mut Array2<bool>, region: &Array2<bool>, origin: [usize; 2], radius: usize) {
    let (h, w) = out.dim();
    let r = radius as isize;
    // Half-widths of the disc's rows: of all pixels at distance ≤ radius.
    let reach: Vec<isize> = (-r..=r).map(|dy| ((r * r - dy * dy) as f64).sqrt().floor() as isize).collect();
    for (y, row) in region.rows().into_iter().enumerate() {
        let mut x = 0;
        while x < row.len() {
            if !row[x] {
                x += 1;
                continue;
            }
            let begin = x;
            while x < row.len() && row[x] {
                x += 1;
            }
            for (k, dx) in reach.iter().enumerate() {
                let line = (y + origin[1]) as isize + k as isize - r;
                let Some(line) = usize::try_from(line).ok().filter(|&l| l < h) else { continue };
                let from = ((begin + origin[0]) as isize - dx).max(0) as usize;
                let to = ((x + origin[0]) as isize + dx).clamp(0, w as isize) as usize;
                if from < to {
                    out.slice_mut(ndarray::s![line, from..to]).fill(true);
                }
            }
        }
    }
}

/// Pixels whose centres lie in a polygon (even–odd rule), set in `out`.
pub fn fill_into(out: &mut Array2<bool>, polygon: &[Point]) {
    let (h, w) = out.dim();
    if polygon.len() < 3 || polygon.iter().flatten().any(|v| !v.is_finite()) {
        return;
    }
    let (mut top, mut bottom) = (f64::INFINITY, f64::NEG_INFINITY);
    for p in polygon {
        (top, bottom) = (top.min(p[1]), bottom.max(p[1]));
    }
    let first = (top - 0.5).ceil().clamp(0.0, h as f64) as usize;
    let last = (bottom - 0.5).ceil().clamp(0.0, h as f64) as usize;
    let mut crossings: Vec<f64> = Vec::new();
    for y in first..last {
        let at = y as f64 + 0.5;
        crossings.clear();
        crossings.extend(
            edges(polygon)
                .filter(|(a, b)| (a[1] <= at) != (b[1] <= at))
                .map(|(a, b)| a[0] + (at - a[1]) * (b[0] - a[0]) / (b[1] - a[1])),
        );
        crossings.sort_by(f64::total_cmp);
        for pair in crossings.chunks_exact(2) {
            let column = |v: f64| (v - 0.5).ceil().clamp(0.0, w as f64) as usize;
            let (from, to) = (column(pair[0]), column(pair[1]));
            if from < to {
                out.slice_mut(ndarray::s![y, from..to]).fill(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: &[&str]) -> Array2<bool> {
        Array2::from_shape_fn((rows.len(), rows[0].len()), |(y, x)| rows[y].as_bytes()[x] == b'#')
    }

    #[test]
    fn outlines_have_the_area_of_their_pixels() {
        for rows in [&["#"][..], &["###", "#.#", "###"], &["##..", ".##.", "..##"], &[".#.", "###", ".#."]] {
            let region = of(rows);
            let filled = super::super::glue::region(&region.mapv(|v| f32::from(u8::from(v))), 0.5);
            let outline = trace(&filled, [3, 5]);
            let pixels = filled.iter().filter(|&&v| v).count();
            assert!((area(&outline) - pixels as f64).abs() < 1e-9, "{rows:?} {outline:?}");
            let mut back = Array2::from_elem((20, 20), false);
            fill_into(&mut back, &outline);
            assert_eq!(back.iter().filter(|&&v| v).count(), pixels);
            assert_eq!(back[[5, 3]], filled[[0, 0]]);
        }
    }

    #[test]
    fn widening_is_a_disc() {
        let mut out = Array2::from_elem((21, 21), false);
        widen_into(&mut out, &of(&["#"]), [10, 10], 4);
        for ((y, x), &set) in out.indexed_iter() {
            let d2 = (y as i64 - 10).pow(2) + (x as i64 - 10).pow(2);
            assert_eq!(set, d2 <= 16, "{y} {x}");
        }
        let mut corner = Array2::from_elem((4, 4), false);
        widen_into(&mut corner, &of(&["#"]), [0, 0], 9);
        assert!(corner.iter().all(|&v| v));
    }

    #[test]
    fn the_smallest_rectangle_of_a_turned_one_is_itself() {
        let (c, s) = (0.8, 0.6);
        let corners =
            [[0.0, 0.0], [10.0, 0.0], [10.0, 2.0], [0.0, 2.0]].map(|[x, y]| [x * c - y * s, x * s + y * c]);
        let found = rectangle(&corners).expect("four points");
        assert!((perimeter(&found) - 24.0).abs() < 1e-9 && (thickness(&corners) - 2.0).abs() < 1e-9);
        assert!(rectangle(&[[0.0, 0.0], [1.0, 1.0]]).is_none_or(|r| area(&r).abs() < 1e-9));
    }
}
