//! Where file systems are mounted, as the system lists it: no file system is asked, since it may hang.

use std::path::{Path, PathBuf};

use super::whereabouts::note_place;

#[derive(Clone, Debug, Default)]
pub(crate) struct Mounts(Vec<Mount>);

#[derive(Clone, Debug)]
struct Mount {
    point: PathBuf,
    /// The number of its file system, as the list has it.
    device: Vec<u8>,
}

/// One of the system's list.
#[cfg(target_os = "linux")]
struct Line<'t> {
    number: &'t [u8],
    below: &'t [u8],
    device: &'t [u8],
    root: PathBuf,
    point: PathBuf,
}

#[cfg(target_os = "linux")]
impl<'t> Line<'t> {
    fn read(line: &'t [u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let [number, below, device] = [fields.next()?, fields.next()?, fields.next()?];
        Some(Self { number, below, device, root: point(fields.next()?), point: point(fields.next()?) })
    }
}

impl Mounts {
    /// As they are now. Where the system has no such list, all of a volume is taken for one file system.
    pub(crate) fn now() -> Self {
        #[cfg(target_os = "linux")]
        return std::fs::read("/proc/self/mountinfo")
            .map_or_else(|_| Self::default(), |table| Self::listed(&table));
        #[cfg(not(target_os = "linux"))]
        Self::default()
    }

    /// The fields of a line: number, that of the mount below, number of the file system, which folder of it, and where it is mounted, with
    /// `\040` and the like for blanks.
    ///
    /// A folder that is mounted onto itself is none: the unit's `ReadWritePaths` makes such, and without them the same files lie there.
    #[cfg(target_os = "linux")]
    pub(super) fn listed(table: &[u8]) -> Self {
        let lines: Vec<_> = table.split(|byte| *byte == b'\n').filter_map(Line::read).collect();
        // By number: a machine of containers has thousands.
        let by_number: std::collections::HashMap<_, _> =
            lines.iter().map(|line| (line.number, line)).collect();
        let is_onto_itself = |line: &Line| {
            by_number.get(line.below).is_some_and(|below| {
                let inner = line.point.strip_prefix(&below.point).ok();
                below.device == line.device && inner.is_some_and(|inner| below.root.join(inner) == line.root)
            })
        };
        let mounts = lines.iter().filter(|line| !is_onto_itself(line));
        Self(mounts.map(|line| Mount { device: line.device.to_owned(), point: line.point.clone() }).collect())
    }

    /// Whether something is mounted at exactly this folder, by its name alone.
    pub(crate) fn is_one(&self, folder: &Path) -> bool {
        self.0.iter().any(|mount| mount.point == folder)
    }

    /// The mount that a path lies on, by its name alone: links in it are not followed.
    pub(crate) fn of(&self, path: &Path) -> PathBuf {
        let point = self.deepest(path).map(|mount| mount.point.clone());
        point.unwrap_or_else(|| path.ancestors().last().map(Path::to_owned).unwrap_or_default())
    }

    /// The mount that a folder lies on, or what is above it and is there, wherever links lead. Its file system is asked.
    pub(crate) fn of_folder(&self, folder: &Path) -> Option<PathBuf> {
        folder.ancestors().find_map(|folder| {
            note_place(folder);
            std::fs::canonicalize(folder).ok().map(|real| self.of(&real))
        })
    }

    /// Whether two paths lie on one file system, by their names as well; one that is mounted in several places (`mount --bind`) is one.
    pub(crate) fn are_of_one(&self, one: &Path, other: &Path) -> bool {
        match (self.deepest(one), self.deepest(other)) {
            (Some(one), Some(other)) => one.device == other.device,
            _ => self.of(one) == self.of(other),
        }
    }

    fn deepest(&self, path: &Path) -> Option<&Mount> {
        let above = self.0.iter().filter(|mount| path.starts_with(&mount.point));
        above.max_by_key(|mount| mount.point.components().count())
    }
}

/// Mount points that `/etc/fstab` has, the deepest above this folder first, but for the root.
#[cfg(target_os = "linux")]
pub(crate) fn points_to_be(folder: &Path) -> Vec<PathBuf> {
    std::fs::read("/etc/fstab").map_or_else(|_| Vec::new(), |table| points_above(&table, folder))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn points_to_be(_folder: &Path) -> Vec<PathBuf> {
    Vec::new()
}

/// The second field of a line is the mount point; a line that begins with `#` is none.
#[cfg(target_os = "linux")]
fn points_above(table: &[u8], folder: &Path) -> Vec<PathBuf> {
    let lines =
        table.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.starts_with(b"#"));
    let fields =
        lines.filter_map(|line| line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty()).nth(1));
    let above = fields.map(point).filter(|point| point.parent().is_some() && folder.starts_with(point));
    let mut above: Vec<_> = above.collect();
    above.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    above
}

/// The path of a mount point as the list has it.
#[cfg(target_os = "linux")]
pub(super) fn point(field: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    std::ffi::OsString::from_vec(unescaped(field)).into()
}

/// Three octal digits behind a backslash are a byte.
#[cfg(target_os = "linux")]
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, others)) = rest.split_first() {
        let digits =
            others.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            bytes.push(byte);
            rest = others.get(3..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = others;
        }
    }
    bytes
}

#[cfg(all(test, unix))]
impl Mounts {
    pub(crate) fn at(points: &[&str]) -> Self {
        Self(points.iter().map(|at| Mount { point: at.into(), device: at.as_bytes().to_owned() }).collect())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_path_lies_on_the_deepest_mount_above_it() {
        let mounts = Mounts::at(&["/", "/mnt/sftp", "/mnt"]);
        let of = |path: &str| mounts.of(Path::new(path));
        assert_eq!(of("/mnt/sftp/in/a.csv"), Path::new("/mnt/sftp"));
        assert_eq!(of("/mnt/sftp2/a.csv"), Path::new("/mnt"));
        assert_eq!(of("/srv/a.csv"), Path::new("/"));
        assert_eq!(Mounts::default().of(Path::new("/srv/a.csv")), Path::new("/"), "nothing is listed");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn of_the_mounts_that_are_to_be_those_above_a_folder_are_told_the_deepest_first() {
        let table = b"# /dev/a /mnt/none ext4\n/dev/a / ext4 defaults 0 1\n/dev/b\t/mnt xfs\n nas:/x  /mnt/with\\040blank nfs\nnone swap swap\n";
        let above = |folder: &str| points_above(table, Path::new(folder));
        assert_eq!(above("/mnt/with blank/ar"), [Path::new("/mnt/with blank"), Path::new("/mnt")]);
        assert_eq!(above("/srv/mnt"), [""; 0].map(PathBuf::from));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_systems_table_is_read_with_its_escapes() {
        let table =
            b"36 35 98:0 / / rw - ext4 /dev/a rw\n37 36 0:5 /sub /mnt/with\\040blank rw - tmpfs none rw\n";
        let mounts = Mounts::listed(table);
        assert_eq!(mounts.of(Path::new("/mnt/with blank/a")), Path::new("/mnt/with blank"));
        assert_eq!(mounts.of(Path::new("/mnt/with")), Path::new("/"));
        let bound = [&table[..], b"38 36 0:5 /other /srv rw - tmpfs none rw\n"].concat();
        let are_of_one =
            |one: &str, other: &str| Mounts::listed(&bound).are_of_one(Path::new(one), Path::new(other));
        assert!(are_of_one("/mnt/with blank/a", "/srv/a") && are_of_one("/a", "/mnt/a"));
        assert!(!are_of_one("/mnt/a", "/srv/a"));
        assert_eq!(Mounts::now().of(Path::new("/proc/self")), Path::new("/proc"));
    }

    /// As systemd makes them for `ReadWritePaths`: one that is there no more is no disk that is away.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_folder_that_is_mounted_onto_itself_is_no_mount() {
        let table = b"36 35 98:0 / / ro - ext4 /dev/a rw\n37 36 98:0 /srv/in /srv/in rw - ext4 /dev/a rw\n\
            38 36 98:0 /data /srv/out rw - ext4 /dev/a rw\n39 36 0:5 / /mnt rw - tmpfs none rw\n\
            40 39 0:5 /a /mnt/a rw - tmpfs none rw\n";
        let mounts = Mounts::listed(table);
        assert!(!mounts.is_one(Path::new("/srv/in")) && !mounts.is_one(Path::new("/mnt/a")));
        assert!(mounts.is_one(Path::new("/srv/out")) && mounts.is_one(Path::new("/mnt")));
        assert_eq!(mounts.of(Path::new("/srv/in/a")), Path::new("/"));
    }
}
