//! The difference of two texts, line by line, for people to read.

use super::view;

/// Lines around a change that are shown.
const CONTEXT: usize = 2;
/// Lines of a difference that are shown.
const SHOWN_MAX: usize = 60;
/// Bytes of a line that are shown.
const LINE_BYTES_MAX: usize = 400;
/// Pairs of lines that are compared; beyond, all of one stands before all of the other.
const PAIRS_MAX: usize = 4_000_000;

#[derive(Clone, Copy)]
enum Line<'a> {
    Same(&'a [u8]),
    Lacking(&'a [u8]),
    Added(&'a [u8]),
}

/// Lines that begin with `- ` are expected and lacking, with `+ ` got and not expected.
pub(super) fn difference(expected: &[u8], got: &[u8]) -> Vec<String> {
    let (old, new) = (lines(expected), lines(got));
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let ends = old[head..].iter().rev().zip(new[head..].iter().rev());
    let tail = ends.take_while(|(a, b)| a == b).count();
    let (old_middle, new_middle) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let mut all: Vec<Line<'_>> = old[..head].iter().map(|line| Line::Same(line)).collect();
    all.extend(middle(old_middle, new_middle));
    all.extend(old[old.len() - tail..].iter().map(|line| Line::Same(line)));
    shown(&all)
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

/// By the longest common subsequence.
fn middle<'a>(old: &[&'a [u8]], new: &[&'a [u8]]) -> Vec<Line<'a>> {
    let lacking = |lines: &[&'a [u8]]| lines.iter().map(|line| Line::Lacking(line)).collect::<Vec<_>>();
    let added = |lines: &[&'a [u8]]| lines.iter().map(|line| Line::Added(line)).collect::<Vec<_>>();
    if old.len().saturating_mul(new.len()) > PAIRS_MAX {
        return [lacking(old), added(new)].concat();
    }
    let width = new.len() + 1;
    let mut common = vec![0_u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i * width + j] = if old[i] == new[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut all) = (0, 0, Vec::new());
    while i < old.len() && j < new.len() {
        if old[i] == new[j] {
            all.push(Line::Same(old[i]));
            (i, j) = (i + 1, j + 1);
        } else if common[(i + 1) * width + j] >= common[i * width + j + 1] {
            all.push(Line::Lacking(old[i]));
            i += 1;
        } else {
            all.push(Line::Added(new[j]));
            j += 1;
        }
    }
    all.extend(lacking(&old[i..]));
    all.extend(added(&new[j..]));
    all
}

fn shown(all: &[Line<'_>]) -> Vec<String> {
    let is_change = |line: &Line<'_>| !matches!(line, Line::Same(_));
    let mut is_near = vec![false; all.len()];
    for (position, _) in all.iter().enumerate().filter(|(_, line)| is_change(line)) {
        let end = all.len().min(position + CONTEXT + 1);
        is_near[position.saturating_sub(CONTEXT)..end].fill(true);
    }
    let mut text = Vec::new();
    let mut was_left_out = false;
    for (line, is_near) in all.iter().zip(is_near) {
        if is_near {
            text.push(show(*line));
        } else if !was_left_out {
            text.push("  …".to_owned());
        }
        was_left_out = !is_near;
    }
    if text.len() > SHOWN_MAX {
        let more = text.len() - SHOWN_MAX;
        text.truncate(SHOWN_MAX);
        text.push(format!("  … and {more} more lines of this difference"));
    }
    text
}

fn show(line: Line<'_>) -> String {
    let (sign, bytes) = match line {
        Line::Same(bytes) => (' ', bytes),
        Line::Lacking(bytes) => ('-', bytes),
        Line::Added(bytes) => ('+', bytes),
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
