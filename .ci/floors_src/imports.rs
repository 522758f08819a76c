//! Which file imports what from which: every path is followed to the file that defines its name.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::{Sources, TESTS, floor, top};
use crate::read::{self, Module, Use};

pub struct Imports {
    pub files: BTreeSet<String>,
    /// By the importing file and the imported one.
    pub between: BTreeMap<(String, String), Import>,
    /// Modules that are on no floor, each with one of its files.
    pub unknown: BTreeMap<String, String>,
}

/// The names that one file imports from another.
#[derive(Default)]
pub struct Import {
    pub used: BTreeSet<String>,
    /// Names in a `pub use` that the file itself does not use.
    pub passed: BTreeSet<String>,
}

impl Import {
    pub fn all(&self) -> BTreeSet<String> {
        self.used.union(&self.passed).cloned().collect()
    }
}

pub fn of(sources: &Sources) -> Imports {
    let house = House(read::modules(sources));
    let unknown = sources
        .keys()
        .rev()
        .map(|file| (top(file), file))
        .filter(|(module, _)| floor(module).is_none() && !TESTS.contains(module))
        .map(|(module, file)| (module.to_owned(), file.clone()))
        .collect();
    Imports {
        files: house.0.iter().map(|module| module.file.clone()).collect(),
        between: house.imports(),
        unknown,
    }
}

/// All modules; the root is the first.
struct House(Vec<Module>);

/// Where a path leads.
enum Target {
    Module(usize),
    /// A name that this module defines or, if it is another crate's, re-exports.
    Name(usize, String),
}

/// Re-exports that are followed for one name.
const DEEPEST: usize = 24;

impl House {
    fn imports(&self) -> BTreeMap<(String, String), Import> {
        let mut between: BTreeMap<(String, String), Import> = BTreeMap::new();
        let mut add = |from: &Module, target: Option<Target>, used: bool| {
            let (to, name) = match target {
                None => return,
                Some(Target::Name(to, name)) => (to, name),
                Some(Target::Module(to)) => (to, self.0[to].name.clone()),
            };
            let to = &self.0[to].file;
            if *to != from.file {
                let import = between.entry((from.file.clone(), to.clone())).or_default();
                if used {
                    &mut import.used
                } else {
                    &mut import.passed
                }
                .insert(name);
            }
        };
        for (at, module) in self.0.iter().enumerate() {
            for path in &module.paths {
                add(module, self.follow(at, path, 0), true);
            }
            for import in &module.uses {
                let is_used = |name: &String| !import.public || module.mentioned.contains(name);
                if let Some(alias) = &import.alias {
                    add(module, self.follow(at, &import.path, 0), is_used(alias));
                } else if let Some(Target::Module(from)) = self.follow(at, &import.path, 0) {
                    for name in self.names(from, 0) {
                        if module.mentioned.contains(&name) || import.public {
                            add(
                                module,
                                self.name(from, &name, &[], 0),
                                module.mentioned.contains(&name),
                            );
                        }
                    }
                }
            }
        }
        between
    }

    /// Follows a path that stands in a module; none if it leads out of the crate.
    fn follow(&self, from: usize, path: &[String], depth: usize) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" | "$crate" => self.descend(0, rest, depth),
            "self" => self.descend(from, rest, depth),
            "super" => self.descend(self.0[from].parent?, rest, depth),
            // Another crate, or a name of the code around the path, is no name of the module.
            name if !self.is_name_of(from, name) => None,
            name => match self.name(from, name, rest, depth)? {
                Target::Name(to, _) if to == from => None,
                target => Some(target),
            },
        }
    }

    /// Follows the rest of a path from a module that it has come to.
    fn descend(&self, at: usize, path: &[String], depth: usize) -> Option<Target> {
        match path.split_first() {
            None => Some(Target::Module(at)),
            Some((first, rest)) if first == "super" => {
                self.descend(self.0[at].parent?, rest, depth)
            }
            Some((first, rest)) => self.name(at, first, rest, depth),
        }
    }

    /// Follows a name in a module and what a path goes on with.
    fn name(&self, at: usize, name: &str, rest: &[String], depth: usize) -> Option<Target> {
        if depth > DEEPEST {
            return None;
        }
        let module = &self.0[at];
        if let Some(child) = module.children.get(name) {
            return self.descend(*child, rest, depth);
        }
        // The same name may be imported twice, under different cfgs: the crate's own counts.
        let imports = || module.uses.iter().filter(|import| import.names(name));
        let ours = imports().find_map(|import| {
            let path: Vec<String> = import.path.iter().chain(rest).cloned().collect();
            self.follow(at, &path, depth + 1)
        });
        if ours.is_some() {
            return ours;
        }
        if let Some(foreign) = imports().next() {
            // `crate::sync::Arc` is an import of `sync.rs`, wherever that has it from.
            return foreign.public.then(|| Target::Name(at, name.to_owned()));
        }
        if !module.defined.contains(name) {
            for import in module.uses.iter().filter(|import| import.is_glob()) {
                if let Some(Target::Module(from)) = self.follow(at, &import.path, depth + 1) {
                    if from != at && self.names(from, depth + 1).contains(name) {
                        return self.name(from, name, rest, depth + 1);
                    }
                }
            }
        }
        if let (0, Some(to)) = (at, self.macros(name)) {
            return Some(Target::Name(to, name.to_owned()));
        }
        Some(Target::Name(at, name.to_owned()))
    }

    fn is_name_of(&self, at: usize, name: &str) -> bool {
        let module = &self.0[at];
        module.children.contains_key(name) || module.uses.iter().any(|import| import.names(name))
    }

    /// The module with the `#[macro_export]` macro of this name.
    fn macros(&self, name: &str) -> Option<usize> {
        self.0
            .iter()
            .position(|module| module.exported.contains(name))
    }

    /// Every name that a module can give to a glob.
    fn names(&self, at: usize, depth: usize) -> BTreeSet<String> {
        let module = &self.0[at];
        let mut names = module.defined.clone();
        names.extend(module.children.keys().cloned());
        for import in &module.uses {
            match &import.alias {
                Some(alias) => _ = names.insert(alias.clone()),
                None if depth > DEEPEST => {}
                None => {
                    if let Some(Target::Module(from)) = self.follow(at, &import.path, depth + 1) {
                        names.extend(self.names(from, depth + 1));
                    }
                }
            }
        }
        names
    }
}

impl Use {
    fn is_glob(&self) -> bool {
        self.alias.is_none()
    }

    /// Whether it makes this name one of the module it stands in.
    fn names(&self, name: &str) -> bool {
        self.at_top && self.alias.as_deref() == Some(name)
    }
}
