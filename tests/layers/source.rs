//! Reads a crate's sources: its modules, and every path that their code names.
//!
//! Comments, documentation and what only tests compile are left out. Code inside macros counts as all other code does.

use proc_macro2::{Delimiter, Group, Ident, Spacing, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;

/// A path as the code has it, for example `super::tree::Edge`; a leading `::` is an empty first segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub segments: Vec<String>,
    /// Line of the path's last segment that an import names, of its first segment elsewhere.
    pub line: usize,
}

/// One name of a `use`.
#[derive(Debug, Clone)]
pub struct Import {
    pub path: Named,
    /// What the module calls it; none for `*`.
    pub name: Option<String>,
    /// Whether it has a visibility of its own: then it is there for others.
    pub public: bool,
}

/// A module, in a file of its own or inside of one.
#[derive(Debug, Default)]
pub struct Module {
    /// Names from the crate's root, which has none.
    pub path: Vec<String>,
    /// The file below the sources' folder.
    pub file: String,
    pub parent: Option<usize>,
    pub children: BTreeMap<String, usize>,
    /// Functions, types, constants and macros that it defines.
    pub items: BTreeSet<String>,
    pub imports: Vec<Import>,
    /// Paths of two segments or more, outside of imports.
    pub paths: Vec<Named>,
    /// Every name that its code outside of imports uses by itself, or as the head of a path.
    pub words: BTreeSet<String>,
}

/// A crate's modules, the root first.
#[derive(Debug)]
pub struct Source {
    pub modules: Vec<Module>,
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A module of this crate.
    Module(usize),
    /// Something that this module of the crate defines.
    Item(usize),
    /// Another crate, by its name, or a name that needs no import.
    Outside(String),
}

impl Source {
    /// Reads the crate whose root is `lib.rs`; `text` gives a file below the sources' folder.
    pub fn read(text: &dyn Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut source = Self { modules: vec![Module { file: "lib.rs".into(), ..Module::default() }] };
        source.file(0, "", text)?;
        Ok(source)
    }

    /// What a path of this module leads to, through re-exports.
    pub fn resolve(&self, module: usize, segments: &[String]) -> Target {
        self.follow(module, segments, 0)
    }

    fn follow(&self, module: usize, segments: &[String], depth: usize) -> Target {
        let Some((head, below)) = segments.split_first() else { return Target::Module(module) };
        let up = self.modules[module].parent.unwrap_or(0);
        let (mut at, mut left) = match head.as_str() {
            "crate" => (0, below),
            "self" => (module, below),
            "super" => (up, below),
            "" => return Target::Outside(below.first().cloned().unwrap_or_default()),
            _ if self.knows(module, head, depth) => (module, segments),
            _ => return Target::Outside(head.clone()),
        };
        while let Some((name, more)) = left.split_first() {
            left = more;
            if name == "super" {
                at = self.modules[at].parent.unwrap_or(0);
            } else if let Some(&child) = self.modules[at].children.get(name) {
                at = child;
            } else {
                match self.imported(at, name, depth) {
                    Some(Target::Module(next)) => at = next,
                    Some(found) => return found,
                    None => return Target::Item(at),
                }
            }
        }
        Target::Module(at)
    }

    /// Whether a module has a name of its own, or by an import.
    fn knows(&self, module: usize, name: &str, depth: usize) -> bool {
        let this = &self.modules[module];
        this.children.contains_key(name)
            || this.items.contains(name)
            || this.imports.iter().any(|import| import.name.as_deref() == Some(name))
            || self.imported(module, name, depth).is_some()
    }

    /// What a module's imports mean by a name. Imports that lead in a circle mean nothing.
    fn imported(&self, module: usize, name: &str, depth: usize) -> Option<Target> {
        let this = &self.modules[module];
        if depth > 16 || this.items.contains(name) {
            return None;
        }
        if let Some(import) = this.imports.iter().find(|import| import.name.as_deref() == Some(name)) {
            // `use lists::lists` and `use error` would find themselves.
            let own =
                import.path.segments.first().map(String::as_str) == Some(name) && !this.children.contains_key(name);
            return Some(match own {
                true => Target::Outside(name.into()),
                false => self.follow(module, &import.path.segments, depth + 1),
            });
        }
        this.imports.iter().filter(|import| import.name.is_none()).find_map(|import| {
            let head = import.path.segments.first()?;
            let near = ["crate", "self", "super"].contains(&head.as_str()) || this.children.contains_key(head);
            if !near {
                return None;
            }
            match self.follow(module, &import.path.segments, depth + 1) {
                Target::Module(from) if from != module => {
                    let there = &self.modules[from];
                    match there.children.get(name) {
                        Some(&child) => Some(Target::Module(child)),
                        None if there.items.contains(name) => Some(Target::Item(from)),
                        None => self.imported(from, name, depth + 1),
                    }
                }
                _ => None,
            }
        })
    }

    /// Reads a module's own file; files of its children lie in `folder`.
    fn file(&mut self, module: usize, folder: &str, text: &dyn Fn(&str) -> Option<String>) -> Result<(), String> {
        let file = self.modules[module].file.clone();
        let content = text(&file).ok_or_else(|| format!("{file}: expected this file, and it cannot be read"))?;
        let tokens = TokenStream::from_str(&content).map_err(|error| format!("{file}: expected Rust: {error}"))?;
        self.walk(&tokens.into_iter().collect::<Vec<_>>(), module, folder, true, text)
    }

    /// Takes in tokens; `items`: these stand directly in the module, not inside of one of its items.
    fn walk(
        &mut self,
        tokens: &[TokenTree],
        module: usize,
        folder: &str,
        items: bool,
        text: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), String> {
        let mut i = 0;
        while let Some(token) = tokens.get(i) {
            i += 1;
            match token {
                TokenTree::Punct(p) if p.as_char() == '#' && attribute(tokens, i - 1).is_some() => {
                    let (end, only_tests, of_file) = attributes(tokens, i - 1);
                    if only_tests && of_file {
                        return Ok(());
                    }
                    i = if only_tests { skip(tokens, end) } else { end };
                }
                TokenTree::Group(group) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    self.walk(&inner, module, folder, false, text)?;
                }
                TokenTree::Ident(word) => {
                    let name = plain(word);
                    match name.as_str() {
                        "pub" => {
                            i = after_visibility(tokens, i - 1);
                            if is_word(tokens.get(i), "use") {
                                i = self.import(tokens, i + 1, module, true);
                            }
                        }
                        // `impl Trait + use<'a>` is no import.
                        "use" if !is_punct(tokens.get(i), '<') => i = self.import(tokens, i, module, false),
                        "mod" if matches!(tokens.get(i), Some(TokenTree::Ident(_))) => {
                            i = self.child(tokens, i, module, folder, text)?;
                        }
                        "extern" if is_word(tokens.get(i), "crate") => i = self.extern_crate(tokens, i + 1, module),
                        "macro_rules" if is_punct(tokens.get(i), '!') => self.item(tokens, i + 1, module, items),
                        "enum" => {
                            self.item(tokens, i, module, items);
                            i = self.variants(tokens, i, module, folder, text)?;
                        }
                        "struct" | "trait" | "type" | "fn" => self.item(tokens, i, module, items),
                        "const" | "static" => {
                            let next = if is_word(tokens.get(i), "mut") { i + 1 } else { i };
                            self.item(tokens, next, module, items);
                        }
                        _ => i = self.path(tokens, i - 1, module),
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Notes the item that is named at `at`.
    fn item(&mut self, tokens: &[TokenTree], at: usize, module: usize, items: bool) {
        if let (true, Some(TokenTree::Ident(name))) = (items, tokens.get(at)) {
            let name = plain(name);
            if !["fn", "unsafe", "async", "extern"].contains(&name.as_str()) {
                self.modules[module].items.insert(name);
            }
        }
    }

    /// Takes in the enum that is named at `at`, and returns where it ends. Its variants are no uses of what is called alike.
    fn variants(
        &mut self,
        tokens: &[TokenTree],
        at: usize,
        module: usize,
        folder: &str,
        text: &dyn Fn(&str) -> Option<String>,
    ) -> Result<usize, String> {
        let is_body = |token: &TokenTree| matches!(token, TokenTree::Group(g) if g.delimiter() == Delimiter::Brace);
        let Some(length) = tokens[at..].iter().position(is_body) else { return Ok(at) };
        let TokenTree::Group(body) = &tokens[at + length] else { return Ok(at) };
        let body: Vec<TokenTree> = body.stream().into_iter().collect();
        let parts = body.split(|token| is_punct(Some(token), ','));
        for part in parts {
            let (start, only_tests, _) = attributes(part, 0);
            if !only_tests {
                self.walk(part.get(start + 1..).unwrap_or_default(), module, folder, false, text)?;
            }
        }
        Ok(at + length + 1)
    }

    /// Takes in the path or name that begins at `start`, and returns where it ends.
    fn path(&mut self, tokens: &[TokenTree], start: usize, module: usize) -> usize {
        let before = |back: usize, c| start >= back && is_punct(tokens.get(start - back), c);
        let mut segments = Vec::new();
        if before(1, ':') && before(2, ':') {
            segments.push(String::new());
        }
        let field = before(1, '.') && !before(2, '.');
        let mut line = 0;
        let mut i = start;
        while let Some(TokenTree::Ident(word)) = tokens.get(i) {
            segments.push(plain(word));
            line = if line == 0 { word.span().start().line } else { line };
            i += 1;
            if !is_joint(tokens.get(i)) || !is_punct(tokens.get(i + 1), ':') {
                break;
            }
            if !matches!(tokens.get(i + 2), Some(TokenTree::Ident(_))) {
                break;
            }
            i += 2;
        }
        let this = &mut self.modules[module];
        if let (false, Some(head)) = (field, segments.first()) {
            this.words.insert(head.clone());
        }
        if segments.len() > 1 {
            this.paths.push(Named { segments, line });
        }
        i
    }

    /// Takes in the `use` whose tree begins at `start`, and returns where it ends.
    fn import(&mut self, tokens: &[TokenTree], start: usize, module: usize, public: bool) -> usize {
        let length = tokens[start..].iter().take_while(|token| !is_punct(Some(token), ';')).count();
        let mut found = Vec::new();
        tree(&tokens[start..start + length], &[], &mut found);
        self.modules[module].imports.extend(found.into_iter().map(|(path, name)| Import { path, name, public }));
        start + length + 1
    }

    /// Takes in `extern crate`, whose name stands at `at`, and returns where that ends.
    fn extern_crate(&mut self, tokens: &[TokenTree], at: usize, module: usize) -> usize {
        if let Some(TokenTree::Ident(word)) = tokens.get(at) {
            let path = Named { segments: vec![String::new(), plain(word)], line: word.span().start().line };
            self.modules[module].imports.push(Import { path, name: Some(plain(word)), public: false });
        }
        at + 1
    }

    /// Reads the module that is named at `at`, and returns where its declaration ends.
    fn child(
        &mut self,
        tokens: &[TokenTree],
        at: usize,
        parent: usize,
        folder: &str,
        text: &dyn Fn(&str) -> Option<String>,
    ) -> Result<usize, String> {
        let Some(TokenTree::Ident(name)) = tokens.get(at) else { return Ok(at) };
        let (line, name) = (name.span().start().line, plain(name));
        let below = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let mut path = self.modules[parent].path.clone();
        path.push(name.clone());
        let number = self.modules.len();
        let file = self.modules[parent].file.clone();
        let new = Module { path, file: file.clone(), parent: Some(parent), ..Module::default() };
        self.modules.push(new);
        self.modules[parent].children.insert(name, number);
        if let Some(TokenTree::Group(body)) = tokens.get(at + 1) {
            let inner: Vec<TokenTree> = body.stream().into_iter().collect();
            self.walk(&inner, number, &below, true, text)?;
        } else {
            let found = [format!("{below}.rs"), format!("{below}/mod.rs")].into_iter().find(|f| text(f).is_some());
            self.modules[number].file =
                found.ok_or_else(|| format!("{file}:{line}: expected {below}.rs or {below}/mod.rs, got neither"))?;
            self.file(number, &below, text)?;
        }
        Ok(at + 2)
    }
}

/// The names of a tree of `use`, below `prefix`.
fn tree(tokens: &[TokenTree], prefix: &[String], found: &mut Vec<(Named, Option<String>)>) {
    for part in tokens.split(|token| is_punct(Some(token), ',')) {
        let Some(first) = part.first() else { continue };
        let mut segments = prefix.to_vec();
        if prefix.is_empty() && is_punct(Some(first), ':') {
            segments.push(String::new());
        }
        let mut line = first.span().start().line;
        let mut name = None;
        let mut whole = false;
        let mut i = 0;
        while let Some(token) = part.get(i) {
            i += 1;
            match token {
                TokenTree::Ident(word) if word == "as" => {
                    name = part.get(i).map(ToString::to_string);
                    break;
                }
                TokenTree::Ident(word) => {
                    line = word.span().start().line;
                    segments.push(plain(word));
                }
                TokenTree::Punct(p) if p.as_char() == '*' => whole = true,
                TokenTree::Group(group) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    tree(&inner, &segments, found);
                    segments.clear();
                }
                _ => {}
            }
        }
        if segments.is_empty() {
            continue;
        }
        if segments.len() > 1 && segments.last().is_some_and(|last| last == "self") {
            segments.pop();
        }
        let name = if whole { None } else { name.or_else(|| segments.last().cloned()) };
        found.push((Named { segments, line }, name));
    }
}

/// The brackets of the attribute at `at`, and whether it is one of what it stands in.
fn attribute(tokens: &[TokenTree], at: usize) -> Option<(&Group, bool)> {
    let inner = is_punct(tokens.get(at + 1), '!');
    match tokens.get(at + 1 + usize::from(inner)) {
        Some(TokenTree::Group(group)) if is_punct(tokens.get(at), '#') && group.delimiter() == Delimiter::Bracket => {
            Some((group, inner))
        }
        _ => None,
    }
}

/// Where the attributes from `at` on end, whether one of them leaves the rest to tests, and whether that one is the file's.
fn attributes(tokens: &[TokenTree], mut at: usize) -> (usize, bool, bool) {
    let (mut only_tests, mut of_file) = (false, false);
    while let Some((group, inner)) = attribute(tokens, at) {
        let parts: Vec<TokenTree> = group.stream().into_iter().collect();
        if is_word(parts.first(), "test") && parts.len() == 1
            || is_word(parts.first(), "cfg") && needs_test(&parts[1..])
        {
            only_tests = true;
            of_file |= inner;
        }
        at += 2 + usize::from(inner);
    }
    (at, only_tests, of_file)
}

/// Whether a condition of `cfg`, in its parentheses, can hold in tests alone.
fn needs_test(condition: &[TokenTree]) -> bool {
    let Some(TokenTree::Group(group)) = condition.first() else { return false };
    let parts: Vec<TokenTree> = group.stream().into_iter().collect();
    let parts: Vec<&[TokenTree]> =
        parts.split(|token| is_punct(Some(token), ',')).filter(|part| !part.is_empty()).collect();
    // What stands in `cfg(...)` itself is one condition, as in `all(...)`.
    parts.iter().any(|part| holds_in_tests_alone(part))
}

fn holds_in_tests_alone(part: &[TokenTree]) -> bool {
    let Some(TokenTree::Ident(word)) = part.first() else { return false };
    match plain(word).as_str() {
        "test" | "doctest" => part.len() == 1,
        "all" => needs_test(&part[1..]),
        "any" => match part.get(1) {
            Some(TokenTree::Group(group)) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let parts: Vec<&[TokenTree]> =
                    inner.split(|token| is_punct(Some(token), ',')).filter(|part| !part.is_empty()).collect();
                !parts.is_empty() && parts.iter().all(|part| holds_in_tests_alone(part))
            }
            _ => false,
        },
        _ => false,
    }
}

/// Where the item, field or statement that begins at `start` ends.
fn skip(tokens: &[TokenTree], start: usize) -> usize {
    let mut i = after_visibility(tokens, start);
    let word = |i: usize| match tokens.get(i) {
        Some(TokenTree::Ident(word)) => plain(word),
        _ => String::new(),
    };
    let first = word(i);
    let to_semicolon = ["use", "static", "type", "let"].contains(&first.as_str())
        || first == "const" && !["fn", "unsafe", "async", "extern"].contains(&word(i + 1).as_str());
    let is_item = to_semicolon
        || ["mod", "fn", "struct", "enum", "impl", "trait", "const", "extern", "unsafe", "async", "macro_rules"]
            .contains(&first.as_str());
    while let Some(token) = tokens.get(i) {
        i += 1;
        match token {
            TokenTree::Punct(p) if p.as_char() == ';' || p.as_char() == ',' && !is_item => break,
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace && !to_semicolon => break,
            _ => {}
        }
    }
    i
}

/// Behind `pub`, `pub(crate)` and the like at `at`; `at` itself where there is none.
fn after_visibility(tokens: &[TokenTree], at: usize) -> usize {
    if !is_word(tokens.get(at), "pub") {
        return at;
    }
    match tokens.get(at + 1) {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => {
            // `struct Id(pub (A, B))` has no visibility in parentheses.
            let first = group.stream().into_iter().next();
            let limited = ["crate", "super", "self", "in"].iter().any(|word| is_word(first.as_ref(), word));
            at + 1 + usize::from(limited)
        }
        _ => at + 1,
    }
}

fn plain(word: &Ident) -> String {
    let text = word.to_string();
    text.strip_prefix("r#").map(str::to_owned).unwrap_or(text)
}

fn is_word(token: Option<&TokenTree>, expected: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(word)) if word == expected)
}

fn is_punct(token: Option<&TokenTree>, expected: char) -> bool {
    matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == expected)
}

fn is_joint(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == ':' && p.spacing() == Spacing::Joint)
}
