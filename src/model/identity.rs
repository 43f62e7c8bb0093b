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
