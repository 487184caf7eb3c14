//! Names of generic functions of Go, without the types that they were compiled for.
//!
//! The runtime names any of the instances that share their code, whichever was called
//! (<https://github.com/golang/go/issues/64528>): the types say nothing, and tell apart what is one function.

use everflame_profile::{Profile, StringIndex};
use hashbrown::HashMap;
use memchr::memmem;

const SHAPE: &str = "[go.shape.";

/// Cuts the types from all names: `main.(*Tree[go.shape.int]).Next` becomes `main.(*Tree).Next`.
pub(crate) fn drop_type_parameters(profile: &mut Profile) {
    // Hot: nearly no profile has any.
    if memmem::find(profile.symbols.strings.text().as_bytes(), SHAPE.as_bytes()).is_none() {
        return;
    }
    let names = profile.symbols.strings.iter().enumerate();
    let renamed: Vec<(StringIndex, String)> =
        names.filter_map(|(at, name)| Some((at as StringIndex, without_shapes(name)?))).collect();
    if renamed.is_empty() {
        return;
    }
    let symbols = profile.symbols_mut();
    let renamed: HashMap<StringIndex, StringIndex> =
        renamed.into_iter().map(|(old, name)| (old, symbols.strings.push(&name))).collect();
    for frame in &mut symbols.frames {
        for name in [&mut frame.function, &mut frame.system_name] {
            *name = renamed.get(name).copied().unwrap_or(*name);
        }
    }
}

/// The name without its types; nothing when it has none, or when brackets do not close.
fn without_shapes(name: &str) -> Option<String> {
    let (mut out, mut rest) = (String::new(), name);
    while let Some((before, types)) = rest.split_once(SHAPE) {
        let mut depth = 1;
        let end = types.bytes().position(|byte| {
            depth += i32::from(byte == b'[') - i32::from(byte == b']');
            depth == 0
        })?;
        out.push_str(before);
        rest = types.get(end + 1..)?;
    }
    (rest.len() < name.len()).then(|| out + rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use everflame_profile::Frame;

    #[test]
    fn types_are_cut() {
        for (name, expect) in [
            (
                "connect.(*Client[go.shape.struct { v1.state impl.State }]).CallUnary",
                "connect.(*Client).CallUnary",
            ),
            ("connect.NewClient[go.shape.struct { v1.a [4]int }].func2", "connect.NewClient.func2"),
            (
                "loser.(*Tree[go.shape.int,go.shape.interface { At() go.shape.[]uint8 }]).Next",
                "loser.(*Tree).Next",
            ),
            ("a[go.shape.int].b[go.shape.[2][]int].c", "a.b.c"),
        ] {
            assert_eq!(without_shapes(name).as_deref(), Some(expect));
        }
        for name in [
            "main.Map[...]",
            "main.work",
            "",
            "a[go.shape.int",
            "a[go.shape.[]",
            "a[go.shape.int].b[go.shape.",
        ] {
            assert_eq!(without_shapes(name), None, "{name}");
        }
    }

    #[test]
    fn functions_become_one() {
        let mut profile = Profile::default();
        for name in ["main.Map[go.shape.int]", "main.Map[go.shape.string]", "main.main"] {
            let function = profile.symbols_mut().strings.push(name);
            let frame = Frame { function, system_name: function, ..Frame::default() };
            profile.symbols_mut().frames.push(frame);
        }
        drop_type_parameters(&mut profile);
        let ids = profile.symbols.frame_ids();
        assert!(ids[0] == ids[1] && ids[1] != ids[2]);
        let names: Vec<_> = profile.symbols.frames.iter().map(|frame| profile.symbols.name(frame)).collect();
        assert_eq!(names, ["main.Map", "main.Map", "main.main"]);
    }
}
