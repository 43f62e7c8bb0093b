//! Which files of a folder import each other in a circle: two files that need each other are one file in two places.
//!
//! A room is a file of the folder, or a folder in it with all that it holds; `x.rs` and `x/` are one. A room imports another where its
//! code names a path into it. The folder's own `mod.rs` is its face and no room: what it hands on belongs to the file that has it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{identifier, is_test, read, root, rust_files, without_unit_tests};

/// The components of a module's path, without `crate`.
type Module = Vec<String>;

/// The modules of the crate, as text.
pub struct House {
    modules: BTreeMap<Module, File>,
}

struct File {
    code: String,
    /// What the file's `use` declarations bring in, by the name that they give it.
    brings: BTreeMap<String, Module>,
}

impl House {
    pub fn read() -> Self {
        let src = root().join("src");
        let mut modules = BTreeMap::new();
        for path in rust_files("src") {
            let inside = path.strip_prefix(&src).expect("it was listed there");
            if is_test(inside) || inside == Path::new("main.rs") {
                continue;
            }
            let code = without_unit_tests(&super::blanked(&read(&path)));
            modules.insert(module_of(inside), File { code, brings: BTreeMap::new() });
        }
        Self { modules }.with_brought_names()
    }

    fn with_brought_names(mut self) -> Self {
        let brought: Vec<_> = self.modules.keys().map(|module| self.brought_into(module)).collect();
        for (file, brings) in self.modules.values_mut().zip(brought) {
            file.brings = brings;
        }
        self
    }

    fn brought_into(&self, module: &Module) -> BTreeMap<String, Module> {
        let code = &self.modules[module].code;
        let statements = code.split(';').filter_map(|statement| {
            let at = statement.find("use ")?;
            let is_declaration = statement[..at].lines().last().is_none_or(|line| {
                let line = line.trim();
                line.is_empty() || line.starts_with("pub")
            });
            is_declaration.then(|| &statement[at + "use ".len()..])
        });
        let leaves = statements.flat_map(|statement| leaves(statement.trim_start()));
        leaves.filter_map(|leaf| Some((leaf.name, self.absolute(module, &leaf.path)?))).collect()
    }

    /// The path of what a file names by `path`; none for foreign crates and what the file has itself.
    fn absolute(&self, from: &Module, path: &[String]) -> Option<Module> {
        let first = path.first()?.as_str();
        let mut absolute = match first {
            "crate" => Module::new(),
            "self" => from.clone(),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                let kept = from.len().checked_sub(ups)?;
                let mut up = from[..kept].to_vec();
                up.extend(path[ups..].iter().cloned());
                return Some(up);
            }
            _ => {
                let mut own = from.clone();
                own.push(first.to_owned());
                if !self.modules.contains_key(&own) {
                    return None;
                }
                own.extend(path[1..].iter().cloned());
                return Some(own);
            }
        };
        absolute.extend(path[1..].iter().cloned());
        Some(absolute)
    }

    /// The module that has what stands at an absolute path, through what modules hand on.
    fn owner(&self, path: &Module) -> Module {
        let mut path = path.clone();
        for _ in 0..8 {
            let length = (0..=path.len()).rev().find(|length| self.modules.contains_key(&path[..*length]));
            let module = path[..length.unwrap_or(0)].to_vec();
            let handed_on = path
                .get(module.len())
                .and_then(|name| self.modules.get(&module)?.brings.get(name))
                .filter(|onward| !onward.starts_with(&path));
            let Some(onward) = handed_on else { return module };
            path = onward.iter().chain(&path[module.len() + 1..]).cloned().collect();
        }
        path
    }

    /// The folders of the crate, each by its module's path.
    pub fn folders(&self) -> BTreeSet<Module> {
        self.modules
            .keys()
            .filter_map(|module| module.split_last().map(|(_, folder)| folder.to_vec()))
            .collect()
    }

    /// Which rooms of a folder name which others. What its face hands on belongs to the room that has it.
    pub fn imports(&self, folder: &[String]) -> BTreeMap<String, BTreeSet<String>> {
        let room = |module: &Module| module.strip_prefix(folder)?.first().cloned();
        let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (module, file) in &self.modules {
            let Some(from) = room(module) else { continue };
            let named = named_paths(&file.code).into_iter().filter_map(|path| self.absolute(module, &path));
            let rooms = named.filter_map(|path| room(&self.owner(&path))).filter(|to| *to != from);
            imports.entry(from.clone()).or_default().extend(rooms);
        }
        imports
    }
}

/// The circles among rooms, each with its members.
pub fn circles(imports: &BTreeMap<String, BTreeSet<String>>) -> Vec<BTreeSet<String>> {
    let reach: BTreeMap<&String, BTreeSet<&String>> =
        imports.keys().map(|room| (room, reached_from(room, imports))).collect();
    let mut found: Vec<BTreeSet<String>> = Vec::new();
    for room in imports.keys().filter(|room| reach[*room].contains(*room)) {
        if found.iter().any(|circle| circle.contains(room)) {
            continue;
        }
        let members =
            reach[room].iter().filter(|other| reach.get(*other).is_some_and(|back| back.contains(room)));
        found.push(members.map(|member| (*member).clone()).collect());
    }
    found
}

fn reached_from<'a>(room: &String, imports: &'a BTreeMap<String, BTreeSet<String>>) -> BTreeSet<&'a String> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&String> = imports.get(room).into_iter().flatten().collect();
    while let Some(room) = next.pop() {
        if reached.insert(room) {
            next.extend(imports.get(room).into_iter().flatten());
        }
    }
    reached
}

/// `["engine", "board"]` for `engine/board.rs`, `["engine"]` for `engine/mod.rs`, nothing for `lib.rs`.
fn module_of(inside: &Path) -> Module {
    let mut parts: Module = inside
        .with_extension("")
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    if parts.last().is_some_and(|last| last == "mod" || last == "lib") {
        parts.pop();
    }
    parts
}

/// What a `use` tree names in the end.
#[derive(Debug, PartialEq, Eq)]
struct Leaf {
    path: Vec<String>,
    /// What it is called from there on.
    name: String,
}

/// The leaves of the tree that the text begins with.
fn leaves(text: &str) -> Vec<Leaf> {
    let mut found = Vec::new();
    tree(text, &mut Vec::new(), &mut found);
    found
}

/// Reads one tree; what is left of the text behind it.
fn tree<'a>(text: &'a str, before: &mut Vec<String>, found: &mut Vec<Leaf>) -> &'a str {
    let mut rest = text.trim_start();
    let length = before.len();
    loop {
        if let Some(group) = rest.strip_prefix('{') {
            rest = group.trim_start();
            while !rest.is_empty() && !rest.starts_with('}') {
                let left = tree(rest, before, found);
                rest = left.trim_start().trim_start_matches(',').trim_start();
                if left.len() == text.len() {
                    break; // no path: not a tree
                }
            }
            rest = rest.strip_prefix('}').unwrap_or(rest);
            break;
        }
        let part = identifier(rest);
        if part.is_empty() {
            found.push(Leaf { path: before.clone(), name: String::new() }); // a glob
            rest = rest.strip_prefix('*').unwrap_or_else(|| rest.get(1..).unwrap_or_default());
            break;
        }
        rest = &rest[part.len()..];
        if !(part == "self" && before.len() > length.min(1) && !before.is_empty()) {
            before.push(part);
        }
        if let Some(onward) = rest.strip_prefix("::") {
            rest = onward;
            continue;
        }
        let renamed = rest.trim_start().strip_prefix("as ").map(identifier);
        if let Some(name) = &renamed {
            rest = rest.trim_start().strip_prefix("as ").unwrap_or(rest).trim_start();
            rest = &rest[name.len()..];
        }
        let name = renamed.or_else(|| before.last().cloned()).unwrap_or_default();
        found.push(Leaf { path: before.clone(), name });
        break;
    }
    before.truncate(length);
    rest
}

/// Every path that the code names, whole trees of `use` taken apart.
fn named_paths(code: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut at = 0;
    while let Some(start) = code[at..].find(|c: char| is_word(c)).map(|found| at + found) {
        let word = identifier(&code[start..]);
        at = start + word.len();
        let is_tail = code[..start].ends_with("::") || code[..start].ends_with(['$', '\'']);
        if !is_tail && code[at..].starts_with("::") {
            let mut found = Vec::new();
            let rest = tree(&code[start..], &mut Vec::new(), &mut found);
            at = code.len() - rest.len();
            paths.extend(found.into_iter().map(|leaf| leaf.path));
        }
    }
    paths
}

#[test]
fn the_reader_of_imports_takes_trees_apart() {
    let paths = |code: &str| named_paths(code).iter().map(|path| path.join("::")).collect::<Vec<_>>();
    assert_eq!(paths("use super::{a, b::{self, C}};"), ["super::a", "super::b", "super::b::C"]);
    assert_eq!(paths("crate::a::b(c::D, e)"), ["crate::a::b", "c::D"]);
    assert_eq!(paths("use super::run::*;\nuse x;"), ["super::run"]);
    assert_eq!(leaves("a::B as C;")[0], Leaf { path: vec!["a".into(), "B".into()], name: "C".into() });
}

#[test]
fn a_circle_is_found_through_others() {
    let imports = |pairs: &[(&str, &str)]| {
        let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in pairs {
            all.entry((*from).to_owned()).or_default().insert((*to).to_owned());
            all.entry((*to).to_owned()).or_default();
        }
        all
    };
    assert!(circles(&imports(&[("a", "b"), ("b", "c"), ("a", "c")])).is_empty());
    let found = circles(&imports(&[("a", "b"), ("b", "c"), ("c", "b"), ("d", "a")]));
    assert_eq!(found, [BTreeSet::from(["b".to_owned(), "c".to_owned()])]);
}
