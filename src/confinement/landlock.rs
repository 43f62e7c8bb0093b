//! Landlock, by what of it the kernel knows.

use std::io;
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd, PathFdError,
    Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError, Scope,
};

use super::{Allowed, CannotAllow, DEVICES};
use crate::durable_fs;

/// What is denied where the kernel can: all that this version knows, and signals to others.
const KNOWN: ABI = ABI::V6;

/// What is to be reached, as the kernel has it.
pub(crate) struct Fence(RulesetCreated);

impl Fence {
    /// Looks all paths up. One that has to be there and is not is an error.
    pub(crate) fn around(allowed: &Allowed) -> Result<Self, CannotAllow> {
        let mut fence =
            Self(none_yet(allowed.signals_others).map_err(|error| refused(Path::new("/"), error))?);
        let (all, read) = (AccessFs::from_all(KNOWN), AccessFs::from_read(KNOWN));
        for path in &allowed.read {
            fence = fence.allow(path, read)?;
        }
        for path in &allowed.write {
            fence = fence.allow(path, all)?;
        }
        let devices = DEVICES.iter().map(|device| (Path::new(device), all));
        let read_if_there = allowed.read_if_there.iter().map(|path| (path.as_path(), read));
        let write_if_there = allowed.write_if_there.iter().map(|path| (path.as_path(), all));
        for (path, access) in devices.chain(read_if_there).chain(write_if_there) {
            // What is not to be had is not reached.
            if let Ok(opened) = open(path) {
                fence = fence.allow_opened(path, opened, access)?;
            }
        }
        Ok(fence)
    }

    fn allow(self, path: &Path, access: BitFlags<AccessFs>) -> Result<Self, CannotAllow> {
        let opened = open(path).map_err(|error| CannotAllow { path: path.to_owned(), error })?;
        self.allow_opened(path, opened, access)
    }

    fn allow_opened(
        self,
        path: &Path,
        opened: PathFd,
        access: BitFlags<AccessFs>,
    ) -> Result<Self, CannotAllow> {
        let added = self.0.add_rule(PathBeneath::new(opened, access));
        added.map(Self).map_err(|error| refused(path, error))
    }

    /// Keeps this thread in, and whatever it starts from now on. Two system calls, and no memory: also between fork and exec.
    pub(crate) fn enter(self) -> io::Result<()> {
        self.0.restrict_self().map(|_| ()).map_err(|_| io::Error::from_raw_os_error(libc::EPERM))
    }
}

fn none_yet(signals_others: bool) -> Result<RulesetCreated, RulesetError> {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    let ruleset = ruleset.handle_access(AccessFs::from_all(KNOWN))?;
    if signals_others {
        return ruleset.create();
    }
    // Session buses and agents listen on sockets without a file.
    ruleset.scope(Scope::Signal | Scope::AbstractUnixSocket)?.create()
}

/// It is noted before: it may hang.
fn open(path: &Path) -> io::Result<PathFd> {
    durable_fs::note_place(path);
    PathFd::new(path).map_err(|error| match error {
        PathFdError::OpenCall { source, .. } => source,
        other => io::Error::other(other),
    })
}

fn refused(path: &Path, error: RulesetError) -> CannotAllow {
    CannotAllow { path: path.to_owned(), error: io::Error::other(error) }
}

/// Whether this system can confine at all.
pub(crate) fn is_known() -> bool {
    knows(AccessFs::Execute)
}

/// Whether files may be moved from folder to folder within a fence: Linux 5.19.
pub(crate) fn moves_are_known() -> bool {
    knows(AccessFs::Refer)
}

fn knows(access: AccessFs) -> bool {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(access);
    ruleset.and_then(Ruleset::create).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_in_reaches_what_is_named_and_nothing_else_and_so_do_threads_that_begin_there() {
        if !is_known() {
            return eprintln!("skipped: this kernel has no Landlock");
        }
        let world = tempfile::tempdir().expect("a folder");
        let root = world.path().to_owned();
        let path = move |name: &str| root.join(name);
        for folder in ["read", "write", "neither"] {
            std::fs::create_dir(path(folder)).expect("makes");
            std::fs::write(path(folder).join("file"), "text").expect("writes");
        }
        let allowed = Allowed { read: vec![path("read")], write: vec![path("write")], ..Allowed::default() };
        let fence = Fence::around(&allowed).expect("all is there");
        let tried = std::thread::spawn(move || {
            fence.enter().expect("enters");
            let tried = std::thread::spawn(move || {
                let read = |folder| std::fs::read(path(folder).join("file")).is_ok();
                let write = |folder| std::fs::write(path(folder).join("new"), "").is_ok();
                ["read", "write", "neither"].map(|folder| (read(folder), write(folder)))
            });
            tried.join().expect("no panic")
        });
        assert_eq!(tried.join().expect("no panic"), [(true, false), (true, true), (false, false)]);
    }

    #[test]
    fn what_has_to_be_there_and_is_not_is_named() {
        let allowed = Allowed { read: vec!["/not/there".into()], ..Allowed::default() };
        let refused = Fence::around(&allowed).map(|_| ()).expect_err("is not there");
        assert!(refused.to_string().contains("/not/there"), "{refused}");
        let allowed = Allowed { read_if_there: vec!["/not/there".into()], ..Allowed::default() };
        Fence::around(&allowed).map(|_| ()).expect("it need not be");
    }
}
