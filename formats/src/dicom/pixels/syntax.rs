//! Transfer syntaxes: their names, and who decodes their pixels.

/// How the samples of a frame are packed (PS3.5 §8.2, A.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Plain samples, also in deflated data sets.
    Native,
    /// PackBits per byte plane (PS3.5 annex G).
    Rle,
    /// DCT based JPEG, 8 or 12 bits (ITU-T T.81).
    Jpeg,
    /// Lossless, predictive JPEG (ITU-T T.81 annex H).
    JpegLossless,
    /// JPEG-LS, lossless or near (ITU-T T.87).
    JpegLs,
    /// JPEG 2000 part 1 and 2, and high-throughput JPEG 2000 (ITU-T T.800, T.814).
    Jpeg2000,
    /// Known, but not decoded here: video, JPIP, JPEG XL and the like.
    Unsupported,
}

/// UID without the common root, name, codec.
const TABLE: &[(&str, &str, Codec)] = &[
    ("", "Implicit VR Little Endian", Codec::Native),
    (".1", "Explicit VR Little Endian", Codec::Native),
    (".1.98", "Encapsulated Uncompressed Explicit VR Little Endian", Codec::Native),
    (".1.99", "Deflated Explicit VR Little Endian", Codec::Native),
    (".2", "Explicit VR Big Endian", Codec::Native),
    (".4.50", "JPEG Baseline", Codec::Jpeg),
    (".4.51", "JPEG Extended", Codec::Jpeg),
    (".4.52", "JPEG Extended (Process 3 & 5)", Codec::Unsupported),
    (".4.53", "JPEG Spectral Selection, Non-Hierarchical (Process 6 & 8)", Codec::Jpeg),
    (".4.55", "JPEG Full Progression, Non-Hierarchical (Process 10 & 12)", Codec::Jpeg),
    (".4.57", "JPEG Lossless", Codec::JpegLossless),
    (".4.70", "JPEG Lossless, First-Order Prediction", Codec::JpegLossless),
    (".4.80", "JPEG-LS Lossless", Codec::JpegLs),
    (".4.81", "JPEG-LS Near-Lossless", Codec::JpegLs),
    (".4.90", "JPEG 2000 Lossless", Codec::Jpeg2000),
    (".4.91", "JPEG 2000", Codec::Jpeg2000),
    (".4.92", "JPEG 2000 Part 2 Multi-component Lossless", Codec::Unsupported),
    (".4.93", "JPEG 2000 Part 2 Multi-component", Codec::Unsupported),
    (".4.94", "JPIP Referenced", Codec::Unsupported),
    (".4.95", "JPIP Referenced Deflate", Codec::Unsupported),
    (".4.100", "MPEG2 Main Profile, Main Level", Codec::Unsupported),
    (".4.101", "MPEG2 Main Profile, High Level", Codec::Unsupported),
    (".4.102", "MPEG-4 AVC/H.264 High Profile", Codec::Unsupported),
    (".4.103", "MPEG-4 AVC/H.264 BD-compatible High Profile", Codec::Unsupported),
    (".4.104", "MPEG-4 AVC/H.264 High Profile for 2D Video", Codec::Unsupported),
    (".4.105", "MPEG-4 AVC/H.264 High Profile for 3D Video", Codec::Unsupported),
    (".4.106", "MPEG-4 AVC/H.264 Stereo High Profile", Codec::Unsupported),
    (".4.107", "HEVC/H.265 Main Profile", Codec::Unsupported),
    (".4.108", "HEVC/H.265 Main 10 Profile", Codec::Unsupported),
    (".4.110", "JPEG XL Lossless", Codec::Unsupported),
    (".4.111", "JPEG XL JPEG Recompression", Codec::Unsupported),
    (".4.112", "JPEG XL", Codec::Unsupported),
    (".4.201", "High-Throughput JPEG 2000 Lossless", Codec::Jpeg2000),
    (".4.202", "High-Throughput JPEG 2000 Lossless with RPCL", Codec::Jpeg2000),
    (".4.203", "High-Throughput JPEG 2000", Codec::Jpeg2000),
    (".5", "RLE Lossless", Codec::Rle),
];

const ROOT: &str = "1.2.840.10008.1.2";

fn row(uid: &str) -> Option<&'static (&'static str, &'static str, Codec)> {
    let rest = uid.strip_prefix(ROOT)?;
    TABLE.iter().find(|(end, ..)| *end == rest)
}

/// The codec of a transfer syntax. Private ones count as [`Codec::Unsupported`].
#[must_use]
pub fn codec(uid: &str) -> Codec {
    row(uid).map_or(Codec::Unsupported, |(_, _, codec)| *codec)
}

/// The name of a transfer syntax with its UID, for messages.
#[must_use]
pub fn name(uid: &str) -> String {
    // 64 characters are the most a UID has (PS3.5 9.1); broken files have kilobytes in its place.
    let unknown = || {
        let shown: String = uid.chars().take(64).collect();
        let rest = if shown.len() < uid.len() { "…" } else { "" };
        format!("transfer syntax {shown}{rest}")
    };
    row(uid).map_or_else(unknown, |(_, name, _)| format!("{name} ({uid})"))
}
