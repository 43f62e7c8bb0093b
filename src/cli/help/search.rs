//! Pages that tell of some words, the fullest first.

use super::topics::Topic;

/// More pages than this are no answer.
const PAGES_MAX: usize = 8;
/// What a word counts in the title of a page, and in a heading; one in the text counts 1.
const IN_TITLE: usize = 100;
const IN_HEADING: usize = 20;
/// A word that a page has more often in its text makes it no fuller an answer.
const IN_TEXT_MAX: usize = 5;

/// A page that has all the words, and where in it they are told.
pub(super) struct Found {
    pub(super) topic: &'static Topic,
    /// The heading that has most of them; the page's own where no other has any.
    pub(super) heading: String,
    weight: usize,
}

/// The pages in whose text each word is part of some word, in any case.
pub(super) fn search(words: &[String], pages: impl Iterator<Item = &'static Topic>) -> Vec<Found> {
    let words: Vec<String> = words.iter().flat_map(|word| split(word)).map(singular).collect();
    if words.is_empty() {
        return Vec::new();
    }
    let mut found: Vec<Found> = pages.filter_map(|topic| in_page(&words, topic)).collect();
    found.sort_by_key(|page| std::cmp::Reverse(page.weight)); // stable: else in the order of the contents
    found.truncate(PAGES_MAX);
    found
}

fn in_page(words: &[String], topic: &'static Topic) -> Option<Found> {
    let mut counts = vec![(0_usize, 0_usize); words.len()]; // in headings, in the text
    let mut best = (0, topic.title().to_owned());
    let mut is_code = false;
    for line in topic.text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        let level = if is_code { 0 } else { line.bytes().take_while(|&byte| byte == b'#').count() };
        let weight = match level {
            0 => 1,
            1 => IN_TITLE,
            _ => IN_HEADING,
        };
        let told: Vec<String> = split(line).collect();
        let met = |word: &String| told.iter().filter(|told| told.contains(word.as_str())).count();
        let mut in_line = 0;
        for ((headings, text), word) in counts.iter_mut().zip(words) {
            let met = met(word);
            *(if level == 0 { text } else { headings }) += met * weight;
            in_line += usize::from(met > 0);
        }
        if level > 1 && in_line > best.0 {
            best = (in_line, line.trim_start_matches('#').trim().replace('`', ""));
        }
    }
    let weights = counts.iter().map(|(headings, text)| headings + text.min(&IN_TEXT_MAX));
    let has_all = weights.clone().all(|weight| weight > 0);
    has_all.then(|| Found { topic, heading: best.1, weight: weights.sum() })
}

/// A word finds its plural, but not the other way round.
fn singular(mut word: String) -> String {
    if word.len() > 3 && word.ends_with('s') {
        word.pop();
    }
    word
}

/// Its words, in small letters; what joins two of them in a key (`failed_max`) parts them too.
fn split(text: &str) -> impl Iterator<Item = String> {
    text.split(|char: char| !char.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::super::topics;
    use super::*;

    fn found(words: &str) -> Vec<(&'static str, String)> {
        let words: Vec<_> = words.split(' ').map(str::to_owned).collect();
        search(&words, topics::all()).into_iter().map(|page| (page.topic.name, page.heading)).collect()
    }

    #[test]
    fn the_page_whose_heading_tells_of_the_word_comes_first_and_names_it() {
        assert_eq!(found("Upgrades")[0], ("as-a-service", "Upgrades, and the way out".to_owned()));
        assert_eq!(found("metrics")[0].0, "metrics");
    }

    #[test]
    fn a_page_has_all_the_words_and_what_no_page_has_finds_none() {
        assert!(found("failed_max bad lines").iter().any(|(name, _)| *name == "questions"));
        assert!(found("pgp secrets").iter().any(|(name, _)| *name == "encrypted"));
        assert!(found("metrics xyzzy").is_empty() && found("…").is_empty());
        assert!(found("the").len() == PAGES_MAX);
    }
}
