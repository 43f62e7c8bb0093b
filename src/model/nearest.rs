//! Names that are misspelt, and which may be meant.

/// Characters of a name that are compared, at most: a sender's may be long.
const CHARS_MAX: usize = 200;
/// Names less alike than this (0 to 1) are other names.
const LIKENESS_MIN: f64 = 0.6;

/// The known name nearest to an unknown one, if any is near enough to be meant. Case and blanks around it do not count.
pub(crate) fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = |name: &str| name.trim().chars().take(CHARS_MAX).collect::<String>().to_lowercase();
    let unknown = folded(unknown);
    known
        .into_iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(&unknown, &folded(name)), name))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, name)| name)
}

/// "did you mean …", where a known name is near.
pub(crate) fn did_you_mean<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(unknown, known).map(|name| format!("did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_that_is_near_is_proposed() {
        let known = ["stable_for", "strategy", "marker"];
        assert_eq!(nearest("stabel_for", known), Some("stable_for"));
        assert_eq!(nearest(" Marker", known), Some("marker"));
        assert_eq!(nearest("compression", known), None);
    }

    #[test]
    fn a_name_in_another_case_is_near_however_short() {
        assert_eq!(nearest("ID", ["name", "id"]), Some("id"));
        assert_eq!(nearest("Id", ["ID", "name"]), Some("ID"));
        assert_eq!(nearest("x", ["X"]), Some("X"));
        assert_eq!(nearest("STATSU", ["status"]), Some("status"));
        assert_eq!(nearest("id", [" id "]), Some(" id "));
        assert_eq!(nearest("id", ["x", "status"]), None);
    }
}
