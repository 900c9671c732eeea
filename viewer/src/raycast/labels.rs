//! Segmentations as rays see them: which visible label is at a point, and where its surface faces.

use formats::LabelTable;

use super::texel::Layout;

/// How one label is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Look {
    /// 0..=1.
    pub rgb: [f32; 3],
    /// 0 is invisible.
    pub opacity: f32,
}

/// The looks of labels `0..=largest`. Background is invisible; numbers without a row in the table are opaque.
pub(crate) fn looks(table: &LabelTable, largest: u16, opacity: f32) -> Vec<Look> {
    let mut looks: Vec<Look> = (0..=largest)
        .map(|id| Look {
            rgb: table_free_rgb(id),
            opacity: if id == 0 { 0.0 } else { opacity.clamp(0.0, 1.0) },
        })
        .collect();
    for entry in &table.entries {
        if let Some(look) = looks.get_mut(usize::from(entry.id)).filter(|_| entry.id != 0) {
            look.rgb = entry.rgb.map(|c| f32::from(c) / 255.0);
            look.opacity = if entry.visible { (entry.opacity * opacity).clamp(0.0, 1.0) } else { 0.0 };
        }
    }
    looks
}

fn table_free_rgb(id: u16) -> [f32; 3] {
    formats::labels::default_rgb(id).map(|c| f32::from(c) / 255.0)
}

/// Labels and their looks.
#[derive(Clone, Copy)]
pub(crate) struct LabelField<'a> {
    pub data: &'a [u16],
    pub layout: Layout,
    pub looks: &'a [Look],
    /// Interpolated surfaces instead of voxels.
    pub smooth: bool,
}

impl LabelField<'_> {
    /// The number when it is drawn, else 0.
    #[inline(always)]
    fn visible(&self, id: u16) -> u16 {
        if self.looks.get(usize::from(id)).is_some_and(|l| l.opacity > 0.0) { id } else { 0 }
    }

    /// The visible label at a voxel position, 0 for none: the nearest voxel's, or (smooth) the one with the largest
    /// share in the linear interpolation; invisible labels count as background, ties go to the smaller number.
    #[inline]
    pub fn at(&self, p: [f32; 3]) -> u16 {
        if !self.smooth {
            return self.visible(self.data[self.layout.nearest(p)]);
        }
        let (o, f) = self.layout.corners(p);
        let ids = o.map(|n| self.data[n]);
        if ids[1..].iter().all(|&id| id == ids[0]) {
            return self.visible(ids[0]);
        }
        let ids = ids.map(|id| self.visible(id));
        let (x, y, z) = ([1.0 - f[0], f[0]], [1.0 - f[1], f[1]], [1.0 - f[2], f[2]]);
        let weight = |n: usize| x[n & 1] * y[n >> 1 & 1] * z[n >> 2];
        let (mut best, mut share) = (0u16, -1.0f32);
        for n in 0..8 {
            let mut sum = 0.0;
            for m in 0..8 {
                sum += if ids[m] == ids[n] { weight(m) } else { 0.0 };
            }
            if sum > share || sum == share && ids[n] < best {
                (best, share) = (ids[n], sum);
            }
        }
        best
    }

    /// Gradient of the label's indicator smoothed over three voxels either way, per voxel along i, j, k: points into
    /// the label. 216 voxels are read, once per visible surface; less would show the voxels' stairs.
    pub fn gradient(&self, p: [f32; 3], id: u16) -> [f32; 3] {
        let (offsets, f) = self.layout.six(p);
        let [(wx, dx), (wy, dy), (wz, dz)] = f.map(bell);
        let [x, y, z] = offsets;
        let mut g = [0.0f32; 3];
        for c in 0..6 {
            let (mut plane, mut across, mut along) = (0.0, 0.0, 0.0);
            for b in 0..6 {
                let row = y[b] + z[c];
                let (mut value, mut slope) = (0.0, 0.0);
                for a in 0..6 {
                    let inside = f32::from(u8::from(self.data[x[a] + row] == id));
                    value += inside * wx[a];
                    slope += inside * dx[a];
                }
                plane += value * wy[b];
                across += value * dy[b];
                along += slope * wy[b];
            }
            g[0] += along * wz[c];
            g[1] += across * wz[c];
            g[2] += plane * dz[c];
        }
        g
    }
}

/// Weights of the six voxels around a fraction `t` between the third and the fourth, and their derivatives: the bell
/// `(1 - (d/3)²)²` over distances `d` below 3.
pub(crate) fn bell(t: f32) -> ([f32; 6], [f32; 6]) {
    let (mut w, mut d) = ([0.0; 6], [0.0; 6]);
    for n in 0..6 {
        // From the voxel to the place.
        let x = (t + 2.0 - n as f32) / 3.0;
        let rest = 1.0 - x * x;
        w[n] = rest * rest;
        d[n] = -4.0 / 3.0 * x * rest;
    }
    (w, d)
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::LabelEntry;

    #[test]
    fn looks_follow_the_table() {
        let mut hidden = LabelEntry::new(2, "b", [9, 9, 9]);
        hidden.visible = false;
        let mut thin = LabelEntry::new(3, "c", [255, 0, 0]);
        thin.opacity = 0.5;
        let table = LabelTable { entries: vec![hidden, thin] };
        let looks = looks(&table, 4, 0.5);
        assert_eq!(looks.len(), 5);
        assert_eq!((looks[0].opacity, looks[2].opacity, looks[3].opacity), (0.0, 0.0, 0.25));
        assert_eq!(looks[3].rgb, [1.0, 0.0, 0.0]);
        assert_eq!(looks[4].opacity, 0.5);
    }

    #[test]
    fn a_plane_has_its_surface_half_way_and_its_normal_across() {
        let size = [8, 8, 8];
        let data: Vec<u16> = (0..512).map(|n| if n % 8 >= 4 { 5 } else { 0 }).collect();
        let looks = looks(&LabelTable::default(), 5, 1.0);
        for smooth in [false, true] {
            let field = LabelField { data: &data, layout: Layout::new(size), looks: &looks, smooth };
            assert_eq!(field.at([3.45, 4.2, 4.9]), 0);
            assert_eq!(field.at([3.55, 4.2, 4.9]), 5);
        }
        let field = LabelField { data: &data, layout: Layout::new(size), looks: &looks, smooth: true };
        let g = field.gradient([3.5, 3.3, 4.8], 5);
        assert!(g[0] > 0.5 && g[1].abs() < 0.03 * g[0] && g[2].abs() < 0.03 * g[0], "{g:?}");
    }

    #[test]
    fn the_gradient_of_a_ball_points_inwards() {
        let n = 24usize;
        let centre = 11.5f32;
        let data: Vec<u16> = (0..n * n * n)
            .map(|v| {
                let p = [v % n, v / n % n, v / n / n].map(|c| c as f32 - centre);
                u16::from(p.iter().map(|c| c * c).sum::<f32>() < 64.0)
            })
            .collect();
        let looks = looks(&LabelTable::default(), 1, 1.0);
        let field = LabelField { data: &data, layout: Layout::new([n; 3]), looks: &looks, smooth: true };
        for direction in [[1.0f32, 0.0, 0.0], [0.6, 0.64, 0.48], [-0.36, 0.48, -0.8]] {
            let g = field.gradient(direction.map(|d| centre + 8.0 * d), 1);
            let length = g.iter().map(|v| v * v).sum::<f32>().sqrt();
            let cosine = -(0..3).map(|a| g[a] * direction[a]).sum::<f32>() / length;
            assert!(cosine > 0.99, "{direction:?}: {cosine}");
        }
    }
}
