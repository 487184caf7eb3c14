//! The messages of the RPC wires, written down a second time from their public description, so that a
//! wrong field number in the server cannot hide: JSON to protobuf and back.

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

/// One message a line: `Name = number jsonName type, …`; `[]` before a type = repeated.
const MESSAGES: &str = "
Empty =
LabelPair = 1 name str, 2 value str
Labels = 1 labels []LabelPair
PushRequest = 1 series []RawProfileSeries
RawProfileSeries = 1 labels []LabelPair, 2 samples []RawSample
RawSample = 1 rawProfile bytes, 2 ID str
ProfileTypesRequest = 1 start i64, 2 end i64
ProfileTypesResponse = 1 profileTypes []ProfileType
ProfileType = 1 ID str, 2 name str, 4 sampleType str, 5 sampleUnit str, 6 periodType str, 7 periodUnit str
LabelValuesRequest = 1 name str, 2 matchers []str, 3 start i64, 4 end i64
LabelNamesRequest = 1 matchers []str, 2 start i64, 3 end i64
Names = 1 names []str
SeriesRequest = 1 matchers []str, 2 labelNames []str, 3 start i64, 4 end i64
SeriesResponse = 2 labelsSet []Labels
StacktracesRequest = 1 profileTypeID str, 2 labelSelector str, 3 start i64, 4 end i64, 5 maxNodes i64, 6 format i64, 7 stackTraceSelector StackTraceSelector, 8 profileIdSelector []str, 10 traceIdSelector []str, 11 spanSelector []str
StackTraceSelector = 1 callSite []CallSite, 2 goPgo GoPgo
GoPgo = 1 keepLocations i64, 2 aggregateCallees bool
SpanProfileRequest = 1 profileTypeID str, 2 labelSelector str, 3 spanSelector []str, 4 start i64, 5 end i64, 6 maxNodes i64, 7 format i64
SpanProfileResponse = 1 flamegraph FlameGraph, 2 tree bytes
HeatmapRequest = 1 profileTypeID str, 2 labelSelector str, 3 start i64, 4 end i64, 5 step f64, 6 groupBy []str, 7 queryType i64, 8 exemplarType i64, 9 limit i64
HeatmapResponse = 1 series []HeatmapSeries
HeatmapSeries = 1 labels []LabelPair, 2 slots []HeatmapSlot
HeatmapSlot = 1 timestamp i64, 2 yMin []f64, 3 counts []i64, 4 exemplars []Exemplar
AnalyzeQueryRequest = 2 start i64, 3 end i64, 4 query str
SettingsResponse = 1 settings []Setting
SettingMessage = 1 setting Setting
Setting = 1 name str, 2 value str, 3 modifiedAt i64
NameRequest = 1 name str
AdHocUpload = 1 name str, 2 profile str, 3 maxNodes i64
AdHocGet = 1 id str, 2 profileType str, 3 maxNodes i64
AdHocProfile = 1 id str, 2 name str, 3 uploadedAt i64, 4 profileType str, 5 profileTypes []str, 6 flamebearerProfile str
AdHocList = 1 profiles []AdHocMetadata
AdHocMetadata = 1 id str, 2 name str, 3 uploadedAt i64
AdHocDiff = 1 leftId str, 2 rightId str, 3 profileType str, 4 maxNodes i64
AdHocDiffed = 1 profileTypes []str, 2 flamebearerProfile str
FeatureFlags = 1 featureFlags []FeatureFlag
FeatureFlag = 1 name str, 2 enabled bool, 3 description str, 4 documentationUrl str
CallSite = 1 name str
StacktracesResponse = 1 flamegraph FlameGraph, 2 tree bytes, 3 dot str, 5 pprof Pprof
Pprof = 1 profile Profile
FlameGraph = 1 names []str, 2 levels []Level, 3 total i64, 4 maxSelf i64
Level = 1 values []i64
MergeProfileRequest = 1 profileTypeID str, 2 labelSelector str, 3 start i64, 4 end i64, 5 maxNodes i64, 6 stackTraceSelector StackTraceSelector
SelectSeriesRequest = 1 profileTypeID str, 2 labelSelector str, 3 start i64, 4 end i64, 5 groupBy []str, 6 step f64, 7 aggregation i64, 8 stackTraceSelector StackTraceSelector, 9 limit i64, 10 exemplarType i64
SelectSeriesResponse = 1 series []Series
Series = 1 labels []LabelPair, 2 points []Point
Point = 1 value f64, 2 timestamp i64, 4 exemplars []Exemplar
Exemplar = 1 timestamp i64, 2 profileId str, 3 spanId str, 4 value i64, 5 labels []LabelPair, 6 traceId str
DiffRequest = 1 left StacktracesRequest, 2 right StacktracesRequest
DiffResponse = 1 flamegraph FlameGraphDiff
FlameGraphDiff = 1 names []str, 2 levels []Level, 3 total i64, 4 maxSelf i64, 5 leftTicks i64, 6 rightTicks i64
ProfileStats = 1 dataIngested bool, 2 oldestProfileTime i64, 3 newestProfileTime i64
VersionResponse = 1 QuerierAPI i64
Profile = 1 sampleType []ValueType, 2 sample []Sample, 3 mapping []Mapping, 4 location []Location, 5 function []Function, 6 stringTable []str, 7 dropFrames i64, 8 keepFrames i64, 9 timeNanos i64, 10 durationNanos i64, 11 periodType ValueType, 12 period i64, 13 comment []i64, 14 defaultSampleType i64
ValueType = 1 type i64, 2 unit i64
Sample = 1 locationId []i64, 2 value []i64, 3 label []Label
Label = 1 key i64, 2 str i64, 3 num i64, 4 numUnit i64
Mapping = 1 id i64, 2 memoryStart i64, 3 memoryLimit i64, 4 fileOffset i64, 5 filename i64, 6 buildId i64, 7 hasFunctions bool, 8 hasFilenames bool, 9 hasLineNumbers bool, 10 hasInlineFrames bool
Location = 1 id i64, 2 mappingId i64, 3 address i64, 4 line []Line, 5 isFolded bool
Line = 1 functionId i64, 2 line i64
Function = 1 id i64, 2 name i64, 3 systemName i64, 4 filename i64, 5 startLine i64
";

struct Field {
    number: u32,
    name: &'static str,
    kind: &'static str,
    repeated: bool,
}

fn fields(message: &str) -> Result<Vec<Field>> {
    let line = MESSAGES.lines().find_map(|line| line.strip_prefix(message)?.strip_prefix(" ="));
    let line = line.with_context(|| format!("no message {message}"))?;
    let parts = line.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let mut words = part.split(' ');
            let (Some(number), Some(name), Some(kind)) = (words.next(), words.next(), words.next()) else {
                bail!("{part}")
            };
            let plain = kind.strip_prefix("[]");
            let (kind, repeated) = (plain.unwrap_or(kind), plain.is_some());
            Ok(Field { number: number.parse()?, name, kind, repeated })
        })
        .collect()
}

/// Protobuf bytes of `value`, which has the shape of `message`; a field that `message` lacks is an error.
///
/// # Errors
/// When `value` is not in protobuf JSON.
pub fn encode(message: &str, value: &Value) -> Result<Vec<u8>> {
    let object = value.as_object().with_context(|| format!("{message}: {value} is no object"))?;
    let fields = fields(message)?;
    for name in object.keys() {
        ensure!(fields.iter().any(|field| field.name == name), "{message} has no field {name}");
    }
    let mut out = Vec::new();
    for field in &fields {
        let Some(value) = object.get(field.name) else { continue };
        let values = match (field.repeated, value) {
            (true, Value::Array(values)) => values.as_slice(),
            (false, value) => std::slice::from_ref(value),
            _ => bail!("{message}.{}: {value} is no list", field.name),
        };
        for value in values {
            encode_field(field, value, &mut out).with_context(|| format!("{message}.{}", field.name))?;
        }
    }
    Ok(out)
}

fn encode_field(field: &Field, value: &Value, out: &mut Vec<u8>) -> Result<()> {
    let text = || value.as_str().with_context(|| format!("{value} is no text"));
    let bytes = match field.kind {
        "i64" | "bool" => {
            varint(u64::from(field.number) << 3, out);
            let number = match value {
                Value::String(text) => text.parse::<i64>().with_context(|| text.clone())? as u64,
                Value::Bool(yes) => u64::from(*yes),
                other => other.as_i64().with_context(|| format!("{other} is no integer"))? as u64,
            };
            varint(number, out);
            return Ok(());
        }
        "f64" => {
            varint(u64::from(field.number) << 3 | 1, out);
            out.extend(value.as_f64().with_context(|| format!("{value} is no number"))?.to_le_bytes());
            return Ok(());
        }
        "str" => text()?.as_bytes().to_vec(),
        "bytes" => BASE64.decode(text()?)?,
        message => encode(message, value)?,
    };
    varint(u64::from(field.number) << 3 | 2, out);
    varint(bytes.len() as u64, out);
    out.extend(bytes);
    Ok(())
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The protobuf JSON of `bytes`, a `message`: 64-bit integers as texts, without defaults.
///
/// # Errors
/// When `bytes` end early, or hold a field that `message` lacks.
pub fn decode(message: &str, mut bytes: &[u8]) -> Result<Value> {
    let fields = fields(message)?;
    let mut object = Map::new();
    while !bytes.is_empty() {
        let tag = read_varint(&mut bytes)?;
        let number = tag >> 3;
        let field = fields.iter().find(|field| u64::from(field.number) == number);
        let field = field.with_context(|| format!("{message} has no field {number}"))?;
        let mut values = Vec::new();
        match (tag & 7, field.kind) {
            (0, "i64") => values.push(integer(read_varint(&mut bytes)?)),
            (0, "bool") => values.push((read_varint(&mut bytes)? != 0).into()),
            (1, "f64") => {
                let (head, rest) = bytes.split_first_chunk::<8>().context("cut off in a double")?;
                bytes = rest;
                values.push(json!(f64::from_le_bytes(*head)));
            }
            (2, kind) => {
                let length = usize::try_from(read_varint(&mut bytes)?)?;
                let (mut part, rest) = bytes.split_at_checked(length).context("cut off in a field")?;
                bytes = rest;
                match kind {
                    "i64" => {
                        while !part.is_empty() {
                            values.push(integer(read_varint(&mut part)?));
                        }
                    }
                    "f64" => {
                        let (numbers, _) = part.as_chunks::<8>();
                        values.extend(numbers.iter().map(|bytes| json!(f64::from_le_bytes(*bytes))));
                    }
                    "str" => values.push(std::str::from_utf8(part)?.into()),
                    "bytes" => values.push(BASE64.encode(part).into()),
                    message => values.push(decode(message, part)?),
                }
            }
            (wire_type, kind) => bail!("{message}.{}: wire type {wire_type} for {kind}", field.name),
        }
        if field.repeated {
            let list = object.entry(field.name).or_insert_with(|| json!([]));
            list.as_array_mut().context("list")?.extend(values);
        } else if let Some(value) = values.pop() {
            object.insert(field.name.to_owned(), value);
        }
    }
    object.retain(|_, value| !is_default(value));
    Ok(object.into())
}

fn is_default(value: &Value) -> bool {
    *value == json!("") || *value == json!("0") || *value == json!(false) || *value == json!(0.0)
}

fn integer(value: u64) -> Value {
    (value as i64).to_string().into()
}

fn read_varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().context("cut off in a number")?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    bail!("a number of more than ten bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let graph = json!({"flamegraph": {
            "names": ["total", "a"], "levels": [{"values": ["0", "5"]}, {"values": ["-1"]}], "total": "5"}});
        let bytes = encode("StacktracesResponse", &graph).unwrap();
        assert_eq!(decode("StacktracesResponse", &bytes).unwrap(), graph);
        assert_eq!(
            encode("ProfileTypesRequest", &json!({"start": 1, "end": "300"})).unwrap(),
            [8, 1, 16, 172, 2]
        );
        assert!(encode("Names", &json!({"name": []})).is_err());
        assert!(decode("Names", &[10, 5, 1]).is_err());
    }
}
