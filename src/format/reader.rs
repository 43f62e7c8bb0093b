//! How a format is read.

use std::sync::Arc;

use super::columns::{ColumnReader, Layout};
use super::unit::Unit;
use crate::model::rule::Csv;

/// How records are found in text, and what columns they have.
///
/// It exists so that who cuts, checks and plans needs to know no format. None of its calls is made for every record.
pub(crate) trait Reader {
    /// As rules name it.
    fn name(&self) -> &'static str;

    /// How its records are told from each other.
    fn ends(&self) -> Ends<'_>;

    /// Whether the first record of each entry names the columns, and by which rules it is split.
    fn header(&self) -> Option<&Csv> {
        None
    }

    /// Whether a carriage return stands in a record that ends no line. `is_whole`: the record was not cut short.
    fn has_lone_return(&self, record: &[u8], _is_whole: bool) -> bool {
        has_bare_return(record)
    }

    /// The columns that every entry has, by the rule; none where only an entry tells.
    fn layout(&self) -> Option<Arc<Layout>> {
        Some(Arc::default())
    }

    /// Records have columns.
    fn has_columns(&self) -> bool {
        true
    }

    /// Columns stand in a fixed order, so that records of other columns cannot follow in one output.
    fn is_tabular(&self) -> bool {
        false
    }

    /// Columns are dotted paths into a value, and a record may lack any.
    fn has_paths(&self) -> bool {
        false
    }

    /// Rows may have more or fewer fields than there are columns: told in these words where there are more than may be.
    fn fields_past_max(&self) -> Option<String> {
        None
    }

    /// A column that a step names is not there, and `nearest` is: what is wrong and what to do. None: that is no fault.
    fn no_column(&self, column: &str, nearest: Option<&str>) -> Option<(String, Option<String>)>;

    /// Why `check` of a record fails, as `validate` counts it.
    fn unreadable(&self) -> &'static str {
        "not readable"
    }

    /// The length that each record must have, where there is one.
    fn width(&self) -> Option<usize> {
        None
    }

    /// White space around a record between separators is not part of it.
    fn trims(&self) -> bool {
        false
    }

    /// A line feed in a record that a step changed would make two of it.
    fn is_one_line(&self) -> bool {
        true
    }

    /// Whether a record with a line feed inside would be read back as more than one.
    fn is_split_by_line_feeds(&self, _record: &[u8]) -> bool {
        true
    }

    /// What reads columns of one record after another. `unit` is what the widths of fixed fields count; `paths` are those that a
    /// column means where [`Reader::has_paths`].
    fn column_reader(&self, unit: Unit, paths: &[Vec<String>]) -> Box<dyn ColumnReader>;
}

/// Whether a CR stands before no LF, quotes or not.
pub(super) fn has_bare_return(record: &[u8]) -> bool {
    memchr::memchr_iter(b'\r', record).any(|at| record.get(at + 1) != Some(&b'\n'))
}

/// How records are told from each other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ends<'a> {
    /// Each line is a record, but for these.
    Lines(Blank),
    /// Separators inside these quotes belong to the record.
    Quotes(u8, &'a Csv),
    /// Each has so many bytes.
    Length(u64),
}

/// Which lines are no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blank {
    /// Every line is a record.
    Record,
    Empty,
    WhiteSpace,
}

impl Blank {
    /// Whether a line is none.
    #[inline]
    pub(crate) fn takes(self, line: &[u8]) -> bool {
        match self {
            Self::Record => false,
            Self::Empty => line.is_empty(),
            Self::WhiteSpace => line.iter().all(u8::is_ascii_whitespace),
        }
    }
}
