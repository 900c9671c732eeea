//! Slice pictures on the card: the twin of [`mod@crate::slice`].
//!
//! A software adapter runs shaders on the processor, and two to three times slower than the definition, which knows
//! the volumes (measured with llvmpipe, three planes of a 256³ image with labels). There, [`Slices`] draws with the
//! definition and copies the picture; volumes need no textures then.

use std::collections::HashMap;
use std::sync::Arc;

use bytemuck::{Pod, Zeroable};
use formats::{Affine, LabelTable};
use wgpu::util::DeviceExt;

use super::textures::{ImageTexture, LabelTexture, VolumeTexture};
use super::{Gpu, TARGET, Textures};
use crate::picture::Picture;
use crate::sampling::Placement;
use crate::scene::{Content, ImageId, ImageLayer, Layer, Scene};
use crate::slice::render;
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
    voxels: Held,
    /// First column and how many.
    columns: [u32; 2],
}

/// Which voxels are drawn, and where they are.
#[derive(Debug, PartialEq)]
enum Held {
    /// The state of the textures; images have no palette.
    OnCard { stamp: (u64, u64), palette: Option<u64> },
    /// A frame or a revision; images have no table.
    InMemory { id: ImageId, state: u64, table: Option<Arc<LabelTable>> },
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
    way: Way,
    pictures: HashMap<Plane, SlicePicture>,
    generation: u64,
}

#[derive(Debug)]
enum Way {
    Shaders { images: Pipeline, labels: Pipeline },
    Definition,
}

#[derive(Debug)]
struct Pipeline {
    pipeline: wgpu::RenderPipeline,
    layout: wgpu::BindGroupLayout,
}

impl Slices {
    /// With shaders on a graphics card, with the definition on a software adapter.
    #[must_use]
    pub fn new(gpu: &Gpu) -> Self {
        if gpu.tier.is_software { Self::with(Way::Definition) } else { Self::with_shaders(gpu) }
    }

    /// With shaders on any adapter: for the tests that compare them with the definition.
    #[must_use]
    pub fn with_shaders(gpu: &Gpu) -> Self {
        let module = gpu.device.create_shader_module(wgpu::include_wgsl!("slice.wgsl"));
        let float = wgpu::TextureSampleType::Float { filterable: false };
        let d3 = wgpu::TextureViewDimension::D3;
        let d2 = wgpu::TextureViewDimension::D2;
        let images = Pipeline::new(gpu, &module, "image_fragment", &[(1, float, d3)]);
        let uint = wgpu::TextureSampleType::Uint;
        let labels = Pipeline::new(gpu, &module, "label_fragment", &[(2, uint, d3), (3, float, d2)]);
        Self::with(Way::Shaders { images, labels })
    }

    fn with(way: Way) -> Self {
        Self { way, pictures: HashMap::new(), generation: 0 }
    }

    /// Whether slices are drawn from textures: only then does [`Textures::update`] have to be called for them.
    #[must_use]
    pub fn needs_textures(&self) -> bool {
        matches!(self.way, Way::Shaders { .. })
    }

    /// The picture that a view shows of a scene, of `size_px` (width, height; at least 1 and at most what the card
    /// allows), drawn only when it differs from the last one of its plane. With shaders it shows what
    /// [`Textures::update`] has uploaded so far; the rest is transparent.
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
        let textures = self.needs_textures().then_some(textures);
        let layers = scene.layers.iter().filter(|l| l.visible);
        let (request, sources): (Vec<_>, Vec<_>) =
            layers.filter_map(|l| layer_draw(l, scene, textures, &world_from_pixel, size_px[0])).unzip();

        let has_size = |p: &SlicePicture| [p.texture.width(), p.texture.height()] == size_px;
        let is_new = !self.pictures.get(&view.plane).is_some_and(has_size);
        if is_new {
            self.generation += 1;
            self.pictures.insert(view.plane, SlicePicture::new(gpu, size_px, self.generation));
        }
        let Self { way, pictures, .. } = self;
        let picture = pictures.entry(view.plane).or_insert_with(|| unreachable!("inserted above"));
        if is_new || picture.request != request {
            match way {
                Way::Shaders { images, labels } => picture.draw(gpu, images, labels, &request, &sources),
                Way::Definition => picture.copy(gpu, &render(scene, view, size_px.map(|n| n as usize))),
            }
            picture.drawn += 1;
            picture.request = request;
        }
        picture
    }
}

/// Textures of a layer; none when drawn from memory.
enum Source<'a> {
    Image(&'a ImageTexture),
    Labels(&'a LabelTexture),
    Memory,
}

fn layer_draw<'a>(
    layer: &Layer,
    scene: &Scene,
    textures: Option<&'a Textures>,
    world_from_pixel: &Affine,
    width: u32,
) -> Option<(LayerDraw, Source<'a>)> {
    let placement = Placement::of(layer.grid(), world_from_pixel)?;
    let mut uniform: LayerUniform = Zeroable::zeroed();
    uniform.voxel_from_pixel = placement.voxel_from_point.0.map(|row| row.map(|v| v as f32));
    uniform.nudge = placement.nudge.map(|v| v as f32);
    uniform.opacity = layer.opacity.clamp(0.0, 1.0);
    uniform.size = placement.size.map(|n| n as f32);
    let place = |uniform: &mut LayerUniform, volume: &VolumeTexture| {
        uniform.ready = volume.ready_slices as f32;
        uniform.texels = volume.factors.map(|f| 1.0 / f as f32);
        volume.stamp()
    };
    let (voxels, source) = match &layer.content {
        Content::Image(image) => {
            uniform.mode = u32::from(scene.interpolate);
            uniform.colours = *image.colour_map.rgba;
            uniform.window = window(image, [1.0, 0.0]);
            match textures {
                None => {
                    let held = Held::InMemory { id: image.id, state: image.frame as u64, table: None };
                    (held, Source::Memory)
                }
                Some(textures) => {
                    let texture = textures.image(image)?;
                    uniform.is_colour = u32::from(texture.is_colour);
                    uniform.invalid_from = texture.invalid_from.min(f32::MAX);
                    uniform.window = window(image, texture.scale);
                    let stamp = place(&mut uniform, &texture.volume);
                    (Held::OnCard { stamp, palette: None }, Source::Image(texture))
                }
            }
        }
        Content::Labels(labels) => {
            uniform.mode = u32::from(labels.outline);
            match textures {
                None => {
                    let table = Some(Arc::clone(&labels.table));
                    (Held::InMemory { id: labels.id, state: labels.revision, table }, Source::Memory)
                }
                Some(textures) => {
                    let texture = textures.labels(labels)?;
                    let stamp = place(&mut uniform, &texture.volume);
                    (Held::OnCard { stamp, palette: Some(texture.palette_serial) }, Source::Labels(texture))
                }
            }
        }
    };
    let columns = scene.columns(layer.id, width as usize);
    let columns = [columns.start as u32, columns.len() as u32];
    Some((LayerDraw { uniform, voxels, columns }, source))
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
                | wgpu::TextureUsages::COPY_DST
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
                Source::Memory => continue,
            };
            let [first, count] = draw.columns;
            if count == 0 {
                continue;
            }
            pass.set_scissor_rect(first, 0, count, self.texture.height());
            pass.set_pipeline(&pipeline.pipeline);
            pass.set_bind_group(0, &pipeline.bind(gpu, &draw.uniform, views), &[]);
            pass.draw(0..3, 0..1);
        }
        drop(pass);
        gpu.queue.submit([encoder.finish()]);
    }

    fn copy(&self, gpu: &Gpu, picture: &Picture) {
        let size = self.texture.size();
        gpu.queue.write_texture(
            self.texture.as_image_copy(),
            bytemuck::cast_slice(&picture.rgba),
            wgpu::TexelCopyBufferLayout {
                offset: 0,
                bytes_per_row: Some(size.width * 4),
                rows_per_image: None,
            },
            size,
        );
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
