//! Where something was mounted or unmounted since the last look: most of that is told by no event of a folder.

use std::path::{Path, PathBuf};

/// What the system's list of mounts was the last time.
#[derive(Debug, Default)]
pub(crate) struct MountChanges {
    #[cfg(target_os = "linux")]
    table: Option<Table>,
}

#[cfg(not(target_os = "linux"))]
impl MountChanges {
    pub(crate) fn begin() -> Self {
        Self::default()
    }

    #[allow(clippy::unused_self, reason = "one signature for all platforms")]
    pub(crate) fn look(&mut self, _: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
        Vec::new()
    }

    #[allow(clippy::unused_self, reason = "one signature for all platforms")]
    pub(crate) fn learn(&mut self, _: impl Fn(&Path) -> bool) {}
}

/// The list is kept open: that is how the system knows what we have seen of it.
#[cfg(target_os = "linux")]
#[derive(Debug)]
struct Table {
    file: std::fs::File,
    known: Mounts,
}

#[cfg(target_os = "linux")]
type Mounts = std::collections::BTreeMap<PathBuf, Mount>;

/// What is mounted at a point. The list's numbers are given again: who unmounts and mounts at once may leave them as they were.
#[cfg(target_os = "linux")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Mount {
    /// The numbers of mount and device, of all that lie over each other here.
    listed: Vec<u8>,
    /// The number that is never given again, where it was asked for and the system has it (Linux 6.8).
    unique: Option<u64>,
}

#[cfg(target_os = "linux")]
impl MountChanges {
    /// As it is now. Where there is no such list nothing is told.
    pub(crate) fn begin() -> Self {
        let table = std::fs::File::open("/proc/self/mountinfo").and_then(|file| {
            let mut table = Table { file, known: Mounts::new() };
            table.known = table.read()?;
            Ok(table)
        });
        Self { table: table.ok() }
    }

    /// Where mounts came or went since the last look, among the points that matter. Costs one system call where nothing changed.
    pub(crate) fn look(&mut self, matters: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
        match &mut self.table {
            Some(table) if table.has_news() => table.changes(matters),
            _ => Vec::new(),
        }
    }

    /// Asks for the unique numbers of those that matter from now on.
    pub(crate) fn learn(&mut self, matters: impl Fn(&Path) -> bool) {
        let known = self.table.iter_mut().flat_map(|table| &mut table.known);
        for (point, mount) in known.filter(|(point, mount)| mount.unique.is_none() && matters(point)) {
            mount.unique = unique_number(point);
        }
    }
}

#[cfg(target_os = "linux")]
impl Table {
    fn has_news(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut asked = [PollFd::new(&self.file, PollFlags::PRI)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut asked, Some(&at_once)).is_ok_and(|told| told > 0)
            && asked.iter().any(|asked| asked.revents().intersects(PollFlags::PRI | PollFlags::ERR))
    }

    fn changes(&mut self, matters: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
        let Ok(mut now) = self.read() else { return Vec::new() };
        for (point, mount) in now.iter_mut().filter(|(point, _)| matters(point)) {
            mount.unique = unique_number(point);
        }
        let before = std::mem::replace(&mut self.known, now);
        let is_same =
            |point: &Path, mount: &Mount| mount.unique.is_some() && before.get(point) == Some(mount);
        let come = self.known.iter().filter(|(point, mount)| matters(point) && !is_same(point, mount));
        let gone = before.iter().filter(|(point, _)| matters(point) && !self.known.contains_key(*point));
        come.chain(gone).map(|(point, _)| point.clone()).collect()
    }

    fn read(&mut self) -> std::io::Result<Mounts> {
        use std::io::{Read as _, Seek as _};
        let mut text = Vec::new();
        self.file.rewind()?;
        self.file.read_to_end(&mut text)?;
        let mut mounts = Mounts::new();
        for (point, numbers) in text.split(|byte| *byte == b'\n').filter_map(listed) {
            mounts.entry(point).or_default().listed.extend(numbers);
        }
        Ok(mounts)
    }
}

/// Where something is mounted, with its number and its device's, by a line of the list.
#[cfg(target_os = "linux")]
fn listed(line: &[u8]) -> Option<(PathBuf, Vec<u8>)> {
    let mut fields = line.split(|byte| *byte == b' ');
    let (number, device) = (fields.next()?, fields.nth(1)?);
    Some((super::mounts::point(fields.nth(1)?), [number, device, b""].join(&b' ')))
}

/// By `statx(2)`, which is asked for nothing that the file system would have to look up.
#[cfg(target_os = "linux")]
fn unique_number(point: &Path) -> Option<u64> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
    const MNT_ID_UNIQUE: u32 = 0x4000;
    super::note_place(point);
    let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
    let found = statx(CWD, point, flags, StatxFlags::from_bits_retain(MNT_ID_UNIQUE)).ok()?;
    (found.stx_mask & MNT_ID_UNIQUE != 0).then_some(found.stx_mnt_id)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_came_and_went_is_told_by_its_place_where_it_matters() {
        let file = std::fs::File::open("/proc/self/mountinfo").expect("is there");
        let mut table = Table { file, known: Mounts::new() };
        let gone = PathBuf::from("/mnt/with blank");
        table.known.insert(gone.clone(), Mount::default());
        let matters = |point: &Path| point == gone || point.as_os_str() == "/";
        let told = table.changes(matters);
        assert_eq!(told, [Path::new("/"), gone.as_path()]);
        assert_eq!(MountChanges::begin().look(matters), [""; 0].map(PathBuf::from));
    }

    #[test]
    fn a_mount_in_the_place_of_another_with_its_numbers_is_another() {
        let mut table = MountChanges::begin().table.expect("there is a list");
        let root = Path::new("/");
        let now = unique_number(root);
        let told = |table: &mut Table| !table.changes(|point| point == root).is_empty();
        assert!(told(&mut table), "its unique number was not asked for yet");
        assert_eq!(told(&mut table), now.is_none(), "where the system has none every change counts");
        table.known.get_mut(root).expect("is mounted").unique = Some(0);
        assert!(told(&mut table));
    }

    #[test]
    fn a_line_of_the_list_tells_the_point_with_its_blanks() {
        let line = b"37 36 0:5 /sub /mnt/with\\040blank rw - tmpfs none rw";
        assert_eq!(listed(line), Some(("/mnt/with blank".into(), b"37 0:5 ".to_vec())));
        assert_eq!(listed(b""), None);
    }
}
