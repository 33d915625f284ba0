//! The tests of this repository, found in its sources.
//!
//! A test is called `target::module::name`: the name of the test binary (`hostile`), the library
//! (`moqt_engine`) or the command it is compiled into, the modules down to it, and the function.
//! Found are functions under `#[test]`, or an attribute whose path ends so (`#[tokio::test]`), also
//! inside macros such as `proptest!`; not found are those that a macro names, nor those under
//! `#[ignore]`, which prove nothing.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::{fs, io, mem};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use serde::Deserialize;

/// The names of all tests of the workspace whose root is `root`.
pub fn tests(root: &Path) -> io::Result<BTreeSet<String>> {
    let workspace: Manifest = manifest(root)?;
    let mut found = Finder { tests: BTreeSet::new() };
    for member in workspace.workspace.map(|workspace| workspace.members).unwrap_or_default() {
        for (target, file) in targets(&root.join(member))? {
            let folder = file.parent().map(Path::to_owned).unwrap_or_default();
            found.file(&file, &folder, &target)?;
        }
    }
    Ok(found.tests)
}

#[derive(Deserialize)]
struct Manifest {
    workspace: Option<Workspace>,
    package: Option<Named>,
    #[serde(default)]
    bin: Vec<Named>,
}

#[derive(Deserialize)]
struct Workspace {
    members: Vec<String>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

fn manifest(folder: &Path) -> io::Result<Manifest> {
    let path = folder.join("Cargo.toml");
    toml::from_str(&fs::read_to_string(&path)?)
        .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
}

/// The targets of a package that can hold tests, with the file each begins in, where Cargo looks
/// for them by itself.
fn targets(package: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let manifest = manifest(package)?;
    let name = manifest.package.map(|package| package.name.replace('-', "_")).unwrap_or_default();
    let command = manifest.bin.into_iter().next().map_or_else(|| name.clone(), |bin| bin.name);
    let mut targets =
        vec![(name, package.join("src/lib.rs")), (command, package.join("src/main.rs"))];
    for folder in ["src/bin", "tests"] {
        let Ok(entries) = fs::read_dir(package.join(folder)) else { continue };
        for entry in entries {
            let path = entry?.path();
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            let main = path.join("main.rs");
            let file = if main.is_file() { main } else { path };
            targets.push((stem.unwrap_or_default(), file));
        }
    }
    targets.retain(|(_, file)| {
        file.is_file() && file.extension().is_some_and(|extension| extension == "rs")
    });
    Ok(targets)
}

struct Finder {
    tests: BTreeSet<String>,
}

impl Finder {
    /// Takes the tests of a file that is the module `module`, whose own modules are files in
    /// `folder`.
    fn file(&mut self, file: &Path, folder: &Path, module: &str) -> io::Result<()> {
        let named = |error: &dyn Display| io::Error::other(format!("{}: {error}", file.display()));
        let source = fs::read_to_string(file).map_err(|error| named(&error))?;
        let tokens = TokenStream::from_str(&source).map_err(|error| named(&error))?;
        self.module(tokens, folder, module)
    }

    fn module(&mut self, tokens: TokenStream, folder: &Path, module: &str) -> io::Result<()> {
        let mut tokens = tokens.into_iter().peekable();
        let mut attributes = Attributes::default();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    if let Some(TokenTree::Group(attribute)) = tokens.peek() {
                        attributes.read(attribute.stream());
                        tokens.next();
                    }
                }
                TokenTree::Ident(ident) if ident == "fn" => {
                    let Attributes { test, ignored, .. } = mem::take(&mut attributes);
                    if let (true, false, Some(name)) = (test, ignored, tokens.next()) {
                        self.tests.insert(format!("{module}::{name}"));
                    }
                }
                TokenTree::Ident(ident) if ident == "mod" => {
                    let path = mem::take(&mut attributes).path;
                    let Some(TokenTree::Ident(name)) = tokens.next() else { continue };
                    let inner = format!("{module}::{name}");
                    let below = folder.join(name.to_string());
                    if let Some(TokenTree::Group(body)) = tokens.peek() {
                        self.module(body.stream(), &below, &inner)?;
                        tokens.next();
                        continue;
                    }
                    let beside = below.with_extension("rs");
                    match path {
                        Some(path) => {
                            let file = folder.join(path);
                            let folder = file.parent().unwrap_or(folder);
                            self.file(&file, folder, &inner)?;
                        }
                        None if beside.is_file() => self.file(&beside, &below, &inner)?,
                        None => self.file(&below.join("mod.rs"), &below, &inner)?,
                    }
                }
                TokenTree::Ident(ident) if ident == "macro_rules" => {
                    // `!`, its name and its rules, in which names stand for others.
                    tokens.nth(2);
                }
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                    self.module(group.stream(), folder, module)?;
                    attributes = Attributes::default();
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// What the attributes before an item say.
#[derive(Default)]
struct Attributes {
    test: bool,
    ignored: bool,
    path: Option<String>,
}

impl Attributes {
    /// Takes in one attribute, as it is between its brackets.
    fn read(&mut self, attribute: TokenStream) {
        // The last name of its path: `test` of `tokio::test(flavor = "current_thread")`.
        let mut last = String::new();
        let mut tokens = attribute.into_iter();
        for token in tokens.by_ref() {
            match token {
                TokenTree::Ident(ident) => last = ident.to_string(),
                TokenTree::Punct(punct) if punct.as_char() == ':' => {}
                _ => break,
            }
        }
        match last.as_str() {
            "test" => self.test = true,
            "ignore" => self.ignored = true,
            "path" => {
                self.path = tokens.next().map(|path| path.to_string().trim_matches('"').to_owned());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_found_wherever_they_are() {
        let source = r##"
            /// #[test] fn in_a_comment() {}
            #[test]
            fn plain() { let text = "#[test] fn in_a_string() {}"; }
            #[tokio::test(flavor = "current_thread")]
            #[should_panic]
            pub(crate) async fn asynchronous() -> u8 { 1 }
            #[cfg(test)] fn helper() {}
            proptest! { #![config(x)] #[test] fn in_a_macro(x in 0..3u8) {} }
            macro_rules! make { ($name:ident) => { #[test] fn $name() {} }; }
            mod inner { #[test] #[ignore = "slow"] fn ignored() {} #[test] fn there() {} }
            fn after() {}
        "##;
        let mut found = Finder { tests: BTreeSet::new() };
        found.module(source.parse().unwrap(), Path::new(""), "target").unwrap();
        let names: Vec<_> = found.tests.iter().map(String::as_str).collect();
        let expected =
            ["target::asynchronous", "target::in_a_macro", "target::inner::there", "target::plain"];
        assert_eq!(names, expected);
    }
}
