//! Regular expressions as Go writes them, for the crate `regex`.
//!
//! Everything around Everflame matches labels with Go's RE2: <https://github.com/google/re2/wiki/Syntax>. The
//! two differ in few places, each of which is written here in the way that means the same in both:
//! - `\Q…\E` quotes; a brace that is no repetition stands for itself, also `{,3}`;
//! - `\d`, `\w`, `\s`, `\b` know ASCII alone, and `\s` no vertical tab;
//! - in brackets `[`, `&&`, `--` and `~~` mean nothing, and a hyphen next to a class stands for itself;
//! - any ASCII character that is no letter and no digit can be escaped; there are octal numbers and `\p{^…}`.
//!
//! What is an error in Go need not be one here. What is written is at most ten times as long as what is read.

/// Rewrites `pattern`. Whether it is valid is for the crate `regex` to say.
pub fn regex_of_re2(pattern: &str) -> String {
    let mut translator = Translator { rest: pattern, out: String::with_capacity(pattern.len() + 16) };
    while let Some(c) = translator.next() {
        match c {
            '\\' => translator.escape(),
            '[' => translator.brackets(),
            '{' => translator.brace(),
            c => translator.out.push(c),
        }
    }
    translator.out
}

/// What a class of Perl has, to stand in brackets; the capital letter means the others.
fn perl_class(letter: char) -> Option<&'static str> {
    match letter.to_ascii_lowercase() {
        'd' => Some("0-9"),
        'w' => Some("0-9A-Za-z_"),
        's' => Some(r"\t\n\f\r "),
        _ => None,
    }
}

struct Translator<'a> {
    rest: &'a str,
    out: String,
}

impl Translator<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.skip(c.len_utf8());
        Some(c)
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    /// Copies so many bytes.
    fn copy(&mut self, bytes: usize) {
        self.out.push_str(self.rest.get(..bytes).unwrap_or_default());
        self.skip(bytes);
    }

    /// A character that stands for itself.
    fn literal(&mut self, c: char) {
        if r"\.+*?()|[]{}^$#&-~".contains(c) {
            self.out.push('\\');
        }
        self.out.push(c);
    }

    /// What follows a backslash outside of brackets.
    fn escape(&mut self) {
        match self.peek() {
            Some('Q') => {
                self.skip(1);
                let end = self.rest.find(r"\E");
                let quoted = self.rest.get(..end.unwrap_or(self.rest.len())).unwrap_or_default();
                quoted.chars().for_each(|c| self.literal(c));
                self.skip(quoted.len() + r"\E".len());
            }
            Some(c @ ('b' | 'B')) => {
                self.skip(1);
                self.out.extend([r"(?-u:\", c.encode_utf8(&mut [0; 4]), ")"]);
            }
            _ if self.class_escape(true) => {}
            _ => match self.character() {
                Some(c) => self.literal(c),
                None => self.unknown(),
            },
        }
    }

    /// Writes an escape that means nothing in Go, or what `regex` knows as well.
    fn unknown(&mut self) {
        self.out.push('\\');
        let next = self.next();
        self.out.extend(next);
    }

    /// A class behind a backslash, if there is one. `alone` when it is outside of brackets.
    fn class_escape(&mut self, alone: bool) -> bool {
        let Some(c) = self.peek() else { return false };
        if let Some(class) = perl_class(c) {
            self.skip(1);
            match (c.is_ascii_uppercase(), alone) {
                (true, _) => self.out.extend(["[^", class, "]"]),
                (false, true) => self.out.extend(["[", class, "]"]),
                (false, false) => self.out.push_str(class),
            }
            return true;
        }
        if !matches!(c, 'p' | 'P') {
            return false;
        }
        self.skip(1);
        let is_negated = (c == 'P') != self.rest.starts_with("{^");
        self.out.push_str(if is_negated { r"\P" } else { r"\p" });
        if self.rest.starts_with("{^") {
            self.out.push('{');
            self.skip(2);
        }
        let end =
            if self.rest.starts_with('{') || self.out.ends_with('{') { self.rest.find('}') } else { None };
        let first = self.peek().map_or(0, char::len_utf8);
        self.copy(end.map_or(first, |end| end + 1));
        true
    }

    /// The character that an escape stands for; nothing is read when it stands for none.
    fn character(&mut self) -> Option<char> {
        let (c, bytes) = match self.peek()? {
            'a' => ('\x07', 1),
            'f' => ('\x0c', 1),
            'n' => ('\n', 1),
            'r' => ('\r', 1),
            't' => ('\t', 1),
            'v' => ('\x0b', 1),
            'x' => hexadecimal(self.rest)?,
            '0'..='7' => octal(self.rest)?,
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => (c, 1),
            _ => return None,
        };
        self.skip(bytes);
        Some(c)
    }

    /// What follows an opening bracket, to the closing one.
    fn brackets(&mut self) {
        self.out.push('[');
        if self.peek() == Some('^') {
            self.copy(1);
        }
        let mut is_first = true;
        while let Some(c) = self.peek() {
            if c == ']' && !is_first {
                return self.copy(1);
            }
            is_first = false;
            if let Some(end) = self.rest.strip_prefix("[:").and_then(|rest| rest.find(":]")) {
                self.copy("[:".len() + end + ":]".len());
                continue;
            }
            self.skip(c.len_utf8());
            if c == '\\' && self.class_escape(false) {
                continue;
            }
            if !self.bound(c) {
                continue;
            }
            let mut following = self.rest.chars();
            if following.next() == Some('-') && following.next().is_some_and(|c| c != ']') {
                self.copy(1);
                let Some(last) = self.next() else { return };
                self.bound(last);
            }
        }
    }

    /// One character in brackets, which began with `c`. False when it is none.
    fn bound(&mut self, c: char) -> bool {
        let c = if c == '\\' { self.character() } else { Some(c) };
        match c {
            Some(c) => self.literal(c),
            None => self.unknown(),
        }
        c.is_some()
    }

    /// What follows an opening brace: a repetition, or anything.
    fn brace(&mut self) {
        let number = |text: &str| {
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            is_number && (text == "0" || !text.starts_with('0'))
        };
        let inside = self.rest.split_once('}').map(|(inside, _)| inside);
        let is_repetition = inside.is_some_and(|inside| match inside.split_once(',') {
            None => number(inside),
            Some((least, most)) => number(least) && (most.is_empty() || number(most)),
        });
        self.out.push_str(if is_repetition { "{" } else { r"\{" });
    }
}

/// `x7F` or `x{10FFFF}` at the beginning of `text`, and its length.
fn hexadecimal(text: &str) -> Option<(char, usize)> {
    let digits = text.get(1..)?;
    let (digits, bytes) = match digits.strip_prefix('{') {
        Some(inside) => (inside.split_once('}')?.0, "x{}".len()),
        None => (digits.get(..2)?, "x".len()),
    };
    let is_number = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let number = is_number.then(|| u32::from_str_radix(digits, 16).ok())??;
    Some((char::from_u32(number)?, bytes + digits.len()))
}

/// Up to three digits at the beginning of `text`, and their length. One alone refers back to a group, but for 0.
fn octal(text: &str) -> Option<(char, usize)> {
    let count = text.bytes().take(3).take_while(|digit| (b'0'..=b'7').contains(digit)).count();
    let digits = text.get(..count).filter(|digits| count > 1 || *digits == "0")?;
    Some((char::from_u32(u32::from_str_radix(digits, 8).ok()?)?, count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use regex::Regex;

    /// Whether what `pattern` takes as a whole is `taken`, and what it does not is `refused`.
    #[track_caller]
    fn check(pattern: &str, taken: &[&str], refused: &[&str]) {
        let translated = regex_of_re2(pattern);
        let regex = Regex::new(&format!("^(?s:{translated})$")).unwrap_or_else(|error| panic!("{error}"));
        for (texts, expect) in [(taken, true), (refused, false)] {
            for text in texts {
                assert_eq!(regex.is_match(text), expect, "{pattern} became {translated}: {text:?}");
            }
        }
    }

    #[test]
    fn quoted_text() {
        check(r"\Qa.b\E", &["a.b"], &["axb", r"\Qa.b\E"]);
        check(r"\Q[(*", &["[(*"], &["x"]);
        check(r"x\Q+\E+y", &["x+y", "x+++y"], &["xy"]);
        check(r"\Q\d\E\d", &[r"\d1"], &["11"]);
    }

    #[test]
    fn braces() {
        check("e{u}", &["e{u}"], &["e"]);
        check("a{,3}", &["a{,3}"], &["aa", ""]);
        check("a{", &["a{"], &["a"]);
        check("a{2}b{1,}c{0,1}", &["aab", "aabbc"], &["ab"]);
        check("a{02}", &["a{02}"], &["aa"]);
        check("a{1,2,3}", &["a{1,2,3}"], &["a"]);
        check("a{ 2 }", &["a{ 2 }"], &["aa"]);
    }

    #[test]
    fn classes_are_of_ascii() {
        check(r"\d", &["7"], &["٣", "x"]);
        check(r"\D", &["٣", "x"], &["7"]);
        check(r"\w+", &["aZ_0"], &["ä", "-"]);
        check(r"\s", &[" ", "\t"], &["\u{a0}", "\x0b"]);
        check(r"[\d\s-]", &["1", " ", "-"], &["٣"]);
        check(r"[^\w.]", &["ä", "-"], &["a", "."]);
        check(r"[\Wa]", &["ä", "a"], &["b"]);
        check(r"ä\b.*", &[], &["ä"]);
        check(r"ä\Bß", &["äß"], &[]);
        check(r"(?i)\bE{U}", &["e{u}"], &["eu"]);
        check("[[:alpha:]]+", &["aZ"], &["ä", ":"]);
        check(
            r"\pL\p{Greek}\p{^Greek}\P{^Greek}[\pN\p{^Lu}]",
            &["äααα1".replace("ααα", "αbα").as_str()],
            &["x"],
        );
    }

    #[test]
    fn brackets_hold_characters() {
        check("[[e]u", &["[u", "eu"], &["[e]u"]);
        check("[a-z&&[^e]]u", &["a]u", "&]u", "e]u"], &["au", "u"]);
        check("[+--]", &["+", ",", "-"], &["."]);
        check("[a~~b]", &["a", "~", "b"], &["c"]);
        check("[]a]", &["]", "a"], &["b"]);
        check("[^]a]", &["b"], &["]", "a"]);
        check(r"[\w-.]", &["a", "-", "."], &["/"]);
        check("[a-c-e]", &["b", "-", "e"], &["d"]);
        check(r"[\]\-\\^]", &["]", "-", r"\", "^"], &["a"]);
        check(r"[\x41-\x{43}\060]", &["B", "0"], &["D"]);
        check("[-a]", &["-", "a"], &["b"]);
        check("[a-]", &["-", "a"], &["b"]);
    }

    #[test]
    fn escapes() {
        check(r"\<a\>\_\ \-\#\&", &["<a>_ -#&"], &[]);
        check(r"\.\x2e\x{2e}\056\0", &["....\0"], &["abcde"]);
        check(r"\t\n\v\f\r\a", &["\t\n\x0b\x0c\r\x07"], &[]);
        check(r"\Aa\z", &["a"], &["b"]);
        check("a}b]c", &["a}b]c"], &[]);
        check("(?P<x>a)(?<y>b)(?i:c)", &["abC"], &[]);
    }

    #[test]
    fn what_is_wrong_stays_wrong() {
        for pattern in [
            "(",
            "[",
            "[a",
            "[]",
            "[^",
            "[a-",
            r"[a-\d]",
            "[b-a]",
            r"\",
            r"\1",
            r"\E",
            r"\C",
            r"[\b]",
            "*",
            "{2}",
            r"\x{110000}",
            r"\xg",
            r"\p{Nothing}",
            r"\p",
            r"\p{",
            r"[\p{^",
            "(?=a)",
            "a)|(b",
            r"\ä",
        ] {
            let translated = regex_of_re2(pattern);
            assert!(Regex::new(&translated).is_err(), "{pattern} became {translated}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_panics_or_grows_without_bound(pattern in r"(\\[QEdwsDWSpPx0-7b<]|[\[\]{}^:&~,\-\\a-zä0-9|()])*") {
            prop_assert!(regex_of_re2(&pattern).len() <= 10 * pattern.len());
        }

        #[test]
        fn quoted_text_is_itself(text in r"[^\\]*") {
            check(&format!(r"\Q{text}\E"), &[&text], &[]);
        }
    }
}
