//! How rates, bounds of some services and relabelling rules are written in the configuration, and what they
//! become for `everflame_ingest`.

use crate::settings::{Room, Setting, Size, by_selector, show_list};
use everflame_ingest::{LimitOverride, Relabel, RelabelRule, ServiceLimits};
use everflame_profile::{Labels, ProfileType, Series, ValueType};
use everflame_query::Selector;
use std::sync::Arc;

/// A number of things, written as it is or as `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Most(pub(crate) Option<u64>);

/// Bounds for some uploads, written as `{service_name="web"} profiles=100 bytes=1MiB; …`; none as `none`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LimitOverrides(pub(crate) Vec<(Selector, ServiceLimits)>);

/// Relabelling rules, a YAML or JSON list; none as `none`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RelabelRules(pub(crate) Vec<RelabelRule>);

impl Setting for Most {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "unlimited" => Ok(Self(None)),
            _ => u64::parse(text).map(|number| Self(Some(number))).map_err(|why| why + ", nor unlimited"),
        }
    }

    fn show(&self) -> String {
        self.0.map_or_else(|| "unlimited".to_owned(), |number| number.to_string())
    }
}

impl Setting for LimitOverrides {
    fn parse(text: &str) -> Result<Self, String> {
        let example = r#"write {service_name="web"} profiles=100 bytes=1MiB label-sets=500 profile-size=8MiB samples=10000 depth=500 upload-label-sets=10; …"#;
        let one = |(selector, bounds): (Selector, &str)| {
            let mut limits = ServiceLimits::default();
            for bound in bounds.split_whitespace() {
                let (name, value) =
                    bound.split_once('=').ok_or_else(|| format!("{bound:?} is no bound; {example}"))?;
                let count =
                    |text: &str| u64::parse(text).map(|most| usize::try_from(most).unwrap_or(usize::MAX));
                match name {
                    "profiles" => limits.profiles = Some(Most::parse(value)?.0),
                    "bytes" => limits.bytes = Some(Room::parse(value)?.0),
                    "label-sets" => limits.label_sets = Some(count(value)?),
                    "profile-size" => {
                        let bytes = Size::parse(value)?.0;
                        limits.profile_bytes = Some(usize::try_from(bytes).unwrap_or(usize::MAX));
                    }
                    "samples" => limits.samples = Some(count(value)?),
                    "depth" => limits.depth = Some(count(value)?),
                    "upload-label-sets" => limits.upload_label_sets = Some(count(value)?),
                    _ => return Err(format!("there is no bound {name:?}; {example}")),
                }
            }
            match limits == ServiceLimits::default() {
                true => Err(format!("{selector} has no bound; {example}")),
                false => Ok((selector, limits)),
            }
        };
        let parts = by_selector(text, example)?;
        parts.iter().map(|(selector, rest)| one((selector.clone(), rest))).collect::<Result<_, _>>().map(Self)
    }

    fn show(&self) -> String {
        show_list(&self.0, "; ", |(selector, limits)| {
            let ServiceLimits {
                profiles,
                bytes,
                label_sets,
                profile_bytes,
                samples,
                depth,
                upload_label_sets,
            } = limits;
            let bounds = [
                profiles.map(|most| format!(" profiles={}", Most(most).show())),
                bytes.map(|most| format!(" bytes={}", Room(most).show())),
                label_sets.map(|most| format!(" label-sets={most}")),
                profile_bytes.map(|most| format!(" profile-size={}", Size(most as u64).show())),
                samples.map(|most| format!(" samples={most}")),
                depth.map(|most| format!(" depth={most}")),
                upload_label_sets.map(|most| format!(" upload-label-sets={most}")),
            ];
            format!("{selector}{}", bounds.into_iter().flatten().collect::<String>())
        })
    }
}

impl LimitOverrides {
    /// What the ingest applies. Selectors see the labels of an upload alone, not what it measures.
    pub(crate) fn to_rules(&self) -> Vec<LimitOverride> {
        let nothing = || ValueType::new("", "");
        let one = |(selector, limits): &(Selector, ServiceLimits)| {
            let selector = selector.clone();
            let select = move |labels: &Labels| {
                let profile_type = ProfileType { name: String::new(), sample: nothing(), period: nothing() };
                selector.matches(&Series { labels: labels.clone(), profile_type })
            };
            LimitOverride { select: Arc::new(select), limits: *limits }
        };
        self.0.iter().map(one).collect()
    }
}

impl Setting for RelabelRules {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::default());
        }
        let rules: Vec<RelabelRule> = serde_yaml_ng::from_str(text).map_err(|error| {
            format!(
                "{error}; write a list of rules as in Prometheus' relabel_configs: \
                 [{{source_labels: [env], regex: dev, action: drop}}], or none"
            )
        })?;
        Relabel::new(&rules).map_err(|error| error.to_string())?;
        Ok(Self(rules))
    }

    fn show(&self) -> String {
        match self.0.is_empty() {
            true => "none".to_owned(),
            false => serde_json::to_string(&self.0).unwrap_or_default(),
        }
    }
}

impl RelabelRules {
    /// What the ingest applies; the rules were checked when they were read.
    pub(crate) fn compiled(&self) -> Relabel {
        Relabel::new(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::check;

    #[test]
    fn values() {
        for (text, expect) in [("10", "10"), ("unlimited", "unlimited"), ("0", "refused"), ("x", "refused")] {
            check::<Most>(text, expect);
        }
        for (text, expect) in [
            ("none", "none"),
            (
                r#"{service_name=~"a|b"} bytes=2048KiB  profiles=5;{team="x;y"} samples=10 upload-label-sets=3 depth=4 label-sets=2 profile-size=1MiB profiles=unlimited"#,
                r#"{service_name=~"a|b"} profiles=5 bytes=2MiB; {team="x;y"} profiles=unlimited label-sets=2 profile-size=1MiB samples=10 depth=4 upload-label-sets=3"#,
            ),
            (r#"{a="b"}"#, "refused"),
            (r#"{a="b"} rows=1"#, "refused"),
            (r#"{a="b"} profiles"#, "refused"),
            ("profiles=1", "refused"),
        ] {
            check::<LimitOverrides>(text, expect);
        }
        for (text, expect) in [
            ("none", "none"),
            (
                "- source_labels: [env]\n  regex: dev\n  action: Drop\n- target_label: zone\n  replacement: 7.0\n",
                r#"[{"source_labels":["env"],"regex":"dev","action":"drop"},{"target_label":"zone","replacement":"7.0"}]"#,
            ),
            ("[{action: replace}]", "refused"),
            ("[{action: keep, colour: red}]", "refused"),
            ("yes", "refused"),
        ] {
            check::<RelabelRules>(text, expect);
        }
    }

    #[test]
    fn overrides_see_labels() {
        let rules =
            LimitOverrides::parse(r#"{service_name="web", zone!="b"} profiles=1"#).unwrap().to_rules();
        let select =
            |zone: &str| (rules[0].select)(&Labels::from_pairs([("service_name", "web"), ("zone", zone)]));
        assert!(select("a") && !select("b"));
    }
}
