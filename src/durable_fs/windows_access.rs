//! Access lists, drives that are one session's, and paths as the system takes them.

use std::io;
use std::os::windows::ffi::OsStrExt as _;
use std::path::{Component, Path, Prefix};

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, PROTECTED_DACL_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, SetFileSecurityW,
};
use windows_sys::Win32::Storage::FileSystem::GetDriveTypeW;

/// Longer paths need the prefix that turns off the old limit.
const PLAIN_PATH_UNITS_MAX: usize = 240;

pub(super) fn wide(path: &Path) -> Vec<u16> {
    let plain: Vec<u16> = path.as_os_str().encode_wide().collect();
    let mut units = Vec::with_capacity(plain.len() + 9);
    if plain.len() > PLAIN_PATH_UNITS_MAX
        && let Ok(absolute) = std::path::absolute(path)
    {
        let absolute: Vec<u16> = absolute.as_os_str().encode_wide().collect();
        let (share, verbatim): (Vec<u16>, Vec<u16>) =
            (r"\\".encode_utf16().collect(), r"\\?\".encode_utf16().collect());
        if absolute.starts_with(&verbatim) {
            units.extend(absolute);
        } else if let Some(rest) = absolute.strip_prefix(share.as_slice()) {
            units.extend(r"\\?\UNC\".encode_utf16());
            units.extend(rest);
        } else {
            units.extend(verbatim);
            units.extend(absolute);
        }
    } else {
        units.extend(plain);
    }
    units.push(0);
    units
}

/// Lets nobody else at a file than its owner, the system and its administrators.
pub(super) fn keep_to_owner(path: &Path) -> io::Result<()> {
    set_access(path, "D:P(A;;FA;;;OW)(A;;FA;;;SY)(A;;FA;;;BA)")
}

/// Lets nobody else at a folder, and at what will be in it, than the system, its administrators and an account by its short name in such
/// lists (`LS`), which may write there or not.
pub(crate) fn close_folder(folder: &Path, account: &str, writes: bool) -> io::Result<()> {
    let rights = if writes { "FA" } else { "0x1200a9" }; // all, or to read and to go through
    let list = format!("D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;{rights};;;{account})");
    set_access(folder, &list)
}

/// Whether a path begins with a letter that stands for a share (`net use`): each session has its own, and a service none.
#[allow(unsafe_code, reason = "std does not tell drives apart")]
pub(crate) fn is_on_mapped_drive(path: &Path) -> bool {
    const REMOTE: u32 = 4; // DRIVE_REMOTE
    let Some(Component::Prefix(prefix)) = path.components().next() else { return false };
    let Prefix::Disk(letter) = prefix.kind() else { return false };
    let root = [u16::from(letter), u16::from(b':'), u16::from(b'\\'), 0];
    // SAFETY: the text ends with 0 and outlives the call.
    unsafe { GetDriveTypeW(root.as_ptr()) == REMOTE }
}

#[allow(unsafe_code, reason = "std does not set access lists")]
fn set_access(path: &Path, list: &str) -> io::Result<()> {
    let list: Vec<u16> = list.encode_utf16().chain([0]).collect();
    let mut descriptor: PSECURITY_DESCRIPTOR = std::ptr::null_mut();
    // SAFETY: the text ends with 0, and the descriptor is written to a variable of ours; nobody asks for its size.
    let made = unsafe {
        ConvertStringSecurityDescriptorToSecurityDescriptorW(
            list.as_ptr(),
            SDDL_REVISION_1,
            &raw mut descriptor,
            std::ptr::null_mut(),
        )
    };
    if made == 0 {
        return Err(io::Error::last_os_error());
    }
    let name = wide(path);
    let which = DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION;
    // SAFETY: the name ends with 0, and the descriptor was made above.
    let set = unsafe { SetFileSecurityW(name.as_ptr(), which, descriptor) };
    let done = if set == 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    // SAFETY: the system made it, and nobody has it any more.
    unsafe { LocalFree(descriptor) };
    done
}
