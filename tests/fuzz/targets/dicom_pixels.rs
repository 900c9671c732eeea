#![no_main]
//! The samples of a DICOM image, from plain bytes or fragments, and what they mean. Decoded frames are written as plain
//! Explicit VR Little Endian, read again and compared.

use formats::dicom::Instance;
use formats::dicom::pixels::Samples;
use formats::for_samples;
use insula_fuzz::dicom::{EXPLICIT, Element, Value, text, us};
use insula_fuzz::fence::ANY;
use insula_fuzz::{Place, fenced, fuzz_target, images};

const SECONDARY_CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";

fuzz_target!(|input: &[u8]| {
    let path = Place::get().put("in.dcm", input);
    let decoded = fenced(input.len(), || {
        let instance = match Instance::open(&path) {
            Ok(instance) => instance,
            Err(e) => {
                images::blames_the_file(&e);
                return None;
            }
        };
        let layout = *instance.layout();
        let mut first = None;
        // The last frame is where sums of lengths go wrong.
        for n in [0, 1, layout.frames - 1] {
            if n >= layout.frames {
                continue;
            }
            match instance.frame(n) {
                Ok(samples) => {
                    for_samples!(&samples, v => assert_eq!(v.len(), layout.frame_len()));
                    first = first.or(Some(samples));
                }
                Err(e) => images::blames_the_file(&e),
            }
            if let Ok(modality) = instance.modality(n) {
                let _ = (modality.apply(0.0), modality.apply(-1e9));
            }
            let voi = instance.voi(n);
            let _ = voi
                .windows
                .iter()
                .map(|w| w.apply(40.0))
                .chain(voi.luts.iter().map(|l| f64::from(l.at(9))))
                .count();
        }
        let _ = instance.padding().map(|p| p.contains(0));
        match instance.palette() {
            Ok(palette) => drop(palette.map(|p| (p.rgb8(0), p.rgb8(i64::MAX)))),
            Err(e) => images::blames_the_file(&e),
        }
        first.map(|samples| (layout, samples))
    });
    let Some((layout, samples)) = decoded else { return };
    fenced(ANY, || {
        let bits = 8 * layout.sample_type.size() as u16;
        let photometric = if layout.samples == 3 { "RGB" } else { "MONOCHROME2" };
        let bytes = for_samples!(&samples, v => v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
        let tag = match samples {
            Samples::F32(_) => (0x0008, "OF"),
            Samples::F64(_) => (0x0009, "OD"),
            _ => (0x0010, "OW"),
        };
        let elements: Vec<Element> = vec![
            text(0x0008, 0x0016, "UI", SECONDARY_CAPTURE),
            us(0x0028, 0x0002, &[layout.samples as u16]),
            text(0x0028, 0x0004, "CS", photometric),
            us(0x0028, 0x0006, &[0]),
            us(0x0028, 0x0010, &[layout.rows as u16]),
            us(0x0028, 0x0011, &[layout.columns as u16]),
            us(0x0028, 0x0100, &[bits]),
            us(0x0028, 0x0101, &[bits]),
            us(0x0028, 0x0102, &[bits - 1]),
            us(0x0028, 0x0103, &[u16::from(layout.sample_type.is_signed())]),
            (0x7fe0, tag.0, tag.1, Value::Bytes(bytes)),
        ];
        let path = Place::get().put("out.dcm", &EXPLICIT.file(SECONDARY_CAPTURE, &elements));
        let back = Instance::open(&path).and_then(|i| i.frame(0)).expect("what was written can be read");
        let bits =
            |s: &Samples| for_samples!(s, v => v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
        assert!(bits(&back) == bits(&samples), "{layout:?}: samples differ");
    });
});
