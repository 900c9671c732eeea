//! The device: which features and limits are asked for, and what was got. The only place that asks.

use wgpu::{Adapter, AdapterInfo, Device, DeviceDescriptor, DeviceType, Features, Queue};

use super::{Error, Result};

/// A device with its queue. Clones share the device.
#[derive(Clone, Debug)]
pub struct Gpu {
    /// Makes resources.
    pub device: Device,
    /// Takes work.
    pub queue: Queue,
    /// What the device can do.
    pub tier: Tier,
}

/// What a device can do, as far as pictures depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Name of the adapter, e.g. `"llvmpipe (LLVM 19.1.7, 256 bits)"`.
    pub adapter: String,
    /// The interface to it, e.g. `"vulkan"`.
    pub backend: String,
    /// Whether the processor draws (no GPU).
    pub is_software: bool,
    /// Whether 16-bit normalised textures exist. Without them, 16-bit values are shown from half floats, which are
    /// exact over a span of 4096 and rounded to 11 bits beyond.
    pub has_norm16: bool,
    /// Whether 32-bit float textures can be filtered. Without that, float values are stored in 16 bits.
    pub has_filterable_f32: bool,
    /// Most voxels along each axis of a 3-D texture.
    pub max_size_3d: u32,
    /// Most pixels along each axis of a picture.
    pub max_size_2d: u32,
}

/// What the program asks of an adapter: the features that keep values exact, where they are there, and all of its
/// limits (volumes may be as large as it can hold).
#[must_use]
pub fn descriptor(adapter: &Adapter) -> DeviceDescriptor<'static> {
    let wanted = Features::TEXTURE_FORMAT_16BIT_NORM | Features::FLOAT32_FILTERABLE;
    DeviceDescriptor {
        label: Some("insula"),
        required_features: adapter.features() & wanted,
        required_limits: adapter.limits(),
        memory_hints: wgpu::MemoryHints::MemoryUsage,
        ..DeviceDescriptor::default()
    }
}

impl Gpu {
    /// Wraps a device made elsewhere (by the window). Works with any device, also one without the features asked for
    /// in [`descriptor`].
    #[must_use]
    pub fn new(info: &AdapterInfo, device: Device, queue: Queue) -> Self {
        let (features, limits) = (device.features(), device.limits());
        let tier = Tier {
            adapter: info.name.clone(),
            backend: info.backend.to_string(),
            is_software: info.device_type == DeviceType::Cpu,
            has_norm16: features.contains(Features::TEXTURE_FORMAT_16BIT_NORM),
            has_filterable_f32: features.contains(Features::FLOAT32_FILTERABLE),
            max_size_3d: limits.max_texture_dimension_3d,
            max_size_2d: limits.max_texture_dimension_2d,
        };
        Self { device, queue, tier }
    }

    /// A device without a window: the fastest adapter there is, a software one if there is no other. `WGPU_BACKEND`
    /// restricts the choice.
    ///
    /// # Errors
    /// [`Error::NoAdapter`], [`Error::NoDevice`].
    pub fn headless() -> Result<Self> {
        Self::headless_with(descriptor)
    }

    /// As [`Gpu::headless`], asking for what `descriptor` says: tests use it to see what becomes of a poor device.
    ///
    /// # Errors
    /// [`Error::NoAdapter`], [`Error::NoDevice`].
    pub fn headless_with(descriptor: impl FnOnce(&Adapter) -> DeviceDescriptor<'static>) -> Result<Self> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        let adapter = pollster::block_on(instance.request_adapter(&options))
            .map_err(|e| Error::NoAdapter(e.to_string()))?;
        let info = adapter.get_info();
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor(&adapter)))
            .map_err(|e| Error::NoDevice { adapter: info.name.clone(), reason: e.to_string() })?;
        Ok(Self::new(&info, device, queue))
    }
}

impl Tier {
    /// One line for people, e.g. `"llvmpipe (LLVM 19.1.7, 256 bits), vulkan, software"`.
    #[must_use]
    pub fn summary(&self) -> String {
        let software = if self.is_software { ", software" } else { "" };
        format!("{}, {}{software}", self.adapter, self.backend)
    }
}
