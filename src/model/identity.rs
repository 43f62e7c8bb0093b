//! What makes a file this file and not another of the same name.

use serde::{Deserialize, Serialize};

/// The identity of a file's content as far as the file system tells: where it lies and when it last changed.
///
/// Read by `durable_fs::identity`. On Windows `device` is the volume's serial number, `inode` the file's index,
/// and `ctime_ns` its change time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileIdentity {
    /// The file system.
    pub device: u64,
    /// The file within it.
    pub inode: u64,
    /// In bytes.
    pub size: u64,
    /// Last change of the content, nanoseconds since 1970.
    pub mtime_ns: i128,
    /// Last change of the content or of the file's own data, nanoseconds since 1970.
    pub ctime_ns: i128,
}

/// In one text: what is told apart by a tag has no room for integers of 128 bits.
pub(crate) mod as_text {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::FileIdentity;

    pub(crate) fn serialize<S: Serializer>(identity: &FileIdentity, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&serde_json::to_string(identity).map_err(serde::ser::Error::custom)?)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<FileIdentity, D::Error> {
        serde_json::from_str(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl FileIdentity {
    /// Whether both are the same file, whatever it holds.
    pub fn same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// Whether both are the same file with the same content; a rename changes only ctime.
    pub fn same_content(&self, other: &Self) -> bool {
        (self.device, self.inode, self.size, self.mtime_ns)
            == (other.device, other.inode, other.size, other.mtime_ns)
    }
}

/// What more is known of a file that stays where it lies, as it was then: by this it is known again where only its ctime is another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAs {
    /// How many names (hard links) it had.
    pub names: u64,
    /// BLAKE3 of its bytes, hexadecimal; of a large one `sample:` and that of a sample; none where it could not be read.
    pub digest: Option<String>,
}

/// What the digest of a sample begins with.
pub(crate) const SAMPLE: &str = "sample:";

impl KeptAs {
    /// Whether every byte counted: a sample tells a file that somebody touched, and not one that is being read from one that was written
    /// meanwhile.
    pub(crate) fn is_of_all_bytes(&self) -> bool {
        self.digest.as_ref().is_some_and(|digest| !digest.starts_with(SAMPLE))
    }

    /// Whether what lies there now is the same: by its bytes, else by that it got or lost a name, which says why its ctime is another.
    pub fn explains(&self, now: &Self) -> bool {
        match (&self.digest, &now.digest) {
            (Some(before), Some(now)) => before == now,
            _ => self.names != now.names,
        }
    }
}

/// What tells a folder from another of the same path: one on a file system that is mounted later or not any more, or one made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderIdentity {
    /// The file system; the number may be another after a reboot.
    pub device: u64,
    /// The folder within it.
    pub inode: u64,
    /// When it was made, nanoseconds since 1970, where the file system tells.
    pub created_ns: Option<i128>,
}

impl FolderIdentity {
    /// Whether both are one folder, also across a reboot that numbered the devices anew.
    pub fn is_same(&self, other: &Self) -> bool {
        self.inode == other.inode && (self.device == other.device || self.created_ns == other.created_ns)
    }
}
