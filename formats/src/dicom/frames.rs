//! Several slices at one position: which of them belong to one volume, and what tells the volumes apart.

use std::collections::BTreeMap;

use super::record::Keys;
use crate::volume::FrameAxis;

/// A slice as grouping sees it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Index of its position, counted along the normal.
    pub level: usize,
    /// What tells it apart.
    pub keys: Keys,
    /// Instance number, then frame number: the order of last resort.
    pub order: (i64, u32),
}

/// Slices put into volumes.
#[derive(Clone, Debug, PartialEq)]
pub struct Frames {
    /// For each volume the candidate at each level; `None` where it has none.
    pub volumes: Vec<Vec<Option<usize>>>,
    /// Axes of `volumes`, fastest first.
    pub axes: Vec<FrameAxis>,
    /// For each volume, its value on the axis in words, e.g. `"1000"`; empty when only an order is known.
    pub values: Vec<String>,
    /// Candidates that belong to no volume of `volumes`.
    pub left: Vec<usize>,
    /// Whether an attribute tells the volumes apart, not only the order of instances.
    pub is_told: bool,
}

/// A key to group by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Temporal,
    Echo,
    Inversion,
    Diffusion,
    Trigger,
    Acquisition,
    AcquisitionTime,
    ContentTime,
}

/// In the order of trying: what says most about the intent comes first.
const KEYS: [Key; 8] = [
    Key::Temporal,
    Key::Diffusion,
    Key::Echo,
    Key::Inversion,
    Key::Trigger,
    Key::AcquisitionTime,
    Key::Acquisition,
    Key::ContentTime,
];

/// Numbers that compare bit for bit after rounding to 1e-4.
type Value = [i64; 4];

fn rounded(v: f64) -> i64 {
    (v * 1e4).round() as i64
}

impl Key {
    fn of(self, k: &Keys) -> Option<Value> {
        let one = |v: Option<f64>| v.map(|v| [rounded(v), 0, 0, 0]);
        match self {
            Self::Temporal => one(k.temporal),
            Self::Echo => one(k.echo_ms),
            Self::Inversion => one(k.inversion_ms),
            Self::Trigger => one(k.trigger_ms),
            Self::Acquisition => one(k.acquisition),
            Self::AcquisitionTime => one(k.acquisition_s),
            Self::ContentTime => one(k.content_s),
            Self::Diffusion => {
                let d = k.direction.unwrap_or_default();
                k.b_value
                    .or(k.direction.map(|_| 0.0))
                    .map(|b| [rounded(b), rounded(d[0]), rounded(d[1]), rounded(d[2])])
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Temporal | Self::Trigger | Self::AcquisitionTime | Self::ContentTime => "time",
            Self::Echo => "echo",
            Self::Inversion => "inversion",
            Self::Diffusion => "diffusion",
            Self::Acquisition => "acquisition",
        }
    }

    /// Axis over the sorted values met.
    fn axis(self, values: &[Value], step_s: Option<f64>) -> FrameAxis {
        let numbers: Vec<f64> = values.iter().map(|v| v[0] as f64 / 1e4).collect();
        let even = even_step(&numbers);
        let (step, unit) = match self {
            Self::Temporal => (step_s.unwrap_or(0.0), "s"),
            Self::Echo | Self::Inversion => (even.unwrap_or(0.0), "ms"),
            Self::Trigger => (even.map_or(0.0, |ms| ms / 1000.0), "s"),
            Self::AcquisitionTime | Self::ContentTime => (even.unwrap_or(0.0), "s"),
            Self::Diffusion => (0.0, "s/mm²"),
            Self::Acquisition => (1.0, ""),
        };
        FrameAxis { name: self.name().to_owned(), len: values.len(), step, unit: unit.to_owned() }
    }

    fn text(self, value: Value) -> String {
        let v = |i: usize| value[i] as f64 / 1e4;
        match self {
            Self::Temporal | Self::Acquisition | Self::AcquisitionTime | Self::ContentTime => String::new(),
            Self::Diffusion if value[1..] != [0, 0, 0] => format!("{} [{}, {}, {}]", v(0), v(1), v(2), v(3)),
            _ => v(0).to_string(),
        }
    }
}

/// The step of ascending numbers when they are even to 5 %, otherwise the mean step when to 20 %.
fn even_step(v: &[f64]) -> Option<f64> {
    let (first, last) = (v.first()?, v.last()?);
    let mean = (last - first) / (v.len() as f64 - 1.0);
    let even = v.windows(2).all(|w| ((w[1] - w[0]) - mean).abs() <= 0.2 * mean.abs());
    (v.len() > 1 && even && mean != 0.0).then_some(mean)
}

/// Puts slices into volumes. `levels` is the number of positions; each has at least one candidate.
///
/// Tried in turn: nothing to do (one slice per position); one key whose values each give a whole volume; two keys;
/// one key whose values give nearly whole volumes; the n-th slice of each position by time and number.
#[must_use]
pub fn group(candidates: &[Candidate], levels: usize) -> Frames {
    let mut at: Vec<Vec<usize>> = vec![Vec::new(); levels];
    for (n, c) in candidates.iter().enumerate() {
        at[c.level].push(n);
    }
    let most = at.iter().map(Vec::len).max().unwrap_or(0);
    if most <= 1 {
        let volume = at.iter().map(|l| l.first().copied()).collect();
        return Frames {
            volumes: vec![volume],
            axes: Vec::new(),
            values: vec![String::new()],
            left: Vec::new(),
            is_told: true,
        };
    }
    let is_full = at.iter().all(|l| l.len() == most);
    let step_s = candidates.iter().find_map(|c| c.keys.step_s);
    for key in KEYS {
        if let Some(found) = by_one(candidates, levels, key, step_s, 1.0).filter(|f| f.left.is_empty()) {
            return found;
        }
    }
    if is_full {
        for (n, &slow) in KEYS.iter().enumerate() {
            for &fast in &KEYS[n + 1..] {
                if let Some(found) = by_two(candidates, levels, slow, fast, step_s, most) {
                    return found;
                }
            }
        }
    } else {
        // A volume may lack slices; one with fewer than three quarters of them stands for itself.
        for key in KEYS {
            if let Some(found) = by_one(candidates, levels, key, step_s, 0.75) {
                return found;
            }
        }
    }
    by_rank(candidates, &at, step_s)
}

fn by_one(
    candidates: &[Candidate],
    levels: usize,
    key: Key,
    step_s: Option<f64>,
    part: f64,
) -> Option<Frames> {
    let mut groups: BTreeMap<Value, Vec<Option<usize>>> = BTreeMap::new();
    for (n, c) in candidates.iter().enumerate() {
        let slots = groups.entry(key.of(&c.keys)?).or_insert_with(|| vec![None; levels]);
        if slots[c.level].replace(n).is_some() {
            return None;
        }
        if groups.len() > candidates.len() / 2 + 1 && levels > 2 {
            return None;
        }
    }
    let filled = |v: &Vec<Option<usize>>| v.iter().flatten().count();
    let is_whole = |v: &Vec<Option<usize>>| filled(v) as f64 >= part * levels as f64;
    let left = groups.values().filter(|v| !is_whole(v)).flatten().flatten().copied().collect();
    groups.retain(|_, v| is_whole(v));
    if groups.is_empty() {
        return None;
    }
    let values: Vec<Value> = groups.keys().copied().collect();
    let axes = if values.len() > 1 { vec![key.axis(&values, step_s)] } else { Vec::new() };
    let texts = values.iter().map(|v| key.text(*v)).collect();
    Some(Frames { volumes: groups.into_values().collect(), axes, values: texts, left, is_told: true })
}

fn by_two(
    candidates: &[Candidate],
    levels: usize,
    slow: Key,
    fast: Key,
    step_s: Option<f64>,
    most: usize,
) -> Option<Frames> {
    let (mut slows, mut fasts) = (BTreeMap::new(), BTreeMap::new());
    for c in candidates {
        slows.insert(slow.of(&c.keys)?, 0);
        fasts.insert(fast.of(&c.keys)?, 0);
    }
    if slows.len() < 2 || fasts.len() < 2 || slows.len() * fasts.len() != most {
        return None;
    }
    slows.values_mut().enumerate().for_each(|(n, v)| *v = n);
    fasts.values_mut().enumerate().for_each(|(n, v)| *v = n);
    let mut volumes = vec![vec![None; levels]; most];
    for (n, c) in candidates.iter().enumerate() {
        let at = slows[&slow.of(&c.keys)?] * fasts.len() + fasts[&fast.of(&c.keys)?];
        if volumes[at][c.level].replace(n).is_some() {
            return None;
        }
    }
    let (slows, fasts): (Vec<Value>, Vec<Value>) = (slows.into_keys().collect(), fasts.into_keys().collect());
    let values = slows
        .iter()
        .flat_map(|s| fasts.iter().map(|f| format!("{} {}", slow.text(*s), fast.text(*f)).trim().to_owned()));
    let values = values.collect();
    Some(Frames {
        volumes,
        axes: vec![fast.axis(&fasts, step_s), slow.axis(&slows, step_s)],
        values,
        left: Vec::new(),
        is_told: true,
    })
}

fn by_rank(candidates: &[Candidate], at: &[Vec<usize>], step_s: Option<f64>) -> Frames {
    let time = |n: &usize| {
        let k = &candidates[*n].keys;
        let number = |v: Option<f64>| v.map_or(0, rounded);
        (number(k.temporal), number(k.trigger_ms), number(k.acquisition_s), candidates[*n].order)
    };
    let sorted: Vec<Vec<usize>> = at
        .iter()
        .map(|level| {
            let mut level = level.clone();
            level.sort_by_key(time);
            level
        })
        .collect();
    let whole = sorted.iter().map(Vec::len).min().unwrap_or(0);
    let volumes: Vec<Vec<Option<usize>>> =
        (0..whole).map(|r| sorted.iter().map(|l| l.get(r).copied()).collect()).collect();
    let left = sorted.iter().flat_map(|l| l.iter().skip(whole).copied()).collect();
    // What differs between the slices of one position names the axis.
    let first = &sorted[0][..whole.min(sorted[0].len())];
    let differs = |key: Key| {
        let mut values = first.iter().map(|n| key.of(&candidates[*n].keys));
        let one = values.next().flatten();
        one.is_some() && values.any(|v| v.is_some() && v != one)
    };
    let named =
        [Key::Diffusion, Key::Echo, Key::Temporal, Key::Trigger, Key::AcquisitionTime, Key::ContentTime];
    let named = named.into_iter().find(|k| differs(*k));
    let axis = match named {
        Some(key) => {
            let values: Vec<Value> = first.iter().filter_map(|n| key.of(&candidates[*n].keys)).collect();
            let axis = key.axis(&values, step_s);
            FrameAxis {
                len: whole,
                step: if axis.step > 0.0 {
                    axis.step
                } else if axis.name == "time" {
                    step_s.unwrap_or(0.0)
                } else {
                    0.0
                },
                ..axis
            }
        }
        // Repetitions of one acquisition, told apart by number only, are a time series.
        None => FrameAxis {
            name: "time".to_owned(),
            len: whole,
            step: step_s.unwrap_or(0.0),
            unit: if step_s.is_some() { "s" } else { "" }.to_owned(),
        },
    };
    let text = |v: &Vec<Option<usize>>| {
        let first = v.iter().flatten().next();
        named
            .zip(first)
            .and_then(|(key, n)| key.of(&candidates[*n].keys).map(|v| key.text(v)))
            .unwrap_or_default()
    };
    let values = volumes.iter().map(text).collect();
    let axes = if whole > 1 { vec![axis] } else { Vec::new() };
    Frames { axes, values, volumes, left, is_told: named.is_some() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slices(levels: usize, volumes: usize, keys: impl Fn(usize, usize) -> Keys) -> Vec<Candidate> {
        let all = (0..volumes).flat_map(|v| (0..levels).map(move |l| (v, l)));
        all.map(|(v, level)| Candidate {
            level,
            keys: keys(v, level),
            order: ((v * levels + level) as i64, 0),
        })
        .collect()
    }

    #[test]
    fn one_key_gives_volumes() {
        let c = slices(3, 2, |v, _| Keys { echo_ms: Some(30.0 - 10.0 * v as f64), ..Keys::default() });
        let f = group(&c, 3);
        // Ascending echo time, whatever the order of the files.
        assert_eq!(f.volumes[0], [Some(3), Some(4), Some(5)]);
        assert_eq!(f.axes, [FrameAxis { name: "echo".into(), len: 2, step: 10.0, unit: "ms".into() }]);
        assert_eq!(f.values, ["20", "30"]);
    }

    #[test]
    fn two_keys_give_two_axes() {
        let c = slices(2, 6, |v, _| Keys {
            temporal: Some((v / 2) as f64),
            echo_ms: Some(10.0 + (v % 2) as f64),
            step_s: Some(2.5),
            ..Keys::default()
        });
        let f = group(&c, 2);
        let lengths: Vec<_> = f.axes.iter().map(|a| (a.name.as_str(), a.len, a.step)).collect();
        assert_eq!(lengths, [("echo", 2, 1.0), ("time", 3, 2.5)]);
        assert_eq!(f.volumes[3], [Some(6), Some(7)]);
    }

    #[test]
    fn numbers_order_what_nothing_else_does() {
        let c = slices(3, 4, |_, _| Keys { step_s: Some(5.0), ..Keys::default() });
        let f = group(&c, 3);
        assert_eq!(f.volumes.len(), 4);
        assert_eq!(f.volumes[2], [Some(6), Some(7), Some(8)]);
        assert_eq!((f.axes[0].name.as_str(), f.axes[0].step), ("time", 5.0));
        // Times that differ from slice to slice order too.
        let c = slices(3, 2, |v, l| Keys { trigger_ms: Some((100 * (1 - v) + l) as f64), ..Keys::default() });
        assert_eq!(group(&c, 3).volumes[0], [Some(3), Some(4), Some(5)]);
    }

    #[test]
    fn an_unfinished_volume_is_left_and_a_hole_is_kept() {
        let mut c = slices(8, 3, |v, _| Keys { temporal: Some(v as f64), ..Keys::default() });
        c.truncate(18); // the last volume has two slices
        c.remove(5); // the first lacks one
        let f = group(&c, 8);
        assert_eq!(f.volumes.len(), 2);
        assert_eq!(f.volumes[0][5], None);
        assert_eq!(f.left, [15, 16]);
    }
}
