//! Pictures brought back from the card: for files, tests and the clipboard.

use super::{Error, Gpu, Result, TARGET};
use crate::picture::Picture;

/// Copies a texture of format [`TARGET`] (with `COPY_SRC` usage) into a picture. Waits for all work submitted before.
///
/// # Errors
/// [`Error::ReadBack`] when the device was lost, or the texture is not of that format and usage.
pub fn read_picture(gpu: &Gpu, texture: &wgpu::Texture) -> Result<Picture> {
    if texture.format() != TARGET || !texture.usage().contains(wgpu::TextureUsages::COPY_SRC) {
        return Err(Error::ReadBack(format!("a texture of format {:?} is not a picture", texture.format())));
    }
    let (width, height) = (texture.width(), texture.height());
    // Rows of a copy start at multiples of 256 bytes.
    let row = (width * 4).next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT);
    let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("read back"),
        size: u64::from(row) * u64::from(height),
        usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
        mapped_at_creation: false,
    });
    let mut encoder =
        gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("read back") });
    encoder.copy_texture_to_buffer(
        texture.as_image_copy(),
        wgpu::TexelCopyBufferInfo {
            buffer: &buffer,
            layout: wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(row), rows_per_image: None },
        },
        texture.size(),
    );
    gpu.queue.submit([encoder.finish()]);
    let (sender, receiver) = std::sync::mpsc::channel();
    buffer.map_async(wgpu::MapMode::Read, .., move |result| {
        // The receiver is gone only when waiting failed, which is reported below.
        let _ = sender.send(result);
    });
    gpu.device.poll(wgpu::PollType::wait_indefinitely()).map_err(|e| Error::ReadBack(e.to_string()))?;
    let mapped = receiver.recv().map_err(|e| Error::ReadBack(e.to_string()))?;
    mapped.map_err(|e| Error::ReadBack(e.to_string()))?;
    let bytes = buffer.get_mapped_range(..).map_err(|e| Error::ReadBack(e.to_string()))?;
    let mut picture = Picture::black([width as usize, height as usize]);
    for (source, target) in
        bytes.chunks_exact(row as usize).zip(picture.rgba.chunks_exact_mut((width as usize).max(1)))
    {
        bytemuck::cast_slice_mut::<_, u8>(target).copy_from_slice(&source[..width as usize * 4]);
    }
    Ok(picture)
}
