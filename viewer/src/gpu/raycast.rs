//! The 3-D picture on the card: the twin of [`mod@crate::raycast`].

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};
use formats::Affine;
use wgpu::util::DeviceExt;

use super::textures::{ImageTexture, LabelTexture};
use super::{Gpu, TARGET, Textures};
use crate::camera::Projection;
use crate::colour_map::ColourMap;
use crate::raycast::blocks::Blocks;
use crate::raycast::labels::Look;
use crate::raycast::setup::{Placed, Setup};
use crate::raycast::structures::{ImageStructure, LabelStructure, window_position};
use crate::raycast::{Quality, RayCaster, white_of};
use crate::scene::{ImageLayer, Scene};
use crate::transfer::{TABLE_LEN, TransferTable};
use crate::volume_view::{Mode, VolumeView, cast_label_layer, cast_layer};

/// The twin of `Frame` in raycast.wgsl, whose comments say what the fields mean.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
struct RayUniform {
    eye: [f32; 4],
    towards: [f32; 4],
    top_left: [f32; 4],
    across: [f32; 4],
    down: [f32; 4],
    pixels: [f32; 4],
    image_rows: [[f32; 4]; 3],
    label_rows: [[f32; 4]; 3],
    image_size: [f32; 4],
    label_size: [f32; 4],
    image_counts: [i32; 4],
    label_counts: [i32; 4],
    image_scale: [f32; 4],
    image_offset: [f32; 4],
    label_scale: [f32; 4],
    label_offset: [f32; 4],
    label_texels: [i32; 4],
    lamp: [f32; 4],
    light: [f32; 4],
    factors: [f32; 4],
    surface: [f32; 4],
    background_top: [f32; 4],
    background_bottom: [f32; 4],
    flags: [u32; 4],
    halves: [[f32; 4]; 12],
    slices: [[f32; 4]; 3],
}

/// Small textures that follow values, remade when those change.
#[derive(Debug)]
struct Kept<K> {
    key: Option<K>,
    view: wgpu::TextureView,
    /// Grows with each remake: part of the request.
    serial: u64,
}

/// The picture on the card.
#[derive(Debug)]
pub struct RayPicture {
    /// The pixels, of format [`TARGET`]; may be bound, and copied from.
    pub texture: wgpu::Texture,
    /// To be bound or registered.
    pub view: wgpu::TextureView,
    /// Changes when `texture` and `view` were replaced (the size changed): register anew.
    pub generation: u64,
    /// How often it was drawn: for tests and the figures shown to developers.
    pub drawn: u64,
    request: Option<Request>,
}

/// Equal requests draw equal pixels.
#[derive(Clone, Debug, PartialEq)]
struct Request {
    uniform: RayUniform,
    image: Option<(u64, u64)>,
    labels: Option<(u64, u64)>,
    serials: [u64; 5],
}

/// Casts rays on the card; keeps one picture.
#[derive(Debug)]
pub struct RayCasts {
    pipeline: wgpu::RenderPipeline,
    layout: wgpu::BindGroupLayout,
    linear: wgpu::Sampler,
    no_image: wgpu::TextureView,
    no_labels: wgpu::TextureView,
    looks: Kept<Vec<Look>>,
    transfer: Kept<Arc<TransferTable>>,
    image_blocks: Kept<Arc<Blocks<u8>>>,
    label_blocks: Kept<Arc<Blocks<u8>>>,
    colours: Kept<ColourMap>,
    picture: Option<RayPicture>,
    generation: u64,
}

impl RayCasts {
    /// Compiles the shader.
    #[must_use]
    pub fn new(gpu: &Gpu) -> Self {
        let (pipeline, layout) = pipeline(gpu);
        let linear = gpu.device.create_sampler(&wgpu::SamplerDescriptor {
            label: Some("raycast linear"),
            mag_filter: wgpu::FilterMode::Linear,
            min_filter: wgpu::FilterMode::Linear,
            ..Default::default()
        });
        let one = |format, bytes: &[u8]| texture_3d(gpu, "raycast nothing", format, [1; 3], bytes);
        let empty = || one(wgpu::TextureFormat::R8Uint, &[255]);
        let table = texture_2d(gpu, "raycast nothing", wgpu::TextureFormat::Rgba32Float, [1, 1], &[0; 16]);
        Self {
            pipeline,
            layout,
            linear,
            no_image: one(wgpu::TextureFormat::R8Unorm, &[0]),
            no_labels: one(wgpu::TextureFormat::R8Uint, &[0]),
            looks: Kept::new(table.clone()),
            transfer: Kept::new(table.clone()),
            image_blocks: Kept::new(empty()),
            label_blocks: Kept::new(empty()),
            colours: Kept::new(table),
            picture: None,
            generation: 0,
        }
    }

    /// The picture that a view shows of a scene: `quality.scale` times `size_px` (width, height; within what the card
    /// allows), drawn only when it differs from the last one. Shows what [`Textures::update`] has uploaded so far.
    /// `caster` computes and keeps what rays jump over; share it with the CPU's pictures, and let it prepare large
    /// volumes on another thread first ([`RayCaster::prepare`]).
    pub fn render(
        &mut self,
        gpu: &Gpu,
        textures: &Textures,
        caster: &RayCaster,
        scene: &Scene,
        view: &VolumeView,
        size_px: [u32; 2],
        quality: &Quality,
    ) -> &RayPicture {
        let size_px = size_px.map(|n| n.clamp(1, gpu.tier.max_size_2d));
        let mut setup = Setup::new(scene, view, size_px.map(|n| n as usize), quality);
        let image = cast_layer(scene)
            .and_then(|l| l.image())
            .and_then(|l| Some((l, textures.image(l)?, caster.image_structure(l, view))));
        let labels = cast_label_layer(scene).filter(|_| setup.labels.is_some()).and_then(|l| {
            let labels = l.labels()?;
            let structure = caster.label_structure(labels, view.labels.opacity);
            Some((l.opacity, textures.labels(labels)?, structure))
        });
        if image.is_none() {
            setup.image = None;
        }
        if labels.is_none() {
            setup.labels = None;
        }
        let mut uniform = uniform(&setup, scene, view);
        if let Some((layer, texture, structure)) = &image {
            image_uniform(&mut uniform, layer, texture, structure, view, quality);
            self.transfer.keep(&structure.table, |t| transfer_texture(gpu, t));
            self.colours.keep(&layer.colour_map, |c| {
                let format = wgpu::TextureFormat::Rgba8Unorm;
                texture_2d(gpu, "raycast colours", format, [256, 1], bytemuck::cast_slice(c.rgba.as_slice()))
            });
            if let Some(distances) = &structure.distances {
                self.image_blocks.keep_shared(distances, |d| blocks_texture(gpu, d));
            }
        }
        if let Some((opacity, texture, structure)) = &labels {
            label_uniform(&mut uniform, *opacity, texture, structure, view, quality);
            self.looks.keep(&structure.looks, |l| looks_texture(gpu, l));
            self.label_blocks.keep_shared(&structure.distances, |d| blocks_texture(gpu, d));
        }
        let request = Request {
            uniform,
            image: image.as_ref().map(|(_, t, _)| t.volume.stamp()),
            labels: labels.as_ref().map(|(_, t, _)| t.volume.stamp()),
            serials: [
                self.looks.serial,
                self.transfer.serial,
                self.image_blocks.serial,
                self.label_blocks.serial,
                self.colours.serial,
            ],
        };
        let size = setup.size_px.map(|n| n as u32);
        let mut picture = match self.picture.take() {
            Some(picture) if [picture.texture.width(), picture.texture.height()] == size => picture,
            _ => {
                self.generation += 1;
                RayPicture::new(gpu, size, self.generation)
            }
        };
        if picture.request.as_ref() != Some(&request) {
            let image = image.as_ref().map_or(&self.no_image, |(_, t, _)| &t.volume.view);
            let labels = labels.as_ref().map_or(&self.no_labels, |(_, t, _)| &t.volume.view);
            self.draw(gpu, &picture.view, &request.uniform, image, labels);
            picture.drawn += 1;
            picture.request = Some(request);
        }
        self.picture.insert(picture)
    }

    fn draw(
        &self,
        gpu: &Gpu,
        target: &wgpu::TextureView,
        uniform: &RayUniform,
        image: &wgpu::TextureView,
        labels: &wgpu::TextureView,
    ) {
        let buffer = gpu.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: Some("raycast frame"),
            contents: bytemuck::bytes_of(uniform),
            usage: wgpu::BufferUsages::UNIFORM,
        });
        let views = [
            (1, image),
            (3, labels),
            (4, &self.looks.view),
            (5, &self.transfer.view),
            (6, &self.image_blocks.view),
            (7, &self.label_blocks.view),
            (8, &self.colours.view),
        ];
        let mut entries = vec![
            wgpu::BindGroupEntry { binding: 0, resource: buffer.as_entire_binding() },
            wgpu::BindGroupEntry { binding: 2, resource: wgpu::BindingResource::Sampler(&self.linear) },
        ];
        entries.extend(views.iter().map(|&(binding, view)| wgpu::BindGroupEntry {
            binding,
            resource: wgpu::BindingResource::TextureView(view),
        }));
        let group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("raycast"),
            layout: &self.layout,
            entries: &entries,
        });
        let mut encoder =
            gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("raycast") });
        let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
            label: Some("raycast"),
            color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                view: target,
                depth_slice: None,
                resolve_target: None,
                ops: wgpu::Operations {
                    load: wgpu::LoadOp::Clear(wgpu::Color::BLACK),
                    store: wgpu::StoreOp::Store,
                },
            })],
            depth_stencil_attachment: None,
            timestamp_writes: None,
            occlusion_query_set: None,
            multiview_mask: None,
        });
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.draw(0..3, 0..1);
        drop(pass);
        gpu.queue.submit([encoder.finish()]);
    }
}

fn four(v: [f64; 3], w: f32) -> [f32; 4] {
    [v[0] as f32, v[1] as f32, v[2] as f32, w]
}

fn rgb(c: [u8; 3], w: f32) -> [f32; 4] {
    let [r, g, b] = c.map(|v| f32::from(v) / 255.0);
    [r, g, b, w]
}

fn flag(on: bool) -> f32 {
    f32::from(u8::from(on))
}

/// What does not depend on the textures. World coordinates become relative to the camera's focus in f64.
fn uniform(setup: &Setup, scene: &Scene, view: &VolumeView) -> RayUniform {
    let focus = view.camera.focus_ras;
    let relative = |p: [f64; 3]| [0, 1, 2].map(|a| p[a] - focus[a]);
    let shift = Affine::scale_shift([1.0; 3], focus);
    let rows = |placed: &Option<Placed>| {
        placed.map_or([[0.0; 4]; 3], |p| p.voxel_from_world.after(&shift).0.map(|row| row.map(|v| v as f32)))
    };
    let size = |placed: &Option<Placed>| placed.map_or([1.0; 3], |p| p.size.map(|n| n as f64));
    let rays = &setup.rays;
    let along =
        |normal: [f64; 3], offset: f64| four(normal, (offset - crate::camera::dot(normal, focus)) as f32);
    let mut halves = [[0.0; 4]; 12];
    for (to, half) in halves.iter_mut().zip(&setup.halves) {
        *to = along(half.normal, half.offset);
    }
    let mut slices = [[0.0; 4]; 3];
    for (to, &(axis, position)) in slices.iter_mut().zip(&setup.slices) {
        let mut normal = [0.0; 3];
        normal[axis] = 1.0;
        *to = along(normal, position);
    }
    let mode = match view.mode {
        Mode::Composite => 0,
        Mode::Mip => 1,
        Mode::MinIp => 2,
        Mode::Average => 3,
        Mode::Isosurface { .. } => 4,
    };
    let light = &view.lighting;
    let [ambient, diffuse, specular] =
        [light.ambient, light.diffuse, light.specular].map(|v| v.clamp(0.0, 1.0));
    let [width, height] = setup.size_px.map(|n| n as f32);
    RayUniform {
        eye: four(relative(rays.eye), flag(rays.projection == Projection::Orthographic)),
        towards: four(rays.towards, rays.distance as f32),
        top_left: four(relative(rays.top_left), setup.step_mm as f32),
        across: four(rays.across, flag(setup.jitter)),
        down: four(rays.down, flag(light.enabled)),
        pixels: [setup.full_px[0] as f32, setup.full_px[1] as f32, width, height],
        image_rows: rows(&setup.image),
        label_rows: rows(&setup.labels),
        image_size: four(size(&setup.image), flag(setup.image.is_some() && view.image_visible)),
        label_size: four(size(&setup.labels), flag(setup.labels.is_some())),
        image_counts: [1, 1, 1, 0],
        label_counts: [1, 1, 1, 0],
        image_scale: [1.0, 1.0, 1.0, flag(setup.image.is_some())],
        image_offset: [0.0, 0.0, 0.0, flag(scene.interpolate)],
        label_scale: [1.0, 1.0, 1.0, flag(view.labels.smooth)],
        label_offset: [0.0; 4],
        label_texels: [1, 1, 1, 0],
        lamp: four(setup.lamp, light.shininess.clamp(1.0, 256.0)),
        light: [ambient, diffuse, specular, f32::MAX],
        factors: [0.0; 4],
        surface: rgb(view.surface_rgb, 0.0),
        background_top: rgb(view.background[0], 1.0),
        background_bottom: rgb(view.background[1], 1.0),
        flags: [
            mode,
            setup.halves.len().min(12) as u32,
            if setup.image.is_some() { setup.slices.len() as u32 } else { 0 },
            0,
        ],
        halves,
        slices,
    }
}

fn counts(blocks: &Blocks<u8>, on: bool) -> [i32; 4] {
    let [i, j, k] = blocks.counts.map(|n| n as i32);
    [i, j, k, i32::from(on)]
}

/// Factors joined in f64, kept within what a shader takes.
fn joined(outer: (f64, f64), inner: [f64; 2]) -> [f32; 2] {
    let finite = |v: f64| v.clamp(-1e30, 1e30) as f32;
    [finite(outer.0 * inner[0]), finite(outer.0 * inner[1] + outer.1)]
}

fn image_uniform(
    uniform: &mut RayUniform,
    layer: &ImageLayer,
    texture: &ImageTexture,
    structure: &ImageStructure,
    view: &VolumeView,
    quality: &Quality,
) {
    // The luma of colours, 0..=1 in the texture, is in stored units on the CPU.
    let scale = if texture.is_colour { [white_of(layer), 0.0] } else { texture.scale };
    let map = texture.volume.texcoord_from_voxel();
    for a in 0..3 {
        uniform.image_scale[a] = map.0[a][a] as f32;
        uniform.image_offset[a] = map.0[a][3] as f32;
    }
    if let Some(distances) = &structure.distances {
        uniform.image_counts = counts(distances, quality.skip_empty);
    }
    let [table, table_offset] = joined(structure.table.position(), scale);
    let [window, window_offset] = joined(window_position(layer), scale);
    uniform.factors = [table, table_offset, window, window_offset];
    // Interpolated with a neighbour that has a value, the code of "no value" still is far beyond all values, except in
    // 16-bit formats, where it cannot be told.
    if texture.invalid_from.is_finite() && texture.invalid_from > 1.0 {
        uniform.light[3] = texture.invalid_from * 0.9;
    }
    if let Mode::Isosurface { value } = view.mode {
        uniform.surface[3] = ((value - scale[1]) / scale[0]).clamp(-1e30, 1e30) as f32;
    }
    uniform.flags[3] = u32::from(texture.is_colour) | u32::from(scale[0] > 0.0) << 1;
}

fn label_uniform(
    uniform: &mut RayUniform,
    opacity: f32,
    texture: &LabelTexture,
    structure: &LabelStructure,
    view: &VolumeView,
    quality: &Quality,
) {
    let map = texture.volume.texel_from_voxel();
    for a in 0..3 {
        uniform.label_scale[a] = map.0[a][a] as f32;
        uniform.label_offset[a] = map.0[a][3] as f32;
        uniform.label_texels[a] = texture.volume.size[a] as i32;
    }
    uniform.label_scale[3] = flag(view.labels.smooth);
    uniform.label_offset[3] = opacity.clamp(0.0, 1.0);
    uniform.label_counts = counts(&structure.distances, quality.skip_empty);
}

impl<K: Clone + PartialEq> Kept<K> {
    /// Remakes the texture unless it was made of an equal value.
    fn keep(&mut self, key: &K, make: impl FnOnce(&K) -> wgpu::TextureView) {
        if self.key.as_ref() != Some(key) {
            self.replace(key, make);
        }
    }
}

impl<K: Clone> Kept<K> {
    fn new(view: wgpu::TextureView) -> Self {
        Self { key: None, view, serial: 0 }
    }

    fn replace(&mut self, key: &K, make: impl FnOnce(&K) -> wgpu::TextureView) {
        self.view = make(key);
        self.key = Some(key.clone());
        self.serial += 1;
    }
}

impl<T> Kept<Arc<T>> {
    /// As [`Kept::keep`] for values that are shared rather than compared.
    fn keep_shared(&mut self, key: &Arc<T>, make: impl FnOnce(&T) -> wgpu::TextureView) {
        if !self.key.as_ref().is_some_and(|k| Arc::ptr_eq(k, key)) {
            self.replace(key, |k| make(k));
        }
    }
}

impl RayPicture {
    fn new(gpu: &Gpu, size_px: [u32; 2], generation: u64) -> Self {
        let texture = gpu.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("raycast"),
            size: wgpu::Extent3d { width: size_px[0], height: size_px[1], depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: TARGET,
            usage: wgpu::TextureUsages::RENDER_ATTACHMENT
                | wgpu::TextureUsages::TEXTURE_BINDING
                | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        });
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        Self { texture, view, generation, drawn: 0, request: None }
    }
}

fn texture_2d(
    gpu: &Gpu,
    label: &str,
    format: wgpu::TextureFormat,
    size: [u32; 2],
    bytes: &[u8],
) -> wgpu::TextureView {
    let size = wgpu::Extent3d { width: size[0], height: size[1], depth_or_array_layers: 1 };
    texture(gpu, label, format, wgpu::TextureDimension::D2, size, bytes)
}

fn texture_3d(
    gpu: &Gpu,
    label: &str,
    format: wgpu::TextureFormat,
    size: [u32; 3],
    bytes: &[u8],
) -> wgpu::TextureView {
    let size = wgpu::Extent3d { width: size[0], height: size[1], depth_or_array_layers: size[2] };
    texture(gpu, label, format, wgpu::TextureDimension::D3, size, bytes)
}

fn texture(
    gpu: &Gpu,
    label: &str,
    format: wgpu::TextureFormat,
    dimension: wgpu::TextureDimension,
    size: wgpu::Extent3d,
    bytes: &[u8],
) -> wgpu::TextureView {
    let descriptor = wgpu::TextureDescriptor {
        label: Some(label),
        size,
        mip_level_count: 1,
        sample_count: 1,
        dimension,
        format,
        usage: wgpu::TextureUsages::TEXTURE_BINDING,
        view_formats: &[],
    };
    let order = wgpu::util::TextureDataOrder::default();
    gpu.device
        .create_texture_with_data(&gpu.queue, &descriptor, order, bytes)
        .create_view(&wgpu::TextureViewDescriptor::default())
}

fn transfer_texture(gpu: &Gpu, table: &TransferTable) -> wgpu::TextureView {
    let rows: Vec<[f32; 4]> = table.density.iter().chain(&table.integral).copied().collect();
    let format = wgpu::TextureFormat::Rgba32Float;
    texture_2d(gpu, "transfer function", format, [TABLE_LEN as u32, 2], bytemuck::cast_slice(&rows))
}

fn blocks_texture(gpu: &Gpu, blocks: &Blocks<u8>) -> wgpu::TextureView {
    let size = blocks.counts.map(|n| n as u32);
    texture_3d(gpu, "blocks", wgpu::TextureFormat::R8Uint, size, &blocks.data)
}

fn looks_texture(gpu: &Gpu, looks: &[Look]) -> wgpu::TextureView {
    let mut rows: Vec<[f32; 4]> = looks.iter().map(|l| [l.rgb[0], l.rgb[1], l.rgb[2], l.opacity]).collect();
    rows.resize(rows.len().next_multiple_of(256).max(256), [0.0; 4]);
    let size = [256, (rows.len() / 256) as u32];
    texture_2d(gpu, "label looks", wgpu::TextureFormat::Rgba32Float, size, bytemuck::cast_slice(&rows))
}

fn pipeline(gpu: &Gpu) -> (wgpu::RenderPipeline, wgpu::BindGroupLayout) {
    use wgpu::{BindingType, TextureSampleType, TextureViewDimension};
    let module = gpu.device.create_shader_module(wgpu::include_wgsl!("raycast.wgsl"));
    let texture = |sample_type, view_dimension| BindingType::Texture {
        sample_type,
        view_dimension,
        multisampled: false,
    };
    let loaded = TextureSampleType::Float { filterable: false };
    let (d2, d3) = (TextureViewDimension::D2, TextureViewDimension::D3);
    let bindings = [
        BindingType::Buffer {
            ty: wgpu::BufferBindingType::Uniform,
            has_dynamic_offset: false,
            min_binding_size: wgpu::BufferSize::new(size_of::<RayUniform>() as u64),
        },
        texture(TextureSampleType::Float { filterable: true }, d3),
        BindingType::Sampler(wgpu::SamplerBindingType::Filtering),
        texture(TextureSampleType::Uint, d3),
        texture(loaded, d2),
        texture(loaded, d2),
        texture(TextureSampleType::Uint, d3),
        texture(TextureSampleType::Uint, d3),
        texture(loaded, d2),
    ];
    let entries: Vec<_> = bindings
        .into_iter()
        .zip(0..)
        .map(|(ty, binding)| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::FRAGMENT,
            ty,
            count: None,
        })
        .collect();
    let layout = gpu.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some("raycast"),
        entries: &entries,
    });
    let pipeline_layout = gpu.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some("raycast"),
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let pipeline = gpu.device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
        label: Some("raycast"),
        layout: Some(&pipeline_layout),
        vertex: wgpu::VertexState {
            module: &module,
            entry_point: Some("vertex"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            buffers: &[],
        },
        primitive: wgpu::PrimitiveState::default(),
        depth_stencil: None,
        multisample: wgpu::MultisampleState::default(),
        fragment: Some(wgpu::FragmentState {
            module: &module,
            entry_point: Some("fragment"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            targets: &[Some(TARGET.into())],
        }),
        multiview_mask: None,
        cache: None,
    });
    (pipeline, layout)
}
