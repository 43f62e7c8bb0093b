//! Bytes of a record.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

/// `data` where they are UTF-8, else `data_bytes` in Base64.
#[derive(Serialize)]
pub(super) struct BytesView<'a> {
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_bytes: Option<String>,
}

impl<'a> BytesView<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        let data = std::str::from_utf8(bytes).ok();
        Self { data, data_bytes: data.is_none().then(|| STANDARD.encode(bytes)) }
    }
}
