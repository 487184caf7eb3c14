//! Addresses of memory get the same names from a program, and from its debug information in a file of its own.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test that cannot go on has failed")]

use everflame_symbols::{Place, Reading, resolve};
use object::{Object, ObjectSegment, ObjectSymbol, SegmentFlags};
use std::path::Path;
use std::process::Command;

/// Functions in two segments of code.
const SOURCE: &str = r#"
__attribute__((noinline, section(".far,\"ax\",@progbits#"))) int distant(int n) { return n * 7; }
__attribute__((noinline)) int near(int n) { return distant(n) + 3; }
int main(int argc, char **argv) { (void)argv; return near(argc); }
"#;

const FUNCTIONS: [&str; 3] = ["distant", "main", "near"];

/// Runs a program; nothing when it is not installed, or does not know its arguments.
fn tool(program: &str, arguments: &[&str], folder: &Path) -> Option<()> {
    let output = Command::new(program).args(arguments).current_dir(folder).output().ok()?;
    output.status.success().then_some(())
}

/// Where the functions of a program are when the kernel maps it, in pieces that begin up to `cut` bytes behind
/// the beginning of their segment.
fn mapped(file: &[u8], cut: u64) -> Vec<Place> {
    let file = object::File::parse(file).unwrap();
    let mut symbols: Vec<_> =
        file.symbols().filter(|symbol| FUNCTIONS.iter().any(|name| symbol.name() == Ok(*name))).collect();
    symbols.sort_by_key(|symbol| symbol.name().unwrap().to_owned());
    let place = |address: u64| {
        let mut code = file.segments().filter(|segment| match segment.flags() {
            SegmentFlags::Elf { p_flags } => p_flags & object::elf::PF_X != 0,
            _ => false,
        });
        let holds = |segment: &object::Segment<'_, '_>| {
            (segment.address()..segment.address() + segment.size()).contains(&address)
        };
        let segment = code.find(holds).unwrap();
        let (start, offset) = (segment.address() & !0xfff, segment.file_range().0 & !0xfff);
        let behind = cut.min((address - start) & !0xfff);
        Place::Mapped(offset + behind, address - start - behind)
    };
    symbols.iter().map(|symbol| place(symbol.address() + 4)).collect()
}

fn names(folder: &Path, files: &[&str], places: &[Place]) -> Vec<String> {
    let files: Vec<_> = files.iter().map(|file| folder.join(file)).collect();
    let mut names = Vec::new();
    resolve(&files, places, Reading::Whole, |_, mut calls| {
        names.push(calls.pop().map(|call| format!("{}:{}", call.function, call.line)).unwrap_or_default());
    });
    names
}

#[test]
fn debug_information_alone_gives_the_names_that_the_program_gives() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("small.c"), SOURCE).unwrap();
    let mut tried = 0;
    for flags in [
        &[][..],
        &["-no-pie"],
        &["-Wl,-z,noseparate-code"],
        &["-Wl,--section-start=.far=0x700000"],
        &["-Wl,--section-start=.far=0x700000", "-Wl,-z,noseparate-code"],
        &["-falign-functions=8192"],
        &["-fuse-ld=lld"],
        &["-fuse-ld=lld", "-no-pie"],
        &["-fuse-ld=gold"],
    ] {
        let arguments = [&["-g", "-O1", "-o", "whole", "small.c"][..], flags].concat();
        if tool("gcc", &arguments, folder).is_none()
            || tool("objcopy", &["--only-keep-debug", "whole", "debug"], folder).is_none()
            || tool("objcopy", &["--strip-all", "whole", "stripped"], folder).is_none()
        {
            eprintln!("skipped: {flags:?}; gcc, this linker or objcopy is not installed");
            continue;
        }
        tried += 1;
        let file = std::fs::read(folder.join("whole")).unwrap();
        for cut in [0, 0x1000, 0x2000] {
            let places = mapped(&file, cut);
            let expect = names(folder, &["whole"], &places);
            let functions = expect.iter().map(|name| name.split(':').next().unwrap());
            assert_eq!(functions.collect::<Vec<_>>(), FUNCTIONS, "{flags:?}");
            for files in [&["debug"][..], &["debug", "stripped"], &["debug", "whole"]] {
                assert_eq!(
                    names(folder, files, &places),
                    expect,
                    "{flags:?}, {cut:#x}, {files:?}: {places:x?}"
                );
            }
        }
    }
    assert!(tried > 0 || tool("gcc", &["--version"], folder).is_none());
}
