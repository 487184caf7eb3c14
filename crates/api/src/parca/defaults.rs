//! Messages as JSON with all their fields, as Parca's gateway writes them: what a message does not say is its default.
//!
//! A list without elements is `[]`, a message that is not there `null`. Fields of a oneof and `optional` ones are there
//! when they are set.

use crate::reflection;
use buffa::MessageName;
use buffa_descriptor::{
    DescriptorPool, EnumIndex, FieldDescriptor, FieldKind, MessageDescriptor, ScalarType, SingularKind,
};
use serde::Serialize;
use serde_json::{Map, Value};

/// Stack for messages within messages: flame graphs are 2,048 deep, which takes 5 MiB in a build that is not optimised.
const STACK_BYTES: usize = 16 << 20;

/// `message` with its defaults, as text.
pub(super) fn written_out<M: Serialize + MessageName>(message: &M) -> serde_json::Result<Vec<u8>> {
    stacker::grow(STACK_BYTES, || {
        let mut json = serde_json::to_value(message)?;
        if let Some(pool) = reflection::descriptors()
            && let Some(descriptor) = pool.message_by_name(M::FULL_NAME)
        {
            complete(pool, descriptor, &mut json);
        }
        serde_json::to_vec(&json)
    })
}

/// Adds to `json` what a message of this kind does not say.
fn complete(pool: &DescriptorPool, message: &MessageDescriptor, json: &mut Value) {
    // Times are texts.
    let Value::Object(fields) = json else { return };
    for field in message.fields() {
        match fields.get_mut(field.json_name()) {
            Some(value) => complete_field(pool, field, value),
            None if field.oneof_index().is_some() => {}
            None => {
                fields.insert(field.json_name().to_owned(), default_of(pool, field));
            }
        }
    }
}

fn complete_field(pool: &DescriptorPool, field: &FieldDescriptor, value: &mut Value) {
    let (FieldKind::Singular(kind) | FieldKind::List(kind) | FieldKind::Map { value: kind, .. }) =
        field.kind();
    let SingularKind::Message(message) = kind else { return };
    let message = pool.message(message);
    match (field.kind(), value) {
        (FieldKind::List(_), Value::Array(values)) => {
            values.iter_mut().for_each(|value| complete(pool, message, value));
        }
        (FieldKind::Map { .. }, Value::Object(values)) => {
            values.iter_mut().for_each(|(_, value)| complete(pool, message, value));
        }
        (_, value) => complete(pool, message, value),
    }
}

fn default_of(pool: &DescriptorPool, field: &FieldDescriptor) -> Value {
    match field.kind() {
        FieldKind::List(_) => Value::Array(Vec::new()),
        FieldKind::Map { .. } => Value::Object(Map::new()),
        FieldKind::Singular(SingularKind::Message(_)) => Value::Null,
        FieldKind::Singular(SingularKind::Enum(kind)) => zero_of(pool, kind),
        FieldKind::Singular(SingularKind::Scalar(scalar)) => match scalar {
            ScalarType::Bool => Value::Bool(false),
            ScalarType::String | ScalarType::Bytes => Value::String(String::new()),
            // Numbers of 64 bits are texts in the JSON of protobuf.
            ScalarType::Int64
            | ScalarType::Uint64
            | ScalarType::Sint64
            | ScalarType::Fixed64
            | ScalarType::Sfixed64 => Value::String("0".to_owned()),
            ScalarType::Double
            | ScalarType::Float
            | ScalarType::Int32
            | ScalarType::Uint32
            | ScalarType::Sint32
            | ScalarType::Fixed32
            | ScalarType::Sfixed32 => Value::from(0),
        },
    }
}

fn zero_of(pool: &DescriptorPool, kind: EnumIndex) -> Value {
    pool.enumeration(kind).value(0).map_or_else(|| Value::from(0), |value| value.name().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::parca::debuginfo::v1alpha1::*;
    use crate::wire::parca::profilestore::v1alpha1::*;
    use crate::wire::parca::query::v1alpha1::*;
    use crate::wire::parca::scrape::v1alpha1::*;
    use serde_json::json;

    fn check<M: Serialize + MessageName>(message: &M, expect: Value) {
        let json: Value = serde_json::from_slice(&written_out(message).unwrap()).unwrap();
        assert_eq!(json, expect);
    }

    #[test]
    fn what_is_not_said_is_written() {
        check(&HasProfileDataResponse::default(), json!({ "hasData": false }));
        check(&LabelsResponse::default(), json!({ "labelNames": [], "warnings": [] }));
        check(&WriteRawResponse::default(), json!({}));
        check(&TargetsResponse::default(), json!({ "targets": {} }));
        check(&InitiateUploadResponse::default(), json!({ "uploadInstructions": null }));
        let target = Target { last_scrape: time().into(), ..Default::default() };
        let targets = Targets { targets: vec![target], ..Default::default() };
        let job = json!({
            "discoveredLabels": null, "labels": null, "lastError": "", "lastScrape": "1970-01-01T00:00:01Z",
            "lastScrapeDuration": null, "url": "", "health": "HEALTH_UNKNOWN_UNSPECIFIED",
        });
        check(
            &TargetsResponse {
                targets: [("job".to_owned(), targets)].into_iter().collect(),
                ..Default::default()
            },
            json!({ "targets": { "job": { "targets": [job] } } }),
        );
        let instructions = UploadInstructions { build_id: "c0ffee".to_owned(), ..Default::default() };
        check(
            &InitiateUploadResponse { upload_instructions: instructions.into(), ..Default::default() },
            json!({ "uploadInstructions": {
                "buildId": "c0ffee", "uploadId": "", "uploadStrategy": "UPLOAD_STRATEGY_UNSPECIFIED", "signedUrl": "",
                "type": "DEBUGINFO_TYPE_DEBUGINFO_UNSPECIFIED",
            } }),
        );
    }

    fn time() -> buffa_types::google::protobuf::Timestamp {
        buffa_types::google::protobuf::Timestamp { seconds: 1, ..Default::default() }
    }

    #[test]
    fn of_a_oneof_there_is_what_is_set() {
        check(&QueryResponse::default(), json!({ "total": "0", "filtered": "0" }));
        let arrow = FlamegraphArrow { height: 3, ..Default::default() };
        check(
            &QueryResponse { report: Some(arrow.into()), total: 7, ..Default::default() },
            json!({
                "flamegraphArrow": { "record": "", "unit": "", "height": 3, "trimmed": "0" },
                "total": "7", "filtered": "0",
            }),
        );
        let sample = MetricsSample { value: 5, ..Default::default() };
        let series = MetricsSeries { samples: vec![sample], ..Default::default() };
        check(
            &QueryRangeResponse { series: vec![series], ..Default::default() },
            json!({ "series": [{
                "labelset": null, "periodType": null, "sampleType": null,
                "samples": [{ "timestamp": null, "value": "5", "valuePerSecond": 0, "duration": "0", "count": 0 }],
            }] }),
        );
    }

    #[test]
    fn deep_graphs_fit_the_stack() {
        let mut node = FlamegraphNode::default();
        for _ in 0..2_100 {
            node = FlamegraphNode { children: vec![node], ..Default::default() };
        }
        let json = String::from_utf8(written_out(&node).unwrap()).unwrap();
        assert_eq!(json.matches("\"children\"").count(), 2_101);
    }
}
