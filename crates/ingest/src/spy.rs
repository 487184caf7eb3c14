//! What old agents need: their profiles name functions and types in ways of their own.

use everflame_profile::{Frame, Profile, StringIndex};
use hashbrown::HashMap;

/// Makes the changes that the agent `spy_name` asks for.
pub(crate) fn adapt(profile: &mut Profile, spy_name: &str, has_inuse_space_config: bool) {
    match spy_name {
        "pyspy" => put_files_into_names(profile, |file| !file.starts_with('/')),
        "rbspy" | "scripting" => put_files_into_names(profile, |_| true),
        "dotnetspy" => underline_types(profile),
        "unknown" | "" if has_inuse_space_config => underline_types(profile),
        _ => {}
    }
}

/// A function of these agents is shown as `file name`.
fn put_files_into_names(profile: &mut Profile, takes: impl Fn(&str) -> bool) {
    let symbols = profile.symbols_mut();
    let mut names: HashMap<(StringIndex, StringIndex), StringIndex> = HashMap::new();
    for Frame { function, file, .. } in &mut symbols.frames {
        let (old, path) = (*function, *file);
        if old == 0 || path == 0 || !takes(symbols.strings.get(path)) {
            continue;
        }
        *function = *names.entry((path, old)).or_insert_with(|| {
            let name = format!("{} {}", symbols.strings.get(path), symbols.strings.get(old));
            symbols.strings.push(&name)
        });
    }
}

fn underline_types(profile: &mut Profile) {
    for sample_type in &mut profile.sample_types {
        sample_type.kind = sample_type.kind.replace('-', "_");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use everflame_profile::ValueType;

    fn names_after(spy: &str) -> Vec<String> {
        let mut profile = Profile::default();
        profile.sample_types.push(ValueType::new("inuse-space", "bytes"));
        let function = profile.symbols_mut().strings.push("work");
        for path in ["app.py", "/usr/lib/os.py", ""] {
            let file = profile.symbols_mut().strings.push(path);
            profile.symbols_mut().frames.push(Frame { function, file, ..Frame::default() });
        }
        adapt(&mut profile, spy, false);
        let names = profile.symbols.frames.iter().map(|frame| profile.symbols.name(frame).into_owned());
        names.chain([profile.sample_types[0].kind.clone()]).collect()
    }

    #[test]
    fn agents() {
        assert_eq!(names_after("gospy"), ["work", "work", "work", "inuse-space"]);
        assert_eq!(names_after("pyspy"), ["app.py work", "work", "work", "inuse-space"]);
        assert_eq!(names_after("rbspy"), ["app.py work", "/usr/lib/os.py work", "work", "inuse-space"]);
        assert_eq!(names_after("dotnetspy"), ["work", "work", "work", "inuse_space"]);
    }
}
