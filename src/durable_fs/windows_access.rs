//! Access lists, and drives that are one session's: what an installer asks of Windows.

use std::io;
use std::path::{Component, Path, Prefix};

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, PROTECTED_DACL_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, SetFileSecurityW,
};
use windows_sys::Win32::Storage::FileSystem::GetDriveTypeW;

use super::error::FsError;
use super::windows::wide;

/// Lets nobody else at a file than its owner, the system and its administrators.
pub(super) fn keep_to_owner(path: &Path) -> io::Result<()> {
    set_access(path, "D:P(A;;FA;;;OW)(A;;FA;;;SY)(A;;FA;;;BA)")
}

/// Lets nobody else at a folder, and at what will be in it, than the system, its administrators and an account by its short name in such
/// lists (`LS`), which may write there or not.
pub(crate) fn close_folder(folder: &Path, account: &str, writes: bool) -> Result<(), FsError> {
    let rights = if writes { "FA" } else { "0x1200a9" }; // all, or to read and to go through
    let list = format!("D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;{rights};;;{account})");
    set_access(folder, &list).map_err(|e| FsError::new("close to others", folder, e))
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
