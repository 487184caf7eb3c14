//! Files from anywhere: whatever they say, reading them ends, and without a panic that gets out.

#![allow(missing_docs, clippy::panic, clippy::unwrap_used)]

use everflame_symbols::{Call, Place, Reading, resolve};
use std::path::Path;
use std::process::Command;

const SOURCE: &str = "
static inline __attribute__((always_inline)) int inner(int n) { return n * 3 + 1; }
static inline __attribute__((always_inline)) int middle(int n) { return inner(n) + inner(n + 2); }
__attribute__((noinline)) int outer(int n) { return middle(n) - 5; }
int main(int argc, char **argv) { (void)argv; return outer(argc); }
";

/// A small program with debug information; none without a compiler.
fn program(folder: &Path, flags: &[&str]) -> Option<Vec<u8>> {
    let (source, out) = (folder.join("small.c"), folder.join("small"));
    std::fs::write(&source, SOURCE).unwrap();
    let status = Command::new("gcc").args(flags).arg("-o").args([&out, &source]).status().ok()?;
    status.success().then(|| std::fs::read(out).unwrap())
}

fn names(file: &Path, places: &[Place]) -> Vec<(Place, Vec<Call>)> {
    let mut all = Vec::new();
    resolve(&[file], places, Reading::Whole, |place, calls| all.push((place, calls)));
    all
}

/// Numbers that are the same in each run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }
}

#[test]
fn damaged_files_give_wrong_names_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let places: Vec<Place> =
        (0..40).flat_map(|at| [Place::Virtual(0x1000 + at * 16), Place::Mapped(0x1000, at * 16)]).collect();
    for flags in [&["-g", "-O2"][..], &["-g", "-O2", "-gz=zlib"], &["-O2"]] {
        let Some(whole) = program(folder.path(), flags) else {
            eprintln!("skipped: gcc is not installed");
            return;
        };
        let path = folder.path().join("damaged");
        std::fs::write(&path, &whole).unwrap();
        let found = names(&path, &places);
        assert_eq!(found.len(), places.len());
        assert!(found.iter().any(|(_, calls)| calls.iter().any(|call| call.function == "outer")));
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
        for _ in 0..300 {
            let mut damaged = whole.clone();
            for _ in 0..=numbers.next(12) {
                let at = numbers.next(damaged.len());
                damaged[at] = match numbers.next(3) {
                    0 => 0xff,
                    1 => 0,
                    _ => numbers.next(256) as u8,
                };
            }
            if numbers.next(5) == 0 {
                damaged.truncate(numbers.next(whole.len()));
            }
            // Files that are mapped are replaced, never written to.
            let next = folder.path().join("next");
            std::fs::write(&next, &damaged).unwrap();
            std::fs::rename(&next, &path).unwrap();
            let found = names(&path, &places);
            assert_eq!(found.len(), places.len());
            let longest = found.iter().flat_map(|(_, calls)| calls).map(|call| call.function.len()).max();
            assert!(longest.unwrap_or(0) <= 64 << 10);
        }
    }
}

#[test]
fn files_that_are_not_there_or_empty_say_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    std::fs::write(&empty, b"").unwrap();
    for file in [empty, folder.path().join("absent")] {
        assert_eq!(names(&file, &[Place::Virtual(1)]), [(Place::Virtual(1), Vec::new())]);
    }
}
