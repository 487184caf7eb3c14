//! Reads and writes the text of a selector.
//!
//! Grammar: <https://prometheus.io/docs/prometheus/latest/querying/basics/>, instant vector selectors and
//! string literals (Go's escapes; backticks quote raw text).

use super::{MAX_MATCHERS, MAX_TEXT, MatchOp, Matcher, Selector, SelectorError, SelectorFault};
use crate::selection::PROFILE_TYPE;
use everflame_profile::{PROFILE_NAME, ProfileType};
use std::fmt::{self, Write};

pub(super) fn selector(text: &str) -> Result<Selector, SelectorError> {
    let mut parser = Parser { text, at: 0 };
    if text.len() > MAX_TEXT {
        return Err(parser.fault(SelectorFault::TooLong));
    }
    parser.skip_space();
    if parser.rest().is_empty() {
        return Err(parser.fault(SelectorFault::Empty));
    }
    let mut matchers = Vec::new();
    if let Some(name) = parser.metric_name() {
        matchers.push(named(name));
        parser.skip_space();
        if parser.rest().is_empty() {
            return Ok(Selector::new(matchers));
        }
    }
    parser.expect('{', "'{'")?;
    loop {
        parser.skip_space();
        if parser.take('}') {
            break;
        }
        if matchers.len() == MAX_MATCHERS {
            return Err(parser.fault(SelectorFault::TooManyMatchers));
        }
        matchers.push(parser.matcher()?);
        parser.skip_space();
        if parser.take('}') {
            break;
        }
        parser.expect(',', "',' or '}'")?;
    }
    parser.skip_space();
    match parser.rest().is_empty() {
        true => Ok(Selector::new(matchers)),
        false => Err(parser.expected("the end")),
    }
}

/// The condition that what is measured has this name. A whole profile type is one, too.
fn named(name: &str) -> Matcher {
    match name.parse::<ProfileType>() {
        Ok(profile_type) => Matcher::equal(PROFILE_TYPE, profile_type.to_string()),
        Err(_) => Matcher::equal(PROFILE_NAME, name),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn matcher(&mut self) -> Result<Matcher, SelectorError> {
        let (name, quoted) = match self.identifier() {
            Some(name) => (name.to_owned(), false),
            None if self.rest().starts_with(['"', '\'', '`']) => (self.quoted()?, true),
            None => return Err(self.expected("a label name or '}'")),
        };
        self.skip_space();
        // A quoted text alone is the name of what is measured.
        if quoted && self.rest().starts_with([',', '}']) {
            return Ok(named(&name));
        }
        let operators = [
            ("=~", MatchOp::Regex),
            ("!~", MatchOp::NotRegex),
            ("!=", MatchOp::NotEqual),
            ("=", MatchOp::Equal),
        ];
        let Some((operator, op)) = operators.into_iter().find(|(text, _)| self.rest().starts_with(text))
        else {
            return Err(self.expected("one of = != =~ !~"));
        };
        self.at += operator.len();
        self.skip_space();
        if !self.rest().starts_with(['"', '\'', '`']) {
            return Err(self.expected("a quoted value"));
        }
        let begin = self.at;
        let value = self.quoted()?;
        if name == PROFILE_NAME && op == MatchOp::Equal {
            return Ok(named(&value));
        }
        Matcher::new(name, op, value).map_err(|error| self.fault_at(begin, error.fault))
    }

    fn quoted(&mut self) -> Result<String, SelectorError> {
        let begin = self.at;
        let quote = self.next().unwrap_or('"');
        let unterminated = SelectorFault::Unterminated(quote);
        let mut bytes = Vec::new();
        loop {
            let at = self.at;
            match self.next() {
                None => return Err(self.fault_at(begin, unterminated)),
                Some(c) if c == quote => break,
                Some('\n') if quote != '`' => return Err(self.fault_at(begin, unterminated)),
                Some('\\') if quote != '`' => {
                    let escaped = self.escape(&mut bytes);
                    escaped.ok_or_else(|| self.fault_at(at, SelectorFault::Escape))?;
                }
                Some(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        String::from_utf8(bytes).map_err(|_| self.fault_at(begin, SelectorFault::Utf8))
    }

    /// What stands after a backslash, as bytes.
    fn escape(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let c = self.next()?;
        let byte = match c {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' | '\'' | '"' => c as u8,
            '0'..='7' => {
                self.at -= 1;
                u8::try_from(self.digits(3, 8)?).ok()?
            }
            'x' => u8::try_from(self.digits(2, 16)?).ok()?,
            'u' | 'U' => {
                let c = char::from_u32(self.digits(if c == 'u' { 4 } else { 8 }, 16)?)?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Some(());
            }
            _ => return None,
        };
        out.push(byte);
        Some(())
    }

    fn digits(&mut self, count: usize, radix: u32) -> Option<u32> {
        let digits = self.rest().get(..count)?;
        if !digits.chars().all(|c| c.is_digit(radix)) {
            return None;
        }
        self.at += count;
        u32::from_str_radix(digits, radix).ok()
    }

    fn identifier(&mut self) -> Option<&'a str> {
        self.word(is_identifier)
    }

    /// What stands before the brace: colons are letters there.
    fn metric_name(&mut self) -> Option<&'a str> {
        self.word(|name| !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty())
    }

    /// Letters, digits, underscores and colons that are a `name`.
    fn word(&mut self, is_name: impl Fn(&str) -> bool) -> Option<&'a str> {
        let rest = self.rest();
        let end =
            rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':').unwrap_or(rest.len());
        let name = rest.get(..end).filter(|name| is_name(name))?;
        self.at += end;
        Some(name)
    }

    fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn take(&mut self, c: char) -> bool {
        let found = self.rest().starts_with(c);
        self.at += if found { c.len_utf8() } else { 0 };
        found
    }

    fn expect(&mut self, c: char, expected: &'static str) -> Result<(), SelectorError> {
        if self.take(c) { Ok(()) } else { Err(self.expected(expected)) }
    }

    fn expected(&self, expected: &'static str) -> SelectorError {
        let found = match self.rest().chars().next() {
            Some(c) => format!("{c:?}"),
            None => "the end".to_owned(),
        };
        self.fault(SelectorFault::Expected { expected, found })
    }

    fn fault(&self, fault: SelectorFault) -> SelectorError {
        self.fault_at(self.at, fault)
    }

    fn fault_at(&self, at: usize, fault: SelectorFault) -> SelectorError {
        SelectorError { position: self.text.get(..at).unwrap_or_default().chars().count(), fault }
    }
}

/// Whether a label name can be written without quotes.
pub(super) fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Writes `text` so that the parser reads it back.
pub(super) fn quote(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            c if c.is_control() => write!(f, "\\u{:04x}", c as u32)?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::super::TypedSelector;
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        match text.parse::<Selector>() {
            Ok(selector) => assert_eq!(selector.to_string(), expect, "{text}"),
            Err(error) => assert_eq!(error.to_string(), expect, "{text}"),
        }
    }

    #[test]
    fn reads_promql() {
        check("{}", "{}");
        check(" { } ", "{}");
        check(r#"{a="b"}"#, r#"{a="b"}"#);
        check(r#"{ a = "b" , c=~"re.*" ,d!="x",e!~'y', }"#, r#"{a="b", c=~"re.*", d!="x", e!~"y"}"#);
        check(r#"{"dotted.name"='v', `raw\n`="x"}"#, r#"{"dotted.name"="v", "raw\\n"="x"}"#);
        check(r#"{a="\"\\\n\x41\101\u00e4\U0001F525"}"#, "{a=\"\\\"\\\\\\nAAä🔥\"}");
        check(r#"{a=`\d "x"`}"#, r#"{a="\\d \"x\""}"#);
        check(r#"process_cpu{a="b"}"#, r#"{__name__="process_cpu", a="b"}"#);
        check("process_cpu", r#"{__name__="process_cpu"}"#);
        check(r#"{"process_cpu", a="b"}"#, r#"{__name__="process_cpu", a="b"}"#);
        check(r#"{a=""}"#, r#"{a=""}"#);
        check("a:b", r#"{__name__="a:b"}"#);
        check("a:b:c:d:e", r#"{__profile_type__="a:b:c:d:e"}"#);
        check("a:b:c::{}", r#"{__profile_type__="a:b:c::"}"#);
        check(r#"a:b:c:d:e:delta{x="y"}"#, r#"{__profile_type__="a:b:c:d:e", x="y"}"#);
        check(r#"{"a:b:c:d:e", x="y"}"#, r#"{__profile_type__="a:b:c:d:e", x="y"}"#);
        check(r#"{__name__="a:b:c:d:e"}"#, r#"{__profile_type__="a:b:c:d:e"}"#);
        check(r#"{__name__="process_cpu"}"#, r#"{__name__="process_cpu"}"#);
    }

    #[test]
    fn names_place_and_remedy() {
        let form = r#"the form is {name="value", other=~"regex"}"#;
        check("", "selector, character 1: there is none; write {} for every series");
        check("  ", "selector, character 3: there is none; write {} for every series");
        check("{", &format!("selector, character 2: expected a label name or '}}', found the end; {form}"));
        check("{ä=", &format!("selector, character 2: expected a label name or '}}', found 'ä'; {form}"));
        check("{a}", &format!("selector, character 3: expected one of = != =~ !~, found '}}'; {form}"));
        check("{a=b}", &format!("selector, character 4: expected a quoted value, found 'b'; {form}"));
        check(r#"{a="b" c="d"}"#, &format!("selector, character 8: expected ',' or '}}', found 'c'; {form}"));
        check(r#"{a="b"} x"#, &format!("selector, character 9: expected the end, found 'x'; {form}"));
        check("{,}", &format!("selector, character 2: expected a label name or '}}', found ','; {form}"));
        check(r#"{a="b}"#, "selector, character 4: this quoted text has no end; close it with \"");
        check(
            r#"{a="\q"}"#,
            "selector, character 5: this escape is not known or not complete; write \\\\ for a backslash, or quote with `",
        );
        check(
            r#"{a="\xff"}"#,
            "selector, character 4: the escapes of this text do not make UTF-8; write the characters themselves",
        );
        let error = r#"{a=~"("}"#.parse::<Selector>().unwrap_err();
        assert!(matches!(error, SelectorError { position: 4, fault: SelectorFault::Regex(_) }), "{error}");
        assert!(r#"{a=~"x)|(y"}"#.parse::<Selector>().is_err());
        assert!(r#"{a=~"(((a{100}){100}){100})"}"#.parse::<Selector>().is_err());
        assert!(format!("{{a=~\"{}\"}}", "a".repeat(10_000)).parse::<Selector>().is_err());
        assert!(format!("{{{}}}", "a=\"b\",".repeat(200)).parse::<Selector>().is_err());
    }

    #[test]
    fn regexes_cover_the_whole_value() {
        let matches = |op, pattern: &str, value| Matcher::new("a", op, pattern).unwrap().matches(value);
        assert!(matches(MatchOp::Regex, "eu|us", "eu"));
        assert!(!matches(MatchOp::Regex, "eu|us", "eu-west"));
        assert!(matches(MatchOp::Regex, "a.*b", "a\nb"));
        assert!(matches(MatchOp::Regex, r"\Qeu+\E\d", "eu+1") && !matches(MatchOp::Regex, r"\d", "٣"));
        assert!(matches(MatchOp::Regex, ".*", "") && !matches(MatchOp::Regex, ".+", ""));
        assert!(matches(MatchOp::NotRegex, "eu", "eu-west") && !matches(MatchOp::NotRegex, "eu", "eu"));
    }

    #[test]
    fn typed_selectors() {
        let read = |text: &str| text.parse::<TypedSelector>().map(|typed| typed.to_string());
        let cpu = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";
        assert_eq!(read(&format!("{cpu}{{a=\"b\"}}")).unwrap(), format!("{cpu}{{a=\"b\"}}"));
        assert_eq!(read(cpu).unwrap(), format!("{cpu}{{}}"));
        assert_eq!(
            read(&format!("{{a=\"b\",__profile_type__=\"{cpu}\"}}")).unwrap(),
            format!("{cpu}{{a=\"b\"}}")
        );
        assert_eq!(read(&format!("{{__name__=\"{cpu}\"}}")).unwrap(), format!("{cpu}{{}}"));
        for broken in ["", "{}", "{a=\"b\"}", "cpu{}", "a:b:c:d:e{", "a:b:c:d:e{} x"] {
            assert!(read(broken).is_err(), "{broken}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(pairs in prop::collection::vec((".{1,6}", 0..2usize, ".{0,8}"), 0..5)) {
            let op = |at| [MatchOp::Equal, MatchOp::NotEqual][at];
            let matchers = pairs.into_iter().map(|(name, at, value)| Matcher::new(name, op(at), value).unwrap());
            let selector = Selector::new(matchers.collect());
            prop_assert_eq!(selector.to_string().parse::<Selector>(), Ok(selector));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}", inner in r#"[{}a"'`=~!,\\x0]{0,20}"#) {
            let _ = (text.parse::<Selector>(), inner.parse::<Selector>(), inner.parse::<TypedSelector>());
        }
    }
}
