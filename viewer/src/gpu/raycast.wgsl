// The 3-D picture: the twin of `viewer::raycast`, which defines what is right; names are the same.
// One fragment per ray. World coordinates here are relative to the camera's focus, which keeps f32 exact enough.

// The twin of `RayUniform` in raycast.rs. Everything is a vec4, so that both sides lay it out alike.
struct Frame {
    eye: vec4f,          // w: 1 for orthographic
    towards: vec4f,      // w: distance from the eye to the focus
    top_left: vec4f,     // w: step in mm
    across: vec4f,       // w: 1 for jitter
    down: vec4f,         // w: 1 for light
    pixels: vec4f,       // whole picture, picture drawn
    image_rows: array<vec4f, 3>,   // voxel_from_world
    label_rows: array<vec4f, 3>,
    image_size: vec4f,   // voxels; w: 1 when the image is cast
    label_size: vec4f,   // voxels; w: 1 when there are labels
    image_counts: vec4i, // blocks; w: 1 to jump over blocks
    label_counts: vec4i, // blocks; w: 1 to jump over blocks
    image_scale: vec4f,  // texture coordinate = voxel * scale + offset; w: 1 when there is an image (for slices)
    image_offset: vec4f, // w: 1 where slices are interpolated
    label_scale: vec4f,  // texel = voxel * scale + offset; w: 1 for smooth surfaces
    label_offset: vec4f, // w: opacity over slices
    label_texels: vec4i,
    lamp: vec4f,         // w: shininess
    light: vec4f,        // ambient, diffuse, specular, texels above it hold no value
    factors: vec4f,      // table position = x * texel + y, window position = z * texel + w
    surface: vec4f,      // rgb, level as texel
    background_top: vec4f,
    background_bottom: vec4f,
    flags: vec4u,        // mode, cuts, slices, bit 0: colour image, bit 1: greater texels are inside
    halves: array<vec4f, 12>,      // normal, offset
    slices: array<vec4f, 3>,       // normal along an axis, position
}

@group(0) @binding(0) var<uniform> frame: Frame;
@group(0) @binding(1) var image: texture_3d<f32>;
@group(0) @binding(2) var linear: sampler;
@group(0) @binding(3) var labels: texture_3d<u32>;
// Colour and opacity of label numbers, 256 wide.
@group(0) @binding(4) var looks: texture_2d<f32>;
// Row 0: density, row 1: its integral.
@group(0) @binding(5) var transfer: texture_2d<f32>;
@group(0) @binding(6) var image_blocks: texture_3d<u32>;
@group(0) @binding(7) var label_blocks: texture_3d<u32>;
@group(0) @binding(8) var colours: texture_2d<f32>;

const NEVER = 0x7fffffff;
const TABLE = 1023.0;
const DARK = 0.008;
const FAINT = 0.01;
const DENSE = 0.3;
const EDGE = 0.035;
const UNLIT = 0.72;
const HALVINGS = 6;
const COMPOSITE = 0u;
const MIP = 1u;
const MINIP = 2u;
const AVERAGE = 3u;
const SURFACE = 4u;

struct Span { begin: f32, end: f32, entry: vec3f }
struct Walk { start: vec3f, step: vec3f, first: i32, last: i32 }
struct Ticks { zero: f32, step: f32 }
struct Sight { origin: vec3f, direction: vec3f }
struct Density { rgb: vec3f, extinction: f32 }

var<private> seen: vec3f;
var<private> left: f32;
var<private> half_way: vec3f;
// Between samples, in mm times log2 e.
var<private> step_log: f32;

@vertex
fn vertex(@builtin(vertex_index) n: u32) -> @builtin(position) vec4f {
    return vec4f(f32(n & 1u) * 4.0 - 1.0, f32(n >> 1u) * 4.0 - 1.0, 0.0, 1.0);
}

fn add(alpha: f32, rgb: vec3f, light: vec2f) {
    let w = left * alpha;
    seen += w * min(rgb * light.x + light.y, vec3f(1.0));
    left -= w;
}

fn sight(pixel: vec2f) -> Sight {
    let at = pixel * frame.pixels.xy / frame.pixels.zw;
    let p = frame.top_left.xyz + at.x * frame.across.xyz + at.y * frame.down.xyz;
    if frame.eye.w > 0.5 {
        return Sight(p + frame.towards.w * frame.towards.xyz, -frame.towards.xyz);
    }
    return Sight(frame.eye.xyz, normalize(p - frame.eye.xyz));
}

fn cut(span: ptr<function, Span>, distance: f32, slope: f32, normal: vec3f) {
    if abs(slope) < 1e-12 {
        if distance < 0.0 {
            (*span).end = -1e30;
        }
        return;
    }
    let t = -distance / slope;
    if slope > 0.0 {
        if t > (*span).begin {
            (*span).begin = t;
            (*span).entry = normal;
        }
    } else {
        (*span).end = min((*span).end, t);
    }
}

fn direction_in(rows: array<vec4f, 3>, d: vec3f) -> vec3f {
    return vec3f(dot(rows[0].xyz, d), dot(rows[1].xyz, d), dot(rows[2].xyz, d));
}

fn point_in(rows: array<vec4f, 3>, p: vec3f) -> vec3f {
    return direction_in(rows, p) + vec3f(rows[0].w, rows[1].w, rows[2].w);
}

// A gradient per millimetre from one per voxel.
fn turned(rows: array<vec4f, 3>, g: vec3f) -> vec3f {
    return g.x * rows[0].xyz + g.y * rows[1].xyz + g.z * rows[2].xyz;
}

fn inside(rows: array<vec4f, 3>, size: vec3f, ray: Sight, open: Span) -> Span {
    var span = open;
    let o = point_in(rows, ray.origin);
    let d = direction_in(rows, ray.direction);
    for (var a = 0; a < 3; a++) {
        cut(&span, o[a] + 0.5, d[a], -rows[a].xyz);
        cut(&span, size[a] - 0.5 - o[a], -d[a], rows[a].xyz);
    }
    return span;
}

fn walk_in(rows: array<vec4f, 3>, ray: Sight, ticks: Ticks, span: Span) -> Walk {
    let start = point_in(rows, ray.origin + ticks.zero * ray.direction);
    let step = direction_in(rows, ray.direction) * ticks.step;
    let first = ceil((span.begin - ticks.zero) / ticks.step);
    let last = floor((span.end - ticks.zero) / ticks.step);
    return Walk(start, step, i32(max(first, 0.0)), i32(clamp(last, -1.0, 1e6)));
}

fn at(walk: Walk, m: f32) -> vec3f {
    return walk.start + m * walk.step;
}

fn block_of(p: vec3f, counts: vec3i) -> vec3i {
    return clamp(vec3i(p * 0.125), vec3i(0), counts - 1);
}

fn leave(walk: Walk, m: i32, p: vec3f, b: vec3i, radius: i32, counts: vec3i) -> i32 {
    let forwards = walk.step > vec3f(0.0);
    let wall = select(vec3f(b - radius), vec3f(b + radius + 1), forwards) * 8.0;
    let is_open = select(b > vec3i(radius), b + radius + 1 < counts, forwards) & (walk.step != vec3f(0.0));
    let t = select(vec3f(1e30), (wall - p) / walk.step, is_open);
    let exit = min(t.x, min(t.y, t.z));
    if exit > 1e29 {
        return NEVER;
    }
    let next = m + i32(clamp(exit, 0.0, 2e6)) + 1;
    return select(next, NEVER, next > walk.last);
}

fn next_image(walk: Walk, m: i32) -> i32 {
    if walk.first > walk.last || m > walk.last {
        return NEVER;
    }
    if m < walk.first {
        return walk.first;
    }
    if frame.image_counts.w == 0 {
        return m;
    }
    let p = at(walk, f32(m));
    let b = block_of(p, frame.image_counts.xyz);
    let distance = i32(textureLoad(image_blocks, b, 0).r);
    if distance == 0 {
        return m;
    }
    return leave(walk, m, p, b, distance - 1, frame.image_counts.xyz);
}

fn next_label(walk: Walk, m: i32) -> i32 {
    if walk.first > walk.last || m > walk.last {
        return NEVER;
    }
    if m < walk.first {
        return walk.first;
    }
    if frame.label_counts.w == 0 {
        return m;
    }
    let p = at(walk, f32(m));
    let b = block_of(p, frame.label_counts.xyz);
    let distance = i32(textureLoad(label_blocks, b, 0).r);
    if distance == 0 {
        return m;
    }
    return leave(walk, m, p, b, distance - 1, frame.label_counts.xyz);
}

// The texel at a voxel position, linear; luma of (premultiplied) colours. Texels without a value are the lowest.
fn texel(p: vec3f) -> f32 {
    let t = textureSampleLevel(image, linear, p * frame.image_scale.xyz + frame.image_offset.xyz, 0.0);
    if (frame.flags.w & 1u) != 0u {
        return dot(t.rgb, vec3f(0.299, 0.587, 0.114));
    }
    return select(t.r, select(1e30, -1e30, frame.factors.x > 0.0), t.r > frame.light.w);
}

fn own_rgb(p: vec3f) -> vec3f {
    return textureSampleLevel(image, linear, p * frame.image_scale.xyz + frame.image_offset.xyz, 0.0).rgb;
}

fn tabled(t: f32) -> f32 {
    return clamp(t * frame.factors.x + frame.factors.y, 0.0, TABLE);
}

fn gradient(p: vec3f) -> vec3f {
    let x = vec3f(1.0, 0.0, 0.0);
    let y = vec3f(0.0, 1.0, 0.0);
    let z = vec3f(0.0, 0.0, 1.0);
    // The outer half voxel continues the edge, whose eight corners know nothing beyond.
    let q = clamp(p, vec3f(0.0), frame.image_size.xyz - 1.0);
    return 0.5 * vec3f(
        texel(q + x) - texel(q - x), texel(q + y) - texel(q - y), texel(q + z) - texel(q - z));
}

fn table_at(x: f32, row: i32) -> vec4f {
    let i = min(i32(x), 1022);
    let p = textureLoad(transfer, vec2i(i, row), 0);
    let q = textureLoad(transfer, vec2i(i + 1, row), 0);
    return p + (q - p) * (x - f32(i));
}

fn density(a: f32, b: f32) -> Density {
    if abs(a - b) < 1.0 {
        let d = table_at(0.5 * (a + b), 0);
        return Density(d.rgb, d.a);
    }
    let d = table_at(b, 1) - table_at(a, 1);
    if d.a == 0.0 {
        return Density(vec3f(0.0), 0.0);
    }
    return Density(d.rgb / d.a, d.a / (b - a));
}

fn unit(v: vec3f) -> vec3f {
    let square = dot(v, v);
    return select(vec3f(0.0), v * inverseSqrt(square), square > 1e-30);
}

// Factor on the colour and white light to be added.
fn lamp_on(normal: vec3f, strength: f32) -> vec2f {
    let n = unit(normal);
    let facing = abs(dot(n, frame.lamp.xyz));
    let glance = min(abs(dot(n, half_way)), 1.0);
    let shine = pow(max(glance, 1e-6), frame.lamp.w);
    let lit = UNLIT + (facing - UNLIT) * strength;
    return vec2f(frame.light.x + frame.light.y * lit, frame.light.z * shine * strength);
}

fn light_at(p: vec3f) -> vec2f {
    let g = turned(frame.image_rows, gradient(p) * frame.factors.x);
    let full = TABLE * EDGE;
    let steepness = dot(g, g) / (full * full);
    let strength = select(0.0, min(steepness / (steepness + 0.25), 1.0), steepness > 0.0 && steepness < 1e30);
    return lamp_on(g, strength);
}

fn look_of(id: u32) -> vec4f {
    return textureLoad(looks, vec2u(id & 255u, id >> 8u), 0);
}

fn visible(id: u32) -> u32 {
    return select(0u, id, look_of(id).a > 0.0);
}

fn label_texel(p: vec3f) -> vec3f {
    return clamp(p * frame.label_scale.xyz + frame.label_offset.xyz, vec3f(0.0), vec3f(frame.label_texels.xyz - 1));
}

fn label_before(q: vec3f) -> vec3i {
    return clamp(vec3i(q), vec3i(0), max(frame.label_texels.xyz - 2, vec3i(0)));
}

fn nearest_label(p: vec3f) -> u32 {
    return textureLoad(labels, vec3i(label_texel(p) + 0.5), 0).r;
}

fn label_at(p: vec3f) -> u32 {
    if frame.label_scale.w < 0.5 {
        return visible(nearest_label(p));
    }
    let q = label_texel(p);
    let base = label_before(q);
    let f = q - vec3f(base);
    let last = frame.label_texels.xyz - 1;
    var ids: array<u32, 8>;
    var weights: array<f32, 8>;
    var is_same = true;
    for (var n = 0; n < 8; n++) {
        let d = vec3i(n & 1, (n >> 1) & 1, n >> 2);
        ids[n] = textureLoad(labels, min(base + d, last), 0).r;
        let w = select(1.0 - f, f, d == vec3i(1));
        weights[n] = w.x * w.y * w.z;
        is_same = is_same && ids[n] == ids[0];
    }
    if is_same {
        return visible(ids[0]);
    }
    for (var n = 0; n < 8; n++) {
        ids[n] = visible(ids[n]);
    }
    var best = 0u;
    var share = -1.0;
    for (var n = 0; n < 8; n++) {
        var sum = 0.0;
        for (var k = 0; k < 8; k++) {
            sum += select(0.0, weights[k], ids[k] == ids[n]);
        }
        if sum > share || (sum == share && ids[n] < best) {
            best = ids[n];
            share = sum;
        }
    }
    return best;
}

// The bell's weight and derivative at voxel n - 2 for fraction t.
fn bell(t: f32, n: i32) -> vec2f {
    let x = (t + 2.0 - f32(n)) / 3.0;
    let rest = 1.0 - x * x;
    return vec2f(rest * rest, -4.0 / 3.0 * x * rest);
}

fn label_gradient(p: vec3f, id: u32) -> vec3f {
    let q = label_texel(p);
    let base = label_before(q);
    let f = q - vec3f(base);
    let last = frame.label_texels.xyz - 1;
    var g = vec3f(0.0);
    for (var c = 0; c < 6; c++) {
        let z = bell(f.z, c);
        for (var b = 0; b < 6; b++) {
            let y = bell(f.y, b);
            for (var a = 0; a < 6; a++) {
                let v = clamp(base + vec3i(a, b, c) - 2, vec3i(0), last);
                if textureLoad(labels, v, 0).r == id {
                    let x = bell(f.x, a);
                    g += vec3f(x.y * y.x * z.x, x.x * y.y * z.x, x.x * y.x * z.y);
                }
            }
        }
    }
    return g * frame.label_scale.xyz;
}

fn label_surface(walk: Walk, m: i32, id: u32, entry: vec3f) {
    let look = look_of(id);
    var normal = entry;
    if m != walk.first {
        var low = 0.0;
        var high = 1.0;
        for (var n = 0; n < HALVINGS; n++) {
            let middle = 0.5 * (low + high);
            if label_at(at(walk, f32(m) - 1.0 + middle)) == id {
                high = middle;
            } else {
                low = middle;
            }
        }
        let p = at(walk, f32(m) - 1.0 + high);
        var g: vec3f;
        if frame.label_scale.w > 0.5 {
            g = label_gradient(p, id);
        } else {
            g = floor(p + 0.5) - floor(at(walk, f32(m) - 1.0 + low) + 0.5);
        }
        normal = turned(frame.label_rows, g);
    }
    add(look.a, look.rgb, lamp_on(normal, 1.0));
}

// Draws the isosurface when it lies between two samples; true when it does.
fn iso_surface(walk: Walk, m: i32, has_before: bool, before: f32, here: f32, entry: vec3f) -> bool {
    let sign = select(-1.0, 1.0, (frame.flags.w & 2u) != 0u);
    let level = frame.surface.w * sign;
    if here * sign < level {
        return false;
    }
    var normal = entry;
    var place = f32(m);
    if has_before && before * sign < level {
        var low = 0.0;
        var high = 1.0;
        for (var n = 0; n < HALVINGS; n++) {
            let middle = 0.5 * (low + high);
            if texel(at(walk, f32(m) - 1.0 + middle)) * sign >= level {
                high = middle;
            } else {
                low = middle;
            }
        }
        place = f32(m) - 1.0 + high;
        normal = turned(frame.image_rows, gradient(at(walk, place)) * frame.factors.x);
    }
    var rgb = frame.surface.rgb;
    if (frame.flags.w & 1u) != 0u {
        rgb = own_rgb(at(walk, place));
    }
    add(1.0, rgb, select(vec2f(1.0, 0.0), lamp_on(normal, 1.0), frame.down.w > 0.5));
    return true;
}

// Returns the light at the end of the segment; x below 0 for none.
fn segment(walk: Walk, m: i32, before: f32, here: f32, light_front: vec2f) -> vec2f {
    let none = vec2f(-1.0);
    let d = density(before, here);
    if d.extinction <= 0.0 {
        return none;
    }
    let alpha = 1.0 - exp2(-d.extinction * step_log);
    let share = left * alpha;
    let is_lit = frame.down.w > 0.5;
    let is_colour = (frame.flags.w & 1u) != 0u;
    if share <= FAINT {
        add(alpha, d.rgb, vec2f(select(1.0, frame.light.x + frame.light.y * UNLIT, is_lit), 0.0));
        return none;
    }
    if !is_lit {
        var rgb = d.rgb;
        if is_colour {
            rgb = own_rgb(at(walk, f32(m)));
        }
        add(alpha, rgb, vec2f(1.0, 0.0));
        return none;
    }
    let parts = select(1, 2, share > DENSE);
    let part = 1.0 / f32(parts);
    let start = f32(m) - 1.0;
    var near = light_front;
    if near.x < 0.0 {
        near = light_at(at(walk, max(start, f32(walk.first))));
    }
    var begin = before;
    for (var n = 1; n <= parts; n++) {
        let p = at(walk, start + f32(n) * part);
        var end = here;
        if n < parts {
            end = tabled(texel(p));
        }
        let far = light_at(p);
        let piece = density(begin, end);
        var rgb = piece.rgb;
        if is_colour {
            rgb = own_rgb(p);
        }
        add(1.0 - exp2(-piece.extinction * step_log * part), rgb, 0.5 * (near + far));
        if left < DARK {
            break;
        }
        near = far;
        begin = end;
    }
    return near;
}

fn march(image_walk: Walk, image_entry: vec3f, label_walk: Walk, label_entry: vec3f) {
    let is_surface = frame.flags.x == SURFACE;
    let end = max(image_walk.last, label_walk.last);
    var m = 0;
    var has_front = false;
    var front = 0.0;
    var image_tail = false;
    var label_tail = false;
    var has_label_front = false;
    var label_front = 0u;
    var light_front = vec2f(-1.0);
    while m <= end {
        let to_image = next_image(image_walk, m);
        let to_labels = next_label(label_walk, m);
        if to_image > m && to_labels > m && !image_tail && !label_tail {
            m = min(to_image, to_labels);
            if m == NEVER {
                break;
            }
            has_front = false;
            has_label_front = false;
            light_front = vec2f(-1.0);
            continue;
        }
        if to_labels == m || (label_tail && m <= label_walk.last) {
            var before = 0u;
            if has_label_front {
                before = label_front;
            } else if m > label_walk.first {
                before = label_at(at(label_walk, f32(m - 1)));
            }
            let here = label_at(at(label_walk, f32(m)));
            if here != before && here != 0u {
                label_surface(label_walk, m, here, label_entry);
                if left < DARK {
                    return;
                }
            }
            has_label_front = true;
            label_front = here;
            label_tail = to_labels == m;
        } else {
            has_label_front = false;
            label_tail = false;
        }
        if to_image == m || (image_tail && m <= image_walk.last) {
            let stored = texel(at(image_walk, f32(m)));
            let has_before = has_front || m > image_walk.first;
            if is_surface {
                var before = front;
                if !has_front && has_before {
                    before = texel(at(image_walk, f32(m - 1)));
                }
                if iso_surface(image_walk, m, has_before, before, stored, image_entry) {
                    return;
                }
                front = stored;
            } else {
                let here = tabled(stored);
                var before = here;
                if has_front {
                    before = front;
                } else if has_before {
                    before = tabled(texel(at(image_walk, f32(m - 1))));
                }
                light_front = segment(image_walk, m, before, here, light_front);
                if left < DARK {
                    return;
                }
                front = here;
            }
            has_front = true;
            image_tail = to_image == m;
        } else {
            has_front = false;
            light_front = vec2f(-1.0);
            image_tail = false;
        }
        m += 1;
    }
}

fn mapped(position: f32, p: vec3f) -> vec3f {
    if (frame.flags.w & 1u) != 0u {
        return own_rgb(p);
    }
    return textureLoad(colours, vec2i(i32(clamp(position, 0.0, 1.0) * 255.0 + 0.5), 0), 0).rgb;
}

fn project(walk: Walk) {
    if walk.first > walk.last {
        return;
    }
    let mode = frame.flags.x;
    var best = 0.0;
    var best_at = walk.first;
    var count = 0.0;
    var sum = 0.0;
    for (var m = walk.first; m <= walk.last; m++) {
        let t = texel(at(walk, f32(m)));
        if abs(t) < 1e29 {
            let v = t * frame.factors.z + frame.factors.w;
            sum += v;
            if count == 0.0 || (mode == MINIP && v < best) || (mode != MINIP && v > best) {
                best = v;
                best_at = m;
            }
            count += 1.0;
        }
    }
    var position = best;
    if count == 0.0 {
        position = select(0.0, 1.0, mode == MINIP);
    } else if mode == AVERAGE {
        position = sum / count;
    }
    position = clamp(position, 0.0, 1.0);
    seen += left * mapped(position, at(walk, f32(best_at)));
    left *= 1.0 - select(position, 1.0, mode == MINIP);
}

fn slice_rgb(world: vec3f) -> vec3f {
    let p = point_in(frame.image_rows, world);
    var q = p;
    if frame.image_offset.w < 0.5 && (frame.flags.w & 1u) == 0u {
        q = floor(p + 0.5);
    }
    var rgb = mapped(texel(q) * frame.factors.z + frame.factors.w, q);
    if frame.label_size.w > 0.5 {
        let l = point_in(frame.label_rows, world);
        if all(l >= vec3f(-0.5)) && all(l <= frame.label_size.xyz - 0.5) {
            let look = look_of(nearest_label(l));
            rgb += (look.rgb - rgb) * look.a * frame.label_offset.w;
        }
    }
    return rgb;
}

@fragment
fn fragment(@builtin(position) position: vec4f) -> @location(0) vec4f {
    seen = vec3f(0.0);
    left = 1.0;
    let ray = sight(position.xy);
    var span = Span(0.0, 1e30, -ray.direction);
    for (var n = 0u; n < frame.flags.y; n++) {
        let h = frame.halves[n];
        cut(&span, dot(h.xyz, ray.origin) - h.w, dot(h.xyz, ray.direction), -h.xyz);
    }
    var slice_at = 1e30;
    for (var n = 0u; n < frame.flags.z; n++) {
        let s = frame.slices[n];
        let slope = dot(s.xyz, ray.direction);
        if abs(slope) >= 1e-9 {
            let t = (s.w - dot(s.xyz, ray.origin)) / slope;
            let p = point_in(frame.image_rows, ray.origin + t * ray.direction);
            if t > 0.0 && t < slice_at && all(p >= vec3f(-0.5)) && all(p <= frame.image_size.xyz - 0.5) {
                slice_at = t;
            }
        }
    }
    span.end = min(span.end, slice_at);
    var image_span = Span(0.0, -1.0, vec3f(0.0));
    if frame.image_size.w > 0.5 {
        image_span = inside(frame.image_rows, frame.image_size.xyz, ray, span);
    }
    var label_span = Span(0.0, -1.0, vec3f(0.0));
    if frame.label_size.w > 0.5 {
        label_span = inside(frame.label_rows, frame.label_size.xyz, ray, span);
    }
    let has_image = image_span.begin < image_span.end;
    let has_labels = label_span.begin < label_span.end;
    if has_image || has_labels {
        let begin = min(select(1e30, image_span.begin, has_image), select(1e30, label_span.begin, has_labels));
        var offset = 0.5;
        if frame.across.w > 0.5 {
            let h = u32(position.x) * 3242174889u + u32(position.y) * 2447445414u;
            offset = f32(h >> 8u) / 16777216.0;
        }
        let step = frame.top_left.w;
        let ticks = Ticks((ceil(begin / step - offset) + offset) * step, step);
        step_log = step * 1.44269504;
        half_way = unit(frame.lamp.xyz - ray.direction);
        let nowhere = Walk(vec3f(0.0), vec3f(0.0), 0, -1);
        var image_walk = nowhere;
        if has_image {
            image_walk = walk_in(frame.image_rows, ray, ticks, image_span);
        }
        var label_walk = nowhere;
        if has_labels {
            label_walk = walk_in(frame.label_rows, ray, ticks, label_span);
        }
        if frame.flags.x == COMPOSITE || frame.flags.x == SURFACE {
            march(image_walk, image_span.entry, label_walk, label_span.entry);
        } else {
            march(nowhere, vec3f(0.0), label_walk, label_span.entry);
            project(image_walk);
        }
    }
    if slice_at < 1e29 {
        add(1.0, slice_rgb(ray.origin + slice_at * ray.direction), vec2f(1.0, 0.0));
    }
    let t = position.y / frame.pixels.w;
    let behind = frame.background_top.rgb + (frame.background_bottom.rgb - frame.background_top.rgb) * t;
    return vec4f(clamp(seen + left * behind, vec3f(0.0), vec3f(1.0)), 1.0);
}
