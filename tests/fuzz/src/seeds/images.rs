//! Images of every type under every ending that can hold them, and what the program reads but does not write.

use formats::{
    Affine, Content, FrameAxis, Grid, Image, LabelEntry, LabelMap, LabelTable, Scaling, Task, Volume, Voxels,
};
use ndarray::Array3;

use crate::Corpus;

pub fn make(corpus: &Corpus) {
    images(corpus);
    nifti(corpus);
    nrrd(corpus);
    metaimage(corpus);
}

const SIZE: [usize; 3] = [3, 4, 2];

fn grid() -> Grid {
    let world_from_voxel = Affine([[-1.5, 0.1, 0.0, 12.0], [0.1, 1.4, -0.3, -7.0], [0.0, 0.3, 2.0, 3.5]]);
    Grid { size_ijk: SIZE, world_from_voxel }
}

fn image(voxels: Voxels) -> Image {
    let volume = Volume::new(voxels, grid()).expect("the array fits the grid");
    Image {
        frames: vec![volume],
        frame_axes: Vec::new(),
        format: "seed",
        encoding: String::new(),
        is_picture: false,
        notices: Vec::new(),
    }
}

fn array<T: Clone>(value: impl Fn(usize) -> T) -> formats::Shared<T> {
    let [ni, nj, nk] = SIZE;
    Array3::from_shape_fn((nk, nj, ni), |(k, j, i)| value((k * nj + j) * ni + i)).into_shared()
}

/// Every voxel type under every ending that can hold it.
fn images(corpus: &Corpus) {
    let all = [
        Voxels::U8(array(|n| n as u8)),
        Voxels::I8(array(|n| n as i8 - 9)),
        Voxels::U16(array(|n| n as u16 * 999)),
        Voxels::I16(array(|n| n as i16 * 99 - 1000)),
        Voxels::U32(array(|n| n as u32 * 99_999)),
        Voxels::I32(array(|n| n as i32 - 70_000)),
        Voxels::U64(array(|n| n as u64)),
        Voxels::I64(array(|n| n as i64 - 3)),
        Voxels::F32(array(|n| n as f32 / 7.0)),
        Voxels::F64(array(|n| n as f64 / 9.0)),
        Voxels::Rgb8(array(|n| [n as u8, 7, 255])),
        Voxels::Rgba8(array(|n| [n as u8, 7, 255, 128])),
        Voxels::Rgb16(array(|n| [n as u16, 7, 65_535])),
        Voxels::Rgba16(array(|n| [n as u16, 7, 65_535, 128])),
        Voxels::Complex32(array(|n| [n as f32, -1.0])),
        Voxels::Complex64(array(|n| [n as f64, -1.0])),
    ];
    for voxels in all {
        let kind = voxels.type_name();
        let one = image(voxels);
        let mut four = one.clone();
        four.frames = vec![one.frames[0].clone(); 3];
        four.frame_axes =
            vec![FrameAxis { name: "time".to_owned(), len: 3, step: 2.5, unit: "s".to_owned() }];
        let mut scaled = one.clone();
        scaled.frames[0].scaling = Scaling { slope: 0.5, inter: -3.0 };
        for (name, content) in [("one", &one), ("time", &four), ("scaled", &scaled)] {
            save(corpus, &format!("{name}-{kind}"), Content::Image(content));
        }
    }
    let entries = vec![LabelEntry::new(1, "Left thing", [255, 0, 9]), LabelEntry::new(9, "Other", [1, 2, 3])];
    let map = LabelMap {
        labels: array(|n| n as u16 % 11),
        grid: grid(),
        table: LabelTable { entries },
        meta: Default::default(),
    };
    save(corpus, "labels", Content::Labels(&map));
}

fn save(corpus: &Corpus, name: &str, content: Content<'_>) {
    for (target, ending) in [
        ("nifti", "nii"),
        ("nifti", "nii.gz"),
        ("nrrd", "nrrd"),
        ("metaimage", "mha"),
        ("mgh", "mgh"),
        ("mgh", "mgz"),
        ("tiff", "tif"),
    ] {
        // Types that a format cannot hold give no seed.
        let _ = formats::save(content, &corpus.path(target, &format!("{name}.{ending}")), &Task::silent());
    }
}

/// NIfTI-2, the other byte order, pairs and Analyze, from a header made by hand.
fn nifti(corpus: &Corpus) {
    for is_big in [false, true] {
        let order = |bytes: &[u8]| -> Vec<u8> {
            if is_big { bytes.iter().rev().copied().collect() } else { bytes.to_vec() }
        };
        let mut h = vec![0_u8; 352];
        let mut put = |at: usize, bytes: &[u8]| h[at..at + bytes.len()].copy_from_slice(&order(bytes));
        put(0, &348_i32.to_le_bytes());
        for (n, d) in [4_i16, 3, 4, 2, 2, 1, 1, 1].iter().enumerate() {
            put(40 + 2 * n, &d.to_le_bytes());
        }
        put(70, &4_i16.to_le_bytes());
        put(72, &16_i16.to_le_bytes());
        for (n, p) in [-1_f32, 1.0, 2.0, 3.0, 2.5].iter().enumerate() {
            put(76 + 4 * n, &p.to_le_bytes());
        }
        put(108, &352_f32.to_le_bytes());
        put(112, &2_f32.to_le_bytes());
        put(252, &1_i16.to_le_bytes());
        put(256, &0.1_f32.to_le_bytes());
        h[123] = 10;
        let voxels = [1_u8; 96];
        let with = |magic: &[u8], offset: f32| {
            let mut h = h.clone();
            h[344..348].copy_from_slice(magic);
            h[108..112].copy_from_slice(&order(&offset.to_le_bytes()));
            [h, voxels.to_vec()].concat()
        };
        corpus.put("nifti", &format!("single-{is_big}"), with(b"n+1\0", 352.0));
        corpus.put("nifti", &format!("pair-{is_big}"), with(b"ni1\0", 352.0));
        corpus.put("nifti", &format!("analyze-{is_big}"), with(&[0; 4], 0.0));

        let mut h = vec![0_u8; 544];
        let mut put = |at: usize, bytes: &[u8]| h[at..at + bytes.len()].copy_from_slice(&order(bytes));
        put(0, &540_i32.to_le_bytes());
        put(12, &16_i16.to_le_bytes());
        put(14, &32_i16.to_le_bytes());
        for (n, d) in [3_i64, 3, 4, 2, 1, 1, 1, 1].iter().enumerate() {
            put(16 + 8 * n, &d.to_le_bytes());
        }
        for (n, p) in [1_f64, 1.0, 2.0, 3.0].iter().enumerate() {
            put(104 + 8 * n, &p.to_le_bytes());
        }
        put(168, &544_i64.to_le_bytes());
        put(348, &1_i32.to_le_bytes());
        for n in 0..3 {
            put(400 + 40 * n, &2_f64.to_le_bytes());
        }
        h[4..12].copy_from_slice(b"n+2\0\r\n\x1a\n");
        corpus.put("nifti", &format!("two-{is_big}"), [h, voxels.to_vec()].concat());
    }
}

fn nrrd(corpus: &Corpus) {
    let head = "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 2 2 2\n\
                space directions: (1,0,0) (0,1,0) (0,0,2)\nkinds: domain domain domain\nendian: little\n";
    let put = |name: &str, rest: &str, data: &[u8]| {
        corpus.put("nrrd", name, [head.as_bytes(), rest.as_bytes(), data].concat());
    };
    let bytes: Vec<u8> = (0..16).collect();
    put("raw", "encoding: raw\nspace origin: (1,2,3)\n\n", &bytes);
    put("text", "encoding: text\n\n", b"1 2 3 4 5 6 7 8\n");
    put("hex", "encoding: hex\n\n", b"00010203 04050607 08090a0b 0c0d0e0f\n");
    put("skip", "encoding: raw\nline skip: 1\nbyte skip: 2\n\n", &[b"line\nxx", bytes.as_slice()].concat());
    put("end", "encoding: raw\nbyte skip: -1\n\n", &bytes);
    put("detached", "encoding: raw\nbyte skip: -1\ndata file: a/data.raw\n", b"");
    put("list", "encoding: raw\nbyte skip: -1\ndata file: LIST\ndata1.raw\ndata2.raw\n", b"");
    put("pattern", "encoding: raw\nbyte skip: -1\ndata file: data%d.raw 1 2 1\n", b"");
    put(
        "pairs",
        "encoding: raw\ncontent: c\nkey:=value\\n\nlabels: \"a b\" \"c\" \"\"\nspace units: \"mm\" \"mm\" \"mm\"\n\n",
        &bytes,
    );
    let mut bzip = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    std::io::Write::write_all(&mut bzip, &bytes).expect("memory can be written");
    put("bzip2", "encoding: bzip2\n\n", &bzip.finish().expect("memory can be written"));
    let segments = "Segment0_ID:=a\nSegment0_LabelValue:=1\nSegment0_Layer:=0\nSegment0_Name:=n\nSegment0_Color:=1 0 0\n";
    put("segments", &format!("encoding: raw\n{segments}\n"), &bytes);
    corpus.put(
        "nrrd",
        "colour",
        "NRRD0005\ntype: uchar\ndimension: 3\nsizes: 3 2 2\nkinds: RGB-color domain domain\nspacings: nan 0.5 0.5\nencoding: raw\n\n0123456789ab",
    );
}

fn metaimage(corpus: &Corpus) {
    let head = "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n\
                TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 1 2 3\nCenterOfRotation = 0 0 0\n\
                ElementSpacing = 1 1 2\nDimSize = 2 2 2\nElementType = MET_SHORT\n";
    let put = |name: &str, rest: &str, data: &[u8]| {
        corpus.put("metaimage", name, [head.as_bytes(), rest.as_bytes(), data].concat());
    };
    let bytes: Vec<u8> = (0..16).collect();
    put("local", "ElementDataFile = LOCAL\n", &bytes);
    put(
        "scaled",
        "ElementToIntensityFunctionSlope = 2\nElementToIntensityFunctionOffset = -1\nElementDataFile = LOCAL\n",
        &bytes,
    );
    put("detached", "HeaderSize = -1\nElementDataFile = a/data.raw\n", b"");
    put("list", "HeaderSize = -1\nElementDataFile = LIST\ndata1.raw\ndata2.raw\n", b"");
    put("pattern", "HeaderSize = -1\nElementDataFile = data%d.raw 1 2 1\n", b"");
    put("text", "BinaryData = False\nElementDataFile = LOCAL\n", b"1 2 3 4 5 6 7 8\n");
    put(
        "channels",
        "ElementNumberOfChannels = 1\nElementType = MET_UCHAR_ARRAY\nElementDataFile = LOCAL\n",
        &bytes,
    );
    put("long", "ElementType = MET_LONG\nElementDataFile = LOCAL\n", &[0; 64]);
}
