//! How the faces between voxels meet at a corner: the table behind [`super::extract`].
//!
//! A corner of the voxel lattice touches eight voxels, its *octants*. Octant `di + 2·dj + 4·dk` lies towards greater
//! `i` when `di` is 1, and so on. A *configuration* is a byte with a bit per octant, set when that voxel is inside.
//!
//! Twelve possible faces meet at the corner, each between two octants that differ along one axis. Face
//! `4·axis + db + 2·dc` separates octants along `axis` at offsets `db`, `dc` along the other two axes (in ascending
//! order). Six edges leave the corner: edge `2·axis + side` goes towards greater coordinates when `side` is 1.

use std::sync::OnceLock;

/// What is known about one configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Corner {
    /// Closed fans of faces: the vertices that this corner needs, 0 to 4.
    pub fans: u8,
    /// The fan of each face that is there.
    pub fan_of_face: [u8; 12],
    /// Bit per edge: four faces meet there, around two inside voxels that touch only along it.
    pub pinched: u8,
}

/// The axes other than `axis`, ascending.
pub(super) const fn others(axis: usize) -> (usize, usize) {
    match axis {
        0 => (1, 2),
        1 => (0, 2),
        _ => (0, 1),
    }
}

/// The octant at offset `da` along `axis` and `db`, `dc` along the others.
pub(super) const fn octant(axis: usize, da: usize, db: usize, dc: usize) -> usize {
    let (b, c) = others(axis);
    (da << axis) | (db << b) | (dc << c)
}

/// The four octants around an edge, in order around it, and the four faces between each and the next.
pub(super) fn around(axis: usize, side: usize) -> ([usize; 4], [usize; 4]) {
    let (b, c) = others(axis);
    let octants = [(0, 0), (1, 0), (1, 1), (0, 1)].map(|(db, dc)| octant(axis, side, db, dc));
    // A face across b lies at `side` along the edge and at some offset along c; its number has these two in the order
    // of their axes. Likewise across c.
    let face = |across: usize, offset: usize| {
        let (low, high) = if others(across).0 == axis { (side, offset) } else { (offset, side) };
        4 * across + low + 2 * high
    };
    (octants, [face(b, 0), face(c, 1), face(b, 1), face(c, 0)])
}

/// The table, by configuration.
pub(super) fn table() -> &'static [Corner; 256] {
    static TABLE: OnceLock<[Corner; 256]> = OnceLock::new();
    TABLE.get_or_init(|| std::array::from_fn(corner))
}

fn corner(configuration: usize) -> Corner {
    let inside = |octant: usize| configuration >> octant & 1 == 1;
    let mut group: [usize; 12] = std::array::from_fn(|f| f);
    let mut is_there = [false; 12];
    let mut pinched = 0;
    for edge in 0..6 {
        let (octants, faces) = around(edge / 2, edge % 2);
        let here: Vec<usize> =
            (0..4).filter(|&n| inside(octants[n]) != inside(octants[(n + 1) % 4])).collect();
        here.iter().for_each(|&n| is_there[faces[n]] = true);
        let mut join = |a: usize, b: usize| {
            let (from, to) = (group[faces[a]], group[faces[b]]);
            group.iter_mut().filter(|g| **g == from).for_each(|g| *g = to);
        };
        match here.as_slice() {
            &[a, b] => join(a, b),
            [_, _, _, _] => {
                pinched |= 1 << edge;
                (0..4).filter(|&n| inside(octants[n])).for_each(|n| join((n + 3) % 4, n));
            }
            _ => {}
        }
    }
    let mut numbers: Vec<usize> = Vec::new();
    let mut fan_of_face = [0; 12];
    for face in (0..12).filter(|&f| is_there[f]) {
        let known = numbers.iter().position(|&g| g == group[face]);
        let fan = known.unwrap_or_else(|| {
            numbers.push(group[face]);
            numbers.len() - 1
        });
        fan_of_face[face] = fan as u8;
    }
    Corner { fans: numbers.len() as u8, fan_of_face, pinched }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fans_of_known_corners() {
        let t = table();
        assert_eq!((t[0].fans, t[255].fans), (0, 0));
        for octant in 0..8 {
            assert_eq!((t[1 << octant].fans, t[255 ^ 1 << octant].fans), (1, 1));
        }
        // A flat face, two voxels touching along an edge, at a corner, and the checkerboard.
        assert_eq!((t[0b0101_0101].fans, t[0b0101_0101].pinched), (1, 0));
        assert_eq!((t[0b0000_1001].fans, t[0b0000_1001].pinched), (2, 1 << 4));
        assert_eq!((t[0b1000_0001].fans, t[0b1000_0001].pinched), (2, 0));
        assert_eq!((t[0b1001_0110].fans, t[0b1001_0110].pinched), (4, 0b11_1111));
        assert_eq!(t[0b0110_1001].fans, 4);
    }

    #[test]
    fn every_face_around_an_edge_separates_its_octants() {
        for edge in 0..6 {
            let (octants, faces) = around(edge / 2, edge % 2);
            for n in 0..4 {
                let (axis, db, dc) = (faces[n] / 4, faces[n] & 1, faces[n] >> 1 & 1);
                let mut expected = [octant(axis, 0, db, dc), octant(axis, 1, db, dc)];
                let mut found = [octants[n], octants[(n + 1) % 4]];
                expected.sort_unstable();
                found.sort_unstable();
                assert_eq!(found, expected, "edge {edge}, {n}");
            }
        }
    }
}
