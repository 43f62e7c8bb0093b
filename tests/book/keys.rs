//! The keys of `config/reference.toml` as a page: each with its default, or what it may look like, and what it is for.

use std::collections::BTreeSet;

/// As wide as Markdown is here.
pub const WIDTH: usize = 120;
/// What a comment says of a key whose value is no default.
const NO_DEFAULT: [&str; 3] = ["required", "no default", "default:"];

/// A section for each table, with its keys in their order.
pub fn told(reference: &str) -> String {
    let (mut parts, mut heading, mut known) =
        (Vec::<(String, String)>::new(), "Of each file".to_owned(), BTreeSet::new());
    let mut lines = reference.lines().skip_while(|line| !line.starts_with("config_version")).peekable();
    while let Some(line) = lines.next() {
        if line.starts_with('[') {
            heading = named(line.split('#').next().unwrap_or_default().trim());
            continue;
        }
        let Some((key, rest)) = line.split_once('=').filter(|(key, _)| is_key(key.trim())) else { continue };
        let mut rest = rest.to_owned();
        // A list over several lines, and what is said on the lines behind a key.
        while open(&rest) {
            rest = format!("{rest} {}", lines.next().expect("the list ends").trim());
        }
        while let Some(more) =
            lines.next_if(|line| line.starts_with("     ") && line.trim_start().starts_with('#'))
        {
            rest = format!("{rest} {}", more.trim().trim_start_matches('#').trim());
        }
        let key = key.trim();
        let step = if key == "step" { rest.split('"').nth(1).unwrap_or_default() } else { "" };
        if !step.is_empty() {
            heading = format!("`[[rule.pipeline]]`, step `{step}`");
        }
        if !known.insert(format!("{heading} {key}")) {
            continue;
        }
        let about = item(&about(key, &rest));
        match parts.iter_mut().find(|(of, _)| *of == heading) {
            Some((_, items)) => items.push_str(&about),
            None => parts.push((heading.clone(), about)),
        }
    }
    parts.iter().map(|(heading, items)| format!("\n### {heading}\n\n{items}")).collect()
}

/// A key's line: its value is its default, unless what is said of it says otherwise.
fn about(key: &str, rest: &str) -> String {
    let (value, comment) = split(rest);
    let is_default = !NO_DEFAULT.iter().any(|word| comment.contains(word)) && key != "step";
    let value = if is_default { format!("default `{value}`") } else { format!("like `{value}`") };
    match comment {
        "" => format!("- `{key}`, {value}"),
        comment => format!("- `{key}`, {value}: {comment}"),
    }
}

/// The value, and what is said behind it.
fn split(rest: &str) -> (&str, &str) {
    let mut is_text = None;
    for (place, c) in rest.char_indices() {
        match (c, is_text) {
            ('"' | '\'', None) => is_text = Some(c),
            (c, Some(quote)) if c == quote => is_text = None,
            ('#', None) => return (rest[..place].trim(), rest[place + 1..].trim()),
            _ => {}
        }
    }
    (rest.trim(), "")
}

/// Whether more of the value stands on the next line.
fn open(rest: &str) -> bool {
    let (value, _) = split(rest);
    value.matches('[').count() > value.matches(']').count()
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || ['_', '.'].contains(&c))
}

/// The heading of a table: one of each kind.
fn named(table: &str) -> String {
    let table = match table {
        "[throttle.mainframe]" => "[throttle.NAME]",
        "[defaults.errors]" => "[defaults]",
        table if table.starts_with("[rule.output.") => "[rule.output.CATEGORY]",
        table => table,
    };
    format!("`{table}`")
}

/// An item of a list, wrapped; code is kept in one piece where it fits.
pub fn item(text: &str) -> String {
    let mut lines = vec![String::new()];
    let mut words = text.split(' ').peekable();
    while let Some(word) = words.next() {
        let mut piece = word.to_owned();
        while piece.matches('`').count() % 2 == 1 {
            let Some(next) = words.next() else { break };
            piece = format!("{piece} {next}");
        }
        // One that fits no line is broken all the same.
        let pieces: Vec<&str> =
            if piece.chars().count() + 2 > WIDTH { piece.split(' ').collect() } else { vec![&piece] };
        for piece in pieces {
            add(&mut lines, piece);
        }
    }
    lines.join("\n") + "\n"
}

fn add(lines: &mut Vec<String>, piece: &str) {
    let last = lines.last_mut().expect("there is one");
    if !last.is_empty() && last.chars().count() + 1 + piece.chars().count() > WIDTH {
        lines.push(format!("  {piece}"));
    } else {
        let gap = if last.is_empty() { "" } else { " " };
        last.push_str(&format!("{gap}{piece}"));
    }
}
