//! One recording rule: what was sent, checked, and what it means.

use crate::error::ApiError;
use crate::querier::requests::is_plain_label_name;
use crate::wire::settings::v1::{
    RecordingRule, StacktraceFilter, StacktraceFilterFunctionName, UpsertRecordingRuleRequest,
};
use crate::wire::types::v1::LabelPair;
use everflame_profile::ProfileType;
use everflame_query::{MatchOp, Selector};
use serde::{Deserialize, Serialize};

/// What the name of every metric begins with.
const PREFIX: &str = "profiles_recorded_";
/// The label that a matcher must name: what is measured.
const PROFILE_TYPE: &str = "__profile_type__";
/// Most matchers, labels to group by, and labels of its own that a rule may have.
const MOST_PARTS: usize = 32;
/// Longest text in a rule.
const LONGEST: usize = 4 << 10;

/// A rule as it is kept.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) metric_name: String,
    pub(super) matchers: Vec<String>,
    pub(super) group_by: Vec<String>,
    pub(super) external_labels: Vec<(String, String)>,
    pub(super) generation: i64,
    /// The function that it is about, if it is about one.
    pub(super) function: Option<String>,
}

/// What a rule selects.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Selection {
    pub(super) profile_type: ProfileType,
    pub(super) selector: Selector,
}

impl Rule {
    /// Checks a request. A rule without an id is a new one, and gets `new_id`.
    pub(super) fn checked(request: UpsertRecordingRuleRequest, new_id: String) -> Result<Self, ApiError> {
        let UpsertRecordingRuleRequest {
            id,
            metric_name,
            matchers,
            group_by,
            external_labels,
            generation,
            ..
        } = request;
        let filter =
            request.stacktrace_filter.as_option().and_then(|filter| filter.function_name.as_option());
        let function = match filter {
            Some(filter) if filter.metric_type.to_i32() != 0 => {
                return Err(ApiError::invalid("stacktrace_filter: the metric_type is not known; send TOTAL"));
            }
            filter => filter.map(|filter| filter.function_name.clone()).filter(|name| !name.is_empty()),
        };
        let external_labels: Vec<_> =
            external_labels.into_iter().map(|label| (label.name, label.value)).collect();
        let metric_name = metric_name.trim().to_owned();
        let is_new = id.is_empty();
        let rule = Self {
            id: if is_new { new_id } else { id },
            metric_name,
            matchers,
            group_by,
            external_labels,
            generation: if is_new { 1 } else { generation },
            function,
        };
        rule.check_sizes()?;
        rule.check()?;
        rule.selection()?;
        Ok(rule)
    }

    fn check_sizes(&self) -> Result<(), ApiError> {
        let counts = [self.matchers.len(), self.group_by.len(), self.external_labels.len()];
        let pairs = self.external_labels.iter().flat_map(|(name, value)| [name, value]);
        let texts = self.matchers.iter().chain(&self.group_by).chain(pairs);
        let mut texts = texts.chain([&self.id, &self.metric_name]).chain(&self.function);
        if counts.iter().any(|&count| count > MOST_PARTS) || texts.any(|text| text.len() > LONGEST) {
            return Err(ApiError::invalid(format_args!(
                "the rule is too large; send at most {MOST_PARTS} matchers and labels, and texts of at most {LONGEST} \
                 bytes"
            )));
        }
        Ok(())
    }

    fn check(&self) -> Result<(), ApiError> {
        if self.id.is_empty() || !self.id.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err(ApiError::invalid(format_args!(
                "id {:?} is not one; send letters, or none",
                self.id
            )));
        }
        let is_name_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        if !self.metric_name.starts_with(PREFIX) || !self.metric_name.chars().all(is_name_part) {
            return Err(ApiError::invalid(format_args!(
                "metric_name {:?} is not one; send {PREFIX} and letters, digits, _ or :",
                self.metric_name
            )));
        }
        let names = self.group_by.iter().chain(self.external_labels.iter().map(|(name, _)| name));
        for name in names {
            if !is_plain_label_name(name) {
                return Err(ApiError::invalid(format_args!(
                    "label {name:?} cannot be one of a metric; names are [a-zA-Z_][a-zA-Z0-9_]*"
                )));
            }
        }
        match self.generation < 0 {
            true => Err(ApiError::invalid("generation is negative; send the one that was read")),
            false => Ok(()),
        }
    }

    /// What is measured, and of which series.
    pub(super) fn selection(&self) -> Result<Selection, ApiError> {
        let (mut profile_type, mut rest) = (None, Vec::new());
        for (at, text) in self.matchers.iter().enumerate() {
            let place = format!("matchers[{at}]");
            let selector: Selector = text.parse().map_err(|error| ApiError::invalid(error).at(&place))?;
            for matcher in selector.matchers() {
                if matcher.name() != PROFILE_TYPE {
                    rest.push(matcher.clone());
                    continue;
                }
                if matcher.op() != MatchOp::Equal || profile_type.is_some() {
                    return Err(ApiError::invalid(format_args!(
                        "{place}: {PROFILE_TYPE} must be named once, with ="
                    )));
                }
                profile_type =
                    Some(matcher.value().parse().map_err(|error| ApiError::invalid(error).at(&place))?);
            }
        }
        let profile_type = profile_type.ok_or_else(|| {
            ApiError::invalid(format_args!(
                "no matcher names {PROFILE_TYPE}; send {{{PROFILE_TYPE}=\"process_cpu:cpu:nanoseconds:cpu:nanoseconds\"}}"
            ))
        })?;
        Ok(Selection { profile_type, selector: Selector::new(rest) })
    }

    /// The rule as clients get it.
    pub(super) fn message(&self) -> RecordingRule {
        let profile_type =
            self.selection().map_or_else(|_| "unknown".to_owned(), |found| found.profile_type.to_string());
        let label = |(name, value): &(String, String)| LabelPair {
            name: name.clone(),
            value: value.clone(),
            ..Default::default()
        };
        let mut message = RecordingRule {
            id: self.id.clone(),
            metric_name: self.metric_name.clone(),
            profile_type,
            matchers: self.matchers.clone(),
            group_by: self.group_by.clone(),
            external_labels: self.external_labels.iter().map(label).collect(),
            generation: self.generation,
            ..Default::default()
        };
        if let Some(function_name) = &self.function {
            let function =
                StacktraceFilterFunctionName { function_name: function_name.clone(), ..Default::default() };
            let filter = StacktraceFilter { function_name: function.into(), ..Default::default() };
            message.stacktrace_filter = filter.into();
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "{__profile_type__=\"process_cpu:cpu:nanoseconds:cpu:nanoseconds\"}";

    fn request(metric_name: &str, matchers: &[&str]) -> UpsertRecordingRuleRequest {
        UpsertRecordingRuleRequest {
            metric_name: metric_name.to_owned(),
            matchers: matchers.iter().map(|&text| text.to_owned()).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn rules_are_checked() {
        let check = |request: UpsertRecordingRuleRequest| Rule::checked(request, "new".to_owned()).ok();
        let rule = check(request(" profiles_recorded_a ", &[TYPE, "{pod=\"a\"}"])).unwrap();
        assert_eq!(
            (rule.id.as_str(), rule.generation, rule.metric_name.as_str()),
            ("new", 1, "profiles_recorded_a")
        );
        assert_eq!(rule.selection().unwrap().selector.to_string(), "{pod=\"a\"}");
        assert_eq!(rule.message().profile_type, "process_cpu:cpu:nanoseconds:cpu:nanoseconds");
        for (name, matchers) in [
            ("cpu", &[TYPE][..]),
            ("", &[TYPE]),
            ("profiles_recorded_a-b", &[TYPE]),
            ("profiles_recorded_a", &[]),
            ("profiles_recorded_a", &["{a=\"b\"}"]),
            ("profiles_recorded_a", &[TYPE, TYPE]),
            ("profiles_recorded_a", &["{__profile_type__=~\"a:b:c:d:e\"}"]),
            ("profiles_recorded_a", &["{__profile_type__=\"a\"}"]),
            ("profiles_recorded_a", &[TYPE, "{a"]),
        ] {
            assert_eq!(check(request(name, matchers)), None, "{name} {matchers:?}");
        }
        let good = || request("profiles_recorded_a", &[TYPE]);
        assert!(check(UpsertRecordingRuleRequest { id: "x1".to_owned(), ..good() }).is_none());
        assert!(check(UpsertRecordingRuleRequest { generation: -1, id: "x".to_owned(), ..good() }).is_none());
        assert!(check(UpsertRecordingRuleRequest { group_by: vec!["a.b".to_owned()], ..good() }).is_none());
        assert!(check(UpsertRecordingRuleRequest { group_by: vec!["a".repeat(5_000)], ..good() }).is_none());
        assert!(check(UpsertRecordingRuleRequest { group_by: vec!["a".to_owned(); 33], ..good() }).is_none());
    }
}
