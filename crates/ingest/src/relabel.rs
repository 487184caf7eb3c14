//! Rules that rewrite the labels of profiles before they are stored, or drop profiles, in Prometheus' syntax.
//!
//! Source of the syntax: <https://prometheus.io/docs/prometheus/latest/configuration/configuration/#relabel_config>.
//! Rules see the labels of a series, and what is measured as `__name__`, `__type__`, `__unit__`,
//! `__period_type__`, `__period_unit__` and (to be read alone) `__profile_type__`. Expressions cover the whole
//! text. Whatever the rules are, a label set cannot grow past the bounds below.

mod template;

use everflame_profile::{Labels, PROFILE_NAME, ProfileType, ValueType, regex_of_re2};
use md5::{Digest, Md5};
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

/// Most rules.
const MAX_RULES: usize = 512;
/// Longest regular expression in bytes.
const MAX_REGEX: usize = 8 << 10;
/// Most memory of a compiled regular expression, in bytes.
const MAX_REGEX_PROGRAM: usize = 2 << 20;
/// Most labels that rules may make; what would be more is left out.
const MAX_LABELS: usize = 128;
/// Longest name and value that rules may make, in bytes; a label that would be longer is left as it is.
const MAX_TEXT: usize = 4 << 10;

const DEFAULT_SEPARATOR: &str = ";";
const DEFAULT_REGEX: &str = "(.*)";
const DEFAULT_REPLACEMENT: &str = "$1";

/// Labels by which rules see what is measured.
const TYPE: &str = "__type__";
const UNIT: &str = "__unit__";
const PERIOD_TYPE: &str = "__period_type__";
const PERIOD_UNIT: &str = "__period_unit__";
const PROFILE_TYPE: &str = "__profile_type__";

/// What a rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RelabelAction {
    /// Sets the target label to the replacement when the expression matches.
    #[default]
    Replace,
    /// Drops what does not match.
    Keep,
    /// Drops what matches.
    Drop,
    /// Copies labels whose names match to what the replacement says.
    LabelMap,
    /// Removes labels whose names match.
    LabelDrop,
    /// Removes labels whose names do not match.
    LabelKeep,
    /// Sets the target label to a hash of the source labels, modulo a number.
    HashMod,
    /// Sets the target label to the source labels in lower case.
    Lowercase,
    /// Sets the target label to the source labels in upper case.
    Uppercase,
    /// Drops what has a target label other than the source labels.
    KeepEqual,
    /// Drops what has a target label equal to the source labels.
    DropEqual,
}

impl RelabelAction {
    const ALL: [(&str, Self); 11] = [
        ("replace", Self::Replace),
        ("keep", Self::Keep),
        ("drop", Self::Drop),
        ("labelmap", Self::LabelMap),
        ("labeldrop", Self::LabelDrop),
        ("labelkeep", Self::LabelKeep),
        ("hashmod", Self::HashMod),
        ("lowercase", Self::Lowercase),
        ("uppercase", Self::Uppercase),
        ("keepequal", Self::KeepEqual),
        ("dropequal", Self::DropEqual),
    ];
}

/// A rule as it is written, so that `1.10` without quotes is no number of YAML; what is absent has Prometheus' default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RelabelRule {
    /// Labels whose values, joined, are looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_labels: Option<Vec<String>>,
    /// What stands between joined values: `;`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// The label that is set or compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_label: Option<String>,
    /// Regular expression over the joined values, or over names of labels: `(.*)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// What `hashmod` takes the rest by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modulus: Option<u64>,
    /// The new value, with `$1` and `${name}` for what the expression has caught: `$1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacement: Option<String>,
    /// What to do: `replace`.
    #[serde(default, deserialize_with = "action", skip_serializing_if = "is_replace")]
    pub action: RelabelAction,
}

fn is_replace(action: &RelabelAction) -> bool {
    *action == RelabelAction::Replace
}

fn action<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<RelabelAction, D::Error> {
    let text = String::deserialize(deserializer)?;
    let found = RelabelAction::ALL.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
    found.map(|(_, action)| *action).ok_or_else(|| {
        let names = RelabelAction::ALL.map(|(name, _)| name).join(", ");
        serde::de::Error::custom(format!("action {text:?} is not known; there are {names}"))
    })
}

/// Why rules cannot be used; says which one, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule}: {fault}")]
pub struct RelabelError {
    rule: usize,
    fault: String,
}

/// Rules, ready to be applied one after the other.
#[derive(Clone, Debug, Default)]
pub struct Relabel {
    rules: Vec<Compiled>,
}

#[derive(Clone, Debug)]
struct Compiled {
    source: Vec<String>,
    separator: String,
    target: String,
    regex: Regex,
    modulus: u64,
    replacement: String,
    action: RelabelAction,
}

impl Relabel {
    /// Checks and compiles `rules`.
    pub fn new(rules: &[RelabelRule]) -> Result<Self, RelabelError> {
        if rules.len() > MAX_RULES {
            let fault = format!("there are {} of them, at most {MAX_RULES} are taken", rules.len());
            return Err(RelabelError { rule: MAX_RULES + 1, fault });
        }
        let compile = |(at, rule): (usize, &RelabelRule)| {
            compile(rule).map_err(|fault| RelabelError { rule: at + 1, fault })
        };
        Ok(Self { rules: rules.iter().enumerate().map(compile).collect::<Result<_, _>>()? })
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The labels and the type after all rules, or the number, from 1, of the rule that drops the profile.
    /// Labels that begin with `__` do not come back.
    pub fn apply(&self, labels: &Labels, profile_type: &ProfileType) -> Result<(Labels, ProfileType), usize> {
        let mut all = labels.clone();
        let ProfileType { name, sample, period } = profile_type;
        all.set(PROFILE_NAME, name.as_str());
        all.set(TYPE, sample.kind.as_str());
        all.set(UNIT, sample.unit.as_str());
        all.set(PERIOD_TYPE, period.kind.as_str());
        all.set(PERIOD_UNIT, period.unit.as_str());
        all.set(PROFILE_TYPE, profile_type.to_string());
        for (at, rule) in self.rules.iter().enumerate() {
            if !rule.apply(&mut all) {
                return Err(at + 1);
            }
        }
        // A type cannot do without these; one of them may be gone because of `labelkeep`.
        let or = |name: &str, before: &str| match all.get(name) {
            "" => before.to_owned(),
            // Parts of a type are set apart by colons.
            value => value.replace(':', "_"),
        };
        let renamed = ProfileType {
            name: or(PROFILE_NAME, name),
            sample: ValueType::new(or(TYPE, &sample.kind), or(UNIT, &sample.unit)),
            period: ValueType::new(or(PERIOD_TYPE, &period.kind), or(PERIOD_UNIT, &period.unit)),
        };
        let labels = Labels::from_pairs(all.iter().filter(|(name, _)| !name.starts_with("__")));
        Ok((labels, renamed))
    }
}

fn compile(rule: &RelabelRule) -> Result<Compiled, String> {
    use RelabelAction as Action;
    let action = rule.action;
    let name = Action::ALL.iter().find(|(_, other)| *other == action).map_or("", |(name, _)| name);
    let target = rule.target_label.clone().unwrap_or_default();
    let separator = rule.separator.as_deref().unwrap_or(DEFAULT_SEPARATOR);
    let regex = rule.regex.as_deref().unwrap_or(DEFAULT_REGEX);
    let replacement = rule.replacement.as_deref().unwrap_or(DEFAULT_REPLACEMENT);
    let needs_target = !matches!(
        action,
        Action::Keep | Action::Drop | Action::LabelMap | Action::LabelDrop | Action::LabelKeep
    );
    if needs_target && target.is_empty() {
        return Err(format!("{name} needs target_label"));
    }
    if action == Action::HashMod && rule.modulus.unwrap_or(0) == 0 {
        return Err("hashmod needs a modulus above zero".to_owned());
    }
    if matches!(action, Action::Lowercase | Action::Uppercase) && replacement != DEFAULT_REPLACEMENT {
        return Err(format!("{name} takes no replacement"));
    }
    let equals = matches!(action, Action::KeepEqual | Action::DropEqual);
    if equals
        && (regex != DEFAULT_REGEX
            || rule.modulus.is_some()
            || separator != DEFAULT_SEPARATOR
            || replacement != DEFAULT_REPLACEMENT)
    {
        return Err(format!("{name} takes source_labels and target_label, and nothing else"));
    }
    let names = matches!(action, Action::LabelDrop | Action::LabelKeep);
    if names
        && (rule.source_labels.is_some()
            || !target.is_empty()
            || rule.modulus.is_some()
            || separator != DEFAULT_SEPARATOR
            || replacement != DEFAULT_REPLACEMENT)
    {
        return Err(format!("{name} takes regex, and nothing else"));
    }
    Ok(Compiled {
        source: rule.source_labels.clone().unwrap_or_default(),
        separator: separator.to_owned(),
        target: if action == Action::Replace { template::of_go(&target) } else { target },
        regex: anchored(regex)?,
        modulus: rule.modulus.unwrap_or(0),
        replacement: template::of_go(replacement),
        action,
    })
}

/// The expression alone must be valid too: `a)|(b` must not escape from its anchors.
fn anchored(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > MAX_REGEX {
        return Err(format!("regex has {} bytes, at most {MAX_REGEX} are taken", pattern.len()));
    }
    let build = |pattern: &str| {
        RegexBuilder::new(pattern)
            .size_limit(MAX_REGEX_PROGRAM)
            .dfa_size_limit(MAX_REGEX_PROGRAM)
            .nest_limit(64)
            .build()
            .map_err(|error| format!("regex {pattern:?}: {error}"))
    };
    let pattern = regex_of_re2(pattern);
    build(&pattern)?;
    build(&format!("^(?s:{pattern})$"))
}

impl Compiled {
    /// Changes `labels`; false when they are to be dropped.
    fn apply(&self, labels: &mut Labels) -> bool {
        use RelabelAction as Action;
        let source = || {
            let values: Vec<&str> = self.source.iter().map(|name| labels.get(name)).collect();
            values.join(&self.separator)
        };
        match self.action {
            Action::Keep => return self.regex.is_match(&source()),
            Action::Drop => return !self.regex.is_match(&source()),
            Action::KeepEqual => return labels.get(&self.target) == source(),
            Action::DropEqual => return labels.get(&self.target) != source(),
            Action::Replace => {
                let source = source();
                let Some(captures) = self.regex.captures(&source) else { return true };
                let expand = |template: &str| {
                    let mut text = String::new();
                    captures.expand(template, &mut text);
                    text
                };
                set(labels, &expand(&self.target), expand(&self.replacement));
            }
            Action::Lowercase => set(labels, &self.target, source().chars().map(lowercase).collect()),
            Action::Uppercase => set(labels, &self.target, source().chars().map(uppercase).collect()),
            Action::HashMod => {
                // As Prometheus does it: the last eight bytes of the digest, the most significant first.
                let digest = Md5::digest(source().as_bytes());
                let hash = digest.iter().skip(8).fold(0u64, |hash, &byte| hash << 8 | u64::from(byte));
                let rest = hash.checked_rem(self.modulus).unwrap_or_default();
                set(labels, &self.target, rest.to_string());
            }
            Action::LabelMap => {
                let matching = labels.iter().filter(|(name, _)| self.regex.is_match(name));
                let mapped: Vec<(String, String)> = matching
                    .map(|(name, value)| {
                        let name = self.regex.replace_all(name, self.replacement.as_str());
                        (name.into_owned(), value.to_owned())
                    })
                    .collect();
                mapped.into_iter().for_each(|(name, value)| set(labels, &name, value));
            }
            Action::LabelDrop => labels_retain(labels, |name| !self.regex.is_match(name)),
            Action::LabelKeep => labels_retain(labels, |name| self.regex.is_match(name)),
        }
        true
    }
}

/// Letters become one other letter, or stay as they are, as in Go.
fn lowercase(letter: char) -> char {
    letter.to_lowercase().next().unwrap_or(letter)
}

/// The same; those that become several (`ß`) stay.
fn uppercase(letter: char) -> char {
    let mut upper = letter.to_uppercase();
    if upper.len() == 1 { upper.next().unwrap_or(letter) } else { letter }
}

/// Sets a label within the bounds; an empty value removes it.
fn set(labels: &mut Labels, name: &str, value: String) {
    let fits = name.len() <= MAX_TEXT && value.len() <= MAX_TEXT;
    if fits && (labels.len() < MAX_LABELS || labels.contains(name) || value.is_empty()) {
        labels.set(name, value);
    }
}

fn labels_retain(labels: &mut Labels, keep: impl Fn(&str) -> bool) {
    *labels = Labels::from_pairs(labels.iter().filter(|(name, _)| keep(name)));
}

#[cfg(test)]
mod tests;
