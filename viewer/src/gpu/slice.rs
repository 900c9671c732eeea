//! Slice pictures on the card: the twin of [`mod@crate::slice`].

use std::collections::HashMap;

use bytemuck::{Pod, Zeroable};
use formats::Affine;
use wgpu::util::DeviceExt;

use super::textures::{ImageTexture, LabelTexture, VolumeTexture};
use super::{Gpu, TARGET, Textures};
use crate::sampling::Placement;
use crate::scene::{Content, ImageLayer, Layer, Scene};
use crate::view::{Plane, SliceView};

/// The twin of `Layer` in slice.wgsl, whose comments say what the fields mean.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
struct LayerUniform {
    voxel_from_pixel: [[f32; 4]; 3],
    nudge: [f32; 3],
    opacity: f32,
    size: [f32; 3],
    ready: f32,
    texels: [f32; 3],
    invalid_from: f32,
    window: [f32; 2],
    mode: u32,
    is_colour: u32,
    colours: [[u8; 4]; 256],
}

/// What one layer adds to a picture: equal values draw equal pixels.
#[derive(Debug, PartialEq)]
struct LayerDraw {
    uniform: LayerUniform,
    stamp: (u64, u64),
    /// The serial of the palette; images have none.
    palette: Option<u64>,
}

/// A picture on the card.
#[derive(Debug)]
pub struct SlicePicture {
    /// The pixels, of format [`TARGET`]; may be bound, and copied from.
    pub texture: wgpu::Texture,
    /// To be bound or registered.
    pub view: wgpu::TextureView,
    /// Changes when `texture` and `view` were replaced (the size changed): register anew.
    pub generation: u64,
    /// How often it was drawn: for tests and the figures shown to developers.
    pub drawn: u64,
    request: Vec<LayerDraw>,
}

/// Draws slices; keeps one picture per plane.
#[derive(Debug)]
pub struct Slices {
    images: Pipeline,
    labels: Pipeline,
    pictures: HashMap<Plane, SlicePicture>,
    generation: u64,
}

#[derive(Debug)]
struct Pipeline {
    pipeline: wgpu::RenderPipeline,
    layout: wgpu::BindGroupLayout,
}

impl Slices {
    /// Compiles the shaders.
    #[must_use]
    pub fn new(gpu: &Gpu) -> Self {
        let module = gpu.device.create_shader_module(wgpu::include_wgsl!("slice.wgsl"));
        let float = wgpu::TextureSampleType::Float { filterable: false };
        let d3 = wgpu::TextureViewDimension::D3;
        let d2 = wgpu::TextureViewDimension::D2;
        let images = Pipeline::new(gpu, &module, "image_fragment", &[(1, float, d3)]);
        let uint = wgpu::TextureSampleType::Uint;
        let labels = Pipeline::new(gpu, &module, "label_fragment", &[(2, uint, d3), (3, float, d2)]);
        Self { images, labels, pictures: HashMap::new(), generation: 0 }
    }

    /// The picture that a view shows of a scene, of `size_px` (width, height; at least 1 and at most what the card
    /// allows), drawn only when it differs from the last one of its plane. Shows what [`Textures::update`] has
    /// uploaded so far; the rest is transparent.
    pub fn render(
        &mut self,
        gpu: &Gpu,
        textures: &Textures,
        scene: &Scene,
        view: &SliceView,
        size_px: [u32; 2],
    ) -> &SlicePicture {
        let size_px = size_px.map(|n| n.clamp(1, gpu.tier.max_size_2d));
        let world_from_pixel =
            view.world_from_pixel(size_px.map(f64::from), scene.convention, scene.cursor_ras);
        let layers = scene.layers.iter().filter(|l| l.visible);
        let (request, sources): (Vec<_>, Vec<_>) =
            layers.filter_map(|l| layer_draw(l, scene, textures, &world_from_pixel)).unzip();

        let is_new =
            self.pictures.get(&view.plane).is_none_or(|p| [p.texture.width(), p.texture.height()] != size_px);
        if is_new {
            self.generation += 1;
            self.pictures.insert(view.plane, SlicePicture::new(gpu, size_px, self.generation));
        }
        let Self { images, labels, pictures, .. } = self;
        let picture = pictures.entry(view.plane).or_insert_with(|| unreachable!("inserted above"));
        if is_new || picture.request != request {
            picture.draw(gpu, images, labels, &request, &sources);
            picture.request = request;
        }
        picture
    }
}

/// Textures of a layer.
enum Source<'a> {
    Image(&'a ImageTexture),
    Labels(&'a LabelTexture),
}

fn layer_draw<'a>(
    layer: &Layer,
    scene: &Scene,
    textures: &'a Textures,
    world_from_pixel: &Affine,
) -> Option<(LayerDraw, Source<'a>)> {
    let placement = Placement::of(layer.grid(), world_from_pixel)?;
    let mut uniform: LayerUniform = Zeroable::zeroed();
    uniform.voxel_from_pixel = placement.voxel_from_point.0.map(|row| row.map(|v| v as f32));
    uniform.nudge = placement.nudge.map(|v| v as f32);
    uniform.opacity = layer.opacity.clamp(0.0, 1.0);
    uniform.size = placement.size.map(|n| n as f32);
    let mut place = |volume: &VolumeTexture| {
        uniform.ready = volume.ready_slices as f32;
        uniform.texels = volume.factors.map(|f| 1.0 / f as f32);
        volume.stamp()
    };
    match &layer.content {
        Content::Image(image) => {
            let texture = textures.image(image)?;
            let stamp = place(&texture.volume);
            uniform.mode = u32::from(scene.interpolate);
            uniform.is_colour = u32::from(texture.is_colour);
            uniform.invalid_from = texture.invalid_from.min(f32::MAX);
            if !texture.is_colour {
                uniform.window = window(image, texture.scale);
                uniform.colours = *image.colour_map.rgba;
            }
            Some((LayerDraw { uniform, stamp, palette: None }, Source::Image(texture)))
        }
        Content::Labels(labels) => {
            let texture = textures.labels(labels)?;
            let stamp = place(&texture.volume);
            uniform.mode = u32::from(labels.outline);
            let palette = Some(texture.palette_serial);
            Some((LayerDraw { uniform, stamp, palette }, Source::Labels(texture)))
        }
    }
}

/// The factors that bring a texel to its position in the window, joined in f64: values far from 0 keep their
/// differences.
fn window(layer: &ImageLayer, scale: [f64; 2]) -> [f32; 2] {
    // Infinities have no place in a shader: an empty window is a very narrow one.
    let width = layer.window.width();
    let width = if width.abs() < 1e-30 { 1e-30 } else { width };
    let finite = |v: f64| v.clamp(-1e30, 1e30) as f32;
    [finite(scale[0] / width), finite((scale[1] - layer.window.low) / width)]
}

impl SlicePicture {
    fn new(gpu: &Gpu, size_px: [u32; 2], generation: u64) -> Self {
        let texture = gpu.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("slice"),
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
        Self { texture, view, generation, drawn: 0, request: Vec::new() }
    }

    fn draw(
        &mut self,
        gpu: &Gpu,
        images: &Pipeline,
        labels: &Pipeline,
        request: &[LayerDraw],
        sources: &[Source],
    ) {
        let mut encoder =
            gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("slice") });
        let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
            label: Some("slice"),
            color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                view: &self.view,
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
        for (draw, source) in request.iter().zip(sources) {
            let (pipeline, views): (_, &[_]) = match source {
                Source::Image(image) => (images, &[(1, &image.volume.view)]),
                Source::Labels(l) => (labels, &[(2, &l.volume.view), (3, &l.palette)]),
            };
            pass.set_pipeline(&pipeline.pipeline);
            pass.set_bind_group(0, &pipeline.bind(gpu, &draw.uniform, views), &[]);
            pass.draw(0..3, 0..1);
        }
        drop(pass);
        gpu.queue.submit([encoder.finish()]);
        self.drawn += 1;
    }
}

impl Pipeline {
    /// A pipeline whose textures are bound at the given places.
    fn new(
        gpu: &Gpu,
        module: &wgpu::ShaderModule,
        fragment: &str,
        textures: &[(u32, wgpu::TextureSampleType, wgpu::TextureViewDimension)],
    ) -> Self {
        let entry = |binding, ty| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::FRAGMENT,
            ty,
            count: None,
        };
        let uniform = wgpu::BindingType::Buffer {
            ty: wgpu::BufferBindingType::Uniform,
            has_dynamic_offset: false,
            min_binding_size: None,
        };
        let mut entries = vec![entry(0, uniform)];
        entries.extend(textures.iter().map(|&(binding, sample_type, view_dimension)| {
            entry(binding, wgpu::BindingType::Texture { sample_type, view_dimension, multisampled: false })
        }));
        let layout = gpu.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(fragment),
            entries: &entries,
        });
        let pipeline_layout = gpu.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(fragment),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = gpu.device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
            label: Some(fragment),
            layout: Some(&pipeline_layout),
            vertex: wgpu::VertexState {
                module,
                entry_point: Some("vertex"),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                buffers: &[],
            },
            primitive: wgpu::PrimitiveState::default(),
            depth_stencil: None,
            multisample: wgpu::MultisampleState::default(),
            fragment: Some(wgpu::FragmentState {
                module,
                entry_point: Some(fragment),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                targets: &[Some(wgpu::ColorTargetState {
                    format: TARGET,
                    blend: Some(wgpu::BlendState::PREMULTIPLIED_ALPHA_BLENDING),
                    write_mask: wgpu::ColorWrites::ALL,
                })],
            }),
            multiview_mask: None,
            cache: None,
        });
        Self { pipeline, layout }
    }

    fn bind(
        &self,
        gpu: &Gpu,
        uniform: &LayerUniform,
        views: &[(u32, &wgpu::TextureView)],
    ) -> wgpu::BindGroup {
        let buffer = gpu.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: Some("slice layer"),
            contents: bytemuck::bytes_of(uniform),
            usage: wgpu::BufferUsages::UNIFORM,
        });
        let mut entries = vec![wgpu::BindGroupEntry { binding: 0, resource: buffer.as_entire_binding() }];
        entries.extend(views.iter().map(|&(binding, view)| wgpu::BindGroupEntry {
            binding,
            resource: wgpu::BindingResource::TextureView(view),
        }));
        gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("slice layer"),
            layout: &self.layout,
            entries: &entries,
        })
    }
}
