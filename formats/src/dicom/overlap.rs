//! Structures that share voxels: one label volume cannot hold both, so which one stays is a rule, and is told.

use std::collections::BTreeMap;

use crate::labels::LabelTable;
use crate::notice::Notice;

/// Voxels that two structures claimed, by the structure that has them and the one that gave way.
#[derive(Debug, Default)]
pub(super) struct Overlaps(BTreeMap<(u16, u16), u64>);

impl Overlaps {
    /// Counts one voxel that `kept` has and `lost` claimed as well.
    pub fn add(&mut self, kept: u16, lost: u16) {
        *self.0.entry((kept, lost)).or_default() += 1;
    }

    /// A warning with the counts of the largest pairs, if there are any.
    pub fn notice(&self, table: &LabelTable, rule: &str) -> Option<Notice> {
        if self.0.is_empty() {
            return None;
        }
        let mut pairs: Vec<_> = self.0.iter().collect();
        pairs.sort_by_key(|&(_, &n)| std::cmp::Reverse(n));
        let total: u64 = self.0.values().sum();
        let told = pairs.iter().take(8).map(|&(&(kept, lost), n)| {
            format!("{n} voxels of “{}” are now “{}”", table.name(lost), table.name(kept))
        });
        let told = told.collect::<Vec<_>>().join(", ");
        let more = pairs.len().saturating_sub(8);
        let more = if more > 0 { format!(", and {more} further pairs") } else { String::new() };
        Some(Notice::warning(
            "overlapping-structures",
            format!("structures overlap in {total} voxels, where one label must do; {rule}: {told}{more}"),
        ))
    }
}
