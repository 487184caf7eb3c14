//! Filters of a query: which stacks count, and which frames of them are shown.

use super::stacks::Stacks;
use crate::error::ApiError;
use crate::wire::parca::query::v1alpha1 as wire;
use everflame_profile::{Frame, FrameIndex};
use wire::__buffa::oneof;

/// Most filters of one query.
const MAX_FILTERS: usize = 100;

/// What a text is held against, ignoring the case of ASCII letters.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TextCondition {
    how: How,
    text: String,
    negated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Equal,
    Contains,
    StartsWith,
}

/// What a number is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NumberCondition {
    number: u64,
    negated: bool,
}

/// Conditions that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Criteria {
    function: Option<TextCondition>,
    system_name: Option<TextCondition>,
    binary: Option<TextCondition>,
    file: Option<TextCondition>,
    address: Option<NumberCondition>,
    line: Option<NumberCondition>,
}

/// The filters of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filters {
    sandwich: Option<Sandwich>,
    stacks: Vec<Criteria>,
    frames: Vec<Criteria>,
}

/// The half of a sandwich that is asked for: stacks end at a function, which the others do not have.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sandwich {
    /// The function, by its whole name.
    function: String,
    /// Whether what called it is kept, and not what it called.
    callers: bool,
}

impl Filters {
    /// The filters in `request`, those from before there were criteria included.
    pub(super) fn of(request: &wire::QueryRequest) -> Result<Self, ApiError> {
        if request.filter.len() > MAX_FILTERS {
            return Err(ApiError::invalid(format_args!(
                "filter: {} of them, at most {MAX_FILTERS} are taken; send fewer",
                request.filter.len()
            )));
        }
        let mut filters = Self::default();
        for filter in &request.filter {
            match &filter.filter {
                Some(oneof::filter::Filter::StackFilter(filter)) => match &filter.filter {
                    Some(oneof::stack_filter::Filter::Criteria(criteria)) => {
                        filters.stacks.push(Criteria::of(criteria));
                    }
                    Some(oneof::stack_filter::Filter::FunctionNameStackFilter(filter)) => {
                        filters.stacks.push(Criteria::function(&filter.function_to_filter, filter.exclude));
                    }
                    None => {}
                },
                Some(oneof::filter::Filter::FrameFilter(filter)) => match &filter.filter {
                    Some(oneof::frame_filter::Filter::Criteria(criteria)) => {
                        filters.frames.push(Criteria::of(criteria));
                    }
                    Some(oneof::frame_filter::Filter::BinaryFrameFilter(filter)) => {
                        let binary = |text: &String| Criteria {
                            binary: Some(TextCondition::new(How::Contains, text, false)),
                            ..Criteria::default()
                        };
                        filters.frames.extend(filter.include_binaries.iter().take(MAX_FILTERS).map(binary));
                    }
                    None => {}
                },
                None => {}
            }
        }
        if let Some(text) = request.filter_query.as_ref().filter(|text| !text.is_empty()) {
            filters.stacks.push(Criteria::function(text, false));
        }
        if let Some(function) = request.sandwich_by_function.clone().filter(|name| !name.is_empty()) {
            // Callers are drawn from the function on: their stacks come turned around.
            let callers = request.invert_call_stack.unwrap_or_default();
            filters.sandwich = Some(Sandwich { function, callers });
        }
        Ok(filters)
    }

    /// Takes stacks and frames away, and says what the stacks weighed that are gone.
    pub(super) fn apply(&self, stacks: &mut Stacks) -> i64 {
        if *self == Self::default() {
            return 0;
        }
        let before = stacks.total();
        let (mut rows, mut frames) = (Vec::with_capacity(stacks.rows.len()), Vec::new());
        for (row, stack) in stacks.iter() {
            let Some(stack) = self.sandwich.as_ref().map_or(Some(stack), |half| half.of(stacks, stack))
            else {
                continue;
            };
            let all = stack.iter().map(|&index| stacks.frame(index));
            if !self.stacks.iter().all(|criteria| criteria.take_stack(stacks, all.clone())) {
                continue;
            }
            let shown = stack.iter().filter(|&&index| {
                let frame = stacks.frame(index);
                self.frames.iter().all(|criteria| criteria.take_frame(stacks, &frame))
            });
            frames.extend(shown.copied());
            rows.push(super::stacks::Row { end: frames.len() as u32, ..*row });
        }
        (stacks.rows, stacks.frames) = (rows, frames);
        before.saturating_sub(stacks.total())
    }
}

impl Sandwich {
    /// The part of `stack`, leaf first, that belongs to it: from the call of the function that is nearest to
    /// the leaf, or for callers to the root, up to its other end.
    fn of<'a>(&self, stacks: &Stacks, stack: &'a [FrameIndex]) -> Option<&'a [FrameIndex]> {
        let is_function = |&index: &FrameIndex| stacks.text(stacks.frame(index).function) == self.function;
        match self.callers {
            true => stack.get(stack.iter().rposition(is_function)?..),
            false => stack.get(..=stack.iter().position(is_function)?),
        }
    }
}

impl Criteria {
    fn of(criteria: &wire::FilterCriteria) -> Self {
        Self {
            function: criteria.function_name.as_option().and_then(TextCondition::of),
            system_name: criteria.system_name.as_option().and_then(TextCondition::of),
            binary: criteria.binary.as_option().and_then(TextCondition::of),
            file: criteria.filename.as_option().and_then(TextCondition::of),
            address: criteria.address.as_option().and_then(NumberCondition::of),
            line: criteria.line_number.as_option().and_then(NumberCondition::of),
        }
    }

    fn function(text: &str, negated: bool) -> Self {
        Self { function: Some(TextCondition::new(How::Contains, text, negated)), ..Self::default() }
    }

    /// Whether a stack has a frame for each condition; none for those with a not.
    fn take_stack(&self, stacks: &Stacks, frames: impl Iterator<Item = Frame> + Clone) -> bool {
        let texts = [
            (&self.function, function as for<'a> fn(&'a Stacks, &Frame) -> Option<&'a str>),
            (&self.system_name, system_name),
            (&self.binary, binary),
            (&self.file, file),
        ];
        let numbers = [(self.address, address as fn(&Frame) -> Option<u64>), (self.line, line)];
        texts.into_iter().all(|(condition, of)| {
            let Some(condition) = condition else { return true };
            let found = frames
                .clone()
                .filter_map(|frame| of(stacks, &frame))
                .any(|text| condition.is_met_ignoring_not(text));
            found != condition.negated
        }) && numbers.into_iter().all(|(condition, of)| {
            let Some(condition) = condition else { return true };
            let found =
                frames.clone().filter_map(|frame| of(&frame)).any(|number| number == condition.number);
            found != condition.negated
        })
    }

    /// Whether a frame meets each condition. One without a name is not asked for it.
    fn take_frame(&self, stacks: &Stacks, frame: &Frame) -> bool {
        let named = frame.function != 0 || frame.system_name != 0;
        let text = |condition: &Option<TextCondition>, text: Option<&str>| {
            condition.as_ref().is_none_or(|condition| text.is_some_and(|text| condition.is_met(text)))
        };
        let number = |condition: Option<NumberCondition>, number: Option<u64>| {
            condition.is_none_or(|condition| {
                number.is_some_and(|number| (number == condition.number) != condition.negated)
            })
        };
        let symbols = text(&self.function, function(stacks, frame))
            && text(&self.system_name, system_name(stacks, frame))
            && text(&self.file, file(stacks, frame))
            && number(self.line, line(frame));
        let binary = binary(stacks, frame);
        (symbols || !named)
            && (binary.is_none() || text(&self.binary, binary))
            && number(self.address, address(frame))
    }
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn function<'a>(stacks: &'a Stacks, frame: &Frame) -> Option<&'a str> {
    some(stacks.text(frame.function))
}

fn system_name<'a>(stacks: &'a Stacks, frame: &Frame) -> Option<&'a str> {
    let own = if frame.system_name == 0 { frame.function } else { frame.system_name };
    some(stacks.text(own))
}

fn file<'a>(stacks: &'a Stacks, frame: &Frame) -> Option<&'a str> {
    some(stacks.text(frame.file))
}

/// The last part of the path of the file that the code was mapped from.
fn binary<'a>(stacks: &'a Stacks, frame: &Frame) -> Option<&'a str> {
    let path = stacks.text(stacks.symbols.mapping(frame.mapping).file);
    some(path.rsplit('/').next().unwrap_or(path))
}

fn address(frame: &Frame) -> Option<u64> {
    (frame.address != 0).then_some(frame.address)
}

fn line(frame: &Frame) -> Option<u64> {
    u64::try_from(frame.line).ok().filter(|&line| line != 0)
}

impl TextCondition {
    fn new(how: How, text: &str, negated: bool) -> Self {
        Self { how, text: text.to_ascii_lowercase(), negated }
    }

    fn of(condition: &wire::StringCondition) -> Option<Self> {
        use oneof::string_condition::Condition;
        Some(match condition.condition.as_ref()? {
            Condition::Equal(text) => Self::new(How::Equal, text, false),
            Condition::NotEqual(text) => Self::new(How::Equal, text, true),
            Condition::Contains(text) => Self::new(How::Contains, text, false),
            Condition::NotContains(text) => Self::new(How::Contains, text, true),
            Condition::StartsWith(text) => Self::new(How::StartsWith, text, false),
            Condition::NotStartsWith(text) => Self::new(How::StartsWith, text, true),
        })
    }

    fn is_met(&self, text: &str) -> bool {
        self.is_met_ignoring_not(text) != self.negated
    }

    fn is_met_ignoring_not(&self, text: &str) -> bool {
        let text = text.to_ascii_lowercase();
        match self.how {
            How::Equal => text == self.text,
            How::Contains => text.contains(&self.text),
            How::StartsWith => text.starts_with(&self.text),
        }
    }
}

impl NumberCondition {
    fn of(condition: &wire::NumberCondition) -> Option<Self> {
        use oneof::number_condition::Condition;
        Some(match *condition.condition.as_ref()? {
            Condition::Equal(number) => Self { number, negated: false },
            Condition::NotEqual(number) => Self { number, negated: true },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::stacks::tests::{lines, stacks};
    use super::*;

    const LINES: &str = "main%/bin/app;work@work.go%/bin/app;0x10%/lib/libc.so.6 5\n\
        main%/bin/app;Idle@idle.go%/bin/app 3\nstart%/bin/other 2";

    /// `filters` as the JSON of protobuf.
    fn check(filters: &str, expect: &[&str], filtered: i64) {
        let request: wire::QueryRequest =
            serde_json::from_str(&format!("{{\"filter\": [{filters}]}}")).unwrap();
        let mut all = stacks(LINES);
        let gone = Filters::of(&request).unwrap().apply(&mut all);
        assert_eq!(
            (lines(&all), gone),
            (expect.iter().map(|&line| line.to_owned()).collect(), filtered),
            "{filters}"
        );
    }

    #[test]
    fn stacks_and_frames() {
        let (work, idle, start) = ("main;work;0x10 5", "main;Idle 3", "start 2");
        check("", &[work, idle, start], 0);
        let stack = |criteria: &str| format!("{{\"stackFilter\": {{\"criteria\": {criteria}}}}}");
        let frame = |criteria: &str| format!("{{\"frameFilter\": {{\"criteria\": {criteria}}}}}");
        check(&stack(r#"{"functionName": {"equal": "IDLE"}}"#), &[idle], 7);
        check(&stack(r#"{"functionName": {"contains": "dl"}}"#), &[idle], 7);
        check(&stack(r#"{"functionName": {"notContains": "main"}}"#), &[start], 8);
        check(&stack(r#"{"functionName": {"startsWith": "st"}}"#), &[start], 8);
        check(&stack(r#"{"functionName": {"notStartsWith": "st"}}"#), &[work, idle], 2);
        check(&stack(r#"{"binary": {"equal": "libc.so.6"}}"#), &[work], 5);
        check(&stack(r#"{"binary": {"notEqual": "app"}}"#), &[start], 8);
        check(&stack(r#"{"filename": {"contains": ".go"}}"#), &[work, idle], 2);
        check(&stack(r#"{"address": {"equal": "16"}}"#), &[work], 5);
        check(&stack(r#"{"address": {"notEqual": "16"}}"#), &[idle, start], 5);
        check(&stack(r#"{"lineNumber": {"equal": "1"}}"#), &[], 10);
        let both =
            [stack(r#"{"functionName": {"equal": "main"}}"#), stack(r#"{"filename": {"contains": "idle"}}"#)];
        check(&both.join(","), &[idle], 7);
        check(&frame(r#"{"functionName": {"notEqual": "main"}}"#), &["work;0x10 5", "Idle 3", start], 0);
        check(&frame(r#"{"binary": {"contains": "app"}}"#), &["main;work 5", idle, " 2"], 0);
        check(
            r#"{"stackFilter": {"functionNameStackFilter": {"functionToFilter": "idle", "exclude": true}}}"#,
            &[work, start],
            3,
        );
        check(
            r#"{"frameFilter": {"binaryFrameFilter": {"includeBinaries": ["libc"]}}}"#,
            &["0x10 5", " 3", " 2"],
            0,
        );
        check("{}", &[work, idle, start], 0);
    }

    #[test]
    fn old_texts() {
        let request: wire::QueryRequest = serde_json::from_str(r#"{"filterQuery": "WORK"}"#).unwrap();
        let mut all = stacks(LINES);
        assert_eq!(Filters::of(&request).unwrap().apply(&mut all), 5);
        assert_eq!(lines(&all), ["main;work;0x10 5"]);
        let request = wire::QueryRequest { filter: vec![Default::default(); 101], ..Default::default() };
        assert!(Filters::of(&request).is_err());
    }

    #[test]
    fn halves_of_a_sandwich() {
        let found = |function: &str, invert: bool| {
            let request = format!(
                r#"{{"sandwichByFunction": "{function}", "invertCallStack": {invert}, "filter": [
                {{"stackFilter": {{"criteria": {{"functionName": {{"notEqual": "idle"}}}}}}}}]}}"#
            );
            let request: wire::QueryRequest = serde_json::from_str(&request).unwrap();
            let mut all = stacks("main;a;work;a;leaf 5\nmain;worker 3\nstart;a;idle 2\nstart;a 1");
            let gone = Filters::of(&request).unwrap().apply(&mut all);
            (lines(&all), gone)
        };
        let halves = |rows: &[&str]| rows.iter().map(|&row| row.to_owned()).collect::<Vec<_>>();
        // A recursive function: from its last call on, and up to its first.
        assert_eq!(found("a", false), (halves(&["a;leaf 5", "a 1"]), 5));
        assert_eq!(found("a", true), (halves(&["main;a 5", "start;a 2", "start;a 1"]), 3));
        assert_eq!(found("work", false), (halves(&["work;a;leaf 5"]), 6));
        assert_eq!(found("WORK", false), (Vec::new(), 11));
    }
}
