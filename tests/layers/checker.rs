//! The checker itself, on crates of a few lines.

use super::rules::{circles, layers, outsiders, unlisted, upward};
use super::source::Source;

const LIST: &str = "//! - `low`: data\n//! - `left`, `right`: beside each other\n//! - `high`: both\n";
const MODULES: &str = "pub mod low;\npub mod left;\npub mod right;\npub mod high;\n";

/// A crate with the layers of [`LIST`], and these files.
fn source(files: &[(&str, &str)]) -> Source {
    let text = |file: &str| {
        let given = files.iter().find(|(name, _)| *name == file).map(|(_, text)| (*text).to_owned());
        let empty = ["low.rs", "left.rs", "right.rs", "high.rs"].contains(&file).then(String::new);
        match file {
            "lib.rs" => Some(format!("{LIST}{MODULES}{}", given.unwrap_or_default())),
            _ => given.or(empty),
        }
    };
    Source::read(&text).unwrap()
}

fn faults(files: &[(&str, &str)]) -> Vec<String> {
    upward(&source(files), &layers(LIST))
}

/// The one fault, and where it is.
#[track_caller]
fn fault(files: &[(&str, &str)], place: &str, words: &str) {
    let found = faults(files);
    let [fault] = found.as_slice() else { panic!("expected one fault, got {found:?}") };
    assert!(fault.starts_with(&format!("{place}: ")) && fault.contains(words), "{fault}");
}

#[test]
fn an_import_of_a_layer_above_is_named_with_file_and_line() {
    fault(&[("low.rs", "\n\nuse crate::high::Thing;")], "low.rs:3", "`low` stands below `high`");
    fault(&[("low.rs", "use super::high;")], "low.rs:1", "`super::high`");
    fault(&[("low.rs", "pub use crate::high::*;")], "low.rs:1", "crate::high");
    fault(&[("low.rs", "fn f() {\n  { crate::high::run(); }\n}")], "low.rs:2", "`crate::high::run`");
    fault(&[("low.rs", "fn f(x: crate::high::Thing) {}")], "low.rs:1", "crate::high::Thing");
    fault(&[("low.rs", "fn f() -> Vec<crate::high::Thing<'static>> { todo!() }")], "low.rs:1", "`high`");
    fault(&[("low.rs", "fn f() { println!(\"{}\",\n crate::high::COUNT) }")], "low.rs:2", "`high`");
    fault(&[("low.rs", "macro_rules! m { () => { $crate::high::run() } }")], "low.rs:1", "`high`");
    fault(&[("low.rs", "fn f() { use crate::high as h; h(); }")], "low.rs:1", "`high`");
}

#[test]
fn siblings_must_not_import_each_other() {
    fault(&[("left.rs", "use crate::right::Thing;")], "left.rs:1", "`left` stands beside `right`");
    fault(&[("right.rs", "use crate::left::Thing;")], "right.rs:1", "`right` stands beside `left`");
}

#[test]
fn what_goes_down_is_no_fault() {
    let high =
        "use crate::{left::A, right::{self, B, c::{C as D}}, low};\nfn f() { right::run(); super::left::run(); }";
    assert_eq!(faults(&[("high.rs", high), ("left.rs", "use super::low::X;\nuse std::high::Thing;")]), [""; 0]);
}

#[test]
fn nested_trees_and_folders_are_read() {
    let tree = "use crate::{\n  low::A,\n  left::{\n    b::{self as c},\n  },\n};";
    fault(&[("right.rs", tree)], "right.rs:4", "stands beside `left`");
    let nested = [("left.rs", "mod deep;"), ("left/deep.rs", "mod er { use super::super::super::high::T; }")];
    fault(&nested, "left/deep.rs:1", "`left` stands below `high`");
    let folder =
        [("left.rs", "mod deep;"), ("left/deep/mod.rs", "mod er;"), ("left/deep/er.rs", "\nuse crate::right::T;")];
    fault(&folder, "left/deep/er.rs:2", "`left` stands beside `right`");
}

#[test]
fn names_that_the_root_shows_lead_to_where_they_are() {
    let root = ("lib.rs", "pub use high::{Error, run as go};\npub use right::*;\n");
    fault(&[root, ("low.rs", "use crate::Error;")], "low.rs:1", "`low` stands below `high`");
    fault(&[root, ("low.rs", "fn f() { crate::go() }")], "low.rs:1", "`low` stands below `high`");
    let right = ("right.rs", "pub struct Thing;");
    fault(&[root, right, ("low.rs", "use crate::Thing;")], "low.rs:1", "`low` stands below `right`");
    fault(
        &[root, right, ("left.rs", "pub use crate::high::Error as Bad;\n")],
        "left.rs:1",
        "`left` stands below `high`",
    );
}

#[test]
fn tests_comments_and_text_do_not_count() {
    let low = r##"
        //! See [`crate::high::Thing`].
        // use crate::high::Thing;
        /* use crate::high::Thing; /* crate::high::x() */ */
        /// [`run`](crate::high::run)
        pub fn f<'a>(x: &'a str) -> char { let _ = ("crate::high::run()", r#"use "crate::high::T";"#, b"crate::high::x"); '"' }
        #[cfg(test)] use crate::high::Thing;
        #[cfg(all(test, feature = "x"))] fn g() { crate::high::run(); }
        #[cfg(any(test, doctest))] impl X { fn h() { crate::high::run() } }
        #[test] #[ignore] fn t() { crate::high::run(); }
        #[cfg(test)] #[allow(unused)] mod tests { use crate::high::T; }
        #[cfg(test)] pub(crate) mod testing;
        #[cfg(test)] #[path = "../somewhere.rs"] mod toy;
        struct S { #[cfg(test)] x: crate::high::T, y: u8 }
        fn l() { #[cfg(test)] let x = { crate::high::run() } + crate::high::run(); #[cfg(test)] crate::high::run(); }
    "##;
    assert_eq!(faults(&[("low.rs", low)]), [""; 0]);
    assert_eq!(faults(&[("low.rs", "mod all;"), ("low/all.rs", "#![cfg(test)]\nuse crate::high::T;")]), [""; 0]);
}

#[test]
fn what_is_not_for_tests_alone_counts() {
    for condition in ["not(test)", "any(test, feature = \"x\")", "feature = \"test\"", "all(unix, feature = \"x\")"] {
        fault(&[("low.rs", &format!("#[cfg({condition})]\nuse crate::high::T;"))], "low.rs:2", "`high`");
    }
    // What follows a part for tests counts again.
    for skipped in [
        "#[cfg(test)] use crate::low::{A, B};",
        "#[cfg(test)] mod tests {}",
        "#[cfg(test)] const A: [u8; 2] = { [1, 2] };",
        "#[cfg(test)] struct T(u8);",
        "#[cfg(test)] pub(crate) fn f<A, B>(a: A) -> u8 { 1 }",
        "#[cfg(test)] macro_rules! m { () => {} }",
    ] {
        fault(&[("low.rs", &format!("{skipped}\nuse crate::high::T;"))], "low.rs:2", "`high`");
    }
    fault(&[("low.rs", "struct S { #[cfg(test)] x: u8,\n y: crate::high::T }")], "low.rs:2", "`high`");
}

#[test]
fn the_list_and_the_modules_must_agree() {
    assert_eq!(layers(LIST), [vec!["low"], vec!["left", "right"], vec!["high"]]);
    assert_eq!(unlisted(&source(&[]), &layers(LIST)), [""; 0]);
    let one = |list: &str| match unlisted(&source(&[]), &layers(list)).as_slice() {
        [fault] => fault.clone(),
        faults => panic!("expected one fault, got {faults:?}"),
    };
    assert!(one("//! - `low`: x\n//! - `left`: x\n//! - `high`: x").contains("`right` is missing"));
    assert!(
        one(&format!("{LIST}//! - `over`: x")).contains("`over` stands in the list of layers, and there is no such")
    );
    assert!(one(&format!("{LIST}//! - `low`: again")).contains("`low` stands in the list of layers twice"));
    let tests = source(&[("lib.rs", "#[cfg(test)] mod testing;\n#[cfg(doctest)] mod readme {}")]);
    assert_eq!(unlisted(&tests, &layers(LIST)), [""; 0]);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let text = |file: &str| (file == "lib.rs").then(|| "\nmod gone;".to_owned());
    let error = Source::read(&text).unwrap_err();
    assert!(error.contains("lib.rs:2") && error.contains("gone.rs"), "{error}");
    let error = Source::read(&|_| Some("fn f( {".to_owned())).unwrap_err();
    assert!(error.contains("lib.rs") && error.contains("expected Rust"), "{error}");
}

#[test]
fn a_crate_stays_in_its_modules() {
    let found = |file: &str, text: &str| outsiders(&source(&[(file, text)]), "burn", &["high"]);
    for text in [
        "use burn::tensor::Tensor;",
        "use ::burn as b;",
        "use burn;",
        "use {std::fmt, burn_flex::FlexDevice};",
        "extern crate burn as b;",
        "fn f() { burn::run() }",
        "fn f(x: &::burn::Tensor) {}",
        "pub use burn::*;",
    ] {
        let faults = found("low.rs", text);
        assert!(matches!(faults.as_slice(), [f] if f.starts_with("low.rs:1: expected `burn")), "{text} {faults:?}");
        assert_eq!(found("high.rs", text), [""; 0]);
    }
    for text in ["use burning::x;", "mod burn { pub fn x() {} }\nfn f() { burn::x() }", "#[cfg(test)] use burn::x;"] {
        assert_eq!(found("low.rs", text), [""; 0], "{text}");
    }
}

#[test]
fn circles_are_found_through_re_exports_and_as_long_as_they_are() {
    let circle = |files: &[(&str, &str)]| circles(&source(files));
    let two =
        [("low.rs", "mod a; mod b;"), ("low/a.rs", "pub struct A(super::b::B);"), ("low/b.rs", "\nuse super::a::A;")];
    let found = circle(&two);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("low/a.rs:1: needs low/b.rs") && found[0].contains("low/b.rs:2: needs low/a.rs"),
        "{found:?}"
    );
    let shown = [
        ("low.rs", "mod a; mod b; mod c; pub use a::A; use b::{self, B}; pub use c::*;"),
        ("low/a.rs", "use super::B as Other; pub struct A;"),
        ("low/b.rs", "use crate::low::C; pub struct B;"),
        ("low/c.rs", "use super::*; pub struct C; fn f() { super::A; }"),
    ];
    let found = circle(&shown);
    assert!(found.len() == 1 && found[0].contains("a circle of 3 files"), "{found:?}");
    let through_module = [
        ("low.rs", "mod a; mod b;"),
        ("low/a.rs", "use super::b;\nfn f() { b::g() }"),
        ("low/b.rs", "fn g() { super::a::f() }"),
    ];
    assert!(circle(&through_module)[0].contains("low/a.rs:2: needs low/b.rs (`b::g`)"));
}

#[test]
fn a_parent_and_what_it_shows_are_no_circle() {
    let parent = [
        (
            "low.rs",
            "mod a; mod b; pub use a::A; pub use b::B; pub struct Config; pub enum Kind { A, B(B) } fn f() { a::f() }",
        ),
        ("low/a.rs", "use super::Config; pub fn f() {} pub struct A; fn g(x: super::B) {}"),
        ("low/b.rs", "use super::{Config, Kind}; pub struct B;"),
    ];
    assert_eq!(circles(&source(&parent)), [""; 0]);
    let tests = [
        ("low.rs", "mod a; mod b;"),
        ("low/a.rs", "use super::b::B;"),
        ("low/b.rs", "#[cfg(test)] mod tests { use super::super::a::A; }"),
    ];
    assert_eq!(circles(&source(&tests)), [""; 0]);
}
