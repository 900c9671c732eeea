//! Recommended Display CIELab Value (PS3.3 C.10.7.1.1) from and to sRGB.
//!
//! L* 0..=100 and a*, b* −128..=127, each stretched over 0..=65535.
//!
//! # Why the white is D65
//! The standard means the ICC connection space, whose white is D50. The programs that write and read segmentations (dcmqi
//! and so Slicer, highdicom) take sRGB's own white D65 instead. What they all do is done here too: a colour then
//! comes back exactly, where the letter of the standard would shift it by some units in each exchange.

/// X, Y, Z of the white D65.
const WHITE: [f64; 3] = [0.950_47, 1.0, 1.088_83];

/// XYZ from linear sRGB (IEC 61966-2-1).
const XYZ_FROM_RGB: [[f64; 3]; 3] = [
    [0.412_456_4, 0.357_576_1, 0.180_437_5],
    [0.212_672_9, 0.715_152_2, 0.072_175_0],
    [0.019_333_9, 0.119_192_0, 0.950_304_1],
];

/// The inverse of [`XYZ_FROM_RGB`].
const RGB_FROM_XYZ: [[f64; 3]; 3] = [
    [3.240_454_2, -1.537_138_5, -0.498_531_4],
    [-0.969_266_0, 1.876_010_8, 0.041_556_0],
    [0.055_643_4, -0.204_025_9, 1.057_225_2],
];

fn apply(m: &[[f64; 3]; 3], v: [f64; 3]) -> [f64; 3] {
    [0, 1, 2].map(|r| m[r][0] * v[0] + m[r][1] * v[1] + m[r][2] * v[2])
}

/// The encoded L*, a*, b* of an sRGB colour.
#[must_use]
pub fn lab_from_rgb(rgb: [u8; 3]) -> [u16; 3] {
    let linear = rgb.map(|c| {
        let c = f64::from(c) / 255.0;
        if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
    });
    let xyz = apply(&XYZ_FROM_RGB, linear);
    let f = [0, 1, 2].map(|n| {
        let t: f64 = xyz[n] / WHITE[n];
        if t > 216.0 / 24389.0 { t.cbrt() } else { (24389.0 / 27.0 * t + 16.0) / 116.0 }
    });
    let (l, a, b) = (116.0 * f[1] - 16.0, 500.0 * (f[0] - f[1]), 200.0 * (f[1] - f[2]));
    let stretch =
        |v: f64, low: f64, range: f64| ((v - low) / range * 65535.0).round().clamp(0.0, 65535.0) as u16;
    [stretch(l, 0.0, 100.0), stretch(a, -128.0, 255.0), stretch(b, -128.0, 255.0)]
}

/// The sRGB colour of an encoded L*, a*, b*; colours that sRGB does not have are cut to its range.
#[must_use]
pub fn rgb_from_lab(lab: [u16; 3]) -> [u8; 3] {
    let [l, a, b] = lab.map(|v| f64::from(v) / 65535.0);
    let (l, a, b) = (l * 100.0, a * 255.0 - 128.0, b * 255.0 - 128.0);
    let fy = (l + 16.0) / 116.0;
    let f = [fy + a / 500.0, fy, fy - b / 200.0];
    let xyz = [0, 1, 2].map(|n| {
        let cube = f[n].powi(3);
        let t = if cube > 216.0 / 24389.0 { cube } else { (116.0 * f[n] - 16.0) * 27.0 / 24389.0 };
        t * WHITE[n]
    });
    apply(&RGB_FROM_XYZ, xyz).map(|c| {
        let c = if c <= 0.003_130_8 { 12.92 * c } else { 1.055 * c.powf(1.0 / 2.4) - 0.055 };
        (c * 255.0).round().clamp(0.0, 255.0) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_come_back() {
        for r in (0..=255).step_by(15) {
            for g in (0..=255).step_by(15) {
                for b in (0..=255).step_by(15) {
                    let rgb = [r as u8, g as u8, b as u8];
                    assert_eq!(rgb_from_lab(lab_from_rgb(rgb)), rgb);
                }
            }
        }
    }

    /// What highdicom 0.28 and dcmqi write.
    #[test]
    fn colours_agree_with_other_programs() {
        for (rgb, lab) in [
            ([128, 174, 128], [43803, 26565, 37722]),
            ([216, 101, 79], [37064, 44082, 41620]),
            ([255, 0, 0], [34886, 53484, 50172]),
            ([12, 48, 255], [24095, 49918, 7091]),
            ([255, 255, 255], [65535, 32897, 32893]),
        ] {
            let found = lab_from_rgb(rgb);
            assert!((0..3).all(|n| found[n].abs_diff(lab[n]) <= 8), "{rgb:?}: {found:?} instead of {lab:?}");
            assert_eq!(rgb_from_lab(lab), rgb);
        }
    }
}
