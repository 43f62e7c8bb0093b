//! `[service.traces]`: where a trace of each job goes.

use std::path::PathBuf;

use super::post_url::PostUrl;

/// A collector of OpenTelemetry that takes OTLP over HTTP, as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// With its path: `/v1/traces`, as a rule.
    pub url: PostUrl,
    /// A file with the token of `Authorization: Bearer`.
    pub bearer_file: Option<PathBuf>,
}
