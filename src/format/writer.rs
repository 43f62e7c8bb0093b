//! How a format is written.

use super::columns;
use crate::model::step::{Record, RecordError};

/// How records and headers stand in an output, and how a child process is asked about them.
///
/// It exists so that who renders outputs and asks children needs to know no format.
pub(crate) trait Writer {
    /// Whether records can be given a number and a reason.
    fn may_annotate(&self) -> bool {
        false
    }

    /// Whether outputs can begin with the names of the columns.
    fn may_have_header(&self) -> bool {
        false
    }

    /// Appends a record with its number and the reason why it is here.
    fn write_annotated(&self, record: &[u8], _number: u64, _reason: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(record);
    }

    /// The header, without its line end: of these columns, else as the entry had it. None where outputs have none.
    fn write_header(
        &self,
        _columns: Option<&[String]>,
        _as_read: Option<&[u8]>,
        _annotate: bool,
    ) -> Option<Vec<u8>> {
        None
    }

    /// Appends a record, which is UTF-8, as JSON: its columns; an error fails the record.
    fn write_json(&self, record: &mut Record<'_>, out: &mut Vec<u8>) -> Result<(), RecordError> {
        columns::write_columns(record, out)
    }

    /// Puts what [`Writer::write_json`] would write of it in the record's place, unless it says the same.
    fn take_json(&self, json: &[u8], record: &mut Record<'_>) -> Result<(), RecordError> {
        columns::take_columns(json, record)
    }
}

pub(super) fn set_if_other(record: &mut Record<'_>, bytes: &[u8]) {
    if record.bytes() != bytes {
        record.set_bytes(bytes);
    }
}
