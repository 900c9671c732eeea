//! Light on surfaces.

use crate::volume_view::Lighting;

/// Entries of the table of highlights.
pub(crate) const SHINE_LEN: usize = 256;

/// Light of one picture.
#[derive(Clone, Debug)]
pub(crate) struct Lamp {
    pub ambient: f32,
    pub diffuse: f32,
    pub specular: f32,
    /// `(n / 255) ^ shininess`: a power per sample costs more than a table.
    shine: [f32; SHINE_LEN],
    /// Unit vector towards the lamp.
    pub towards: [f32; 3],
}

/// How much of the lamp a place without a surface gets: the mean over the directions that face the viewer.
pub(crate) const UNLIT: f32 = 0.72;

impl Lamp {
    pub fn new(lighting: &Lighting, towards: [f64; 3]) -> Self {
        let power = lighting.shininess.clamp(1.0, 256.0);
        Self {
            ambient: lighting.ambient.clamp(0.0, 1.0),
            diffuse: lighting.diffuse.clamp(0.0, 1.0),
            specular: lighting.specular.clamp(0.0, 1.0),
            shine: std::array::from_fn(|n| (n as f32 / (SHINE_LEN - 1) as f32).powf(power)),
            towards: towards.map(|v| v as f32),
        }
    }

    /// The direction half-way between lamp and viewer for a ray going along `direction`.
    pub fn half_way(&self, direction: [f32; 3]) -> [f32; 3] {
        unit([0, 1, 2].map(|a| self.towards[a] - direction[a]))
    }

    /// Factor on the colour and white light to be added, for a surface whose (not unit) normal is `normal`, either
    /// side; `strength` 0..=1 says how much of a surface it is.
    #[inline(always)]
    pub fn on(&self, normal: [f32; 3], half_way: [f32; 3], strength: f32) -> (f32, f32) {
        let n = unit(normal);
        let facing = product(n, self.towards).abs();
        let glance = product(n, half_way).abs().min(1.0);
        let at = glance * (SHINE_LEN - 1) as f32;
        let n = (at as usize).min(SHINE_LEN - 2);
        let shine = self.shine[n] + (self.shine[n + 1] - self.shine[n]) * (at - n as f32);
        let lit = UNLIT + (facing - UNLIT) * strength;
        (self.ambient + self.diffuse * lit, self.specular * shine * strength)
    }
}

/// Scalar product.
#[inline(always)]
pub(crate) fn product(a: [f32; 3], b: [f32; 3]) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Unit length, or zero for (nearly) zero.
#[inline(always)]
pub(crate) fn unit(v: [f32; 3]) -> [f32; 3] {
    let square = product(v, v);
    if square > 1e-30 { v.map(|c| c / square.sqrt()) } else { [0.0; 3] }
}
