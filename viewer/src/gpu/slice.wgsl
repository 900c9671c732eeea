// Slice pictures: the twin of `viewer::slice` and `viewer::sampling`, which define what is right.
// One pass over the picture per layer, blended premultiplied over what is below.

// The twin of `LayerUniform` in slice.rs.
struct Layer {
    // Rows of voxel_from_pixel: step right, step down, unused, origin.
    voxel_i: vec4f,
    voxel_j: vec4f,
    voxel_k: vec4f,
    // Added before the owner of a point is looked up; the layer's opacity.
    nudge: vec3f,
    opacity: f32,
    // Voxels along i, j, k; slices of the texture that are there.
    size: vec3f,
    ready: f32,
    // Texels per voxel along i, j, k; texels from here on have no finite value.
    texels: vec3f,
    invalid_from: f32,
    // Position in the window = x · texel + y.
    window: vec2f,
    // Images: 1 is linear between voxels. Labels: 1 draws outlines.
    mode: u32,
    // 1 where texels are premultiplied colours.
    is_colour: u32,
    // The colour map, four entries per vector.
    colours: array<vec4u, 64>,
}

@group(0) @binding(0) var<uniform> layer: Layer;
@group(0) @binding(1) var image: texture_3d<f32>;
@group(0) @binding(2) var labels: texture_3d<u32>;
@group(0) @binding(3) var palette: texture_2d<f32>;

@vertex
fn vertex(@builtin(vertex_index) n: u32) -> @builtin(position) vec4f {
    // One triangle over the whole picture.
    return vec4f(f32(n & 1u) * 4.0 - 1.0, f32(n >> 1u) * 4.0 - 1.0, 0.0, 1.0);
}

fn voxel_at(pixel: vec2f) -> vec3f {
    let p = vec4f(pixel, 0.0, 1.0);
    return vec3f(dot(layer.voxel_i, p), dot(layer.voxel_j, p), dot(layer.voxel_k, p));
}

// The texel of the voxel that owns a point; z is -1 where there is none (yet).
fn owner(voxel: vec3f) -> vec3i {
    let at = floor(voxel + layer.nudge + 0.5);
    let texel = floor((at + 0.5) * layer.texels);
    if all(at >= vec3f(0.0)) && all(at < layer.size) && texel.z < layer.ready {
        return vec3i(texel);
    }
    return vec3i(-1);
}

fn colour_at(t: f32) -> vec4f {
    let n = u32(clamp(t, 0.0, 1.0) * 255.0 + 0.5);
    return unpack4x8unorm(layer.colours[n / 4u][n % 4u]);
}

// The corner `c` (bits 0, 1, 2: the far one along i, j, k).
fn corner(near: vec3i, far: vec3i, c: u32) -> vec4f {
    let is_far = vec3<bool>((c & 1u) != 0u, (c & 2u) != 0u, (c & 4u) != 0u);
    return textureLoad(image, select(near, far, is_far), 0);
}

@fragment
fn image_fragment(@builtin(position) position: vec4f) -> @location(0) vec4f {
    let voxel = voxel_at(position.xy);
    let own = owner(voxel);
    if own.z < 0 {
        return vec4f(0.0);
    }
    var texel: vec4f;
    if layer.mode == 0u {
        texel = textureLoad(image, own, 0);
        if layer.is_colour == 0u && texel.x >= layer.invalid_from {
            return vec4f(0.0);
        }
    } else {
        let last = vec3f(textureDimensions(image)) - 1.0;
        let at = clamp((voxel + 0.5) * layer.texels - 0.5, vec3f(0.0), last);
        let near_texel = floor(at);
        let f = at - near_texel;
        let near = vec3i(near_texel);
        let far = vec3i(min(near_texel + 1.0, last));
        var taps: array<vec4f, 8>;
        var largest = 0.0;
        for (var c = 0u; c < 8u; c++) {
            taps[c] = corner(near, far, c);
            largest = max(largest, taps[c].x);
        }
        if layer.is_colour == 0u && largest >= layer.invalid_from {
            var sum = 0.0;
            var total = 0.0;
            for (var c = 0u; c < 8u; c++) {
                let w = select(1.0 - f.x, f.x, (c & 1u) != 0u) * select(1.0 - f.y, f.y, (c & 2u) != 0u)
                    * select(1.0 - f.z, f.z, (c & 4u) != 0u);
                if taps[c].x < layer.invalid_from {
                    sum += w * taps[c].x;
                    total += w;
                }
            }
            if total <= 0.5 {
                return vec4f(0.0);
            }
            texel = vec4f(sum / total);
        } else {
            let front = mix(mix(taps[0], taps[1], f.x), mix(taps[2], taps[3], f.x), f.y);
            let back = mix(mix(taps[4], taps[5], f.x), mix(taps[6], taps[7], f.x), f.y);
            texel = mix(front, back, f.z);
        }
    }
    if layer.is_colour != 0u {
        return texel * layer.opacity;
    }
    let colour = colour_at(layer.window.x * texel.x + layer.window.y);
    let alpha = colour.a * layer.opacity;
    return vec4f(colour.rgb * alpha, alpha);
}

fn label_at(pixel: vec2f) -> u32 {
    let own = owner(voxel_at(pixel));
    if own.z < 0 {
        return 0u;
    }
    return textureLoad(labels, own, 0).x;
}

@fragment
fn label_fragment(@builtin(position) position: vec4f) -> @location(0) vec4f {
    let p = position.xy;
    let label = label_at(p);
    if label == 0u {
        return vec4f(0.0);
    }
    let colour = textureLoad(palette, vec2u(label & 255u, label >> 8u), 0);
    var alpha = colour.a * layer.opacity;
    if layer.mode != 0u && colour.a > 0.0 {
        if label_at(p - vec2f(1.0, 0.0)) != label || label_at(p + vec2f(1.0, 0.0)) != label
            || label_at(p - vec2f(0.0, 1.0)) != label || label_at(p + vec2f(0.0, 1.0)) != label {
            alpha = 1.0;
        }
    }
    return vec4f(colour.rgb * alpha, alpha);
}
