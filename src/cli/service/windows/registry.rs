//! The service as a source of the Event Log, in the registry.
//!
//! Its texts are those of `EventCreate.exe`, which is part of Windows: each is the text that is given alone. A program without such texts
//! of its own is shown with a remark that its description cannot be found.

use std::io;

use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_SUCCESS};
use windows_sys::Win32::System::Registry::{
    HKEY_LOCAL_MACHINE, REG_DWORD, REG_EXPAND_SZ, RegDeleteTreeW, RegSetKeyValueW,
};

use crate::telemetry::EVENT_SOURCE;

const SOURCES: &str = r"SYSTEM\CurrentControlSet\Services\EventLog\Application";
const TEXTS: &str = r"%SystemRoot%\System32\EventCreate.exe";
/// Information, warnings, errors.
const KINDS: u32 = 7;

/// The key, for people.
pub(super) fn event_source() -> String {
    format!(r"HKLM\{}", key())
}

fn key() -> String {
    format!(r"{SOURCES}\{EVENT_SOURCE}")
}

pub(super) fn register_event_source() -> io::Result<()> {
    let text: Vec<u8> = wide(TEXTS).iter().flat_map(|unit| unit.to_le_bytes()).collect();
    set("EventMessageFile", REG_EXPAND_SZ, &text)?;
    set("TypesSupported", REG_DWORD, &KINDS.to_le_bytes())
}

/// Makes the key where it is not there.
#[allow(unsafe_code, reason = "std knows no registry")]
fn set(name: &str, kind: u32, value: &[u8]) -> io::Result<()> {
    let (key, name) = (wide(&key()), wide(name));
    let length = u32::try_from(value.len()).map_err(io::Error::other)?;
    // SAFETY: both names end with 0; the value is as long as is said; all outlive the call.
    let code = unsafe {
        RegSetKeyValueW(HKEY_LOCAL_MACHINE, key.as_ptr(), name.as_ptr(), kind, value.as_ptr().cast(), length)
    };
    done(code)
}

#[allow(unsafe_code, reason = "std knows no registry")]
pub(super) fn remove_event_source() -> io::Result<()> {
    let key = wide(&key());
    // SAFETY: the name ends with 0 and outlives the call.
    let code = unsafe { RegDeleteTreeW(HKEY_LOCAL_MACHINE, key.as_ptr()) };
    if code == ERROR_FILE_NOT_FOUND { Ok(()) } else { done(code) }
}

fn done(code: u32) -> io::Result<()> {
    if code == ERROR_SUCCESS { Ok(()) } else { Err(io::Error::from_raw_os_error(code.cast_signed())) }
}

fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}
