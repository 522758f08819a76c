//! From the files to a tree of modules: what each defines, imports and mentions.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::{Sources, TESTS};
use crate::tokens::{Token, closing, ends_with, is, is_name, live, tokens};

#[derive(Default)]
pub struct Module {
    pub name: String,
    pub file: String,
    pub parent: Option<usize>,
    pub children: BTreeMap<String, usize>,
    pub uses: Vec<Use>,
    /// Paths in the code, other than in `use`.
    pub paths: Vec<Vec<String>>,
    /// Names that follow `struct`, `fn` and the like, at any depth.
    pub defined: BTreeSet<String>,
    /// Macros that `#[macro_export]` makes names of the root.
    pub exported: BTreeSet<String>,
    /// Every name in the code with which a path begins, other than in `use`.
    pub mentioned: BTreeSet<String>,
}

/// One name, or one glob, of a `use`.
pub struct Use {
    pub public: bool,
    pub path: Vec<String>,
    /// None for a glob.
    pub alias: Option<String>,
    /// Whether it stands directly in the module, so that its alias is a name there.
    pub at_top: bool,
}

/// All modules, the root first.
pub fn modules(sources: &Sources) -> Vec<Module> {
    let mut reader = Reader {
        sources,
        modules: Vec::new(),
    };
    let code = live(&tokens(&sources["src/lib.rs"]));
    reader.module("lib", "src/lib.rs", "src/", None, &code);
    reader.modules
}

struct Reader<'a> {
    sources: &'a Sources,
    modules: Vec<Module>,
}

impl Reader<'_> {
    /// Adds the module whose code is `code`; the files of its children are in `folder`.
    fn module(
        &mut self,
        name: &str,
        file: &str,
        folder: &str,
        parent: Option<usize>,
        code: &[Token],
    ) {
        let at = self.modules.len();
        self.modules.push(Module {
            name: name.to_owned(),
            file: file.to_owned(),
            parent,
            ..Module::default()
        });
        if let Some(parent) = parent {
            self.modules[parent].children.insert(name.to_owned(), at);
        }

        let mut depth = 0_usize;
        let mut i = 0;
        while i < code.len() {
            let module = &mut self.modules[at];
            match code[i].as_str() {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                "pub" => {
                    // What is in brackets, as in `pub(in crate::retry)`, is no import.
                    let end = if is(code, i + 1, "(") {
                        closing(code, i + 1)
                    } else {
                        i
                    };
                    if is(code, end + 1, "use") {
                        i = module.add_use(true, depth == 0, code, end + 2);
                    } else {
                        i = end + 1;
                    }
                    continue;
                }
                // Not the `use<..>` of a return type.
                "use" if !is(code, i + 1, "<") => {
                    i = module.add_use(false, depth == 0, code, i + 1);
                    continue;
                }
                "mod" if is(code, i + 2, "{") => {
                    let end = closing(code, i + 2);
                    let folder = format!("{folder}{}/", code[i + 1]);
                    self.module(&code[i + 1], file, &folder, Some(at), &code[i + 3..end]);
                    i = end + 1;
                    continue;
                }
                "mod" if is(code, i + 2, ";") => {
                    self.file(&code[i + 1], folder, at);
                    i += 3;
                    continue;
                }
                "macro_rules" if is(code, i + 1, "!") => {
                    module.defined.insert(code[i + 2].clone());
                    if ends_with(&code[..i], &["macro_export"]) {
                        module.exported.insert(code[i + 2].clone());
                    }
                }
                "struct" | "enum" | "union" | "trait" | "type" | "fn" | "const" | "static" => {
                    module.defined.extend(code.get(i + 1).cloned());
                }
                "::" => {
                    // The end of `<T>::name`, or the start of `::core::name`: no path of ours.
                    while i < code.len() && (is_name(&code[i]) || code[i] == "::") {
                        i += 1;
                    }
                    continue;
                }
                name if is_name(name) => {
                    // Not a field or a method, but the end of a range.
                    if !ends_with(&code[..i], &["."]) || ends_with(&code[..i], &[".", "."]) {
                        module.mentioned.insert(name.to_owned());
                    }
                    let mut path = vec![name.to_owned()];
                    while is(code, i + 1, "::") && code.get(i + 2).is_some_and(|it| is_name(it)) {
                        path.push(code[i + 2].clone());
                        i += 2;
                    }
                    if path.len() > 1 {
                        module.paths.push(path);
                    }
                }
                _ => {}
            }
            i += 1;
        }
    }

    /// Adds the module of `mod name;`.
    fn file(&mut self, name: &str, folder: &str, parent: usize) {
        if TESTS.contains(&name) {
            return;
        }
        let inner = format!("{folder}{name}/");
        for file in [format!("{folder}{name}.rs"), format!("{inner}mod.rs")] {
            if let Some(text) = self.sources.get(&file) {
                let code = live(&tokens(text));
                self.module(name, &file, &inner, Some(parent), &code);
                return;
            }
        }
        eprintln!("warning: `mod {name};` has no file in {folder}");
    }
}

impl Module {
    /// Adds the names of a `use` whose tree begins at `i`. Returns where the code goes on.
    fn add_use(&mut self, public: bool, at_top: bool, code: &[Token], mut i: usize) -> usize {
        let end = (i..code.len())
            .find(|&i| code[i] == ";")
            .unwrap_or(code.len());
        // `use ::name` is another crate's.
        if is(code, i, "::") {
            return end + 1;
        }
        let mut add = |path: &[String], alias: Option<&String>| {
            let (path, alias) = match path {
                [path @ .., last] if last == "*" => (path, None),
                _ => (path, alias.or(path.last()).cloned()),
            };
            self.uses.push(Use {
                public,
                path: path.to_owned(),
                alias,
                at_top,
            });
        };
        // What stands before each open brace, and the path so far.
        let mut groups: Vec<Vec<String>> = vec![Vec::new()];
        let mut path: Vec<String> = Vec::new();
        while i <= end {
            let group = groups.last().cloned().unwrap_or_default();
            match code.get(i).map_or(";", String::as_str) {
                "::" => {}
                "{" => groups.push(path.clone()),
                token @ ("}" | "," | ";") => {
                    if path.len() > group.len() {
                        add(&path, None);
                    }
                    if token == "}" {
                        groups.pop();
                    }
                    path = groups.last().cloned().unwrap_or_default();
                }
                "as" => {
                    add(&path, code.get(i + 1));
                    path = group;
                    i += 1;
                }
                // `a::{self, b}`: the first name is `a`.
                "self" if !path.is_empty() => {
                    let renamed = is(code, i + 1, "as");
                    add(&path, code.get(i + 2).filter(|_| renamed));
                    i += if renamed { 2 } else { 0 };
                }
                name => path.push(name.to_owned()),
            }
            i += 1;
        }
        end + 1
    }
}
