//! The access list of a file or folder beyond its mode, as Linux keeps it beside the file.

use std::path::Path;

const ATTRIBUTE: &str = "system.posix_acl_access";

/// What a file has beyond its mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AccessList {
    /// The file system keeps none.
    Unsupported,
    /// It keeps them, and this file has its mode alone.
    None,
    Entries(Vec<Entry>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub who: Who,
    /// As in a mode's digit: 4 to read, 2 to write, 1 to enter.
    pub may: u16,
}

/// Whom an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    User(u32),
    /// The file's own.
    OwnGroup,
    Group(u32),
    /// The most that any of those has.
    Mask,
    /// The owner and all others, which the mode has too.
    InMode,
}

pub(crate) fn access_list(path: &Path) -> AccessList {
    let mut value = vec![0; 4096];
    match rustix::fs::getxattr(path, ATTRIBUTE, value.as_mut_slice()) {
        Ok(length) => entries(value.get(..length).unwrap_or_default()),
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::RANGE) => AccessList::None,
        Err(_) => AccessList::Unsupported,
    }
}

/// A version, then entries of a tag, what it may, and a number; little-endian (`linux/posix_acl_xattr.h`).
fn entries(value: &[u8]) -> AccessList {
    let entry = |bytes: &[u8]| {
        let (tag, rest) = bytes.split_first_chunk()?;
        let (may, rest) = rest.split_first_chunk()?;
        let number = u32::from_le_bytes(*rest.first_chunk()?);
        let who = match u16::from_le_bytes(*tag) {
            0x02 => Who::User(number),
            0x04 => Who::OwnGroup,
            0x08 => Who::Group(number),
            0x10 => Who::Mask,
            _ => Who::InMode,
        };
        Some(Entry { who, may: u16::from_le_bytes(*may) })
    };
    AccessList::Entries(value.get(4..).unwrap_or_default().chunks_exact(8).filter_map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_the_kernel_keeps_it() {
        let value = [
            2, 0, 0, 0, // version
            1, 0, 7, 0, 255, 255, 255, 255, // owner
            2, 0, 7, 0, 0xd1, 7, 0, 0, // user 2001
            4, 0, 5, 0, 255, 255, 255, 255, // own group
            8, 0, 4, 0, 0xd2, 7, 0, 0, // group 2002
            16, 0, 7, 0, 255, 255, 255, 255, // mask
            32, 0, 5, 0, 255, 255, 255, 255, // others
        ];
        let AccessList::Entries(entries) = entries(&value) else { panic!("there are some") };
        let told: Vec<_> = entries.iter().map(|entry| (entry.who, entry.may)).collect();
        assert_eq!(
            told,
            [
                (Who::InMode, 7),
                (Who::User(2001), 7),
                (Who::OwnGroup, 5),
                (Who::Group(2002), 4),
                (Who::Mask, 7),
                (Who::InMode, 5)
            ]
        );
    }

    #[test]
    fn a_file_of_a_system_without_lists_has_none() {
        assert_eq!(access_list(Path::new("/proc/self/status")), AccessList::Unsupported);
    }
}
