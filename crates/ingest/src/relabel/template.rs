//! Templates for what an expression has caught, as Go's `Regexp.Expand` reads them: `$name` goes as far as letters,
//! digits and underscores of any script do, a number with a zero in front is a name, and what is no reference stays as
//! it is.

/// `template` in the form that the `regex` crate expands to the same.
pub(super) fn of_go(template: &str) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('$') {
        out.push_str(before);
        rest = behind;
        if let Some(behind) = rest.strip_prefix('$') {
            out.push_str("$$");
            rest = behind;
            continue;
        }
        match reference(rest) {
            Some((name, behind)) => {
                // A name that no group has is nothing, and no group has a number for its name.
                let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
                if !(is_number && name.len() > 1 && name.starts_with('0')) {
                    out.extend(["${", name, "}"]);
                }
                rest = behind;
            }
            None => out.push_str("$$"),
        }
    }
    out.push_str(rest);
    out
}

/// The name behind a `$`, with or without braces, and what follows it.
fn reference(text: &str) -> Option<(&str, &str)> {
    let braced = text.strip_prefix('{');
    let text = braced.unwrap_or(text);
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let (name, behind) = text.split_at_checked(end).filter(|(name, _)| !name.is_empty())?;
    match braced {
        Some(_) => behind.strip_prefix('}').map(|behind| (name, behind)),
        None => Some((name, behind)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_those_of_go() {
        let captures = regex::Regex::new("(?P<first>.)(.*)").unwrap();
        let captures = captures.captures("abc").unwrap();
        for (template, expect) in [
            ("", ""),
            ("$1-$2", "a-bc"),
            ("${2}x$1", "bcxa"),
            ("$first ${first}", "a a"),
            ("$1x<$first_>", "<>"),
            ("<$1é>", "<>"),
            ("<$01>", "<>"),
            ("<$0>", "<abc>"),
            ("<$9>${nothing}", "<>"),
            ("$$1", "$1"),
            ("$$$1", "$a"),
            ("x${a-b}y", "x${a-b}y"),
            ("x${1", "x${1"),
            ("${}", "${}"),
            ("$1$", "a$"),
            ("$1 $ x", "a $ x"),
            ("${é}$-", "$-"),
        ] {
            let mut text = String::new();
            captures.expand(&of_go(template), &mut text);
            assert_eq!(text, expect, "{template}");
        }
    }
}
