//! Words on lines that fit a terminal.

/// Wide enough to read, and no wider than most terminals are.
pub(super) const WIDTH: usize = 80;

/// Words on lines of [`WIDTH`] characters at most; a longer word has a line of its own.
pub(super) fn wrapped(words: &str, first: &str, rest: &str) -> String {
    let mut lines = vec![first.to_owned()];
    let mut is_empty = true;
    for word in words.split_whitespace() {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if !is_empty && line + 1 + word.chars().count() > WIDTH {
            lines.push(rest.to_owned());
            is_empty = true;
        }
        if let Some(line) = lines.last_mut() {
            let gap = if is_empty { "" } else { " " };
            line.push_str(gap);
            line.push_str(word);
        }
        is_empty = false;
    }
    lines.join("\n") + "\n"
}
