//! Rules as people write them, and what becomes of labels.

use super::*;
use proptest::prelude::*;

fn rules(json: &str) -> Result<Relabel, String> {
    let rules: Vec<RelabelRule> = serde_json::from_str(json).map_err(|error| error.to_string())?;
    Relabel::new(&rules).map_err(|error| error.to_string())
}

fn cpu() -> ProfileType {
    "process_cpu:cpu:nanoseconds:cpu:nanoseconds".parse().unwrap()
}

#[track_caller]
fn check(json: &str, labels: &[(&str, &str)], expect: &str) {
    let labels = Labels::from_pairs(labels.iter().copied());
    let actual = match rules(json).unwrap().apply(&labels, &cpu()) {
        Err(_) => "dropped".to_owned(),
        Ok((labels, kind)) if kind == cpu() => labels.to_string(),
        Ok((labels, kind)) => format!("{kind} {labels}"),
    };
    assert_eq!(actual, expect, "{json}");
}

/// Inputs and outputs of Prometheus' own rules, as its documentation describes them.
#[test]
fn actions() {
    let abc = &[("a", "foo"), ("b", "bar"), ("c", "baz")][..];
    for (json, labels, expect) in [
        (
            r#"[{"source_labels":["a"],"regex":"f(.*)","target_label":"d","replacement":"ch${1}-ch${1}"}]"#,
            abc,
            r#"{a="foo", b="bar", c="baz", d="choo-choo"}"#,
        ),
        (
            r#"[{"source_labels":["a","b"],"regex":"f(.*);(.*)r","target_label":"a","replacement":"b${1}${2}m"},
                {"source_labels":["c","a"],"regex":"(b).*b(.*)ba(.*)","target_label":"d","replacement":"$1$2$2$3"}]"#,
            abc,
            r#"{a="boobam", b="bar", c="baz", d="boooom"}"#,
        ),
        (
            r#"[{"source_labels":["a"],"regex":"o","target_label":"d"}]"#,
            abc,
            r#"{a="foo", b="bar", c="baz"}"#,
        ),
        (r#"[{"source_labels":["a"],"regex":".*o.*","action":"drop"}]"#, abc, "dropped"),
        (r#"[{"source_labels":["a"],"regex":"\\Qf\\E[[o]{2}","action":"drop"}]"#, abc, "dropped"),
        (r#"[{"source_labels":["a"],"regex":"\\d","action":"keep"}]"#, &[("a", "٣")], "dropped"),
        (r#"[{"source_labels":["a"],"regex":"o","action":"drop"}]"#, &[("a", "foo")], r#"{a="foo"}"#),
        (r#"[{"source_labels":["a"],"regex":"foo|x","action":"KEEP"}]"#, &[("a", "foo")], r#"{a="foo"}"#),
        (r#"[{"source_labels":["a"],"regex":"no","action":"keep"}]"#, abc, "dropped"),
        (
            r#"[{"target_label":"a","replacement":""},{"target_label":"x","replacement":"$$1"}]"#,
            &[("a", "1"), ("b", "2")],
            r#"{b="2", x="$1"}"#,
        ),
        (
            r#"[{"source_labels":["a"],"target_label":"b","replacement":"<${x-y}$01>"}]"#,
            &[("a", "1")],
            r#"{a="1", b="<${x-y}>"}"#,
        ),
        (
            r#"[{"source_labels":["a"],"target_label":"l","action":"lowercase"},
                {"source_labels":["a"],"target_label":"u","action":"uppercase"}]"#,
            &[("a", "Äßİx")],
            r#"{a="Äßİx", l="äßix", u="ÄßİX"}"#,
        ),
        (
            r#"[{"source_labels":["c"],"target_label":"d","action":"hashmod","modulus":1000}]"#,
            &[("c", "baz")],
            r#"{c="baz", d="976"}"#,
        ),
        (
            r#"[{"regex":"(b.*)","replacement":"bar_${1}","action":"labelmap"}]"#,
            &[("a", "foo"), ("b1", "bar"), ("b2", "baz")],
            r#"{a="foo", b1="bar", b2="baz", bar_b1="bar", bar_b2="baz"}"#,
        ),
        (
            r#"[{"regex":"b.*","action":"labeldrop"}]"#,
            &[("a", "1"), ("b1", "2"), ("ab", "3")],
            r#"{a="1", ab="3"}"#,
        ),
        (r#"[{"regex":"b.*","action":"labelkeep"}]"#, &[("a", "1"), ("b1", "2"), ("ab", "3")], r#"{b1="2"}"#),
        (
            r#"[{"source_labels":["a"],"target_label":"u","action":"uppercase"},
                {"source_labels":["a"],"target_label":"l","action":"lowercase"}]"#,
            &[("a", "bAr123Foo")],
            r#"{a="bAr123Foo", l="bar123foo", u="BAR123FOO"}"#,
        ),
        (
            r#"[{"source_labels":["a"],"target_label":"b","action":"keepequal"}]"#,
            &[("a", "1"), ("b", "2")],
            "dropped",
        ),
        (
            r#"[{"source_labels":["a"],"target_label":"b","action":"keepequal"}]"#,
            &[("a", "1"), ("b", "1")],
            r#"{a="1", b="1"}"#,
        ),
        (
            r#"[{"source_labels":["a"],"target_label":"b","action":"dropequal"}]"#,
            &[("a", "1"), ("b", "1")],
            "dropped",
        ),
        // The target may be made of what was caught; a number in YAML is a text.
        (
            r#"[{"source_labels":["a"],"regex":"(\\w+)=(\\d+)","target_label":"${1}","replacement":"$2"},
                {"target_label":"port","replacement":"8080"}]"#,
            &[("a", "shard=7")],
            r#"{a="shard=7", port="8080", shard="7"}"#,
        ),
        (r#"[{"source_labels":["a"],"regex":"x.y","action":"drop"}]"#, &[("a", "x\ny")], "dropped"),
        (
            r#"[{"source_labels":["a","b"],"separator":"/","target_label":"__tmp"},
                {"source_labels":["__tmp"],"target_label":"c"}]"#,
            &[("a", "1"), ("b", "2")],
            r#"{a="1", b="2", c="1/2"}"#,
        ),
    ] {
        check(json, labels, expect);
    }
}

#[test]
fn what_is_measured_can_be_read_and_renamed() {
    for (json, expect) in [
        (
            r#"[{"source_labels":["__type__","__unit__"],"regex":"cpu;nanoseconds","action":"drop"}]"#,
            "dropped",
        ),
        (r#"[{"source_labels":["__profile_type__"],"regex":"process_cpu:.*","action":"drop"}]"#, "dropped"),
        (
            r#"[{"target_label":"__name__","replacement":"wall"},{"target_label":"__type__","replacement":"a:b"}]"#,
            r#"wall:a_b:nanoseconds:cpu:nanoseconds {a="1"}"#,
        ),
        (r#"[{"regex":"a","action":"labelkeep"}]"#, r#"{a="1"}"#),
    ] {
        check(json, &[("a", "1")], expect);
    }
}

#[test]
fn faults_say_which_rule() {
    for (json, expect) in [
        (r#"[{"action":"keep"},{"action":"replace"}]"#, "rule 2: replace needs target_label"),
        (r#"[{"action":"hashmod","target_label":"a"}]"#, "rule 1: hashmod needs a modulus"),
        (
            r#"[{"action":"lowercase","target_label":"a","replacement":"x"}]"#,
            "rule 1: lowercase takes no replacement",
        ),
        (
            r#"[{"action":"labeldrop","source_labels":["a"]}]"#,
            "rule 1: labeldrop takes regex, and nothing else",
        ),
        (
            r#"[{"action":"keepequal","target_label":"a","regex":"x"}]"#,
            "rule 1: keepequal takes source_labels",
        ),
        (r#"[{"regex":"a)|(b","action":"drop"}]"#, "rule 1: regex \"a)|(b\""),
        (r#"[{"regex":"((a{99}){99}){99}","action":"drop"}]"#, "rule 1: regex"),
        (r#"[{"action":"explode"}]"#, "action \"explode\" is not known; there are replace, keep"),
        (r#"[{"source_label":["a"]}]"#, "unknown field `source_label`"),
    ] {
        let fault = rules(json).unwrap_err();
        assert!(fault.contains(expect), "{json}: {fault}");
    }
}

#[test]
fn labels_do_not_explode() {
    let twice: Vec<_> =
        (0..60).map(|_| r#"{"source_labels":["a"],"target_label":"a","replacement":"$1$1"}"#).collect();
    let (labels, _) = rules(&format!("[{}]", twice.join(",")))
        .unwrap()
        .apply(&Labels::from_pairs([("a", "x")]), &cpu())
        .unwrap();
    assert_eq!(labels.get("a").len(), MAX_TEXT);
    let copies: Vec<_> = (0..20)
        .map(|at| format!(r#"{{"regex":"(.*)","replacement":"c{at}_$1","action":"labelmap"}}"#))
        .collect();
    let (labels, _) = rules(&format!("[{}]", copies.join(",")))
        .unwrap()
        .apply(&Labels::from_pairs([("a", "x")]), &cpu())
        .unwrap();
    assert!(labels.len() <= MAX_LABELS);
}

proptest! {
    /// What is written is what is read, and no rule panics on any label.
    #[test]
    fn rules_survive_their_text(
        at in 0usize..RelabelAction::ALL.len(),
        regex in "[a-c.*|()]{0,6}",
        replacement in "[$a-c{}12]{0,6}",
        value in "\\PC{0,6}",
    ) {
        let rule = RelabelRule {
            source_labels: Some(vec!["a".to_owned()]),
            target_label: Some("b".to_owned()),
            regex: Some(regex),
            replacement: Some(replacement),
            modulus: Some(7),
            action: RelabelAction::ALL[at].1,
            ..RelabelRule::default()
        };
        let text = serde_json::to_string(&[&rule]).unwrap();
        prop_assert_eq!(serde_json::from_str::<Vec<RelabelRule>>(&text).unwrap(), vec![rule.clone()]);
        if let Ok(rules) = Relabel::new(&[rule]) {
            let _ = rules.apply(&Labels::from_pairs([("a", value)]), &cpu());
        }
    }
}
