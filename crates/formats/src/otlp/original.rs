//! What a profile was converted from. Some senders add it, and some send it instead of samples.

use super::place::Place;
use crate::{Decoded, Error, ErrorKind, Format, Limits, Part, Parts, gzip, pprof};
use std::borrow::Cow;

/// A file that came with a profile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Original<'a> {
    /// What the semantic conventions call its format: `pprof`, `jfr`, `linux_perf`; empty when it was not said.
    pub(super) format: &'a str,
    pub(super) payload: &'a [u8],
}

/// Name of the format of `perf`, of which the text is read.
const PERF: &str = "linux_perf";
/// Bytes of the name of a format that an error shows.
const SHOWN: usize = 40;

/// What the files of one export may take together.
pub(super) struct Originals {
    /// Bytes, inflated.
    pub(super) left: usize,
}

impl Originals {
    /// The profiles in `original`, with at most so many `entries`.
    pub(super) fn read(
        &mut self,
        original: Original<'_>,
        place: Place,
        limits: &Limits,
        entries: usize,
    ) -> Result<Parts, Error> {
        let limits = Limits { inflated_bytes: self.left, entries, ..limits.clone() };
        let body = self.inflate(original.payload, &limits).map_err(|error| error.within(place))?;
        let name = original.format.to_ascii_lowercase();
        let parts = match Format::from_name(&name) {
            _ if name == "pprof" => pprof::read(&body, &limits).map(|Decoded { profile, cuts }| Parts {
                parts: vec![Part { profile, ..Part::default() }],
                cuts,
            }),
            Some(format) => format.read(&body, &limits),
            None if name == PERF && Format::detect(&body, &limits) == Some(Format::PerfScript) => {
                Format::PerfScript.read(&body, &limits)
            }
            None => return Err(unknown(original.format, place)),
        };
        parts.map_err(|error| error.within(place))
    }

    fn inflate<'a>(&mut self, payload: &'a [u8], limits: &Limits) -> Result<Cow<'a, [u8]>, Error> {
        let body = gzip::inflate_if_gzip(payload, limits);
        let taken = match &body {
            Ok(body) => body.len(),
            // So much may have been inflated before it was refused.
            Err(_) => payload.len().saturating_mul(limits.inflated_ratio).max(limits.inflated_floor),
        };
        self.left = self.left.saturating_sub(taken);
        body
    }
}

#[cold]
fn unknown(format: &str, place: Place) -> Error {
    let shown = format.get(..format.floor_char_boundary(SHOWN)).unwrap_or_default();
    Error::new(
        ErrorKind::Unsupported,
        place,
        format_args!("it has no samples, and an original payload of the format {shown:?}, which is not read"),
        "send the samples, or the payload as `pprof` or `jfr`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place::Message;

    fn read(format: &str, payload: &[u8]) -> Result<Parts, Error> {
        let limits = Limits::default();
        let mut originals = Originals { left: limits.inflated_bytes };
        originals.read(Original { format, payload }, PLACE, &limits, limits.entries)
    }

    #[test]
    fn files_of_the_formats_that_have_a_name() {
        let perf = b"app 7 1.5: 10 cpu-clock:\n\t400 main (/bin/app)\n\n";
        let speedscope = br#"{"$schema":"https://www.speedscope.app/file-format-schema.json","shared":{"frames":[{"name":"main"}]},"profiles":[{"type":"sampled","name":"a","unit":"nanoseconds","startValue":0,"endValue":1,"samples":[[0]],"weights":[1]}]}"#;
        for (format, payload) in [
            ("linux_perf", &perf[..]),
            ("perf_script", perf),
            ("Speedscope", speedscope),
            ("speedscope", &gzip::deflate(speedscope)),
        ] {
            let parts = read(format, payload).unwrap();
            assert!(parts.parts.iter().any(|part| !part.profile.samples.is_empty()), "{format}");
        }
    }

    #[test]
    fn what_is_not_read_is_refused() {
        for (format, payload, expect) in [
            ("linux_perf", &b"PERFILE2"[..], "the format \"linux_perf\""),
            ("", b"x", "the format \"\""),
            ("jfr", b"xx", "original payload"),
            ("pprof", b"garbage\xff", "original payload"),
            ("pprof", b"\x1f\x8bxx", "original payload"),
            (&"x".repeat(1_000), b"x", "x\", which"),
        ] {
            let error = read(format, payload).unwrap_err().to_string();
            assert!(error.starts_with("OTLP: message") && error.contains(expect), "{error}");
            assert!(error.len() < 400, "{error}");
        }
    }

    #[test]
    fn all_files_of_an_export_share_a_bound() {
        let limits = Limits { inflated_bytes: 3_000_000, ..Limits::default() };
        let mut originals = Originals { left: limits.inflated_bytes };
        let bomb = gzip::deflate(&vec![0; 2_000_000]);
        let original = Original { format: "jfr", payload: &bomb };
        for left in [1_951_424, 902_848, 0, 0] {
            assert!(originals.read(original, PLACE, &limits, limits.entries).is_err());
            assert_eq!(originals.left, left);
        }
    }
}
