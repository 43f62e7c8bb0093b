//! System calls that change the disk: which they are, and what one is about to do.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path, PathBuf};

use nix::libc::{self, c_long, user_regs_struct};
use nix::unistd::Pid;

/// What a system call is about to do to the disk.
#[derive(Debug, Clone)]
pub enum Change {
    /// Bytes go to a file: at `offset`, or where its descriptor stands.
    Write {
        fd: u64,
        offset: Option<u64>,
    },
    /// A file is cut, or zeros are put behind it.
    Length {
        fd: u64,
    },
    /// A file's content changes in another way: copied by the kernel.
    Reshape {
        fd: u64,
    },
    /// A file is opened that is not there yet, or is emptied by it.
    Create,
    Rename {
        to: PathBuf,
    },
    /// A second name.
    Link {
        to: PathBuf,
    },
    Unlink,
    MakeFolder,
    RemoveFolder,
    /// A file's or a folder's content is to be durable when it returns.
    Sync {
        fd: u64,
    },
    /// Mode, owner, times; or a sync that promises nothing.
    Attribute,
    /// An open that changes nothing: no step, but it may be refused.
    Open,
}

/// A system call in the world's folders, stopped before it is carried out.
#[derive(Debug, Clone)]
pub struct Call {
    pub name: &'static str,
    pub path: PathBuf,
    pub change: Change,
}

impl Call {
    /// Whether it changes the disk, and so counts as a step.
    pub fn is_step(&self) -> bool {
        !matches!(self.change, Change::Open)
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} {}", self.name, self.path.display())?;
        match &self.change {
            Change::Rename { to } | Change::Link { to } => write!(out, " -> {}", to.display()),
            Change::Write { offset: Some(offset), .. } => write!(out, " at {offset}"),
            _ => Ok(()),
        }
    }
}

/// Every system call that is looked at.
pub const WATCHED: &[c_long] = &[
    libc::SYS_write,
    libc::SYS_pwrite64,
    libc::SYS_writev,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_creat,
    libc::SYS_openat2,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_link,
    libc::SYS_linkat,
    libc::SYS_symlink,
    libc::SYS_symlinkat,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_rmdir,
    libc::SYS_truncate,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_sync,
    libc::SYS_syncfs,
    libc::SYS_msync,
    libc::SYS_chmod,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_chown,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_fsetxattr,
];

/// What the stopped thread is about to do, if it changes something that `is_ours`.
///
/// # Panics
/// On a watched call that the model cannot follow: better no result than a wrong one.
pub fn read(thread: Pid, registers: &user_regs_struct, is_ours: impl Fn(&Path) -> bool) -> Option<Call> {
    let memory = Tracee { thread, registers };
    let call = memory.call()?;
    let other_end = match &call.change {
        Change::Rename { to } | Change::Link { to } => is_ours(to),
        _ => false,
    };
    (is_ours(&call.path) || other_end).then_some(call)
}

/// `PATH_MAX`.
const PATH_BYTES_MAX: usize = 4096;

struct Tracee<'a> {
    thread: Pid,
    registers: &'a user_regs_struct,
}

impl Tracee<'_> {
    fn call(&self) -> Option<Call> {
        let call = |name, path: Option<PathBuf>, change| path.map(|path| Call { name, path, change });
        let [a, b, c, d] = [0, 1, 2, 3].map(|index| self.argument(index));
        let number = c_long::try_from(self.registers.orig_rax).ok()?;
        match number {
            libc::SYS_write => call("write", self.descriptor(a), Change::Write { fd: a, offset: None }),
            libc::SYS_writev => call("writev", self.descriptor(a), Change::Write { fd: a, offset: None }),
            libc::SYS_pwrite64 => {
                call("pwrite", self.descriptor(a), Change::Write { fd: a, offset: Some(d) })
            }
            libc::SYS_pwritev | libc::SYS_pwritev2 => {
                call("pwritev", self.descriptor(a), Change::Write { fd: a, offset: Some(d) })
            }
            libc::SYS_open => opened(self.text(a), b),
            libc::SYS_creat => opened(self.text(a), bits(libc::O_CREAT | libc::O_TRUNC)),
            libc::SYS_openat => opened(self.text_at(a, b), c),
            libc::SYS_openat2 => opened(self.text_at(a, b), self.number(c)?),
            libc::SYS_rename => call("rename", self.text(a), Change::Rename { to: self.text(b)? }),
            libc::SYS_renameat | libc::SYS_renameat2 => {
                call("renameat", self.text_at(a, b), Change::Rename { to: self.text_at(c, d)? })
            }
            libc::SYS_link => call("link", self.text(a), Change::Link { to: self.text(b)? }),
            libc::SYS_linkat => call("linkat", self.text_at(a, b), Change::Link { to: self.text_at(c, d)? }),
            libc::SYS_symlink | libc::SYS_symlinkat => panic!("symlink: the harness cannot follow it yet"),
            libc::SYS_unlink => call("unlink", self.text(a), Change::Unlink),
            libc::SYS_unlinkat if c & bits(libc::AT_REMOVEDIR) != 0 => {
                call("rmdir", self.text_at(a, b), Change::RemoveFolder)
            }
            libc::SYS_unlinkat => call("unlink", self.text_at(a, b), Change::Unlink),
            libc::SYS_mkdir => call("mkdir", self.text(a), Change::MakeFolder),
            libc::SYS_mkdirat => call("mkdir", self.text_at(a, b), Change::MakeFolder),
            libc::SYS_rmdir => call("rmdir", self.text(a), Change::RemoveFolder),
            libc::SYS_truncate => panic!("truncate: the harness cannot follow it yet"),
            libc::SYS_ftruncate => call("ftruncate", self.descriptor(a), Change::Length { fd: a }),
            libc::SYS_fallocate => call("fallocate", self.descriptor(a), Change::Length { fd: a }),
            libc::SYS_copy_file_range | libc::SYS_splice => {
                call("copy_file_range", self.descriptor(c), Change::Reshape { fd: c })
            }
            libc::SYS_sendfile => call("sendfile", self.descriptor(a), Change::Reshape { fd: a }),
            libc::SYS_fsync => call("fsync", self.descriptor(a), Change::Sync { fd: a }),
            libc::SYS_fdatasync => call("fdatasync", self.descriptor(a), Change::Sync { fd: a }),
            libc::SYS_sync_file_range => call("sync_file_range", self.descriptor(a), Change::Attribute),
            libc::SYS_chmod | libc::SYS_chown | libc::SYS_setxattr => {
                call("chmod", self.text(a), Change::Attribute)
            }
            libc::SYS_fchmod | libc::SYS_fchown | libc::SYS_fsetxattr => {
                call("fchmod", self.descriptor(a), Change::Attribute)
            }
            libc::SYS_fchmodat | libc::SYS_fchownat => {
                call("fchmodat", self.text_at(a, b), Change::Attribute)
            }
            libc::SYS_utimensat if b == 0 => call("utimensat", self.descriptor(a), Change::Attribute),
            libc::SYS_utimensat => call("utimensat", self.text_at(a, b), Change::Attribute),
            // `sync`, `syncfs` and `msync` would make durable what the model takes for lost: the stricter way.
            _ => None,
        }
    }

    fn argument(&self, index: usize) -> u64 {
        let registers = self.registers;
        [registers.rdi, registers.rsi, registers.rdx, registers.r10][index]
    }

    /// The path behind a descriptor; none for what has no name any more, and for pipes and the like.
    fn descriptor(&self, fd: u64) -> Option<PathBuf> {
        let path = fs::read_link(format!("/proc/{}/fd/{fd}", self.thread)).ok()?;
        (path.is_absolute() && !path.as_os_str().as_encoded_bytes().ends_with(b" (deleted)")).then_some(path)
    }

    /// The first number of a structure: of `open_how` the flags.
    fn number(&self, address: u64) -> Option<u64> {
        let memory = fs::File::open(format!("/proc/{}/mem", self.thread)).ok()?;
        let mut bytes = [0; 8];
        memory.read_exact_at(&mut bytes, address).ok()?;
        Some(u64::from_ne_bytes(bytes))
    }

    fn text(&self, address: u64) -> Option<PathBuf> {
        self.text_at(bits(libc::AT_FDCWD), address)
    }

    fn text_at(&self, folder: u64, address: u64) -> Option<PathBuf> {
        let memory = fs::File::open(format!("/proc/{}/mem", self.thread)).ok()?;
        let mut bytes = vec![0; PATH_BYTES_MAX];
        let read = memory.read_at(&mut bytes, address).ok()?;
        let end = bytes[..read].iter().position(|&byte| byte == 0)?;
        bytes.truncate(end);
        let path = PathBuf::from(OsString::from_vec(bytes));
        if path.is_absolute() {
            return Some(plain(&path));
        }
        let start = if folder as u32 == libc::AT_FDCWD.cast_unsigned() {
            fs::read_link(format!("/proc/{}/cwd", self.thread)).ok()?
        } else {
            self.descriptor(folder)?
        };
        Some(plain(&start.join(path)))
    }
}

/// What an open does.
fn opened(path: Option<PathBuf>, flags: u64) -> Option<Call> {
    let path = path?;
    let asks = |flag: i32| flags & bits(flag) == bits(flag);
    let change = match fs::symlink_metadata(&path) {
        // An unnamed file is gone at any crash.
        _ if asks(libc::O_TMPFILE) => Change::Open,
        Err(_) if asks(libc::O_CREAT) => Change::Create,
        Ok(there) if asks(libc::O_TRUNC) && there.len() > 0 => Change::Create,
        _ => Change::Open,
    };
    Some(Call { name: "open", path, change })
}

/// Flags as a register holds them.
fn bits(flag: i32) -> u64 {
    u64::from(flag.cast_unsigned())
}

/// Without `.` and with `..` carried out; the harness makes no symbolic links.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}
