//! Access lists, drives that are one session's, and paths as the system takes them.

use std::io;
use std::os::windows::ffi::OsStrExt as _;
use std::path::{Component, Path, Prefix};
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::{CloseHandle, HANDLE, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertSecurityDescriptorToStringSecurityDescriptorW, ConvertSidToStringSidW,
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, GetFileSecurityW, GetTokenInformation, LookupAccountNameW,
    OWNER_SECURITY_INFORMATION, PROTECTED_DACL_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, PSID,
    SECURITY_ATTRIBUTES, SetFileSecurityW, TOKEN_QUERY, TOKEN_USER, TokenUser,
};
use windows_sys::Win32::Storage::FileSystem::{CreateDirectoryW, GetDriveTypeW};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

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

/// Makes a folder that was not there, and lets nobody else at it, and at what will be in it, than the system, its administrators and an
/// account by its short name in such lists (`LS`), which may write there or not. At no time it is open to others.
#[allow(unsafe_code, reason = "std makes folders without access lists only")]
pub(crate) fn make_closed_folder(folder: &Path, account: &str, writes: bool) -> io::Result<()> {
    let rights = if writes { "FA" } else { "0x1200a9" }; // all, or to read and to go through
    let list = format!("D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;{rights};;;{account})");
    let name = wide(folder);
    with_descriptor(&list, |descriptor| {
        let attributes = SECURITY_ATTRIBUTES {
            nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).unwrap_or(u32::MAX),
            lpSecurityDescriptor: descriptor,
            bInheritHandle: 0,
        };
        // SAFETY: the name ends with 0, and the descriptor is there for the time of the call.
        done(unsafe { CreateDirectoryW(name.as_ptr(), &raw const attributes) })
    })
}

/// Owner and access list of what lies there, as a text (SDDL).
#[allow(unsafe_code, reason = "std does not tell access lists")]
pub(crate) fn access_of(path: &Path) -> io::Result<String> {
    let name = wide(path);
    let which = OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION;
    let descriptor = filled(|place, length, needed| {
        // SAFETY: the name ends with 0, and the place is ours and as long as is said.
        unsafe { GetFileSecurityW(name.as_ptr(), which, place.cast(), length, needed) }
    })?;
    let mut text = null_mut();
    // SAFETY: the system wrote the descriptor, and the text is written to a variable of ours; nobody asks for its length.
    let made = unsafe {
        ConvertSecurityDescriptorToStringSecurityDescriptorW(
            descriptor.as_ptr().cast_mut().cast(),
            SDDL_REVISION_1,
            which,
            &raw mut text,
            null_mut(),
        )
    };
    done(made).map(|()| taken(text))
}

/// The number of the user of this process (`S-1-5-…`).
#[allow(unsafe_code, reason = "std does not tell users")]
pub(crate) fn number_of_user() -> io::Result<String> {
    let mut token: HANDLE = null_mut();
    // SAFETY: this process is always there, and the handle is written to a variable of ours.
    done(unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) })?;
    let user = filled(|place, length, needed| {
        // SAFETY: the handle is open, and the place is ours and as long as is said.
        unsafe { GetTokenInformation(token, TokenUser, place.cast(), length, needed) }
    });
    // SAFETY: it was opened above, and nobody has it any more.
    unsafe { CloseHandle(token) };
    let user = user?;
    // SAFETY: the system wrote this structure there, as long as it needs; the place has the alignment of 8 bytes.
    let number = unsafe { (*user.as_ptr().cast::<TOKEN_USER>()).User.Sid };
    shown(number)
}

/// The number of an account by its name.
#[allow(unsafe_code, reason = "std does not tell users")]
pub(crate) fn number_of_account(name: &str) -> io::Result<String> {
    const DOMAIN_UNITS: u32 = 256;
    let name: Vec<u16> = name.encode_utf16().chain([0]).collect();
    let (mut domain, mut kind) = ([0_u16; DOMAIN_UNITS as usize], 0);
    let mut length = 0;
    let number = filled(|place, given, needed| {
        let mut domain_length = DOMAIN_UNITS;
        length = given;
        // SAFETY: the name ends with 0; both places are ours and as long as is said.
        let found = unsafe {
            LookupAccountNameW(
                null(),
                name.as_ptr(),
                place.cast(),
                &raw mut length,
                domain.as_mut_ptr(),
                &raw mut domain_length,
                &raw mut kind,
            )
        };
        *needed = length;
        found
    })?;
    shown(number.as_ptr().cast_mut().cast())
}

/// What the system writes into a place as long as it asks for; of 8 bytes each, as the structures need it.
fn filled(mut call: impl FnMut(*mut u64, u32, &mut u32) -> i32) -> io::Result<Vec<u64>> {
    let mut needed = 0;
    call(null_mut(), 0, &mut needed);
    if needed == 0 {
        return Err(io::Error::last_os_error());
    }
    let mut place = vec![0_u64; (needed as usize).div_ceil(size_of::<u64>())];
    let length = needed;
    done(call(place.as_mut_ptr(), length, &mut needed)).map(|()| place)
}

#[allow(unsafe_code, reason = "std does not tell users")]
fn shown(number: PSID) -> io::Result<String> {
    let mut text = null_mut();
    // SAFETY: the system wrote the number, which is there; the text is written to a variable of ours.
    done(unsafe { ConvertSidToStringSidW(number, &raw mut text) }).map(|()| taken(text))
}

/// A text of the system's, which is let go of.
#[allow(unsafe_code, reason = "the system makes texts that its caller frees")]
fn taken(text: *mut u16) -> String {
    // SAFETY: the system made it, it ends with 0, and nobody has it any more once it is copied.
    unsafe {
        let length = (0..).take_while(|at| *text.add(*at) != 0).count();
        let copy = String::from_utf16_lossy(std::slice::from_raw_parts(text, length));
        LocalFree(text.cast());
        copy
    }
}

fn done(code: i32) -> io::Result<()> {
    if code == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
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
    let name = wide(path);
    let which = DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION;
    // SAFETY: the name ends with 0, and the descriptor is there for the time of the call.
    with_descriptor(list, |descriptor| done(unsafe { SetFileSecurityW(name.as_ptr(), which, descriptor) }))
}

#[allow(unsafe_code, reason = "std does not make access lists")]
fn with_descriptor(list: &str, act: impl FnOnce(PSECURITY_DESCRIPTOR) -> io::Result<()>) -> io::Result<()> {
    let list: Vec<u16> = list.encode_utf16().chain([0]).collect();
    let mut descriptor: PSECURITY_DESCRIPTOR = null_mut();
    // SAFETY: the text ends with 0, and the descriptor is written to a variable of ours; nobody asks for its size.
    done(unsafe {
        ConvertStringSecurityDescriptorToSecurityDescriptorW(
            list.as_ptr(),
            SDDL_REVISION_1,
            &raw mut descriptor,
            null_mut(),
        )
    })?;
    let acted = act(descriptor);
    // SAFETY: the system made it, and nobody has it any more.
    unsafe { LocalFree(descriptor) };
    acted
}
