//! The header that a category's output begins with for each entry.
//!
//! It is repeated where the source has one: as it stands there if the columns are unchanged, else written anew.

use super::plan::Pipeline;
use super::schema::Schema;
use crate::model::slice::EntryShape;

impl Pipeline {
    /// The header line (with its line end) of a category's output for an entry of this shape; none where there is none.
    pub fn header(&self, category: usize, shape: &EntryShape) -> Option<Vec<u8>> {
        let rendering = self.outputs.get(category).filter(|rendering| rendering.header)?;
        let (columns, as_read) = match (self.at_end.get(category)?, &shape.header) {
            (Some(Schema::Chosen(layout)), _) => (Some(&layout.names), None),
            (_, Some(bytes)) => (None, Some(bytes.as_slice())),
            (_, None) => (shape.columns.as_ref(), None),
        };
        let mut header =
            self.format.write_header(columns.map(|names| names.as_slice()), as_read, rendering.annotate)?;
        header.extend_from_slice(rendering.line_end.bytes());
        Some(header)
    }
}
