//! What the numbers of files on Windows are worth.

/// Whether a volume, by the name of its file system and its flags, keeps the numbers of files. On FAT and exFAT the number of a file is the
/// place of its entry in a folder, which a rename changes. What has lasting numbers lets files be opened by them; not all that has them says so.
///
/// <https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-getvolumeinformationbyhandlew>
pub(super) fn keeps_numbers(name: &str, flags: u32) -> bool {
    const FILE_SUPPORTS_OPEN_BY_FILE_ID: u32 = 0x0100_0000;
    let name = name.to_ascii_uppercase();
    let is_known = ["NTFS", "REFS", "CSVFS"].contains(&&*name);
    is_known || !name.contains("FAT") && flags & FILE_SUPPORTS_OPEN_BY_FILE_ID != 0
}

/// The number of a file that its file system gives 128 bits. Those of NTFS have 64; on `ReFS` half of them does not tell two files apart.
pub(super) fn number_of_id(id: [u8; 16]) -> u64 {
    let (low, high) = id.split_at(8);
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    match number(high) {
        0 => number(low),
        _ => number(&blake3::hash(&id).as_bytes()[..8]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY_ID: u32 = 0x0100_0000;

    #[test]
    fn a_volume_of_windows_that_numbers_files_by_their_place_in_a_folder_is_known() {
        for (name, flags) in [("NTFS", BY_ID), ("NTFS", 0), ("ReFS", BY_ID), ("CSVFS", 0), ("UDF", BY_ID)] {
            assert!(keeps_numbers(name, flags), "{name}");
        }
        for (name, flags) in [("FAT", 0), ("FAT32", 0), ("exFAT", 0), ("exFAT", BY_ID), ("MVFS", 0)] {
            assert!(!keeps_numbers(name, flags), "{name}");
        }
    }

    #[test]
    fn two_files_of_which_half_the_id_is_the_same_have_other_numbers_and_short_ids_are_the_numbers() {
        let id = |low: u64, high: u64| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&low.to_le_bytes());
            id[8..].copy_from_slice(&high.to_le_bytes());
            number_of_id(id)
        };
        assert_eq!(id(0x0102_0304_0506_0708, 0), 0x0102_0304_0506_0708, "as on NTFS");
        let of_refs = [id(7, 0), id(7, 1), id(7, 2), id(8, 1)];
        let different: std::collections::BTreeSet<_> = of_refs.into_iter().collect();
        assert_eq!(different.len(), of_refs.len());
    }
}
