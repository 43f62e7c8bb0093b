//! The difference of two texts, line by line, for people to read.

use std::time::{Duration, Instant};

use similar::{Algorithm, ChangeTag, capture_diff_slices_deadline, group_diff_ops};

use super::view;

/// Lines around a change that are shown.
const CONTEXT: usize = 2;
/// Lines of a difference that are shown.
const SHOWN_MAX: usize = 60;
/// Bytes of a line that are shown.
const LINE_BYTES_MAX: usize = 400;
/// For so long it is looked for what two texts have in common; then less of it may be found.
const PATIENCE: Duration = Duration::from_secs(2);

/// Lines that begin with `- ` are expected and lacking, with `+ ` got and not expected.
pub(super) fn difference(expected: &[u8], got: &[u8]) -> Vec<String> {
    let (old, new) = (lines(expected), lines(got));
    let deadline = Some(Instant::now() + PATIENCE);
    let changes = capture_diff_slices_deadline(Algorithm::Myers, &old, &new, deadline);
    let mut text = Vec::new();
    let mut shown_to = 0;
    for part in group_diff_ops(changes, CONTEXT).iter().flatten() {
        if part.old_range().start > shown_to {
            text.push("  …".to_owned());
        }
        shown_to = part.old_range().end;
        text.extend(part.iter_changes(&old, &new).map(|line| show(line.tag(), line.value())));
    }
    if shown_to < old.len() {
        text.push("  …".to_owned());
    }
    if text.len() > SHOWN_MAX {
        let more = text.len() - SHOWN_MAX;
        text.truncate(SHOWN_MAX);
        text.push(format!("  … and {more} more lines of this difference"));
    }
    text
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

fn show(tag: ChangeTag, bytes: &[u8]) -> String {
    let sign = match tag {
        ChangeTag::Equal => ' ',
        ChangeTag::Delete => '-',
        ChangeTag::Insert => '+',
    };
    let (bytes, end) = match bytes.strip_suffix(b"\n") {
        Some(bytes) => (bytes, ""),
        None => (bytes, "  (without a line end)"),
    };
    format!("{sign} {}{end}", view::printable(bytes, LINE_BYTES_MAX))
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn changed_lines_stand_with_what_is_around_them() {
        let old = "1\n2\n3\n4\n5\n6\n7\n";
        let new = "1\n2\n3\n4\nfive\n6\n7\n8";
        let told = ["  …", "  3", "  4", "- 5", "+ five", "  6", "  7", "+ 8  (without a line end)"];
        assert_eq!(difference(old.as_bytes(), new.as_bytes()), told);
    }

    #[test]
    fn a_line_end_of_another_kind_can_be_seen() {
        assert_eq!(difference(b"a\n", b"a\r\n"), ["- a", "+ a\\r"]);
        assert_eq!(difference(b"a\n", b"a"), ["- a", "+ a  (without a line end)"]);
    }

    #[test]
    fn a_long_difference_says_how_long() {
        let told = difference(b"", "x\n".repeat(5_000).as_bytes());
        assert_eq!(told.last().map(String::as_str), Some("  … and 4940 more lines of this difference"));
    }
}
