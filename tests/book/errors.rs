//! The errors of the sources, each with the hint that it has, read from where they are written: `#[error("…")]` and `fn hint`.
//!
//! A hint that is put together when it is needed (the rights of a folder, what a key lacks) stands in no table, and not here.

use crate::keys::item;
use crate::pages::read;

/// What each file's errors are about.
const FILES: [(&str, &str); 9] = [
    ("src/decode/error.rs", "Reading a source: layers, archives, keys"),
    ("src/record/error.rs", "Cutting records"),
    ("src/pipeline/missing.rs", "Columns that a rule names"),
    ("src/pipeline/broken.rs", "Steps"),
    ("src/output/error.rs", "Writing and publishing outputs"),
    ("src/published/error.rs", "Reading outputs again"),
    ("src/engine/error.rs", "Starting and stopping"),
    ("src/store/error.rs", "The store"),
    ("src/at_rest/error.rs", "Keys of the data folder"),
];

/// A section for each file: every error that has a hint.
pub fn told() -> String {
    let mut told = String::new();
    let mut count = 0;
    for (file, title) in FILES {
        let text = read(file);
        let hints = hints(&text);
        told.push_str(&format!("\n### {title}\n\n"));
        for (name, message) in messages(&text) {
            let Some((_, hint)) = hints.iter().find(|(of, _)| *of == name) else { continue };
            let message = shown(&message);
            // Of what is filled in alone nobody knows what it is.
            if !message.contains(char::is_alphabetic) {
                continue;
            }
            told.push_str(&item(&format!("- **{message}**: {}", shown(hint))));
            count += 1;
        }
    }
    assert!(count > 40, "only {count} errors");
    told
}

/// The message of each variant, and its name.
fn messages(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for part in text.split("#[error(").skip(1) {
        let Some((message, rest)) = literal(part) else { continue };
        let Some((_, rest)) = rest.split_once(")]\n") else { continue };
        let variant =
            rest.lines().map(str::trim).find(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
        let name: String =
            variant.unwrap_or_default().chars().take_while(char::is_ascii_alphanumeric).collect();
        found.push((name, message));
    }
    found
}

/// The first hint that each variant's arm has as a text.
fn hints(text: &str) -> Vec<(String, String)> {
    let Some((_, body)) = text.split_once("fn hint(&self)") else { return Vec::new() };
    let body = body.split("\n    }\n").next().unwrap_or_default();
    let mut found = Vec::new();
    for (pattern, arm) in arms(body) {
        let Some((hint, _)) = arm.find('"').and_then(|place| literal(&arm[place..])) else { continue };
        let names = pattern.split("Self::").skip(1);
        for name in names.map(|name| name.chars().take_while(char::is_ascii_alphanumeric).collect::<String>())
        {
            if !hint.is_empty() && !found.iter().any(|(of, _)| *of == name) {
                found.push((name, hint.clone()));
            }
        }
    }
    found
}

/// Each arm of a match over `Self::…`: its pattern, and its code up to the next arm.
fn arms(body: &str) -> Vec<(&str, &str)> {
    let places: Vec<usize> = body.match_indices(" => ").map(|(place, _)| place).collect();
    let begins = |place: usize| {
        body[..place].rfind(['\n', ',']).map_or(0, |line| {
            // A pattern of several names stands on several lines.
            let mut begin = line;
            while body[begin..].trim_start().starts_with('|') {
                begin = body[..begin].rfind('\n').unwrap_or(0);
            }
            begin
        })
    };
    let mut arms = Vec::new();
    for (at, place) in places.iter().enumerate() {
        let pattern = &body[begins(*place)..*place];
        let end = places.get(at + 1).map_or(body.len(), |next| begins(*next).max(place + 4));
        if pattern.contains("Self::") {
            arms.push((pattern, &body[place + 4..end]));
        }
    }
    arms
}

/// The text literal that code begins with, and what follows it.
fn literal(code: &str) -> Option<(String, &str)> {
    let rest = code.trim_start().strip_prefix('"')?;
    let mut text = String::new();
    let mut chars = rest.char_indices();
    while let Some((place, c)) = chars.next() {
        match c {
            '"' => return Some((text, &rest[place + 1..])),
            '\\' => match chars.next()?.1 {
                '\n' => {
                    while rest[chars.offset()..].starts_with(' ') {
                        chars.next();
                    }
                }
                escaped => text.push(escaped),
            },
            c => text.push(c),
        }
    }
    None
}

/// With `…` for what is filled in.
fn shown(text: &str) -> String {
    let text = text.replace("{{", "\u{1}").replace("}}", "\u{2}");
    let mut shown = String::new();
    let mut depth = 0;
    for c in text.chars() {
        match c {
            '{' => {
                depth += 1;
                if depth == 1 {
                    shown.push('…');
                }
            }
            '}' => depth -= 1,
            c if depth == 0 => shown.push(c),
            _ => {}
        }
    }
    shown.replace('\u{1}', "{").replace('\u{2}', "}").replace('\n', " ")
}
