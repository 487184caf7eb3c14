//! Go programs as its own linker and that of C make them: their table of functions is enough for names.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test that cannot go on has failed")]

use everflame_symbols::{Place, Reading, resolve};
use object::{Object, ObjectSymbol};
use std::path::Path;
use std::process::Command;

/// Runs a program; nothing when it is not installed.
fn tool(program: &str, arguments: &[&str], folder: &Path) -> Option<()> {
    let output = Command::new(program).args(arguments).current_dir(folder).output().ok()?;
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    Some(())
}

#[test]
fn stripped_programs_have_the_names_that_their_symbols_had() {
    let folder = tempfile::tempdir().unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/programs/inlined.go");
    for (name, flags) in [
        ("of Go's linker", &["-ldflags=-linkmode=internal"][..]),
        ("of the linker of C", &["-ldflags=-linkmode=external"]),
        ("of the linker of C, that can be anywhere", &["-buildmode=pie", "-ldflags=-linkmode=external"]),
        ("a library for C", &["-buildmode=c-shared"]),
    ] {
        let arguments = [&["build", "-o", "whole"][..], flags, &[source]].concat();
        if tool("gcc", &["--version"], folder.path()).is_none()
            || tool("go", &arguments, folder.path()).is_none()
            || tool("strip", &["-o", "stripped", "whole"], folder.path()).is_none()
        {
            eprintln!("skipped: go, gcc or strip is not installed");
            return;
        }
        let whole = std::fs::read(folder.path().join("whole")).unwrap();
        let whole = object::File::parse(&*whole).unwrap();
        let wanted = ["main.main", "main.outermost", "runtime.mallocgc", "fmt.Fprintf"];
        let symbols = whole.symbols().filter(|symbol| wanted.iter().any(|name| symbol.name() == Ok(*name)));
        let mut addresses: Vec<u64> = symbols.map(|symbol| symbol.address()).collect();
        assert_eq!(addresses.len(), wanted.len(), "{name}");
        addresses.sort_unstable();
        let places: Vec<Place> = addresses.iter().map(|address| Place::Virtual(address + 4)).collect();
        let names = |file: &str| {
            let mut names = Vec::new();
            resolve(&[folder.path().join(file)], &places, Reading::Tables, |_, mut calls| {
                let call = calls.pop().unwrap_or_default();
                names.push((call.function, call.line));
            });
            names
        };
        let (expect, found) = (names("whole"), names("stripped"));
        let mut functions: Vec<&str> = expect.iter().map(|(function, _)| function.as_str()).collect();
        functions.sort_unstable();
        assert_eq!(functions, ["fmt.Fprintf", "main.main", "main.outermost", "runtime.mallocgc"], "{name}");
        assert_eq!(found, expect, "{name}");
    }
}
