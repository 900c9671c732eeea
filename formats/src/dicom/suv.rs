//! Standardised uptake value by body weight, for PET in Bq/mL (or counts of Philips).
//!
//! Follows the pseudo-code of the QIBA FDG-PET/CT profile: a factor is offered only when every attribute it needs
//! is there; nothing is assumed.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::attributes::{items, text};
use super::lenient::{day_number, number, seconds, texts};

/// Factor from stored units to SUV by body weight, g/mL; `acquisition_s` is the earliest acquisition time of the series
/// in seconds since midnight (or since 1970 where the date is known).
///
/// # Errors
/// The reason in words.
pub fn factor(o: &InMemDicomObject, acquisition_s: Option<f64>) -> Result<f64, String> {
    let need = |what: &str| format!("{what} is missing");
    let units = text(o, tags::UNITS).ok_or_else(|| need("Units (0054,1001)"))?;
    if units == "GML" {
        return Ok(1.0);
    }
    let philips_suv = number(o, Tag(0x7053, 0x1000)).filter(|v| *v > 0.0);
    if units == "CNTS"
        && let Some(factor) = philips_suv
    {
        return Ok(factor);
    }
    let philips_activity = number(o, Tag(0x7053, 0x1009)).filter(|v| *v > 0.0);
    let becquerel = match units.as_str() {
        "BQML" => 1.0,
        "CNTS" => {
            philips_activity.ok_or_else(|| need("the private scale of counts (7053,1000) or (7053,1009)"))?
        }
        other => return Err(format!("values are in {other}, not BQML, CNTS or GML")),
    };
    let corrected = texts(o, tags::CORRECTED_IMAGE);
    for correction in ["ATTN", "DECY"] {
        if !corrected.iter().any(|c| c == correction) {
            return Err(format!("Corrected Image (0028,0051) does not name {correction}"));
        }
    }
    let weight_kg = number(o, tags::PATIENT_WEIGHT).filter(|v| (0.5..1000.0).contains(v));
    let weight_kg = weight_kg.ok_or_else(|| need("Patient's Weight (0010,1030)"))?;
    let drug = items(o, tags::RADIOPHARMACEUTICAL_INFORMATION_SEQUENCE).first();
    let drug = drug.ok_or_else(|| need("Radiopharmaceutical Information Sequence (0054,0016)"))?;
    let positive = |tag, what: &str| number(drug, tag).filter(|v| *v > 0.0).ok_or_else(|| need(what));
    let dose = positive(tags::RADIONUCLIDE_TOTAL_DOSE, "Radionuclide Total Dose (0018,1074)")?;
    let half_life_s = positive(tags::RADIONUCLIDE_HALF_LIFE, "Radionuclide Half Life (0018,1075)")?;
    let dose = match text(o, tags::DECAY_CORRECTION).as_deref() {
        Some("ADMIN") => dose,
        Some("START") => {
            let waited = scan_start(o, acquisition_s)? - injection(o, drug)?;
            if !(0.0..=86400.0).contains(&waited) {
                return Err(format!("the scan begins {waited:.0} s after the injection"));
            }
            dose * (-waited / half_life_s).exp2()
        }
        other => return Err(format!("Decay Correction (0054,1102) is {}", other.unwrap_or("missing"))),
    };
    Ok(becquerel * weight_kg * 1000.0 / dose)
}

/// Start of the scan, seconds since 1970. Series Time, unless it was set after the acquisition (by post-processing); then
/// GE's own attribute.
fn scan_start(o: &InMemDicomObject, acquisition_s: Option<f64>) -> Result<f64, String> {
    let date = text(o, tags::SERIES_DATE)
        .and_then(|d| day_number(&d))
        .ok_or("Series Date (0008,0021) is missing")?;
    let time =
        text(o, tags::SERIES_TIME).and_then(|t| seconds(&t)).ok_or("Series Time (0008,0031) is missing")?;
    let acquired = acquisition_s.ok_or("Acquisition Time (0008,0032) is missing")?.rem_euclid(86400.0);
    if time <= acquired {
        return Ok(date * 86400.0 + time);
    }
    let ge = text(o, Tag(0x0009, 0x100d)).filter(|t| t.len() >= 14).and_then(|t| seconds(&t));
    ge.ok_or_else(|| {
        "Series Time is later than the acquisition, so the time of decay correction is unknown".to_owned()
    })
}

/// Time of injection, seconds since 1970.
fn injection(o: &InMemDicomObject, drug: &InMemDicomObject) -> Result<f64, String> {
    let whole = text(drug, tags::RADIOPHARMACEUTICAL_START_DATE_TIME).filter(|t| t.len() >= 12);
    if let Some(at) = whole.and_then(|t| seconds(&t)) {
        return Ok(at);
    }
    // A time alone is of the day of the series.
    let date = text(o, tags::SERIES_DATE)
        .and_then(|d| day_number(&d))
        .ok_or("Series Date (0008,0021) is missing")?;
    let time = text(drug, tags::RADIOPHARMACEUTICAL_START_TIME).and_then(|t| seconds(&t));
    Ok(date * 86400.0 + time.ok_or("the time of injection (0018,1072) is missing")?)
}

#[cfg(test)]
mod tests {
    use dicom_core::value::DataSetSequence;
    use dicom_core::{DataElement, PrimitiveValue, VR};

    use super::*;

    fn pet(decay: &str) -> InMemDicomObject {
        let mut drug = InMemDicomObject::new_empty();
        drug.put_str(tags::RADIONUCLIDE_TOTAL_DOSE, VR::DS, "370000000");
        drug.put_str(tags::RADIONUCLIDE_HALF_LIFE, VR::DS, "6586.2");
        drug.put_str(tags::RADIOPHARMACEUTICAL_START_TIME, VR::TM, "100000");
        let mut o = InMemDicomObject::new_empty();
        o.put_str(tags::UNITS, VR::CS, "BQML");
        o.put(DataElement::new(
            tags::CORRECTED_IMAGE,
            VR::CS,
            PrimitiveValue::Strs(["ATTN", "DECY", "SCAT"].map(str::to_owned).into_iter().collect()),
        ));
        o.put_str(tags::PATIENT_WEIGHT, VR::DS, "70");
        o.put_str(tags::DECAY_CORRECTION, VR::CS, decay);
        o.put_str(tags::SERIES_DATE, VR::DA, "20200229");
        o.put_str(tags::SERIES_TIME, VR::TM, "114946.2");
        o.put(DataElement::new(
            tags::RADIOPHARMACEUTICAL_INFORMATION_SEQUENCE,
            VR::SQ,
            DataSetSequence::from(vec![drug]),
        ));
        o
    }

    #[test]
    fn one_half_life_doubles_the_factor() {
        let started = Some(11.0 * 3600.0 + 50.0 * 60.0);
        // 70 kg and 370 MBq: 70000 g / 370e6 Bq.
        let admin = factor(&pet("ADMIN"), started).unwrap();
        assert!((admin - 70_000.0 / 370e6).abs() < 1e-12);
        // 10:00:00 to 11:49:46.2 is one half-life of fluorine-18.
        let start = factor(&pet("START"), started).unwrap();
        assert!((start / admin - 2.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_is_assumed() {
        let mut o = pet("START");
        assert!(factor(&o, Some(36_000.0)).unwrap_err().contains("Series Time"));
        o.remove_element(tags::PATIENT_WEIGHT);
        assert!(factor(&o, Some(43_200.0)).unwrap_err().contains("Weight"));
    }
}
