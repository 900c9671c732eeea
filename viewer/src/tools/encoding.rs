//! Edits as bytes, for the journal.
//!
//! Layout: version (1); size i, j, k; 1 and the length and JSON `[old, new]` of the tables, or 0; the number of runs;
//! per run twice the gap to the end of the run before, plus 1 when old and new label are those of the run before; the
//! length; old and new label unless said so. All numbers are LEB128: seven bits a byte, lowest first, the high bit
//! says that more follow.

use formats::LabelTable;

use super::edit::{LabelEdit, Run, TableChange};
use super::error::{Error, Result};

const VERSION: u64 = 1;

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(Error::Damaged("cut short"))?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Error::Damaged("a number of more than 64 bits"))
    }

    fn small<T: TryFrom<u64>>(&mut self) -> Result<T> {
        T::try_from(self.number()?).map_err(|_| Error::Damaged("a number out of range"))
    }

    fn bytes(&mut self, len: usize) -> Result<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(Error::Damaged("cut short"))?;
        self.0 = rest;
        Ok(bytes)
    }
}

impl LabelEdit {
    /// The edit as bytes, about four for each run.
    ///
    /// # Panics
    /// Never: label tables are always valid JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.runs.len() * 4);
        put(&mut out, VERSION);
        self.size_ijk.iter().for_each(|n| put(&mut out, *n as u64));
        match &self.table {
            None => put(&mut out, 0),
            Some(t) => {
                let json = serde_json::to_vec(&(&t.old, &t.new)).expect("a label table is valid JSON");
                put(&mut out, 1);
                put(&mut out, json.len() as u64);
                out.extend(json);
            }
        }
        put(&mut out, self.runs.len() as u64);
        let (mut end, mut pair) = (0, (0, 0));
        for run in &self.runs {
            let same = pair == (run.old, run.new);
            put(&mut out, (run.start - end) << 1 | u64::from(same));
            put(&mut out, run.len.into());
            if !same {
                put(&mut out, run.old.into());
                put(&mut out, run.new.into());
            }
            (end, pair) = (run.start + u64::from(run.len), (run.old, run.new));
        }
        out
    }

    /// The edit that [`LabelEdit::encode`] wrote.
    ///
    /// # Errors
    /// [`Error::Damaged`] for anything else; memory stays within a few times the length of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut from = Reader(bytes);
        if from.number()? != VERSION {
            return Err(Error::Damaged("of another version of this program"));
        }
        let size_ijk: [usize; 3] = [from.small()?, from.small()?, from.small()?];
        let voxels = size_ijk.iter().try_fold(1usize, |n, s| n.checked_mul(*s)).filter(|n| *n > 0);
        let voxels = voxels.ok_or(Error::Damaged("an impossible size"))? as u64;
        let table = match from.number()? {
            0 => None,
            1 => {
                let len = from.small()?;
                let tables: (LabelTable, LabelTable) = serde_json::from_slice(from.bytes(len)?)
                    .map_err(|_| Error::Damaged("a label table that is none"))?;
                Some(Box::new(TableChange { old: tables.0, new: tables.1 }))
            }
            _ => return Err(Error::Damaged("a table flag other than 0 and 1")),
        };
        let count: usize = from.small()?;
        // A run takes two bytes or more.
        if count > from.0.len() / 2 {
            return Err(Error::Damaged("cut short"));
        }
        let mut runs = Vec::with_capacity(count);
        let (mut end, mut pair) = (0u64, (0, 0));
        for _ in 0..count {
            let gap = from.number()?;
            let len: u32 = from.small()?;
            if gap & 1 == 0 {
                pair = (from.small()?, from.small()?);
            }
            let start = end.checked_add(gap >> 1).ok_or(Error::Damaged("a run beyond the volume"))?;
            end = start.checked_add(len.into()).ok_or(Error::Damaged("a run beyond the volume"))?;
            if end > voxels || len == 0 || pair.0 == pair.1 {
                return Err(Error::Damaged("an empty run or one beyond the volume"));
            }
            runs.push(Run { start, len, old: pair.0, new: pair.1 });
        }
        if !from.0.is_empty() {
            return Err(Error::Damaged("more bytes than an edit has"));
        }
        Ok(Self::new(size_ijk, runs, table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::LabelEntry;
    use proptest::prelude::*;

    fn example() -> LabelEdit {
        let run = |start, len, old, new| Run { start, len, old, new };
        let table = LabelTable { entries: vec![LabelEntry::new(7, "Thalamus", [1, 2, 255])] };
        LabelEdit::new(
            [300, 200, 100],
            vec![run(5, 9, 0, 3), run(700, 130, 0, 3), run(830, 1, 3, 65535)],
            None,
        )
        .with_table(LabelTable::default(), table)
    }

    #[test]
    fn bytes_come_back_and_stay_few() {
        let edit = example();
        assert_eq!(LabelEdit::decode(&edit.encode()).unwrap(), edit);
        let plain = LabelEdit::new(edit.size_ijk, edit.runs.clone(), None);
        assert!(plain.encode().len() <= 26, "{}", plain.encode().len());
    }

    #[test]
    fn every_cut_is_noticed() {
        let bytes = example().encode();
        for n in 0..bytes.len() {
            assert!(matches!(LabelEdit::decode(&bytes[..n]), Err(Error::Damaged(_))), "{n}");
        }
    }

    proptest! {
        #[test]
        fn damage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..60), at in 0usize..40, value: u8) {
            let _ = LabelEdit::decode(&bytes);
            let mut damaged = example().encode();
            damaged[at] = value;
            if let Ok(edit) = LabelEdit::decode(&damaged) {
                prop_assert!(edit.runs.windows(2).all(|w| w[0].start + u64::from(w[0].len) <= w[1].start));
            }
        }
    }
}
