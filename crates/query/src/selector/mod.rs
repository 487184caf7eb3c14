//! Which series a query is about: PromQL's vector selector, with or without a profile type before it.

mod parse;

use crate::selection::{PROFILE_TYPE, label_value};
use everflame_profile::{ProfileType, ProfileTypeError, Series, regex_of_re2};
use regex::{Regex, RegexBuilder};
use std::fmt;
use std::str::FromStr;

/// Longest selector text in bytes.
const MAX_TEXT: usize = 64 << 10;
/// Most matchers of a selector.
const MAX_MATCHERS: usize = 128;
/// Longest regular expression in bytes.
const MAX_REGEX: usize = 8 << 10;
/// Most memory of a compiled regular expression, in bytes.
const MAX_REGEX_PROGRAM: usize = 2 << 20;

/// How a [`Matcher`] compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// One condition on one label. A label that a series lacks has the value "".
#[derive(Clone, Debug)]
pub struct Matcher {
    name: String,
    op: MatchOp,
    value: String,
    regex: Option<Regex>,
}

impl Matcher {
    /// A condition; fails when `op` wants a regular expression and `value` is none, or one that is too big.
    pub fn new(
        name: impl Into<String>,
        op: MatchOp,
        value: impl Into<String>,
    ) -> Result<Self, SelectorError> {
        let (name, value) = (name.into(), value.into());
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(compile(&value)?),
        };
        Ok(Self { name, op, value, regex })
    }

    /// `name="value"`.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), op: MatchOp::Equal, value: value.into(), regex: None }
    }

    /// The label.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it compares.
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// What it compares with: a value or a regular expression.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether a label with this value is taken. Regular expressions cover the whole value.
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.regex) {
            (MatchOp::Equal, _) => self.value == value,
            (MatchOp::NotEqual, _) => self.value != value,
            (MatchOp::Regex, regex) => regex.as_ref().is_some_and(|regex| regex.is_match(value)),
            (MatchOp::NotRegex, regex) => regex.as_ref().is_some_and(|regex| !regex.is_match(value)),
        }
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match parse::is_identifier(&self.name) {
            true => f.write_str(&self.name)?,
            false => parse::quote(f, &self.name)?,
        }
        f.write_str(self.op.as_str())?;
        parse::quote(f, &self.value)
    }
}

/// The expression alone must be valid too: `a)|(b` must not escape from its anchors.
fn compile(pattern: &str) -> Result<Regex, SelectorError> {
    let fault = |fault| SelectorError { position: 0, fault };
    if pattern.len() > MAX_REGEX {
        return Err(fault(SelectorFault::RegexTooLong));
    }
    let build = |pattern: &str| {
        RegexBuilder::new(pattern)
            .size_limit(MAX_REGEX_PROGRAM)
            .dfa_size_limit(MAX_REGEX_PROGRAM)
            .nest_limit(64)
            .build()
            .map_err(|error| fault(SelectorFault::Regex(error.to_string())))
    };
    let pattern = regex_of_re2(pattern);
    build(&pattern)?;
    build(&format!("^(?s:{pattern})$"))
}

/// A set of conditions that all must hold. Virtual labels ([`crate::VIRTUAL_LABELS`]) can be used like
/// those of the user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    matchers: Vec<Matcher>,
}

impl Selector {
    /// The selector that takes every series: `{}`.
    pub fn all() -> Self {
        Self::default()
    }

    /// One that takes what all `matchers` take.
    pub fn new(matchers: Vec<Matcher>) -> Self {
        Self { matchers }
    }

    /// The same with one more condition.
    pub fn with(mut self, matcher: Matcher) -> Self {
        self.matchers.push(matcher);
        self
    }

    /// The conditions.
    pub fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }

    /// Whether it takes `series`.
    pub fn matches(&self, series: &Series) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(&label_value(series, &matcher.name)))
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    /// PromQL's vector selector without modifiers: `{a="b", c=~"re", d!="x", e!~"y"}`, optionally with a
    /// name before the brace or quoted alone inside. Empty text is an error; `{}` takes everything.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse::selector(text)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (at, matcher) in self.matchers.iter().enumerate() {
            write!(f, "{}{matcher}", if at == 0 { "" } else { ", " })?;
        }
        f.write_str("}")
    }
}

/// Why a text is no selector, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("selector, character {}: {fault}", .position + 1)]
pub struct SelectorError {
    /// Characters before the fault.
    pub position: usize,
    /// What is wrong there.
    pub fault: SelectorFault,
}

/// What is wrong with a selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorFault {
    /// There is no text.
    #[error("there is none; write {{}} for every series")]
    Empty,
    /// It is too long.
    #[error("it is longer than {} bytes; shorten it", MAX_TEXT)]
    TooLong,
    /// It has too many matchers.
    #[error("more than {} matchers; join some by a regular expression", MAX_MATCHERS)]
    TooManyMatchers,
    /// Something else was expected.
    #[error("expected {expected}, found {found}; the form is {{name=\"value\", other=~\"regex\"}}")]
    Expected {
        /// What may stand here.
        expected: &'static str,
        /// What does.
        found: String,
    },
    /// A quoted text does not end.
    #[error("this quoted text has no end; close it with {0}")]
    Unterminated(char),
    /// An escape is unknown or incomplete.
    #[error("this escape is not known or not complete; write \\\\ for a backslash, or quote with `")]
    Escape,
    /// Escapes make bytes that are not UTF-8.
    #[error("the escapes of this text do not make UTF-8; write the characters themselves")]
    Utf8,
    /// A regular expression is too long.
    #[error("the regular expression is longer than {} bytes; shorten it", MAX_REGEX)]
    RegexTooLong,
    /// A regular expression is not valid or too big.
    #[error("the regular expression cannot be used: {0}")]
    Regex(String),
}

/// A profile type and a selector: `process_cpu:cpu:nanoseconds:cpu:nanoseconds{service_name="api"}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedSelector {
    /// What is measured.
    pub profile_type: ProfileType,
    /// Which series.
    pub selector: Selector,
}

/// Why a text is not a profile type with a selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TypedSelectorError {
    /// The type is missing.
    #[error(
        "the query has no profile type; write it before the brace, as in \
         process_cpu:cpu:nanoseconds:cpu:nanoseconds{{service_name=\"api\"}}, or as __profile_type__=\"…\" in it"
    )]
    NoType,
    /// The type is malformed.
    #[error(transparent)]
    Type(#[from] ProfileTypeError),
    /// The selector is malformed; the position counts from the brace.
    #[error(transparent)]
    Selector(#[from] SelectorError),
}

impl FromStr for TypedSelector {
    type Err = TypedSelectorError;

    /// Takes `TYPE{…}`, `TYPE` alone, and `{__profile_type__="TYPE", …}`, also with `__name__`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let brace = text.find('{').unwrap_or(text.len());
        let (profile_type, rest) = text.split_at(brace);
        let profile_type = profile_type.trim_end();
        let mut selector = match rest.is_empty() {
            true => Selector::all(),
            false => rest.parse()?,
        };
        if !profile_type.is_empty() {
            return Ok(Self { profile_type: profile_type.parse()?, selector });
        }
        let is_type = |matcher: &Matcher| matcher.name == PROFILE_TYPE && matcher.op == MatchOp::Equal;
        let at = selector.matchers.iter().position(is_type).ok_or(TypedSelectorError::NoType)?;
        let profile_type = selector.matchers.remove(at).value.parse()?;
        Ok(Self { profile_type, selector })
    }
}

impl fmt::Display for TypedSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.profile_type, self.selector)
    }
}
