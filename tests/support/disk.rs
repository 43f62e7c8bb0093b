//! Small real file systems, in this test's own view of the mounts: they vanish with it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const FILLER: &str = "filler";

/// A file system in memory, mounted until this is dropped.
pub struct Disk {
    at: PathBuf,
}

/// Gives this thread, and the processes that it starts, mounts of their own. False, loudly, where that is not allowed.
#[allow(unsafe_code, reason = "rustix counts unshare as unsafe too")]
pub fn can_mount() -> bool {
    // SAFETY: takes flags only; of what is no longer shared, nothing but the mounts differs from other threads.
    let unshared = unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0;
    let able = unshared && run("mount", &["--make-rprivate".as_ref(), "/".as_ref()]);
    if !able {
        eprintln!("NOT TESTED: this needs a mount, and this user may not mount anything (run it as root)");
    }
    able
}

impl Disk {
    /// Mounts `size` bytes (`4m`) at a folder, which is made.
    #[track_caller]
    pub fn mount(at: &Path, size: &str) -> Self {
        fs::create_dir_all(at).expect("the folder can be made");
        let size = format!("size={size}");
        let done = run(
            "mount",
            &["-t".as_ref(), "tmpfs".as_ref(), "-o".as_ref(), size.as_ref(), "none".as_ref(), at],
        );
        assert!(done, "{} can be mounted", at.display());
        Self { at: at.to_owned() }
    }

    /// Mounts one folder at another.
    #[track_caller]
    pub fn bind(from: &Path, at: &Path) -> Self {
        fs::create_dir_all(from).expect("the folder can be made");
        fs::create_dir_all(at).expect("the folder can be made");
        assert!(run("mount", &["--bind".as_ref(), from, at]), "{} can be mounted", at.display());
        Self { at: at.to_owned() }
    }

    /// Mounts it again with other options: `size=8m`, `ro`.
    #[track_caller]
    pub fn change(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(run("mount", &["-o".as_ref(), options.as_ref(), &self.at]), "{options}");
    }

    /// Leaves about so many bytes free.
    #[track_caller]
    pub fn fill(&self, leave: u64) {
        let mut filler = File::create(self.at.join(FILLER)).expect("it can be made");
        let block = vec![7; 16 << 10];
        while filler.write_all(&block).is_ok() {}
        let length = filler.metadata().expect("it is open").len();
        filler.set_len(length.saturating_sub(leave)).expect("it can be cut");
    }

    /// Takes the filler away.
    pub fn empty(&self) {
        super::remove(&self.at.join(FILLER));
    }
}

/// A file system whose own disk is too small for it: writes go well, and the fsync that comes after them fails. A second fsync
/// would say that all is well, though the data is lost.
pub struct FailingDisk {
    mounted: Option<Disk>,
    image: PathBuf,
    at: PathBuf,
    below: Disk,
}

impl FailingDisk {
    /// None, loudly, where there are no loop devices.
    pub fn mount(at: &Path, below: &Path, size: &str) -> Option<Self> {
        let below = Disk::mount(below, size);
        let image = below.at.join("image");
        File::create(&image).and_then(|file| file.set_len(64 << 20)).expect("a file of holes can be made");
        let options = ["-q", "-F", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard"];
        let mut arguments: Vec<&Path> = options.iter().map(Path::new).collect();
        arguments.push(&image);
        let mut disk = Self { mounted: None, image: image.clone(), at: at.to_owned(), below };
        if !run("mkfs.ext4", &arguments) || !disk.attach() {
            eprintln!("NOT TESTED: this needs mkfs.ext4 and a loop device");
            return None;
        }
        Some(disk)
    }

    fn attach(&mut self) -> bool {
        fs::create_dir_all(&self.at).expect("the folder can be made");
        let done = run("mount", &["-o".as_ref(), "loop".as_ref(), &self.image, &self.at]);
        self.mounted = done.then(|| Disk { at: self.at.clone() });
        done
    }

    /// The disk works from now on.
    pub fn mend(&self) {
        self.below.change("size=96m");
    }

    /// Whatever was not on the disk is gone.
    #[track_caller]
    pub fn forget_cached(&mut self) {
        assert!(run("umount", &[&self.at]), "nobody uses it");
        std::mem::forget(self.mounted.take());
        assert!(self.attach(), "it can be mounted again");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whoever has files open there keeps it until then.
        run("umount", &["-l".as_ref(), &self.at]);
    }
}

fn run(program: &str, arguments: &[&Path]) -> bool {
    Command::new(program).args(arguments).status().is_ok_and(|status| status.success())
}
