//! Which paths are sought among those that are known: a path, a file name, or either with wildcards.

use serde::{Deserialize, Serialize};

/// A whole path, or a file's name where it has no separator; `*` stands for any characters, separators among them, `?` for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub(crate) struct PathSought {
    text: String,
    pattern: glob::Pattern,
    is_name: bool,
}

impl From<String> for PathSought {
    fn from(text: String) -> Self {
        let mut wild = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                '*' if wild.ends_with('*') => {} // several of them would have a meaning of their own
                '*' | '?' => wild.push(c),
                c => wild.push_str(&glob::Pattern::escape(c.encode_utf8(&mut [0; 4]))),
            }
        }
        let is_name = !text.contains(std::path::is_separator);
        Self { pattern: glob::Pattern::new(&wild).unwrap_or_default(), text, is_name }
    }
}

impl From<PathSought> for String {
    fn from(sought: PathSought) -> Self {
        sought.text
    }
}

impl PathSought {
    /// Whether it is this path, as it is shown.
    pub(crate) fn fits(&self, path: &str) -> bool {
        let name = path.rsplit(std::path::is_separator).next().unwrap_or(path);
        self.pattern.matches(if self.is_name { name } else { path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_in_any_folder_and_a_path_as_a_whole() {
        let fits = |sought: &str, path: &str| PathSought::from(sought.to_owned()).fits(path);
        assert!(
            fits("pay.csv", "/in/pay.csv") && fits("pay*", "/in/acme/pay.csv") && fits("pay.csv", "pay.csv")
        );
        assert!(!fits("pay.csv", "/in/pay.csv.gz") && !fits("in", "/in/pay.csv"));
        assert!(fits("/in/pay.csv", "/in/pay.csv") && fits("/in/*", "/in/acme/pay.csv"));
        assert!(!fits("/in/pay.csv", "/x/in/pay.csv"));
    }

    #[test]
    fn what_a_shell_or_a_pattern_would_take_for_a_sign_is_itself() {
        // A backslash is a separator on Windows.
        let escaped = if cfg!(windows) { "a" } else { "a\\xff" };
        for name in ["a[1].csv", "a[", "{x}", escaped, "**", "a***b"] {
            let sought = PathSought::from(name.to_owned());
            assert!(sought.fits(&format!("/in/{name}")), "{name}");
        }
        assert!(!PathSought::from("a[1].csv".to_owned()).fits("/in/a1.csv"));
    }

    #[test]
    fn it_keeps_its_text_on_the_way_to_another_process() {
        let sought = PathSought::from("**/[a]".to_owned());
        let told = serde_json::to_string(&sought).expect("is written");
        assert_eq!(told, r#""**/[a]""#);
        assert_eq!(serde_json::from_str::<PathSought>(&told).expect("is read"), sought);
    }
}
