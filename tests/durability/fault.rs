//! Faults that the system may return, and which calls they strike.

use std::path::Path;

use nix::libc;

use crate::syscall::{Call, Change};

/// From a step on, until it is mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Whatever needs room.
    DiskFull,
    /// Whatever changes the names in the step's folder.
    Denied,
    /// Whatever is done in the step's folder.
    BadSectors,
    /// Every open, whatever for.
    TooManyOpen,
    /// The step's folder is not there; what is open stays usable.
    FolderGone,
    /// One sync; the next says that all is well, as Linux does.
    SyncFails,
}

impl Fault {
    pub const ALL: [Self; 6] = [
        Self::DiskFull,
        Self::Denied,
        Self::BadSectors,
        Self::TooManyOpen,
        Self::FolderGone,
        Self::SyncFails,
    ];

    /// The error that the call returns while the fault lasts; `folder` is where the first call was that it struck.
    pub fn strikes(self, call: &Call, folder: &Path, is_first: bool) -> Option<i32> {
        use Change as C;
        let in_folder = || {
            let other = match &call.change {
                C::Rename { to } | C::Link { to } => to.parent(),
                _ => None,
            };
            call.path.parent() == Some(folder) || other == Some(folder)
        };
        let by_name = matches!(
            call.change,
            C::Create | C::Rename { .. } | C::Link { .. } | C::Unlink | C::MakeFolder | C::RemoveFolder
        );
        let (struck, errno) = match self {
            Self::DiskFull => {
                let needs_room = matches!(
                    call.change,
                    C::Write { .. }
                        | C::Length { .. }
                        | C::Reshape { .. }
                        | C::Create
                        | C::MakeFolder
                        | C::Link { .. }
                        | C::Rename { .. }
                );
                (needs_room, libc::ENOSPC)
            }
            Self::Denied => (by_name && in_folder(), libc::EACCES),
            Self::BadSectors => (call.is_step() && in_folder(), libc::EIO),
            Self::TooManyOpen => (matches!(call.change, C::Create | C::Open), libc::EMFILE),
            Self::FolderGone => ((by_name || matches!(call.change, C::Open)) && in_folder(), libc::ENOENT),
            Self::SyncFails => (is_first && matches!(call.change, C::Sync { .. }), libc::EIO),
        };
        struck.then_some(errno)
    }

    /// Whether the fault can begin with this step.
    pub fn suits(self, step: &Call) -> bool {
        let folder = step.path.parent().unwrap_or(Path::new("/"));
        step.is_step() && (self == Self::TooManyOpen || self.strikes(step, folder, true).is_some())
    }
}
