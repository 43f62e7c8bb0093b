//! Paths as a shell takes them, for commands that an operator copies.

use std::path::Path;

use super::os_text::escaped_path;

/// One word of a command line.
pub(crate) fn word(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+:@%=,".contains(byte);
    match path.to_str() {
        Some(text) if bytes.iter().all(is_plain) && !bytes.is_empty() => text.to_owned(),
        Some(text) if !text.chars().any(char::is_control) && text == escaped_path(path) => {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
        _ => {
            let shown = |byte: &u8| match byte {
                b'\'' | b'\\' => format!("\\{}", char::from(*byte)),
                b' '..=b'~' => char::from(*byte).to_string(),
                _ => format!("\\x{byte:02x}"),
            };
            format!("$'{}'", bytes.iter().map(shown).collect::<String>())
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_every_name_as_it_was() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt as _;
        for name in [
            &b"/srv/acme"[..],
            b"a b",
            b"it's",
            b"a\nb",
            b"\xff\xfe",
            b"$HOME`ls`",
            "\u{fc}\u{202e}".as_bytes(),
        ] {
            let word = word(Path::new(OsStr::from_bytes(name)));
            let script = format!("printf %s {word}");
            let said = std::process::Command::new("bash").args(["-c", &script]).output().expect("bash runs");
            assert_eq!(said.stdout, name, "{word}");
            assert!(!word.chars().any(char::is_control), "{word:?}");
        }
        assert_eq!(word(Path::new("/srv/acme")), "/srv/acme");
    }
}
