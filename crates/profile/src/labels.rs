//! Label sets: sorted, unique `name=value` pairs.

use std::fmt;

/// A label set, sorted by name, without duplicates and without empty values (an absent label and an empty
/// one are the same thing to a selector).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Vec<(String, String)>);

/// Why a list of pairs is not a label set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelsError {
    /// The same name occurs twice.
    #[error("label {0:?} occurs twice; send each label once")]
    Duplicate(String),
    /// A label without a name.
    #[error("a label has an empty name (its value is {0:?}); give it one")]
    EmptyName(String),
}

impl Labels {
    /// Sorts `pairs`; of equal names the last value wins. Pairs with an empty name or value are left out.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut labels = Self::default();
        for (name, value) in pairs {
            labels.set(name, value);
        }
        labels
    }

    /// Sorts `pairs` and refuses duplicates and empty names. Empty values are left out.
    pub fn try_from_pairs(pairs: Vec<(String, String)>) -> Result<Self, LabelsError> {
        let mut pairs = pairs;
        pairs.sort();
        if let Some((_, value)) = pairs.iter().find(|(name, _)| name.is_empty()) {
            return Err(LabelsError::EmptyName(value.clone()));
        }
        if let Some(pair) = pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(LabelsError::Duplicate(pair[0].0.clone()));
        }
        pairs.retain(|(_, value)| !value.is_empty());
        Ok(Self(pairs))
    }

    /// The value of `name`, or "" when it is absent.
    pub fn get(&self, name: &str) -> &str {
        match self.find(name) {
            Ok(at) => &self.0[at].1,
            Err(_) => "",
        }
    }

    /// Sets `name` to `value`, replacing what was there; an empty value removes the label.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        if name.is_empty() {
            return;
        }
        match self.find(&name) {
            Ok(at) if value.is_empty() => drop(self.0.remove(at)),
            Ok(at) => self.0[at].1 = value,
            Err(_) if value.is_empty() => {}
            Err(at) => self.0.insert(at, (name, value)),
        }
    }

    /// Removes `name` and returns its value, if it was there.
    pub fn remove(&mut self, name: &str) -> Option<String> {
        self.find(name).ok().map(|at| self.0.remove(at).1)
    }

    /// Whether `name` is present.
    pub fn contains(&self, name: &str) -> bool {
        self.find(name).is_ok()
    }

    /// All pairs, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no label.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.as_str().cmp(name))
    }
}

impl fmt::Display for Labels {
    /// `{a="1", b="2"}`, values escaped as Rust writes strings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (at, (name, value)) in self.iter().enumerate() {
            write!(f, "{}{name}={value:?}", if at == 0 { "" } else { ", " })?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_unique_last_wins() {
        let labels = Labels::from_pairs([("b", "2"), ("a", "1"), ("b", "3"), ("empty", "")]);
        assert_eq!(labels.to_string(), r#"{a="1", b="3"}"#);
        assert_eq!((labels.get("a"), labels.get("none")), ("1", ""));
    }

    #[test]
    fn strict_construction_names_the_fault() {
        let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
        assert_eq!(
            Labels::try_from_pairs(vec![pair("a", "1"), pair("a", "1")]),
            Err(LabelsError::Duplicate("a".into()))
        );
        assert_eq!(Labels::try_from_pairs(vec![pair("", "x")]), Err(LabelsError::EmptyName("x".into())));
    }
}
