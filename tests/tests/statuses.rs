//! Which status a question gets: what cannot be asked is 400, what is merely not there is 200 and empty.

use anyhow::{Context, Result, ensure};
use everflame_tests::Server;
use serde_json::{Value, json};

const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";

#[tokio::test]
async fn questions() -> Result<()> {
    let server = Server::start()?;
    let now = everflame_tests::now_ms()?;
    let base = json!({"profileTypeID": CPU, "labelSelector": "{}", "start": now - 60_000, "end": now});
    let with = |changes: Value| {
        let mut question = base.clone();
        for (name, value) in changes.as_object().into_iter().flatten() {
            question[name] = value.clone();
        }
        question
    };
    let day = 86_400_000_i64;
    let uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
    let table = [
        // Times.
        ("ProfileTypes", json!({}), 200),
        ("ProfileTypes", json!({"start": 0, "end": 0}), 200),
        ("ProfileTypes", json!({"start": 1}), 400),
        ("ProfileTypes", json!({"end": now}), 400),
        ("ProfileTypes", json!({"start": "now", "end": "now"}), 400),
        ("ProfileTypes", json!({"start": true}), 400),
        ("LabelNames", json!({}), 400),
        ("LabelNames", json!({"start": 2, "end": 1}), 400),
        ("LabelNames", json!({"start": 1, "end": 2}), 200),
        ("LabelNames", json!({"start": "1", "end": "2", "matchers": [""]}), 200),
        ("LabelNames", json!({"start": 1, "end": 2, "matchers": ["{a="]}), 400),
        ("LabelValues", json!({"start": 1, "end": 2}), 400),
        ("LabelValues", json!({"name": "x"}), 400),
        ("LabelValues", json!({"name": "x", "start": 1, "end": 2}), 200),
        ("Series", json!({"start": 1, "end": 2}), 200),
        ("Series", json!({}), 400),
        ("SelectMergeStacktraces", with(json!({})), 200),
        ("SelectMergeStacktraces", with(json!({"start": 0})), 400),
        ("SelectMergeStacktraces", with(json!({"end": 0})), 400),
        ("SelectMergeStacktraces", with(json!({"start": now, "end": now - 1})), 400),
        // A month is no reason to refuse, and what is older than anything is empty.
        ("SelectMergeStacktraces", with(json!({"start": now - 30 * day})), 200),
        ("SelectMergeStacktraces", with(json!({"start": 1, "end": 2})), 200),
        // Type and selector.
        ("SelectMergeStacktraces", with(json!({"profileTypeID": ""})), 400),
        ("SelectMergeStacktraces", with(json!({"profileTypeID": "cpu"})), 400),
        ("SelectMergeStacktraces", with(json!({"profileTypeID": "a:b:c:d"})), 400),
        ("SelectMergeStacktraces", with(json!({"profileTypeID": "a:b:c:d:e:f"})), 200),
        ("SelectMergeStacktraces", with(json!({"profileTypeID": "memory:inuse_space:bytes::"})), 200),
        ("SelectMergeStacktraces", with(json!({"labelSelector": ""})), 400),
        ("SelectMergeStacktraces", with(json!({"labelSelector": "{"})), 400),
        ("SelectMergeStacktraces", with(json!({"labelSelector": "{a=~\"(\"}"})), 400),
        ("SelectMergeStacktraces", with(json!({"labelSelector": "{a!=\"b\",c=~\"d.*\",e!~\"f\"}"})), 200),
        // Nodes, ids.
        ("SelectMergeStacktraces", with(json!({"maxNodes": 0})), 200),
        ("SelectMergeStacktraces", with(json!({"maxNodes": -1})), 400),
        ("SelectMergeStacktraces", with(json!({"maxNodes": 1_048_576})), 200),
        ("SelectMergeStacktraces", with(json!({"maxNodes": 1_048_577})), 400),
        ("SelectMergeStacktraces", with(json!({"profileIdSelector": [uuid]})), 200),
        ("SelectMergeStacktraces", with(json!({"profileIdSelector": ["x"]})), 400),
        ("SelectMergeStacktraces", with(json!({"format": "PROFILE_FORMAT_TREE"})), 200),
        ("SelectMergeStacktraces", with(json!({"format": 4})), 200),
        ("SelectMergeProfile", with(json!({})), 200),
        ("SelectMergeProfile", with(json!({"labelSelector": "{"})), 400),
        ("SelectMergeStacktraces", with(json!({"spanSelector": ["0123456789abcdef"]})), 200),
        ("SelectMergeStacktraces", with(json!({"spanSelector": ["x"]})), 400),
        (
            "SelectMergeStacktraces",
            with(
                json!({"spanSelector": ["0123456789abcdef"], "traceIdSelector": ["0123456789abcdef0123456789abcdef"]}),
            ),
            400,
        ),
        ("SelectSeries", with(json!({"step": 15, "limit": -1})), 400),
        // Steps.
        ("SelectSeries", with(json!({"step": 15})), 200),
        ("SelectSeries", with(json!({"step": 0.001})), 200),
        ("SelectSeries", with(json!({"step": 0.0001})), 400),
        ("SelectSeries", with(json!({"step": -1})), 400),
        ("SelectSeries", with(json!({})), 400),
        ("SelectSeries", with(json!({"step": 15, "exemplarType": "EXEMPLAR_TYPE_SPAN"})), 200),
        ("Diff", json!({"left": base.clone(), "right": base.clone()}), 200),
        ("Diff", json!({"left": base.clone()}), 400),
        ("GetProfileStats", json!({}), 200),
        ("Nonsense", json!({}), 404),
    ];
    let mut wrong = Vec::new();
    for (method, question, expect) in table {
        let path = format!("/querier.v1.QuerierService/{method}");
        let headers = [("content-type", "application/json")];
        let (status, text) = server.post(&path, &headers, question.to_string().into_bytes()).await?;
        let answer: Value =
            serde_json::from_str(&text).with_context(|| format!("{method} {question}: {text}"))?;
        let explained =
            status == 200 || answer["message"].as_str().is_some_and(|message| !message.is_empty());
        if status != expect || !explained {
            wrong.push(format!("{method} {question}: {status} {answer}, not {expect}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
