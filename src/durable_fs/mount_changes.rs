//! Where something was mounted or unmounted since the last look: of most mounts no event of a folder tells. No file system is asked.

use std::path::PathBuf;

/// What the list of mounts was the last time.
#[derive(Debug, Default)]
pub(crate) struct MountChanges {
    #[cfg(target_os = "linux")]
    table: Option<Table>,
}

/// Where mounts came or went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    Nothing,
    At(Vec<PathBuf>),
    /// Somewhere: what was mounted last may have the number of what was there before.
    Somewhere,
}

#[cfg(not(target_os = "linux"))]
impl MountChanges {
    pub(crate) fn begin() -> Self {
        Self::default()
    }

    #[allow(clippy::unused_self, reason = "one signature for all platforms")]
    pub(crate) fn look(&mut self) -> Changed {
        Changed::Nothing
    }
}

/// The system's list, open: that is how the system knows what we have seen.
#[cfg(target_os = "linux")]
#[derive(Debug)]
struct Table {
    file: std::fs::File,
    known: Vec<Mount>,
}

/// The first fields of a line: its number and the device, and where it is mounted.
#[cfg(target_os = "linux")]
type Mount = (Vec<u8>, PathBuf);

#[cfg(target_os = "linux")]
impl MountChanges {
    /// As it is now. Where there is no such list nothing is told.
    pub(crate) fn begin() -> Self {
        let table = std::fs::File::open("/proc/self/mountinfo").and_then(|file| {
            let mut table = Table { file, known: Vec::new() };
            table.known = table.read()?;
            Ok(table)
        });
        Self { table: table.ok() }
    }

    /// Since the last look. Costs one system call where nothing changed.
    pub(crate) fn look(&mut self) -> Changed {
        match &mut self.table {
            Some(table) if table.has_news() => table.changes(),
            _ => Changed::Nothing,
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

    fn changes(&mut self) -> Changed {
        let Ok(now) = self.read() else { return Changed::Somewhere };
        let before = std::mem::replace(&mut self.known, now);
        let gone = before.iter().filter(|mount| self.known.binary_search(mount).is_err());
        let come = self.known.iter().filter(|mount| before.binary_search(mount).is_err());
        let mut points: Vec<_> = gone.chain(come).map(|(_, point)| point.clone()).collect();
        points.sort();
        points.dedup();
        if points.is_empty() { Changed::Somewhere } else { Changed::At(points) }
    }

    fn read(&mut self) -> std::io::Result<Vec<Mount>> {
        use std::io::{Read as _, Seek as _};
        let mut text = Vec::new();
        self.file.rewind()?;
        self.file.read_to_end(&mut text)?;
        let mut mounts: Vec<_> = text.split(|byte| *byte == b'\n').filter_map(mount).collect();
        mounts.sort();
        Ok(mounts)
    }
}

#[cfg(target_os = "linux")]
fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let (id, device) = (fields.next()?, fields.nth(1)?);
    Some(([id, device].join(&b' '), super::mounts::point(fields.nth(1)?)))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_came_and_went_is_told_by_its_place_and_a_change_that_leaves_no_trace_all_the_same() {
        let line =
            |id: &str, point: &str| mount(format!("{id} 22 0:5 / {point} rw - tmpfs none rw").as_bytes());
        let table = |mounts: Vec<Mount>| Table {
            file: std::fs::File::open("/proc/self/mountinfo").expect("is there"),
            known: mounts,
        };
        let ours = table(Vec::new()).read().expect("reads");
        let mut without_root =
            table(ours.iter().filter(|(_, point)| point.as_os_str() != "/").cloned().collect());
        without_root.known.extend(line("7", "/mnt/with\\040blank"));
        without_root.known.sort();
        let told = Changed::At(vec!["/".into(), "/mnt/with blank".into()]);
        assert_eq!(without_root.changes(), told);
        assert_eq!(
            without_root.changes(),
            Changed::Somewhere,
            "it was asked for a change, and there is none"
        );
        assert_eq!(MountChanges::begin().look(), Changed::Nothing);
    }
}
