//! Deliveries: is a source a resend of what was published before, or the next revision of it?

use serde::{Deserialize, Serialize};

use super::job_id::JobId;
use super::os_text::OsText;

/// `[rule.delivery]`: what becomes of a source whose content or key was published before under this rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryRule {
    /// Template of the key by which a later delivery is known, as text and not as a path.
    pub key: Option<String>,
    /// The same decoded content, whatever it is called.
    pub same_content: SameContent,
    /// Another delivery of the same key.
    pub same_key: SameKey,
}

/// `delivery.same_content`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SameContent {
    /// Taken; `duplicate_of` says so.
    #[default]
    Take,
    /// Nothing is published; the source goes to quarantine.
    Refuse,
}

/// `delivery.same_key`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SameKey {
    /// Taken; `{revision}` counts.
    #[default]
    Take,
    /// Taken; `corrects` names the last one.
    Correction,
    /// Waits for an operator.
    Hold,
}

/// What a job's delivery is, judged in the moment before it is published.
#[allow(clippy::struct_excessive_bools, reason = "each is a word of its own, and of an operator")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Delivery {
    /// The rendered `delivery.key`, where the rule has one.
    pub key: Option<OsText>,
    /// 1 for the first delivery of its key.
    pub revision: u64,
    /// The first job that published the same content.
    pub duplicate_of: Option<JobId>,
    /// The last job that published the same key, where this one corrects it.
    pub corrects: Option<JobId>,
    /// An operator takes it as another delivery of its key.
    pub key_approved: bool,
    /// An operator takes it, though its content was published before.
    pub content_approved: bool,
    /// An operator takes it ahead of earlier deliveries of its key.
    pub goes_ahead: bool,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            key: None,
            revision: 1,
            duplicate_of: None,
            corrects: None,
            key_approved: false,
            content_approved: false,
            goes_ahead: false,
        }
    }
}

/// A source is not published as it is, because of what was published before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resend {
    /// The same content: refused.
    Refused {
        /// The first job that published it.
        of: JobId,
    },
    /// The same key: held until an operator settles it.
    Held,
}
