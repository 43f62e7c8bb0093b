//! A command line as Windows takes it apart: quotes around blanks, and backslashes that count only before a quote.

/// These words as one line.
pub(super) fn joined<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(quoted).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    if !word.is_empty() && !word.contains([' ', '\t', '"']) {
        return word.to_owned();
    }
    let mut text = String::from('"');
    let mut backslashes = 0;
    for c in word.chars() {
        match c {
            '\\' => backslashes += 1,
            // Those before a quote count twice, and one more has it stand for itself.
            '"' => text.push_str(&"\\".repeat(std::mem::take(&mut backslashes) + 1)),
            _ => backslashes = 0,
        }
        text.push(c);
    }
    text.push_str(&"\\".repeat(backslashes));
    text.push('"');
    text
}

/// The words of a line.
pub(super) fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut is_quoted) = (Vec::new(), None::<String>, false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_whitespace() && !is_quoted {
            words.extend(word.take());
            continue;
        }
        let text = word.get_or_insert_default();
        match c {
            '"' => is_quoted = !is_quoted,
            '\\' => {
                let mut count = 1;
                while chars.next_if_eq(&'\\').is_some() {
                    count += 1;
                }
                let before_quote = chars.peek() == Some(&'"');
                text.push_str(&"\\".repeat(if before_quote { count / 2 } else { count }));
                if before_quote && count % 2 == 1 {
                    text.extend(chars.next());
                }
            }
            c => text.push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_with_blanks_stands_in_quotes_and_its_last_backslash_closes_nothing() {
        assert_eq!(joined(["C:\\a b\\x.exe", "service", "run"]), "\"C:\\a b\\x.exe\" service run");
        assert_eq!(joined(["D:\\a b\\"]), "\"D:\\a b\\\\\"");
        assert_eq!(words("\"C:\\a b\\x.exe\" service  run"), ["C:\\a b\\x.exe", "service", "run"]);
    }

    proptest! {
        #[test]
        fn what_is_joined_comes_apart_again(words in prop::collection::vec("[a \\\\\"]{0,6}", 0..5)) {
            prop_assert_eq!(super::words(&joined(words.iter().map(String::as_str))), words);
        }
    }
}
