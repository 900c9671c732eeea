//! Voxels into polygons along their borders.

use std::collections::HashMap;

/// A closed polygon; coordinates in quarters of a pixel, pixel centres at multiples of 4, borders 2 beside them.
pub(super) type Loop = Vec<[i32; 2]>;

/// A plane of pixels to be outlined.
pub(super) struct Mask<'a> {
    /// Labels of the plane, row by row.
    pub labels: &'a [u16],
    pub columns: usize,
    pub rows: usize,
    /// The label to outline.
    pub id: u16,
}

/// Right, down, left, up; the structure is always on the right hand.
const STEPS: [[i32; 2]; 4] = [[1, 0], [0, 1], [-1, 0], [0, -1]];

impl Mask<'_> {
    fn at(&self, column: i64, row: i64) -> bool {
        let (Ok(c), Ok(r)) = (usize::try_from(column), usize::try_from(row)) else { return false };
        c < self.columns && r < self.rows && self.labels.get(r * self.columns + c) == Some(&self.id)
    }

    /// All borders: outer ones clockwise (seen with rows downwards), those of holes the other way. Pixels that meet
    /// only at a corner are outlined apart.
    pub fn loops(&self) -> Vec<Loop> {
        self.borders().iter().map(corners).collect()
    }

    /// The same with a point at every corner of a pixel.
    fn borders(&self) -> Vec<Loop> {
        // Outgoing border edges of each corner, one bit per direction.
        let width = self.columns + 1;
        let mut out = vec![0_u8; width * (self.rows + 1)];
        for r in 0..self.rows as i64 {
            for c in 0..self.columns as i64 {
                if !self.at(c, r) {
                    continue;
                }
                let corner = |dc: usize, dr: usize| (r as usize + dr) * width + c as usize + dc;
                let edges = [
                    (self.at(c, r - 1), corner(0, 0)),
                    (self.at(c + 1, r), corner(1, 0)),
                    (self.at(c, r + 1), corner(1, 1)),
                    (self.at(c - 1, r), corner(0, 1)),
                ];
                for (direction, (covered, from)) in edges.into_iter().enumerate() {
                    if !covered {
                        out[from] |= 1 << direction;
                    }
                }
            }
        }
        let mut loops = Vec::new();
        for start in 0..out.len() {
            while out[start] & 1 != 0 {
                loops.push(walk(&mut out, width, start));
            }
        }
        loops
    }

    /// The borders with each hole joined to what lies left of it by a channel of no width, so that every polygon alone
    /// says what is inside. The channel runs beside centres, not through them.
    ///
    /// Each hole has one channel and each piece of a border is met by at most one, so all is done by exchanging links
    /// between points, whatever the order and however many holes there are.
    pub fn keyholes(&self) -> Vec<Loop> {
        let mut ring = Ring::default();
        let (mut outer, mut holes) = (Vec::new(), Vec::new());
        for border in self.borders() {
            let is_hole = area(&border) < 0;
            let first = ring.add(&border);
            if is_hole {
                let left = border.iter().map(|p| p[0]).min().unwrap_or(0);
                let next = border.iter().cycle().skip(1);
                let edge = border.iter().zip(next).position(|(a, b)| a[0] == left && b[0] == left);
                holes.extend(edge.map(|n| first + n));
            } else {
                outer.push(first);
            }
        }
        for from in holes {
            let [x, y0] = ring.points[from];
            let [_, y1] = ring.points[ring.next[from]];
            let row = (y0.min(y1) + 2) / 4;
            let mut column = i64::from((x + 2) / 4) - 1;
            while self.at(column - 1, i64::from(row)) {
                column -= 1;
            }
            let border = column as i32 * 4 - 2;
            if let Some(&to) = ring.upright.get(&(border, row)) {
                ring.join(to, from, [border, row * 4 + 1], [x, row * 4 + 1]);
            }
        }
        outer.into_iter().map(|first| corners(&ring.follow(first))).collect()
    }
}

/// Borders as points linked in rings.
#[derive(Default)]
struct Ring {
    points: Vec<[i32; 2]>,
    next: Vec<usize>,
    /// The point from which the upright edge at column border `x` beside `row` goes, by (x, row).
    upright: HashMap<(i32, i32), usize>,
}

impl Ring {
    /// Adds a closed border and returns its first point.
    fn add(&mut self, border: &Loop) -> usize {
        let first = self.points.len();
        for (n, &p) in border.iter().enumerate() {
            let after = (n + 1) % border.len();
            self.points.push(p);
            self.next.push(first + after);
            if border[after][0] == p[0] {
                self.upright.insert((p[0], (p[1].min(border[after][1]) + 2) / 4), first + n);
            }
        }
        first
    }

    /// Cuts the edges that go from `a` and `b` at the points given, and goes from the first to the second and back.
    fn join(&mut self, a: usize, b: usize, at_a: [i32; 2], at_b: [i32; 2]) {
        let n = self.points.len();
        self.points.extend([at_a, at_b, at_b, at_a]);
        self.next.extend([n + 1, self.next[b], n + 3, self.next[a]]);
        self.next[a] = n;
        self.next[b] = n + 2;
    }

    /// The points of a ring.
    fn follow(&self, first: usize) -> Loop {
        let mut points = vec![self.points[first]];
        let mut at = self.next[first];
        while at != first && points.len() <= self.points.len() {
            points.push(self.points[at]);
            at = self.next[at];
        }
        points
    }
}

/// A closed polygon without the points at which it goes straight on.
fn corners(l: &Loop) -> Loop {
    let n = l.len();
    let direction = |a: [i32; 2], b: [i32; 2]| [(b[0] - a[0]).signum(), (b[1] - a[1]).signum()];
    let turns = |i: &usize| direction(l[(i + n - 1) % n], l[*i]) != direction(l[*i], l[(i + 1) % n]);
    (0..n).filter(turns).map(|i| l[i]).collect()
}

/// Follows one border from `start`, whose edge to the right is taken first, and removes it.
fn walk(out: &mut [u8], width: usize, start: usize) -> Loop {
    let mut points: Loop = Vec::new();
    let (mut corner, mut direction) = (start, 0_usize);
    loop {
        out[corner] &= !(1 << direction);
        points.push([(corner % width) as i32 * 4 - 2, (corner / width) as i32 * 4 - 2]);
        let before = direction;
        let [dc, dr] = STEPS[direction];
        corner = (corner as i64 + i64::from(dc) + i64::from(dr) * width as i64) as usize;
        // Turning right stays with the same pixel where two meet at a corner.
        let next =
            [1, 0, 3].map(|turn| (direction + turn) % 4).into_iter().find(|d| out[corner] >> d & 1 == 1);
        match next {
            Some(d) if corner != start || !closes(before, d) => direction = d,
            _ => break,
        }
    }
    points
}

/// Whether a border that comes back to its start going `before` is complete although an edge `next` leaves there: that
/// edge belongs to another pixel, which touches this one at a corner.
fn closes(before: usize, next: usize) -> bool {
    (before + 1) % 4 != next
}

/// Twice the signed area; positive for outer borders.
fn area(l: &Loop) -> i64 {
    let next = l.iter().cycle().skip(1);
    l.iter()
        .zip(next)
        .map(|(a, b)| i64::from(a[0]) * i64::from(b[1]) - i64::from(b[0]) * i64::from(a[1]))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::super::fill::Fill;
    use super::*;
    use proptest::prelude::*;

    fn check(labels: &[u16], columns: usize, rows: usize) {
        let mask = Mask { labels, columns, rows, id: 1 };
        let want: Vec<bool> = labels.iter().map(|&v| v == 1).collect();
        let points = |l: &Loop| l.iter().map(|p| p.map(|v| f64::from(v) / 4.0)).collect::<Vec<_>>();
        let same = |loops: &[Loop]| {
            let mut fill = Fill::new(columns, rows);
            loops.iter().for_each(|l| fill.add(&points(l)));
            let mut got = vec![false; labels.len()];
            fill.inside(|c, r| got[r * columns + c] = true);
            got == want
        };
        assert!(same(&mask.loops()), "loops of {labels:?}");
        let keyholes = mask.keyholes();
        assert!(same(&keyholes), "keyholes of {labels:?}");
        // Filled one by one and united they give the same, so no polygon is a hole.
        let mut united = vec![false; labels.len()];
        for l in &keyholes {
            let mut fill = Fill::new(columns, rows);
            fill.add(&points(l));
            fill.inside(|c, r| united[r * columns + c] = true);
        }
        assert_eq!(united, want);
    }

    #[test]
    fn a_single_pixel_is_a_square() {
        let mask = Mask { labels: &[0, 0, 0, 0, 1, 0, 0, 0, 0], columns: 3, rows: 3, id: 1 };
        let loops = mask.loops();
        assert_eq!(loops.len(), 1);
        let mut points = loops[0].clone();
        points.sort_unstable();
        assert_eq!(points, [[2, 2], [2, 6], [6, 2], [6, 6]]);
    }

    #[test]
    fn corners_keep_pixels_apart_and_holes_are_found() {
        check(&[1, 0, 0, 1], 2, 2);
        assert_eq!(Mask { labels: &[1, 0, 0, 1], columns: 2, rows: 2, id: 1 }.loops().len(), 2);
        let ring = [1, 1, 1, 1, 0, 1, 1, 1, 1];
        check(&ring, 3, 3);
        assert_eq!(Mask { labels: &ring, columns: 3, rows: 3, id: 1 }.loops().len(), 2);
        assert_eq!(Mask { labels: &ring, columns: 3, rows: 3, id: 1 }.keyholes().len(), 1);
        // Two holes that touch at a corner, and a piece within a hole.
        check(&[1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1], 4, 4);
        let nested: Vec<u16> = (0..49)
            .map(|n| u16::from(!(1..6).contains(&(n % 7)) || !(1..6).contains(&(n / 7)) || n == 24))
            .collect();
        check(&nested, 7, 7);
    }

    proptest! {
        #[test]
        fn any_plane_comes_back(labels in prop::collection::vec(0_u16..3, 9 * 8), dense in any::<bool>()) {
            let labels: Vec<u16> = labels.iter().map(|&v| if dense { u16::from(v != 0) } else { v }).collect();
            check(&labels, 9, 8);
        }
    }
}
