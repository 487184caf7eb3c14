//! Folded stacks, as flame graph scripts write them: `frame;frame;frame count`, root first, one a line.

use crate::{Cuts, Decoded, Error, Limits, texts};
use everflame_profile::{Frame, FrameKind, Location, Profile, StringInterner, Symbols, ValueType};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// A stack, a space, and how often it was seen. Lines without a space are skipped, and so are those that
    /// begin with `#` and do not end with a number. Nothing in front of the space is a stack without frames.
    Counted,
    /// A stack alone, seen once.
    Single,
}

/// Reads folded stacks into a profile of `samples` in `count`; the caller knows what they really measure.
///
/// Text of which every line is skipped, blank ones aside, is refused: it is something else.
///
/// The frames' suffixes (`_[k]` kernel, `_[j]` just-in-time compiled, `_[i]` inlined) stay part of the
/// names. Invalid UTF-8 becomes U+FFFD.
pub fn read(bytes: &[u8], lines: Lines, limits: &Limits) -> Result<Decoded, Error> {
    let body = crate::gzip::inflate_if_gzip(bytes, limits)?;
    let text = texts::lossy(&body);
    let mut cuts = Cuts::default();
    let mut names = StringInterner::default();
    let mut profile =
        Profile { sample_types: vec![ValueType::new("samples", "count")], ..Profile::default() };
    let mut stack = Vec::new();
    let mut entries = 0usize;
    let mut skipped = None;
    for (at, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let Some((frames, count)) = split_line(line, lines, at)? else {
            if !(line.trim().is_empty() || line.starts_with('#')) {
                skipped.get_or_insert((at, line));
            }
            continue;
        };
        stack.clear();
        // Leaf first, so that the depth limit cuts the leaf side.
        let depth = match frames.is_empty() {
            true => 0,
            false => memchr::memchr_iter(b';', frames.as_bytes()).count() + 1,
        };
        let kept = frames.split(';').take(depth.min(limits.depth));
        if depth > limits.depth {
            cuts.stacks = cuts.stacks.saturating_add(1);
        }
        for name in kept {
            let name = names.intern(limits.cut_string(name, &mut cuts));
            stack.push(name);
        }
        stack.reverse();
        entries += stack.len() + 1;
        profile.samples.push(&stack, &[count], &[]);
        let (samples, strings) = (profile.samples.len(), names.strings().len());
        if samples > limits.samples || strings > limits.table_entries || entries > limits.entries {
            return Err(Error::too_large(
                format_args!("folded: line {}", at + 1),
                format_args!(
                    "up to here there are {samples} stacks, {strings} names, {entries} frames and values"
                ),
                "send a shorter span at once",
            ));
        }
    }
    if let Some((at, line)) = skipped.filter(|_| profile.samples.is_empty()) {
        return Err(Error::malformed(
            format_args!("folded: line {}", at + 1),
            format_args!("{:?} has no count, and neither has any other line", shortened(line)),
            "end each line with a space and the count, as in `main;work 3`",
        ));
    }
    // A name is a frame is a location: all three have the same index, the nameless one included.
    let strings = names.into_strings();
    let mut symbols = Symbols { frames: Vec::with_capacity(strings.len()), ..Symbols::default() };
    let mut locations = Vec::with_capacity(strings.len());
    for (function, name) in strings.iter().enumerate() {
        let kind = if name.ends_with("_[k]") { FrameKind::Kernel } else { FrameKind::Unknown };
        symbols.frames.push(Frame { function: function as u32, kind, ..Frame::default() });
        locations.push(Location { first: function as u32, count: 1 });
    }
    symbols.strings = strings;
    (profile.symbols, profile.locations) = (Arc::new(symbols), Arc::new(locations));
    Ok(Decoded { profile, cuts })
}

/// The stack of a line and its count; `None` for a line that is skipped.
fn split_line(line: &str, lines: Lines, at: usize) -> Result<Option<(&str, i64)>, Error> {
    match lines {
        Lines::Single => Ok((!line.is_empty()).then_some((line, 1))),
        Lines::Counted => {
            let Some((frames, count)) = line.trim_end().rsplit_once(' ') else { return Ok(None) };
            match count.parse() {
                Ok(count) => Ok(Some((frames, count))),
                Err(_) if line.starts_with('#') => Ok(None),
                Err(_) => Err(Error::malformed(
                    format_args!("folded: line {}", at + 1),
                    format_args!("{:?} after the last space is not a whole number", shortened(count)),
                    "end each line with a space and the count, as in `main;work 3`",
                )),
            }
        }
    }
}

fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(40)).unwrap_or_default()
}

/// Writes the values of one sample type as folded stacks: equal stacks added up, sorted, those that
/// weigh 0 left out. A `;` or line break within a name becomes `:` or a space.
pub fn write(profile: &Profile, sample_type: usize) -> String {
    let mut stacks: BTreeMap<String, i64> = BTreeMap::new();
    let names: Vec<String> = profile
        .symbols
        .frames
        .iter()
        .map(|frame| profile.symbols.name(frame).replace(';', ":").replace(['\n', '\r'], " "))
        .collect();
    let mut line = String::new();
    for sample in 0..profile.samples.len() {
        line.clear();
        for &location in profile.samples.stack(sample).iter().rev() {
            let Some(location) = profile.locations.get(location as usize) else { continue };
            let frames = location.first as usize..(location.first as usize + location.count as usize);
            for name in names.get(frames).unwrap_or_default().iter().rev() {
                if !line.is_empty() {
                    line.push(';');
                }
                line.push_str(name);
            }
        }
        let value = profile.values(sample).get(sample_type).copied().unwrap_or_default();
        match stacks.get_mut(line.as_str()) {
            Some(sum) => *sum = sum.saturating_add(value),
            None => _ = stacks.insert(line.clone(), value),
        }
    }
    let mut out = String::new();
    for (stack, value) in stacks.iter().filter(|&(_, &value)| value != 0) {
        out.push_str(stack);
        out.push(' ');
        out.push_str(&value.to_string());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(lines: Lines, input: &str, expect: &str) {
        let decoded = read(input.as_bytes(), lines, &Limits::default()).unwrap();
        assert_eq!(write(&decoded.profile, 0), expect);
    }

    #[test]
    fn reads_and_writes() {
        check(Lines::Counted, "main;work 3\nmain;idle 1\nmain;work 2\n", "main;idle 1\nmain;work 5\n");
        check(Lines::Counted, "a b;c d 3\r\n\r\nno-count\n-1\nx -4", "a b;c d 3\nx -4\n");
        check(Lines::Counted, "", "");
        check(Lines::Counted, "a;;b 1\n", "a;0x0;b 1\n");
        check(Lines::Counted, "# what it is\n#\na 1\n#a;b 2\n", "#a;b 2\na 1\n");
        check(Lines::Counted, " 2\na 1\n; 4\n", " 2\n0x0;0x0 4\na 1\n");
        check(Lines::Single, "a;b\na;b 7\n\na;b\n", "a;b 2\na;b 7 1\n");
    }

    #[test]
    fn a_line_may_be_long() {
        let name = "x".repeat(60_000);
        check(Lines::Counted, &format!("{name};{name};{name} 1\n"), &format!("{name};{name};{name} 1\n"));
    }

    #[test]
    fn gzip_and_bad_bytes() {
        let decoded = read(&crate::gzip::deflate(b"a\xff\xfe 1\n"), Lines::Counted, &Limits::default());
        assert_eq!(write(&decoded.unwrap().profile, 0), "a\u{fffd}\u{fffd} 1\n");
    }

    #[test]
    fn kernel_frames_are_known() {
        let decoded = read(b"main;read_[k] 1", Lines::Counted, &Limits::default()).unwrap();
        let kinds: Vec<_> = decoded.profile.frames(0).map(|frame| frame.kind).collect();
        assert_eq!(kinds, [FrameKind::Kernel, FrameKind::Unknown]);
    }

    #[test]
    fn refuses_with_the_line() {
        let error = read(b"a 1\nb x\n", Lines::Counted, &Limits::default()).unwrap_err();
        assert!(error.to_string().starts_with("folded: line 2: \"x\" after the last space"), "{error}");
        for text in [&b"\na;b\nc\n"[..], b"main;work\t3\n", b"PK\x03\x04x"] {
            let error = read(text, Lines::Counted, &Limits::default()).unwrap_err();
            assert!(error.to_string().contains("has no count, and neither has any other line"), "{error}");
        }
        assert!(read(b"#\n \n", Lines::Counted, &Limits::default()).unwrap().profile.samples.is_empty());
        let limits = Limits { samples: 2, ..Limits::default() };
        assert_eq!(
            read(b"a 1\na 1\na 1", Lines::Counted, &limits).unwrap_err().kind(),
            crate::ErrorKind::TooLarge
        );
    }

    #[test]
    fn deep_stacks_keep_their_root_side() {
        let limits = Limits { depth: 2, ..Limits::default() };
        let decoded = read(b"a;b;c 1\na;b 1", Lines::Counted, &limits).unwrap();
        assert_eq!(write(&decoded.profile, 0), "a;b 2\n");
        assert_eq!(decoded.cuts.stacks, 1);
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read(stacks in prop::collection::btree_map("[a-c]( ?[a-c]){0,2}(;[a-c]){0,4}", 1i64..i64::MAX / 100, 0..20)) {
            let text: String = stacks.iter().map(|(stack, value)| format!("{stack} {value}\n")).collect();
            let decoded = read(text.as_bytes(), Lines::Counted, &Limits::default()).unwrap();
            prop_assert_eq!(write(&decoded.profile, 0), text);
        }
    }
}
