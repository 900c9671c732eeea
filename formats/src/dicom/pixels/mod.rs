//! The samples of one instance, decoded frame by frame.
//!
//! Open an [`Instance`], look at its [`PixelLayout`], take frames: [`Instance::frame_into`] fills memory of yours
//! (one slice of a volume; plain samples go from the file to it in one read, with no buffer between), and
//! [`Instance::frame`] makes some. Both take `&self`, so that the caller may decode frames in parallel.
//! Values are as stored: sign extended, overlay bits and other unused bits removed, colours as interleaved RGB,
//! palette images as indices. What the values mean is told by [`Instance::modality`], [`Instance::voi`],
//! [`Instance::padding`], [`Instance::palette`] and [`Instance::is_inverted`].

mod codec;
mod colour;
mod fragments;
mod jpeg;
mod jpeg2000;
mod jpegls;
mod layout;
mod native;
mod overlay;
mod rle;
pub mod syntax;
pub mod values;

use std::path::Path;

use bytemuck::Pod;

pub use layout::{Photometric, PixelLayout, SampleType};
pub use overlay::Overlay;
pub use values::{Lut, Modality, Padding, Palette, Voi, VoiFunction, VoiWindow};

pub(super) use self::rle::unpack as unpack_rle;

use self::fragments::FrameTable;
use self::syntax::Codec;
use super::read::{Header, read_header};
use crate::error::{Error, Result};
use crate::notice::Notice;

/// A type that samples decode to.
pub trait Sample: Pod + private::Sealed {
    /// Its name.
    const TYPE: SampleType;
}

mod private {
    use super::native::Settle;

    pub trait Sealed: Settle {}
}

macro_rules! sample {
    ($($t:ty => $name:ident),*) => {$(
        impl private::Sealed for $t {}
        impl Sample for $t { const TYPE: SampleType = SampleType::$name; }
    )*};
}
sample!(u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, f32 => F32, f64 => F64);

/// Decoded samples of a frame: row by row, colours interleaved.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names say the types")]
pub enum Samples {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// Runs `$body` with `$v` bound to the vector of any variant of [`Samples`].
#[macro_export]
macro_rules! for_samples {
    ($samples:expr, $v:ident => $body:expr) => {
        match $samples {
            $crate::dicom::pixels::Samples::U8($v) => $body,
            $crate::dicom::pixels::Samples::I8($v) => $body,
            $crate::dicom::pixels::Samples::U16($v) => $body,
            $crate::dicom::pixels::Samples::I16($v) => $body,
            $crate::dicom::pixels::Samples::U32($v) => $body,
            $crate::dicom::pixels::Samples::I32($v) => $body,
            $crate::dicom::pixels::Samples::F32($v) => $body,
            $crate::dicom::pixels::Samples::F64($v) => $body,
        }
    };
}

/// An image in a DICOM file, ready to be decoded.
#[derive(Debug)]
pub struct Instance {
    header: Header,
    layout: PixelLayout,
    codec: Codec,
    /// The fragments of encapsulated pixels.
    table: Option<FrameTable>,
    notices: Vec<Notice>,
}

impl Instance {
    /// Opens a file and checks that its pixels are there.
    ///
    /// # Errors
    /// Those of [`read_header`] and of [`Instance::of`].
    pub fn open(path: &Path) -> Result<Self> {
        Self::of(read_header(path)?)
    }

    /// The image behind a header that was read before; the file must not have changed since.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for objects without pixels and for encodings not decoded here, [`Error::Malformed`]
    /// when the attributes contradict each other or the bytes present.
    pub fn of(header: Header) -> Result<Self> {
        let mut notices = header.notices.clone();
        let layout = PixelLayout::of(&header, &mut notices)?;
        let codec = syntax::codec(&header.transfer_syntax_uid);
        if codec == Codec::Unsupported {
            return Err(Error::unsupported(
                &header.path,
                syntax::name(&header.transfer_syntax_uid),
                "uncompressed, deflated, RLE, JPEG, JPEG-LS and JPEG 2000 pixels",
                "Export it again as Explicit VR Little Endian",
            ));
        }
        let table = match header.pixels.and_then(|p| p.len.map(|len| (p.start, len))) {
            Some((start, len)) if codec == Codec::Native => {
                layout.check_native(&header, len.min(header.data_len().saturating_sub(start)))?;
                None
            }
            Some(_) => {
                return Err(Error::malformed(
                    &header.path,
                    format!("plain pixel data in {}", syntax::name(&header.transfer_syntax_uid)),
                    "fragments of compressed pixels",
                ));
            }
            None => Some(FrameTable::read(&header, layout.frames)?),
        };
        if let Some(table) = &table {
            if matches!(layout.sample_type, SampleType::F32 | SampleType::F64) {
                return Err(Error::malformed(&header.path, "compressed floating point pixels", "plain ones"));
            }
            codec::check_claim(&header.path, codec, &layout, table.frame_bytes(0))?;
        }
        Ok(Self { header, layout, codec, table, notices })
    }

    /// The data set without its pixels.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Size and type of the pixels.
    #[must_use]
    pub fn layout(&self) -> &PixelLayout {
        &self.layout
    }

    /// What was odd about the file and its pixels.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// Whether small values are to be shown bright (MONOCHROME1). The values themselves are never inverted.
    #[must_use]
    pub fn is_inverted(&self) -> bool {
        self.layout.photometric == Photometric::Monochrome1
    }

    /// Decodes frame `n`, counted from 0.
    ///
    /// # Errors
    /// Those of [`Instance::frame_into`]; [`Error::OverLimit`] when there is not enough memory.
    pub fn frame(&self, n: usize) -> Result<Samples> {
        Ok(match self.layout.sample_type {
            SampleType::U8 => Samples::U8(self.frame_vec(n)?),
            SampleType::I8 => Samples::I8(self.frame_vec(n)?),
            SampleType::U16 => Samples::U16(self.frame_vec(n)?),
            SampleType::I16 => Samples::I16(self.frame_vec(n)?),
            SampleType::U32 => Samples::U32(self.frame_vec(n)?),
            SampleType::I32 => Samples::I32(self.frame_vec(n)?),
            SampleType::F32 => Samples::F32(self.frame_vec(n)?),
            SampleType::F64 => Samples::F64(self.frame_vec(n)?),
        })
    }

    fn frame_vec<T: Sample>(&self, n: usize) -> Result<Vec<T>> {
        let zeroed = bytemuck::allocation::try_zeroed_slice_box(self.layout.frame_len());
        let mut out: Vec<T> = zeroed.map_err(|()| self.no_memory())?.into_vec();
        self.frame_into(n, &mut out)?;
        Ok(out)
    }

    fn no_memory(&self) -> Error {
        Error::OverLimit {
            path: self.header.path.clone(),
            needed: format!("{} samples for one frame", self.layout.frame_len()),
            limit: "an allocation was refused".to_owned(),
            remedy: "Close other programs or use a machine with more memory".to_owned(),
        }
    }

    /// Decodes frame `n`, counted from 0, into `out`: [`PixelLayout::frame_len`] samples of type
    /// [`PixelLayout::sample_type`], row by row, colours interleaved.
    ///
    /// # Errors
    /// [`Error::Argument`] for a frame that does not exist or a slice of other type or length,
    /// [`Error::Malformed`] for damaged data, [`Error::Unsupported`] for what the codec does not know,
    /// [`Error::Io`]. What `out` then holds is undefined.
    pub fn frame_into<T: Sample>(&self, n: usize, out: &mut [T]) -> Result<()> {
        let layout = &self.layout;
        if n >= layout.frames || out.len() != layout.frame_len() || T::TYPE != layout.sample_type {
            return Err(Error::Argument(format!(
                "frame {n} of {} into {} samples of {:?}, where {} of {:?} are wanted",
                layout.frames,
                out.len(),
                T::TYPE,
                layout.frame_len(),
                layout.sample_type
            )));
        }
        self.decode(layout, n, out)
    }

    fn decode<T: Sample>(&self, layout: &PixelLayout, n: usize, out: &mut [T]) -> Result<()> {
        let Some(table) = &self.table else {
            return native::frame(&self.header, layout, n, out);
        };
        let stream = table.frame(&self.header, n)?;
        if self.codec == Codec::Native {
            return native::lone_frame(&self.header, layout, &stream, out);
        }
        codec::decode(&self.header.path, &self.header.transfer_syntax_uid, &stream, layout, out)
    }

    /// The compressed fragments of frame `n`, counted from 0, as they are in the file: for copying pixels without
    /// decoding them. `None` for pixels that are not encapsulated.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn fragments(&self, n: usize) -> Result<Option<Vec<Vec<u8>>>> {
        self.table.as_ref().map(|table| table.fragments(&self.header, n)).transpose()
    }

    /// The plain pixel data as they are in the file, byte order included, all frames; `None` for encapsulated ones.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn plain_bytes(&self) -> Result<Option<Vec<u8>>> {
        let Some((start, len)) = self.header.pixels.and_then(|p| p.len.map(|len| (p.start, len))) else {
            return Ok(None);
        };
        let len = len.min(self.header.data_len().saturating_sub(start));
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        self.header.reader()?.read_at(start, &mut bytes)?;
        Ok(Some(bytes))
    }
}
