//! Answers as people write them: rules for values, spacings, lists of names.

use inference::normalise::Of;

use crate::manifest::{IntensityStep, Scheme, SliceAxis, Spacing, When};

/// Rules for values, for help and messages.
pub const INTENSITY_WORDS: &str = "none, minmax, slice-minmax, zscore, zscore:nonzero, percentile:LOW,HIGH, range:LOW,HIGH (to 0..1, clamped), \
     fixed:LOW,HIGH,MEAN,DEVIATION (clamped, then standardised), linear:SUBTRACT,DIVIDE, imagenet (colours); one, or one per \
     channel with “;” between them";

/// Means and deviations of ImageNet's colours in 0..=1, as classifiers trained on it are published with.
const IMAGENET: [(f64, f64); 3] = [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)];

/// The steps that a text stands for.
///
/// # Errors
/// What was found and what there is.
pub fn intensity(text: &str) -> Result<Vec<IntensityStep>, String> {
    let rules: Vec<&str> = text.split(';').map(str::trim).collect();
    if rules == ["imagenet"] {
        let step = |(n, (mean, deviation)): (usize, &(f64, f64))| IntensityStep {
            when: When::Working,
            apply: Scheme::Linear { subtract: mean * 255.0, divide: deviation * 255.0 },
            channel: Some(n),
        };
        return Ok(IMAGENET.iter().enumerate().map(step).collect());
    }
    let mut steps = Vec::new();
    for (n, rule) in rules.iter().enumerate() {
        let Some(apply) = scheme(rule)? else { continue };
        let when = if matches!(apply, Scheme::SliceMinmax { .. }) { When::Stored } else { When::Working };
        steps.push(IntensityStep { when, apply, channel: (rules.len() > 1).then_some(n) });
    }
    Ok(steps)
}

fn scheme(rule: &str) -> Result<Option<Scheme>, String> {
    let (word, rest) = rule.split_once(':').unwrap_or((rule, ""));
    let numbers = || -> Option<Vec<f64>> {
        rest.split(',').map(|n| n.trim().parse().ok().filter(|v: &f64| v.is_finite())).collect()
    };
    let numbers = if rest.is_empty() || rest == "nonzero" { Some(Vec::new()) } else { numbers() };
    Ok(Some(match (word, numbers.as_deref()) {
        ("none", Some([])) => return Ok(None),
        ("minmax", Some([])) => Scheme::Minmax,
        ("slice-minmax", Some([])) => Scheme::SliceMinmax { axis: SliceAxis::StoredK },
        ("zscore", Some([])) => Scheme::Zscore { of: if rest == "nonzero" { Of::Nonzero } else { Of::All } },
        ("percentile", Some(&[low, high])) => Scheme::Percentile { low, high, of: Of::All },
        ("range", Some(&[low, high])) => Scheme::Range { low, high },
        ("fixed", Some(&[low, high, mean, deviation])) => Scheme::Fixed { low, high, mean, deviation },
        ("linear", Some(&[subtract, divide])) => Scheme::Linear { subtract, divide },
        _ => return Err(format!("“{rule}” is not a rule for values; there are {INTENSITY_WORDS}")),
    }))
}

/// A step in the words that [`intensity`] reads, for forms and cards.
#[must_use]
pub fn intensity_words(steps: &[IntensityStep]) -> String {
    if steps == intensity("imagenet").unwrap_or_default() {
        return "imagenet".to_owned();
    }
    let words = steps.iter().map(|step| match &step.apply {
        Scheme::SliceMinmax { .. } => "slice-minmax".to_owned(),
        Scheme::Minmax => "minmax".to_owned(),
        Scheme::Percentile { low, high, .. } => format!("percentile:{low},{high}"),
        Scheme::Zscore { of: Of::All } => "zscore".to_owned(),
        Scheme::Zscore { of: Of::Nonzero } => "zscore:nonzero".to_owned(),
        Scheme::Fixed { low, high, mean, deviation } => format!("fixed:{low},{high},{mean},{deviation}"),
        Scheme::Range { low, high } => format!("range:{low},{high}"),
        Scheme::Linear { subtract, divide } => format!("linear:{subtract},{divide}"),
    });
    let words: Vec<String> = words.collect();
    if words.is_empty() { "none".to_owned() } else { words.join(";") }
}

/// `native`, or lengths along D, H, W in millimetres; of two, D (across slices) keeps to the image, which a manifest cannot
/// say, so three are wanted.
///
/// # Errors
/// What was found and what there is.
pub fn spacing(text: &str) -> Result<Spacing, String> {
    if text.trim() == "native" {
        return Ok(Spacing::Native);
    }
    let numbers: Option<Vec<f64>> = text.split(',').map(|n| n.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[d, h, w]) => Ok(Spacing::Mm([d, h, w])),
        _ => Err(format!(
            "“{text}” is no spacing; there is native, or three lengths in mm along the graph's axes, e.g. 1,1,1"
        )),
    }
}

/// Two or three sizes, as `[D, H, W]`.
///
/// # Errors
/// What was found and what there is.
pub fn patch(text: &str) -> Result<[usize; 3], String> {
    let numbers: Option<Vec<usize>> = text.split([',', 'x', '×']).map(|n| n.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[h, w]) => Ok([1, h, w]),
        Some(&[d, h, w]) => Ok([d, h, w]),
        _ => Err(format!("“{text}” is no size; there is HEIGHT,WIDTH or DEPTH,HEIGHT,WIDTH, e.g. 96,96,96")),
    }
}

/// Names with commas between them.
#[must_use]
pub fn names(text: &str) -> Vec<String> {
    text.split([',', '\n']).map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for text in [
            "none",
            "zscore",
            "zscore:nonzero",
            "range:-160,240",
            "imagenet",
            "minmax;fixed:-1,1,0,2",
            "linear:0,255",
        ] {
            assert_eq!(intensity_words(&intensity(text).unwrap()), text);
        }
        assert_eq!(intensity("minmax;zscore").unwrap()[1].channel, Some(1));
        for bad in ["", "zscore:1", "range:1", "range:a,b", "range:0,inf", "magic"] {
            assert!(intensity(bad).unwrap_err().contains("percentile"), "{bad}");
        }
        assert_eq!(patch("64x32").unwrap(), [1, 64, 32]);
        assert_eq!(spacing("1, 0.5,0.5").unwrap(), Spacing::Mm([1.0, 0.5, 0.5]));
        assert!(spacing("1").is_err() && patch("1,2,3,4").is_err());
        assert_eq!(names(" a, b c,,d\n"), ["a", "b c", "d"]);
    }
}
