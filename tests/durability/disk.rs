//! What a disk holds after a power cut, as strictly as POSIX lets a file system be.
//!
//! A file's bytes are durable once the file is synced, a name once its folder is. All else may be there, be absent or be torn: of what
//! was written since the last sync any part, of the names a beginning, folder by folder. (`sync_file_range` promises nothing.)
//!
//! The harness reports each change after it happened. [`Disk::lay`] then makes the real folder be what such a cut left. Files keep
//! their inodes, as they do in a real cut: every file gets a second name, before it loses its first, in a folder beside the world, its *morgue*.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::Pid;

use crate::support::random::Random;
use crate::syscall::{Call, Change};

/// What the cut spares of the things that were not synced.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    /// Nothing.
    Absent,
    /// Some of it.
    Torn { seed: u64 },
}

type Inode = (u64, u64);

pub struct Disk {
    roots: Vec<Root>,
    files: BTreeMap<PathBuf, Inode>,
    folders: BTreeSet<PathBuf>,
    changes: Vec<NameChange>,
    contents: HashMap<Inode, Content>,
    /// What lay in the world before, outside of the data folder.
    sources: HashSet<Inode>,
}

/// A folder tree on one file system, and where its files' second names are.
struct Root {
    path: PathBuf,
    morgue: PathBuf,
}

struct NameChange {
    what: Name,
    /// The folders whose sync makes it durable; all of them must be synced.
    unsynced_folders: BTreeSet<PathBuf>,
}

#[derive(Clone)]
enum Name {
    File(PathBuf, Inode),
    Renamed { from: PathBuf, to: PathBuf },
    Gone(PathBuf),
    Folder(PathBuf),
    FolderGone(PathBuf),
}

#[derive(Default)]
struct Content {
    durable: Vec<u8>,
    /// Since the last sync.
    pending: Vec<Edit>,
}

enum Edit {
    Write {
        offset: usize,
        bytes: Vec<u8>,
    },
    /// What lies behind it is gone, or zeros come; no file system touches what lies before.
    Length(usize),
    Whole(Vec<u8>),
}

/// What must be known from before a call to understand what it did.
pub struct Before {
    inode: Option<Inode>,
}

impl Disk {
    /// Everything that lies in the roots now is durable. Each root has its morgue on the same file system.
    pub fn new(roots: &[(PathBuf, PathBuf)]) -> Self {
        let mut disk = Self {
            roots: roots
                .iter()
                .map(|(path, morgue)| Root { path: path.clone(), morgue: morgue.clone() })
                .collect(),
            files: BTreeMap::new(),
            folders: BTreeSet::new(),
            changes: Vec::new(),
            contents: HashMap::new(),
            sources: HashSet::new(),
        };
        for (path, morgue) in roots {
            fs::create_dir_all(morgue).expect("the morgue can be made");
            disk.take_in(path);
        }
        disk
    }

    fn take_in(&mut self, folder: &Path) {
        self.folders.insert(folder.to_owned());
        for entry in fs::read_dir(folder).expect("a folder can be listed") {
            let path = entry.expect("a folder can be listed").path();
            if path.is_dir() {
                self.take_in(&path);
            } else {
                let inode = inode_at(&path).expect("it was listed");
                if path.components().any(|name| name.as_os_str() == "data") {
                    self.keep(&path);
                } else {
                    self.sources.insert(inode);
                }
                self.files.insert(path, inode);
            }
        }
    }

    /// Gives the file a second name, so that its inode outlives whatever happens to the first. What the service makes gets it at once, a
    /// source only when it loses its first: the service looks at how many names a source has, and at its times.
    fn keep(&self, path: &Path) -> Option<Inode> {
        let inode = inode_at(path)?;
        let kept = self.kept(path, inode);
        if kept.symlink_metadata().is_err() {
            fs::hard_link(path, kept).ok()?;
        }
        Some(inode)
    }

    fn kept(&self, path: &Path, inode: Inode) -> PathBuf {
        let root = self.roots.iter().find(|root| path.starts_with(&root.path)).expect("it lies in the world");
        root.morgue.join(inode.1.to_string())
    }

    /// Looks at what the call will change.
    pub fn before(&mut self, thread: Pid, call: &Call) -> Before {
        let inode = match &call.change {
            Change::Write { fd, .. } | Change::Length { fd } | Change::Reshape { fd } => {
                let path = descriptor(thread, *fd);
                let inode = inode_at(&path);
                if let Some(inode) = inode {
                    self.contents.entry(inode).or_insert_with(|| Content {
                        durable: fs::read(&path).expect("an open file can be read"),
                        pending: Vec::new(),
                    });
                }
                inode
            }
            Change::Create => {
                let inode = inode_at(&call.path);
                if let Some(inode) = inode {
                    let durable = fs::read(&call.path).expect("it is there");
                    self.contents.entry(inode).or_insert_with(|| Content { durable, pending: Vec::new() });
                }
                inode
            }
            Change::Link { .. } => inode_at(&call.path),
            Change::Unlink => {
                self.keep(&call.path);
                None
            }
            Change::Rename { to } if !to.is_dir() => {
                self.keep(to);
                None
            }
            _ => None,
        };
        Before { inode }
    }

    /// Takes note of what the call did, which returned `result`, not an error.
    pub fn after(&mut self, thread: Pid, call: &Call, before: &Before, result: u64) {
        let path = call.path.clone();
        match &call.change {
            Change::Write { fd, offset } => {
                let offset = offset.unwrap_or_else(|| position(thread, *fd) - result);
                let mut bytes = vec![0; result as usize];
                let file = File::open(descriptor(thread, *fd)).expect("an open file can be opened");
                file.read_exact_at(&mut bytes, offset).expect("what was written can be read");
                self.edit(before.inode, Edit::Write { offset: offset as usize, bytes });
            }
            Change::Length { fd } => {
                let now = fs::metadata(descriptor(thread, *fd)).expect("an open file can be looked at");
                self.edit(before.inode, Edit::Length(now.len() as usize));
            }
            Change::Reshape { fd } => {
                let whole = fs::read(descriptor(thread, *fd)).expect("an open file can be read");
                self.edit(before.inode, Edit::Whole(whole));
            }
            Change::Create if before.inode.is_some() => self.edit(before.inode, Edit::Length(0)),
            Change::Create => {
                let inode = self.keep(&path).expect("it was just created");
                self.contents.insert(inode, Content::default());
                self.name(Name::File(path.clone(), inode), &[&path]);
            }
            Change::Rename { to } => {
                self.name(Name::Renamed { from: path.clone(), to: to.clone() }, &[&path, to]);
            }
            Change::Link { to } => {
                let inode = before.inode.expect("a link has a file");
                self.name(Name::File(to.clone(), inode), &[to]);
            }
            Change::Unlink => self.name(Name::Gone(path.clone()), &[&path]),
            Change::MakeFolder => self.name(Name::Folder(path.clone()), &[&path]),
            Change::RemoveFolder => self.name(Name::FolderGone(path.clone()), &[&path]),
            Change::Sync { fd } => self.synced(&descriptor(thread, *fd), &path),
            Change::Attribute | Change::Open => {}
        }
    }

    /// A consumer took the file away, and made sure of it.
    pub fn taken_away(&mut self, path: &Path) {
        self.name(Name::Gone(path.to_owned()), &[path]);
        let folder = path.parent().expect("a file lies in a folder");
        self.folder_synced(folder);
    }

    fn edit(&mut self, inode: Option<Inode>, edit: Edit) {
        let inode = inode.expect("an open file has an inode");
        self.contents.get_mut(&inode).expect("it was looked at before").pending.push(edit);
    }

    fn name(&mut self, what: Name, paths: &[&Path]) {
        let folders = paths.iter().map(|path| path.parent().expect("it lies in a folder").to_owned());
        self.changes.push(NameChange { what, unsynced_folders: folders.collect() });
    }

    fn synced(&mut self, open: &Path, path: &Path) {
        if open.is_dir() {
            self.folder_synced(path);
        } else if let Some(content) = inode_at(open).and_then(|inode| self.contents.get_mut(&inode)) {
            for edit in std::mem::take(&mut content.pending) {
                edit.apply(&mut content.durable);
            }
        }
    }

    fn folder_synced(&mut self, folder: &Path) {
        for change in &mut self.changes {
            change.unsynced_folders.remove(folder);
        }
    }

    /// Makes the folders hold what a cut at this moment leaves. Nobody else may be at work in them.
    pub fn lay(&self, cut: Cut) {
        let mut random = match cut {
            Cut::Absent => None,
            Cut::Torn { seed } => Some(Random::new(seed)),
        };
        let (files, folders) = self.names_left(random.as_mut());
        for root in &self.roots {
            self.clear(&root.path, &files, &folders);
        }
        for folder in &folders {
            fs::create_dir_all(folder).expect("a folder can be made");
        }
        for (path, inode) in files.iter().filter(|(path, _)| inode_at(path).is_none()) {
            fs::hard_link(self.kept(path, *inode), path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            if self.sources.contains(inode) {
                #[allow(clippy::disallowed_methods, reason = "the harness undoes what it did")]
                fs::remove_file(self.kept(path, *inode)).expect("it was just linked");
            }
        }
        for (path, inode) in &files {
            if let Some(content) = self.contents.get(inode).filter(|content| !content.pending.is_empty()) {
                fs::write(path, content.left(random.as_mut())).expect("it can be written");
            }
        }
    }

    /// Removes every file and folder that is not to stay. What stays is not touched: its times are what it is known by.
    #[allow(clippy::disallowed_methods, reason = "the harness plays the disk")]
    fn clear(&self, folder: &Path, files: &BTreeMap<PathBuf, Inode>, folders: &BTreeSet<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder can be listed") {
            let path = entry.expect("a folder can be listed").path();
            if path.is_dir() {
                self.clear(&path, files, folders);
                if !folders.contains(&path) {
                    fs::remove_dir(&path).expect("it is empty");
                }
            } else if files.get(&path).copied() != inode_at(&path) {
                self.keep(&path);
                fs::remove_file(&path).expect("it is there");
            }
        }
    }

    fn names_left(&self, mut random: Option<&mut Random>) -> (BTreeMap<PathBuf, Inode>, BTreeSet<PathBuf>) {
        let (mut files, mut folders) = (self.files.clone(), self.folders.clone());
        // Names in one folder appear in their order: behind one that is lost, all are.
        let mut lost_in: BTreeSet<&Path> = BTreeSet::new();
        for change in &self.changes {
            if !change.unsynced_folders.is_empty() {
                let behind_a_loss =
                    change.unsynced_folders.iter().any(|folder| lost_in.contains(folder.as_path()));
                let spared = random.as_mut().is_some_and(|random| random.below(3) > 0);
                if behind_a_loss || !spared {
                    lost_in.extend(change.unsynced_folders.iter().map(PathBuf::as_path));
                    continue;
                }
            }
            change.what.apply(&mut files, &mut folders);
        }
        // What lies in a folder whose own name is lost is lost with it.
        let reachable = |path: &Path, folders: &BTreeSet<PathBuf>| {
            path.ancestors().skip(1).all(|above| {
                folders.contains(above) || self.roots.iter().any(|root| !above.starts_with(&root.path))
            })
        };
        let all = folders.clone();
        folders.retain(|folder| reachable(folder, &all));
        files.retain(|path, _| reachable(path, &folders));
        (files, folders)
    }
}

impl Name {
    fn apply(&self, files: &mut BTreeMap<PathBuf, Inode>, folders: &mut BTreeSet<PathBuf>) {
        match self.clone() {
            Self::File(path, inode) => drop(files.insert(path, inode)),
            Self::Renamed { from, to } => {
                if let Some(inode) = files.remove(&from) {
                    files.insert(to, inode);
                } else {
                    rename_folder(&from, &to, files, folders);
                }
            }
            Self::Gone(path) => drop(files.remove(&path)),
            Self::Folder(path) => drop(folders.insert(path)),
            Self::FolderGone(path) => drop(folders.remove(&path)),
        }
    }
}

fn rename_folder(
    from: &Path,
    to: &Path,
    files: &mut BTreeMap<PathBuf, Inode>,
    folders: &mut BTreeSet<PathBuf>,
) {
    let moved = |path: &Path| path.strip_prefix(from).ok().map(|rest| to.join(rest));
    *files = std::mem::take(files)
        .into_iter()
        .map(|(path, inode)| (moved(&path).unwrap_or(path), inode))
        .collect();
    *folders = std::mem::take(folders).into_iter().map(|path| moved(&path).unwrap_or(path)).collect();
}

impl Content {
    fn left(&self, mut random: Option<&mut Random>) -> Vec<u8> {
        let mut left = self.durable.clone();
        for edit in &self.pending {
            let Some(random) = random.as_mut() else { break };
            match random.below(4) {
                0 => {}
                1 => edit.torn(random).apply(&mut left),
                _ => edit.copy().apply(&mut left),
            }
        }
        left
    }
}

impl Edit {
    fn apply(self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[offset..end].copy_from_slice(&bytes);
            }
            Self::Length(length) => content.resize(length, 0),
            Self::Whole(bytes) => *content = bytes,
        }
    }

    fn copy(&self) -> Self {
        match self {
            Self::Write { offset, bytes } => Self::Write { offset: *offset, bytes: bytes.clone() },
            Self::Length(length) => Self::Length(*length),
            Self::Whole(bytes) => Self::Whole(bytes.clone()),
        }
    }

    /// Drives write sectors: some of the first ones arrived. A length is there, or it is not.
    fn torn(&self, random: &mut Random) -> Self {
        let part = |bytes: &[u8], random: &mut Random| {
            let sectors = bytes.len().div_ceil(SECTOR_BYTES);
            let kept = random.below(sectors as u64 + 1) as usize * SECTOR_BYTES;
            bytes[..kept.min(bytes.len())].to_vec()
        };
        match self {
            Self::Write { offset, bytes } => Self::Write { offset: *offset, bytes: part(bytes, random) },
            Self::Length(length) => Self::Length(*length),
            Self::Whole(bytes) => Self::Whole(part(bytes, random)),
        }
    }
}

const SECTOR_BYTES: usize = 512;

fn descriptor(thread: Pid, fd: u64) -> PathBuf {
    format!("/proc/{thread}/fd/{fd}").into()
}

/// Where a descriptor stands.
fn position(thread: Pid, fd: u64) -> u64 {
    let info = fs::read_to_string(format!("/proc/{thread}/fdinfo/{fd}")).expect("proc(5)");
    let line = info.lines().find_map(|line| line.strip_prefix("pos:")).expect("proc(5)");
    line.trim().parse().expect("proc(5)")
}

fn inode_at(path: &Path) -> Option<Inode> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}
