//! Values from outside as parts of one path component.
//!
//! - Separators (`/`, and `\` on every platform, since archives made on Windows use it) become `_`: `a/b.csv` is `a_b.csv`.
//! - What is not [shown raw](is_shown_raw) (control characters, and those that turn text around or are not seen) becomes `%HH` for each
//!   byte: with these one name passes for another. On Windows also `< > : " | ? *`, and a dot or space at a component's end.
//! - A component that would be empty, hidden by a value's dot, `.`, `..`, or (Windows) a device such as `con`, gets a `_` in front.
//! - A component longer than 255 bytes loses the end of its longest value; a hash of the whole value takes its place.
//!
//! Names that differ stay different wherever no separator was replaced (and no name was written to look escaped); where two
//! outputs of one job meet all the same, that is an error and never one file. On Unix bytes that are not UTF-8 stay.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::model::os_text::is_shown_raw;

/// What file systems allow: bytes on Unix; on Windows units, of which there are never more than bytes.
pub(super) const COMPONENT_BYTES_MAX: usize = 255;
const CUT_MARK_BYTES: usize = 17;

pub(super) fn bytes_of(name: &OsStr) -> Vec<u8> {
    #[cfg(unix)]
    return std::os::unix::ffi::OsStrExt::as_bytes(name).to_vec();
    #[cfg(not(unix))]
    return name.to_string_lossy().into_owned().into_bytes();
}

pub(super) fn name_of(bytes: Vec<u8>) -> OsString {
    #[cfg(unix)]
    return std::os::unix::ffi::OsStringExt::from_vec(bytes);
    #[cfg(not(unix))]
    return String::from_utf8_lossy(&bytes).into_owned().into();
}

/// An archive member's path in one piece: no empty or `.` parts, `..` as `_`, the rest joined by `_`.
pub(super) fn flattened(path: &[u8]) -> Vec<u8> {
    path.split(|b| is_separator(*b))
        .filter(|part| !part.is_empty() && *part != b".")
        .map(|part| if part == b".." { b"_" } else { part })
        .collect::<Vec<_>>()
        .join(&b'_')
}

fn is_separator(byte: u8) -> bool {
    byte == b'/' || byte == b'\\'
}

fn escaped(value: &[u8], windows: bool) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(value.len());
    for chunk in value.utf8_chunks() {
        for c in chunk.valid().chars() {
            let mut buffer = [0; 4];
            let bytes = c.encode_utf8(&mut buffer).as_bytes();
            if c == '/' || c == '\\' {
                escaped.push(b'_');
            } else if !is_shown_raw(c) || (windows && r#"<>:"|?*"#.contains(c)) {
                for byte in bytes {
                    push_escape(&mut escaped, *byte);
                }
            } else {
                escaped.extend_from_slice(bytes);
            }
        }
        escaped.extend_from_slice(chunk.invalid());
    }
    escaped
}

fn push_escape(escaped: &mut Vec<u8>, byte: u8) {
    escaped.extend(format!("%{byte:02x}").bytes());
}

#[derive(Default)]
pub(super) struct ComponentBuilder {
    pieces: Vec<Piece>,
}

struct Piece {
    bytes: Vec<u8>,
    /// From outside; the rest is the operator's.
    foreign: bool,
}

impl ComponentBuilder {
    pub(super) fn push_foreign(&mut self, value: &[u8]) {
        self.pieces.push(Piece { bytes: escaped(value, cfg!(windows)), foreign: true });
    }

    pub(super) fn push_trusted(&mut self, text: &str) {
        self.pieces.push(Piece { bytes: text.as_bytes().to_vec(), foreign: false });
    }

    /// Adds the component to the path, unless it is nothing but an empty piece of literal text (`//`), and begins the next.
    pub(super) fn finish_into(&mut self, path: &mut PathBuf) {
        let pieces = std::mem::take(&mut self.pieces);
        if let Some(component) = component(pieces, cfg!(windows)) {
            path.push(name_of(component));
        }
    }
}

fn component(mut pieces: Vec<Piece>, windows: bool) -> Option<Vec<u8>> {
    let any_foreign = pieces.iter().any(|p| p.foreign);
    let hidden_by_value =
        pieces.iter().find(|p| !p.bytes.is_empty()).is_some_and(|p| p.foreign && p.bytes.starts_with(b"."));
    let whole = concatenated(&pieces);
    if whole.is_empty() && !any_foreign {
        return None;
    }
    let special = whole.is_empty() || whole == b"." || whole == b".." || (windows && is_device(&whole));
    if hidden_by_value || special {
        pieces.insert(0, Piece { bytes: b"_".to_vec(), foreign: false });
    }
    cut_to_fit(&mut pieces);
    let mut whole = concatenated(&pieces);
    if windows && let Some(last @ (b'.' | b' ')) = whole.last().copied() {
        whole.pop();
        push_escape(&mut whole, last);
    }
    Some(whole)
}

fn concatenated(pieces: &[Piece]) -> Vec<u8> {
    pieces.iter().flat_map(|p| p.bytes.iter().copied()).collect()
}

fn cut_to_fit(pieces: &mut [Piece]) {
    let mut over = pieces.iter().map(|p| p.bytes.len()).sum::<usize>().saturating_sub(COMPONENT_BYTES_MAX);
    while over > 0 {
        let longest = pieces
            .iter_mut()
            .filter(|p| p.foreign && p.bytes.len() > CUT_MARK_BYTES)
            .max_by_key(|p| p.bytes.len());
        // Literal text alone is too long: the file system will say so.
        let Some(piece) = longest else { break };
        let before = piece.bytes.len();
        cut(piece, before.saturating_sub(over));
        over = over.saturating_sub(before - piece.bytes.len());
        if piece.bytes.len() == before {
            break;
        }
    }
}

fn cut(piece: &mut Piece, length: usize) {
    let hash = blake3::hash(&piece.bytes).to_hex();
    let mut kept = length.saturating_sub(CUT_MARK_BYTES);
    // Not within a character, where it is one.
    while kept > 0
        && piece.bytes.get(kept).is_some_and(|b| b & 0xc0 == 0x80)
        && kept + 4 > length.saturating_sub(CUT_MARK_BYTES)
    {
        kept -= 1;
    }
    piece.bytes.truncate(kept);
    piece.bytes.push(b'~');
    piece.bytes.extend(hash.bytes().take(CUT_MARK_BYTES - 1));
}

/// Device names are special on Windows whatever suffix follows.
fn is_device(name: &[u8]) -> bool {
    let stem = name.split(|b| *b == b'.').next().unwrap_or_default().trim_ascii_end().to_ascii_lowercase();
    match stem.as_slice() {
        b"con" | b"prn" | b"aux" | b"nul" | b"conin$" | b"conout$" => true,
        [b'c', b'o', b'm', digit] | [b'l', b'p', b't', digit] => digit.is_ascii_digit(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(value: &str) -> String {
        let piece = Piece { bytes: escaped(value.as_bytes(), true), foreign: true };
        String::from_utf8(component(vec![piece], true).expect("a component")).expect("UTF-8")
    }

    #[test]
    fn what_windows_forbids_is_escaped_there() {
        for (value, harmless) in [
            ("con", "_con"),
            ("CON.csv", "_CON.csv"),
            ("com1", "_com1"),
            ("console", "console"),
            ("a:b?", "a%3ab%3f"),
            (r"C:\x", "C%3a_x"),
            ("name.", "name%2e"),
            ("name ", "name%20"),
            ("..", "_.%2e"),
            ("", "_"),
        ] {
            assert_eq!(windows(value), harmless, "{value}");
        }
    }

    #[test]
    fn a_member_path_becomes_one_name() {
        for (path, name) in [
            ("dir/pay.csv", "dir_pay.csv"),
            (r"dir\pay.csv", "dir_pay.csv"),
            ("./dir//pay.csv", "dir_pay.csv"),
            ("../../etc/passwd", "____etc_passwd"),
            ("/", ""),
        ] {
            assert_eq!(flattened(path.as_bytes()), name.as_bytes(), "{path}");
        }
    }
}
