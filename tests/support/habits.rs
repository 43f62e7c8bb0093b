//! A file system in user space that gives a real local folder the habits of NFS and of Windows shares, where the kernel has neither: it
//! speaks the kernel's own protocol (`/dev/fuse`), so that no library is needed. Whoever writes into the folder behind it is another
//! client: nobody here is told of that.

#![allow(clippy::disallowed_methods, reason = "it is the file system")]

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, RenameFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use super::disk::can_mount;
use super::{World, wait_until};

/// What it does otherwise than a local disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Habits {
    /// Refuses a rename that keeps what lies under the new name, with this.
    pub no_rename_without_replace: Option<i32>,
    pub no_hard_links: bool,
    /// Refuses locks with this.
    pub no_locks: Option<i32>,
    /// Seconds that times are rounded down to.
    pub time_step: i64,
    /// A file that is removed or replaced while it is open gets a name `.nfs…` until it is closed.
    pub silly_renames: bool,
    pub ignores_case: bool,
}

/// One that is mounted at the world's `mnt`, before its `behind`.
pub struct Shim {
    at: PathBuf,
    behind: PathBuf,
    habits: Habits,
    /// Handles of before a restart of the server are stale, and files are numbered anew.
    starts: Arc<AtomicU64>,
    was_stale: Arc<AtomicBool>,
}

impl Shim {
    /// None, loudly, where nothing can be mounted.
    pub fn mount(world: &World, habits: Habits) -> Option<Self> {
        if !can_mount() {
            return None;
        }
        let (at, behind) = (world.path("mnt"), world.path("behind"));
        for folder in [&at, &behind] {
            fs::create_dir_all(folder).expect("the world is new");
        }
        let shim = Self { at, behind, habits, starts: Arc::default(), was_stale: Arc::default() };
        let mounted = shim.mount_again();
        if let Err(error) = &mounted {
            eprintln!("NOT TESTED: nothing can be mounted by /dev/fuse here: {error}");
        }
        mounted.ok().map(|()| shim)
    }

    #[allow(unsafe_code, reason = "rustix has no mount with this feature set")]
    pub fn mount_again(&self) -> io::Result<()> {
        let device = File::options().read(true).write(true).open("/dev/fuse")?;
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions",
            device.as_raw_fd()
        );
        let text = |text: &OsStr| CString::new(text.as_bytes()).expect("no NUL");
        // Mounted as one that is known to pass no locks on: what nobody knows may be a cluster, and is kept from being unmounted.
        let (source, kind, options) = (c"shim", c"fuse.bindfs", text(options.as_ref()));
        let at = text(self.at.as_os_str());
        // SAFETY: all are strings that end in NUL and live until the call is over.
        let done =
            unsafe { libc::mount(source.as_ptr(), at.as_ptr(), kind.as_ptr(), 0, options.as_ptr().cast()) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        let server = Server {
            device,
            behind: self.behind.clone(),
            habits: self.habits,
            starts: Arc::clone(&self.starts),
            was_stale: Arc::clone(&self.was_stale),
            nodes: HashMap::from([(1, PathBuf::new())]),
            ids: HashMap::from([(PathBuf::new(), 1)]),
            handles: HashMap::new(),
            next: 1,
        };
        std::thread::spawn(move || server.serve());
        Ok(())
    }

    #[track_caller]
    pub fn unmount(&self) {
        let gone = || {
            std::process::Command::new("umount")
                .arg(&self.at)
                .output()
                .is_ok_and(|done| done.status.success())
        };
        wait_until("it can be unmounted", || gone().then_some(()));
    }

    pub fn restart_server(&self) {
        self.starts.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether somebody had a file open over a restart, and was told.
    pub fn was_stale(&self) -> bool {
        self.was_stale.load(Ordering::SeqCst)
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        drop(std::process::Command::new("umount").arg("-l").arg(&self.at).status());
    }
}

struct Server {
    device: File,
    behind: PathBuf,
    habits: Habits,
    starts: Arc<AtomicU64>,
    was_stale: Arc<AtomicBool>,
    nodes: HashMap<u64, PathBuf>,
    ids: HashMap<PathBuf, u64>,
    handles: HashMap<u64, Handle>,
    next: u64,
}

struct Handle {
    file: Option<File>,
    /// Of a folder: its names.
    names: Vec<(u64, u32, Vec<u8>)>,
    node: u64,
    start: u64,
    /// What it is called since it was removed.
    silly: Option<PathBuf>,
}

type Answer = Result<Vec<u8>, i32>;

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

/// Numbers as the kernel has them, one behind another.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn u32(&mut self) -> u32 {
        let (number, rest) = self.0.split_at(4);
        self.0 = rest;
        u32::from_ne_bytes(number.try_into().expect("four bytes"))
    }

    fn u64(&mut self) -> u64 {
        let (number, rest) = self.0.split_at(8);
        self.0 = rest;
        u64::from_ne_bytes(number.try_into().expect("eight bytes"))
    }

    fn name(&mut self) -> &'a OsStr {
        let end = self.0.iter().position(|byte| *byte == 0).expect("a name ends in NUL");
        let (name, rest) = self.0.split_at(end);
        self.0 = &rest[1..];
        OsStr::from_bytes(name)
    }
}

fn put(numbers: &mut Vec<u8>, values: &[u64]) {
    numbers.extend(values.iter().flat_map(|value| value.to_ne_bytes()));
}

fn put_short(numbers: &mut Vec<u8>, values: &[u32]) {
    numbers.extend(values.iter().flat_map(|value| value.to_ne_bytes()));
}

impl Server {
    /// Until it is unmounted.
    fn serve(mut self) {
        let mut buffer = vec![0; (1 << 20) + 4096];
        loop {
            let length = match self.device.read(&mut buffer) {
                Ok(length) => length,
                Err(error) if matches!(errno(&error), libc::EINTR | libc::ENOENT | libc::EAGAIN) => continue,
                Err(_) => return,
            };
            let mut head = Fields(&buffer[..length]);
            let (_, call, unique, node) = (head.u32(), head.u32(), head.u64(), head.u64());
            let body = buffer[40..length].to_vec();
            let Some(answer) = self.answer(call, node, &mut Fields(&body)) else { continue };
            let (error, content) = answer.map_or_else(|error| (-error, Vec::new()), |content| (0, content));
            let mut reply = Vec::with_capacity(16 + content.len());
            put_short(
                &mut reply,
                &[u32::try_from(16 + content.len()).expect("is short"), error.cast_unsigned()],
            );
            put(&mut reply, &[unique]);
            reply.extend(content);
            // Whoever asked may be gone.
            drop((&self.device).write(&reply));
        }
    }

    /// By the numbers of the kernel's protocol (`linux/fuse.h`). None: it waits for no answer.
    fn answer(&mut self, call: u32, node: u64, body: &mut Fields<'_>) -> Option<Answer> {
        Some(match call {
            2 | 36 | 42 => return None,
            1 => self.look_up(node, body.name()),
            3 => {
                let (is_open, _, handle) = (body.u32(), body.u32(), body.u64());
                self.fresh(is_open & 1 != 0, handle).and_then(|()| self.attributes(node))
            }
            4 => self.set_attributes(node, body),
            9 => {
                let (mode, _, name) = (body.u32(), body.u32(), body.name());
                let path = self.named(node, name);
                let created = fs::DirBuilder::new().mode(mode).create(self.behind.join(&path));
                created.map_err(|error| errno(&error)).and_then(|()| self.entry(path))
            }
            10 | 11 => self.remove(node, body.name(), call == 11),
            12 => {
                let folder = body.u64();
                self.rename((node, body.name()), (folder, body.name()), 0)
            }
            45 => {
                let (folder, flags, _) = (body.u64(), body.u32(), body.u32());
                self.rename((node, body.name()), (folder, body.name()), flags)
            }
            13 => {
                let (old, name) = (body.u64(), body.name());
                self.link(old, node, name)
            }
            14 => self.open(node, body.u32()),
            35 => self.create(node, body),
            15 => self.read(body),
            16 => self.write(body),
            17 => Ok(Self::space()),
            18 => self.release(body.u64()),
            20 | 25 | 30 => self.sync(body.u64()),
            26 => Ok(self.begin()),
            27 => self.open_folder(node),
            28 => self.list(body),
            29 => {
                self.handles.remove(&body.u64());
                Ok(Vec::new())
            }
            31..=33 => self.habits.no_locks.map_or(Ok(Vec::new()), Err),
            _ => Err(libc::ENOSYS),
        })
    }

    fn begin(&self) -> Vec<u8> {
        const BIG_WRITES: u32 = 1 << 5;
        const LOCKS: u32 = 1 << 1 | 1 << 10;
        let flags = BIG_WRITES | if self.habits.no_locks.is_some() { LOCKS } else { 0 };
        let mut reply = Vec::new();
        put_short(&mut reply, &[7, 31, 1 << 16, flags, 0, 1 << 17, 1, 32, 0, 0, 0, 0, 0, 0, 0, 0]);
        reply
    }

    fn path(&self, node: u64) -> Result<PathBuf, i32> {
        self.nodes.get(&node).cloned().ok_or(libc::ESTALE)
    }

    /// A name in a folder; where case is ignored, the one that it has there.
    fn named(&self, folder: u64, name: &OsStr) -> PathBuf {
        let folder = self.nodes.get(&folder).cloned().unwrap_or_default();
        let path = folder.join(name);
        if !self.habits.ignores_case || fs::symlink_metadata(self.behind.join(&path)).is_ok() {
            return path;
        }
        let listed = fs::read_dir(self.behind.join(&folder)).into_iter().flatten().flatten();
        let same = listed.map(|entry| entry.file_name()).find(|other| other.eq_ignore_ascii_case(name));
        same.map_or(path, |other| folder.join(other))
    }

    fn attributes_of(&self, path: &Path, node: u64) -> Result<Vec<u8>, i32> {
        let found = fs::symlink_metadata(self.behind.join(path)).map_err(|error| errno(&error))?;
        let step = self.habits.time_step.max(1);
        let seconds = |time: i64| (time - time.rem_euclid(step)).cast_unsigned();
        let nanos =
            |nanos: i64| if self.habits.time_step > 0 { 0 } else { u32::try_from(nanos).unwrap_or(0) };
        // The numbers are those of what the kernel remembers, and of this start.
        let number = node + self.starts.load(Ordering::SeqCst) * 1_000_000;
        let mut reply = Vec::new();
        put(&mut reply, &[number, found.size(), found.blocks()]);
        put(&mut reply, &[found.atime(), found.mtime(), found.ctime()].map(seconds));
        put_short(&mut reply, &[found.atime_nsec(), found.mtime_nsec(), found.ctime_nsec()].map(nanos));
        let links = u32::try_from(found.nlink()).unwrap_or(1);
        put_short(&mut reply, &[found.mode(), links, found.uid(), found.gid(), 0, 4096, 0]);
        Ok(reply)
    }

    fn attributes(&self, node: u64) -> Answer {
        let mut reply = Vec::new();
        put(&mut reply, &[0, 0]);
        reply.extend(self.attributes_of(&self.path(node)?, node)?);
        Ok(reply)
    }

    fn entry(&mut self, path: PathBuf) -> Answer {
        let node = self.ids.get(&path).copied().unwrap_or(self.next + 1);
        let attributes = self.attributes_of(&path, node)?;
        self.next = self.next.max(node);
        self.ids.insert(path.clone(), node);
        self.nodes.insert(node, path);
        let mut reply = Vec::new();
        put(&mut reply, &[node, 0, 0, 0, 0]);
        reply.extend(attributes);
        Ok(reply)
    }

    fn look_up(&mut self, folder: u64, name: &OsStr) -> Answer {
        self.entry(self.named(folder, name))
    }

    fn fresh(&self, is_open: bool, handle: u64) -> Result<(), i32> {
        let now = self.starts.load(Ordering::SeqCst);
        if is_open && self.handles.get(&handle).is_some_and(|handle| handle.start != now) {
            self.was_stale.store(true, Ordering::SeqCst);
            return Err(libc::ESTALE);
        }
        Ok(())
    }

    fn set_attributes(&mut self, node: u64, body: &mut Fields<'_>) -> Answer {
        let (which, _, handle, size, _) = (body.u32(), body.u32(), body.u64(), body.u64(), body.u64());
        let (times, nanos) = ([body.u64(), body.u64(), body.u64()], [body.u32(), body.u32(), body.u32()]);
        let (mode, _, owner, group) = (body.u32(), body.u32(), body.u32(), body.u32());
        self.fresh(which & 64 != 0, handle)?;
        let path = self.behind.join(self.path(node)?);
        let failed = |error: io::Error| errno(&error);
        if which & 1 != 0 {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o7777)).map_err(failed)?;
        }
        if which & 6 != 0 {
            let of = |bit: u32, id: u32| (which & bit != 0).then_some(id);
            std::os::unix::fs::lchown(&path, of(2, owner), of(4, group)).map_err(failed)?;
        }
        if which & 8 != 0 {
            File::options().write(true).open(&path).and_then(|file| file.set_len(size)).map_err(failed)?;
        }
        if which & (16 | 32) != 0 {
            let time = |bit: u32, now: u32, at: usize| match () {
                () if which & now != 0 => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
                () if which & bit != 0 => {
                    Timespec { tv_sec: times[at].cast_signed(), tv_nsec: nanos[at].into() }
                }
                () => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            };
            let times = Timestamps { last_access: time(16, 128, 0), last_modification: time(32, 256, 1) };
            rustix::fs::utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(rustix::io::Errno::raw_os_error)?;
        }
        self.attributes(node)
    }

    /// What is removed or replaced while it is open stays, under another name.
    fn make_silly(&mut self, path: &Path) -> Result<bool, i32> {
        let Some(node) = self.ids.get(path).copied().filter(|_| self.habits.silly_renames) else {
            return Ok(false);
        };
        let number = self.next + 1_000;
        let name = path.with_file_name(format!(".nfs{number:016x}"));
        let mut open =
            self.handles.values_mut().filter(|handle| handle.node == node && handle.file.is_some());
        let Some(handle) = open.next() else { return Ok(false) };
        handle.silly = Some(name.clone());
        self.next += 1;
        fs::rename(self.behind.join(path), self.behind.join(&name)).map_err(|error| errno(&error))?;
        self.ids.remove(path);
        self.nodes.insert(node, name.clone());
        self.ids.insert(name, node);
        Ok(true)
    }

    fn forget(&mut self, path: &Path) {
        self.ids.remove(path);
    }

    fn remove(&mut self, folder: u64, name: &OsStr, is_folder: bool) -> Answer {
        let path = self.named(folder, name);
        if !is_folder && self.make_silly(&path)? {
            return Ok(Vec::new());
        }
        let at = self.behind.join(&path);
        let removed = if is_folder { fs::remove_dir(at) } else { fs::remove_file(at) };
        removed.map_err(|error| errno(&error))?;
        self.forget(&path);
        Ok(Vec::new())
    }

    fn rename(&mut self, (from, old): (u64, &OsStr), (to, new): (u64, &OsStr), flags: u32) -> Answer {
        let flags = RenameFlags::from_bits_retain(flags);
        if let Some(refusal) = self.habits.no_rename_without_replace.filter(|_| !flags.is_empty()) {
            return Err(refusal);
        }
        let (from, to) = (self.named(from, old), self.named(to, new));
        if flags.is_empty() && from != to {
            self.make_silly(&to)?;
        }
        rustix::fs::renameat_with(CWD, self.behind.join(&from), CWD, self.behind.join(&to), flags)
            .map_err(rustix::io::Errno::raw_os_error)?;
        self.forget(&to);
        let below: Vec<_> = self.ids.keys().filter(|path| path.starts_with(&from)).cloned().collect();
        for path in below {
            let rest = path.strip_prefix(&from).expect("it lies below");
            let now = if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) };
            let node = self.ids.remove(&path).expect("it is known");
            self.nodes.insert(node, now.clone());
            self.ids.insert(now, node);
        }
        Ok(Vec::new())
    }

    fn link(&mut self, old: u64, folder: u64, name: &OsStr) -> Answer {
        if self.habits.no_hard_links {
            return Err(libc::EOPNOTSUPP);
        }
        let path = self.named(folder, name);
        fs::hard_link(self.behind.join(self.path(old)?), self.behind.join(&path))
            .map_err(|error| errno(&error))?;
        self.entry(path)
    }

    fn add(&mut self, node: u64, file: Option<File>, names: Vec<(u64, u32, Vec<u8>)>) -> Vec<u8> {
        self.next += 1;
        let start = self.starts.load(Ordering::SeqCst);
        self.handles.insert(self.next, Handle { file, names, node, start, silly: None });
        let mut reply = Vec::new();
        put(&mut reply, &[self.next, 0]);
        reply
    }

    fn open(&mut self, node: u64, flags: u32) -> Answer {
        let path = self.behind.join(self.path(node)?);
        let writes = flags.cast_signed() & libc::O_ACCMODE != libc::O_RDONLY;
        let file = File::options().read(true).write(writes).open(path).map_err(|error| errno(&error))?;
        Ok(self.add(node, Some(file), Vec::new()))
    }

    fn create(&mut self, folder: u64, body: &mut Fields<'_>) -> Answer {
        let (flags, mode, umask, _, name) = (body.u32(), body.u32(), body.u32(), body.u32(), body.name());
        let path = self.named(folder, name);
        let mut options = File::options();
        options.read(true).write(true).mode(mode & !umask & 0o7777);
        if flags.cast_signed() & libc::O_EXCL == 0 {
            options.create(true);
        } else {
            options.create_new(true);
        }
        let file = options.open(self.behind.join(&path)).map_err(|error| errno(&error))?;
        let mut reply = self.entry(path.clone())?;
        let node = self.ids.get(&path).copied().ok_or(libc::EIO)?;
        reply.extend(self.add(node, Some(file), Vec::new()));
        Ok(reply)
    }

    fn with_file<T>(&self, handle: u64, act: impl FnOnce(&File) -> io::Result<T>) -> Result<T, i32> {
        self.fresh(true, handle)?;
        let file = self.handles.get(&handle).and_then(|handle| handle.file.as_ref()).ok_or(libc::EBADF)?;
        act(file).map_err(|error| errno(&error))
    }

    fn read(&mut self, body: &mut Fields<'_>) -> Answer {
        let (handle, offset, size) = (body.u64(), body.u64(), body.u32());
        let mut content = vec![0; size as usize];
        let length = self.with_file(handle, |file| file.read_at(&mut content, offset))?;
        content.truncate(length);
        Ok(content)
    }

    fn write(&mut self, body: &mut Fields<'_>) -> Answer {
        let (handle, offset, size, _, _, _) =
            (body.u64(), body.u64(), body.u32(), body.u32(), body.u64(), body.u64());
        self.with_file(handle, |file| file.write_all_at(&body.0[..size as usize], offset))?;
        let mut reply = Vec::new();
        put_short(&mut reply, &[size, 0]);
        Ok(reply)
    }

    fn sync(&mut self, handle: u64) -> Answer {
        let is_file = self.handles.get(&handle).is_some_and(|handle| handle.file.is_some());
        if is_file {
            self.with_file(handle, |_| Ok(()))?;
        }
        Ok(Vec::new())
    }

    fn release(&mut self, handle: u64) -> Answer {
        if let Some(silly) = self.handles.remove(&handle).and_then(|handle| handle.silly) {
            fs::remove_file(self.behind.join(&silly)).map_err(|error| errno(&error))?;
            self.forget(&silly);
        }
        Ok(Vec::new())
    }

    fn open_folder(&mut self, node: u64) -> Answer {
        let path = self.path(node)?;
        let listed = fs::read_dir(self.behind.join(&path)).map_err(|error| errno(&error))?;
        let names = listed.flatten().map(|entry| {
            let kind = entry.metadata().map_or(0, |found| found.mode() >> 12 & 15);
            (u64::MAX, kind, entry.file_name().as_bytes().to_vec())
        });
        let names = names.collect();
        Ok(self.add(node, None, names))
    }

    fn list(&mut self, body: &mut Fields<'_>) -> Answer {
        let (handle, offset, size) = (body.u64(), body.u64(), body.u32() as usize);
        let names = &self.handles.get(&handle).ok_or(libc::EBADF)?.names;
        let mut reply = Vec::new();
        for (at, (number, kind, name)) in names.iter().enumerate().skip(usize::try_from(offset).unwrap_or(0))
        {
            let length = (24 + name.len()).next_multiple_of(8);
            if reply.len() + length > size {
                break;
            }
            let end = reply.len() + length;
            put(&mut reply, &[*number, at as u64 + 1]);
            put_short(&mut reply, &[u32::try_from(name.len()).expect("is short"), *kind]);
            reply.extend(name);
            reply.resize(end, 0);
        }
        Ok(reply)
    }

    fn space() -> Vec<u8> {
        let mut reply = Vec::new();
        put(&mut reply, &[1 << 24, 1 << 23, 1 << 23, 1 << 20, 1 << 19]);
        put_short(&mut reply, &[4096, 255, 4096, 0, 0, 0, 0, 0, 0, 0]);
        reply
    }
}
