/// Why an edit cannot be made or applied. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The edit was made for a volume of another size.
    #[error("the edit is for {}×{}×{} voxels, the labels have {}×{}×{}",
        edit[0], edit[1], edit[2], labels[0], labels[1], labels[2])]
    Size {
        /// Size (i, j, k) the edit was made for.
        edit: [usize; 3],
        /// Size (i, j, k) of the labels.
        labels: [usize; 3],
    },
    /// A voxel does not hold what the edit expects to replace: the labels changed in between.
    #[error(
        "voxel {index} holds label {found} where the edit expects {expected}; edits must be applied in their order"
    )]
    Mismatch {
        /// Position in memory (i fastest).
        index: u64,
        /// The label there.
        found: u16,
        /// The label that was there when the edit was made.
        expected: u16,
    },
    /// The label table is not the one the edit expects to replace.
    #[error("the label table changed since the edit was made; edits must be applied in their order")]
    TableMismatch,
    /// Bytes that are no edit.
    #[error("a damaged edit: {0}")]
    Damaged(&'static str),
    /// A seed outside the volume.
    #[error("the point lies outside the labels' volume")]
    Outside,
    /// The grid maps several voxels to one place.
    #[error("the placement of the {0} is singular: its axes do not span a volume")]
    Singular(&'static str),
    /// A region that grew beyond the cap, for example through a gap in the border.
    #[error(
        "the region has more than {cap} voxels; narrow the value range, choose another seed or raise the limit"
    )]
    OverCap {
        /// The most voxels that were allowed.
        cap: u64,
    },
    /// Arguments that do not fit together.
    #[error("{0}")]
    Argument(String),
    /// The user asked to stop. Not a failure.
    #[error("cancelled")]
    Cancelled,
    /// A failure of a measurement underneath.
    #[error(transparent)]
    Formats(formats::Error),
}

impl From<formats::Error> for Error {
    fn from(error: formats::Error) -> Self {
        match error {
            formats::Error::Cancelled => Self::Cancelled,
            other => Self::Formats(other),
        }
    }
}

/// Result with [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
