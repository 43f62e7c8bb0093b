//! The `Step` trait and the record it sees: SKELETON, owned by the pipeline helper.
