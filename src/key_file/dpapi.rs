//! Key files that Windows protects (DPAPI): what `ProtectedData.Protect` made of one, for this user or this machine.

use std::io;

use super::Secret;

/// What such a file begins with: a version, and the GUID of its provider.
const BEGINNING: [u8; 20] = [
    0x01, 0x00, 0x00, 0x00, 0xd0, 0x8c, 0x9d, 0xdf, 0x01, 0x15, 0xd1, 0x11, 0x8c, 0x7a, 0x00, 0xc0, 0x4f,
    0xc2, 0x97, 0xeb,
];

/// The bytes of a key file as they were before Windows protected them; others as they are.
pub(super) fn unprotected(bytes: Secret) -> io::Result<Secret> {
    if bytes.starts_with(&BEGINNING) { unprotect(&bytes) } else { Ok(bytes) }
}

#[cfg(not(windows))]
fn unprotect(_: &[u8]) -> io::Result<Secret> {
    Err(io::Error::other("it is protected by DPAPI, which Windows alone takes away"))
}

#[cfg(windows)]
#[allow(unsafe_code, reason = "std has no DPAPI")]
fn unprotect(bytes: &[u8]) -> io::Result<Secret> {
    use std::ptr::{null, null_mut};
    use windows_sys::Win32::Foundation::LocalFree;
    use windows_sys::Win32::Security::Cryptography::{
        CRYPT_INTEGER_BLOB, CRYPTPROTECT_UI_FORBIDDEN, CryptUnprotectData,
    };
    use zeroize::Zeroize as _;

    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    let given = CRYPT_INTEGER_BLOB { cbData: length, pbData: bytes.as_ptr().cast_mut() };
    let mut made = CRYPT_INTEGER_BLOB { cbData: 0, pbData: null_mut() };
    // SAFETY: `given` is read alone and lives until then, `made` is ours to be written; nothing else is asked for.
    let done = unsafe {
        CryptUnprotectData(&given, null_mut(), null(), null(), null(), CRYPTPROTECT_UI_FORBIDDEN, &mut made)
    };
    if done == 0 || made.pbData.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was made with this length, and nobody else has it.
    let clear = unsafe { std::slice::from_raw_parts_mut(made.pbData, made.cbData as usize) };
    let kept = Secret::new(clear.to_vec());
    clear.zeroize();
    // SAFETY: the system made it for us to free, and it is not used any more.
    unsafe { LocalFree(made.pbData.cast()) };
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_windows_did_not_protect_is_read_as_it_is() {
        let read = unprotected(Secret::new(b"AGE-SECRET-KEY-1".to_vec())).expect("is read");
        assert_eq!(read.as_slice(), b"AGE-SECRET-KEY-1");
    }

    #[cfg(not(windows))]
    #[test]
    fn what_windows_protected_is_told_elsewhere() {
        let error = unprotected(Secret::new(BEGINNING.to_vec())).expect_err("no DPAPI here");
        assert!(error.to_string().contains("DPAPI"), "{error}");
    }

    /// Of the system's own words, and not by how they begin: those of Wine begin in another way.
    #[cfg(windows)]
    #[test]
    #[allow(unsafe_code, reason = "std has no DPAPI")]
    fn what_was_protected_for_this_user_is_read_and_what_was_changed_since_is_not() {
        use std::ptr::{null, null_mut};
        use windows_sys::Win32::Security::Cryptography::{
            CRYPT_INTEGER_BLOB, CRYPTPROTECT_UI_FORBIDDEN, CryptProtectData,
        };
        let mut clear = b"AGE-SECRET-KEY-1 of a service".to_vec();
        let given = CRYPT_INTEGER_BLOB { cbData: clear.len() as u32, pbData: clear.as_mut_ptr() };
        let mut made = CRYPT_INTEGER_BLOB { cbData: 0, pbData: null_mut() };
        // SAFETY: both live until it is done.
        let done = unsafe {
            CryptProtectData(&given, null(), null(), null(), null(), CRYPTPROTECT_UI_FORBIDDEN, &mut made)
        };
        assert_ne!(done, 0, "{}", io::Error::last_os_error());
        // SAFETY: it was made with this length. It goes with the process.
        let protected = unsafe { std::slice::from_raw_parts(made.pbData, made.cbData as usize) }.to_vec();
        assert!(!protected.windows(clear.len()).any(|window| window == clear));
        assert_eq!(unprotect(&protected).expect("is this user's").as_slice(), clear);
        let mut changed = protected;
        let last = changed.len() - 1;
        changed[last] ^= 1;
        unprotect(&changed).expect_err("it was changed");
    }
}
