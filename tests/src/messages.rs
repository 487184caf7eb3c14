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
StacktracesRequest = 1 profileTypeID str, 2 labelSelector str, 3 start i64, 4 end i64, 5 maxNodes i64, 6 format i64, 7 stackTraceSelector StackTraceSelector, 8 profileIdSelector []str, 9 async AsyncRequest, 10 traceIdSelector []str, 11 spanSelector []str
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
IdRequest = 1 id str
RuleUpsert = 1 id str, 2 metricName str, 3 matchers []str, 4 groupBy []str, 5 externalLabels []LabelPair, 6 generation i64, 7 stacktraceFilter RuleFilter
RuleFilter = 1 functionName RuleFunction
RuleFunction = 1 functionName str
RuleAnswer = 1 rule Rule
RuleList = 1 rules []Rule
Rule = 1 id str, 2 metricName str, 3 profileType str, 4 matchers []str, 5 groupBy []str, 6 externalLabels []LabelPair, 7 generation i64, 8 stacktraceFilter RuleFilter
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
AsyncRequest = 1 requestId str, 2 type i64
AsyncResponse = 1 requestId str, 2 status i64, 3 errorMessage str
StacktracesResponse = 1 flamegraph FlameGraph, 2 tree bytes, 3 dot str, 4 async AsyncResponse, 5 pprof Pprof
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
Time = 1 seconds i64, 2 nanos i64
ParcaWriteRaw = 1 tenant str, 2 series []ParcaRawSeries, 3 normalized bool
ParcaRawSeries = 1 labels Labels, 2 samples []ParcaRawSample
ParcaRawSample = 1 rawProfile bytes
ParcaRecord = 1 record bytes
ParcaWriteArrow = 1 ipcBuffer bytes
ParcaAgents = 1 agents []ParcaAgent
ParcaAgent = 1 id str, 2 lastError str, 3 lastPush Time, 4 lastPushDuration Time
ParcaRange = 1 query str, 2 start Time, 3 end Time, 4 limit i64, 5 step Time, 6 sumBy []str
ParcaRangeAnswer = 1 series []ParcaSeries
ParcaSeries = 1 labelset Labels, 2 samples []ParcaSample, 3 periodType ParcaValueType, 4 sampleType ParcaValueType
ParcaSample = 1 timestamp Time, 2 value i64, 3 valuePerSecond f64, 4 duration i64, 5 count i64
ParcaValueType = 1 type str, 2 unit str
ParcaQuery = 1 mode i64, 2 diff ParcaDiff, 3 merge ParcaMerge, 4 single ParcaSingle, 5 reportType i64, 6 filterQuery str, 7 nodeTrimThreshold f32, 8 groupBy ParcaGroupBy, 9 sourceReference ParcaSource, 10 runtimeFilter ParcaRuntimes, 11 invertCallStack bool, 12 filter []ParcaFilter, 13 sandwichByFunction str
ParcaDiff = 1 a ParcaSide, 2 b ParcaSide, 3 absolute bool
ParcaSide = 1 mode i64, 2 merge ParcaMerge, 3 single ParcaSingle
ParcaMerge = 1 query str, 2 start Time, 3 end Time
ParcaSingle = 1 time Time, 2 query str
ParcaGroupBy = 1 fields []str
ParcaSource = 1 buildId str, 2 filename str, 3 sourceOnly bool
ParcaFilter = 1 stackFilter ParcaCriteriaFilter, 2 frameFilter ParcaCriteriaFilter
ParcaCriteriaFilter = 2 criteria ParcaCriteria
ParcaCriteria = 1 functionName ParcaText, 2 systemName ParcaText, 3 binary ParcaText, 4 filename ParcaText, 5 address ParcaNumber, 6 lineNumber ParcaNumber
ParcaText = 1 equal str, 2 notEqual str, 3 contains str, 4 notContains str, 5 startsWith str, 6 notStartsWith str
ParcaNumber = 1 equal i64, 2 notEqual i64
ParcaAnswer = 5 flamegraph ParcaFlamegraph, 6 pprof bytes, 7 top ParcaTop, 8 callgraph ParcaCallgraph, 9 total i64, 10 filtered i64, 11 flamegraphArrow ParcaArrow, 12 source ParcaSourceAnswer, 13 tableArrow ParcaArrow, 14 profileMetadata ParcaMetadata
ParcaFlamegraph = 1 root ParcaNode, 2 total i64, 3 unit str, 4 height i64, 5 stringTable []str, 6 locations []ParcaLocation, 7 mapping []ParcaMapping, 8 function []ParcaFunction, 9 untrimmedTotal i64, 10 trimmed i64
ParcaNode = 1 cumulative i64, 2 diff i64, 3 children []ParcaChild
ParcaChild = 1 meta ParcaMeta, 2 cumulative i64, 3 diff i64, 4 children []ParcaChild
ParcaMeta = 1 location ParcaLocation, 2 mapping ParcaMapping, 3 function ParcaFunction, 4 line ParcaLine, 5 locationIndex i64, 6 lineIndex i64
ParcaLocation = 1 id str, 2 address i64, 4 mappingId str, 5 isFolded bool, 6 lines []ParcaLine, 7 mappingIndex i64
ParcaLine = 1 functionId str, 2 line i64, 3 functionIndex i64
ParcaFunction = 1 id str, 2 startLine i64, 3 name str, 4 systemName str, 5 filename str, 6 nameStringIndex i64, 7 systemNameStringIndex i64, 8 filenameStringIndex i64
ParcaMapping = 1 id str, 2 start i64, 3 limit i64, 4 offset i64, 5 file str, 6 buildId str, 7 hasFunctions bool, 8 hasFilenames bool, 9 hasLineNumbers bool, 10 hasInlineFrames bool, 11 fileStringIndex i64, 12 buildIdStringIndex i64
ParcaTop = 1 list []ParcaTopNode, 2 reported i64, 3 total i64, 4 unit str
ParcaTopNode = 1 meta ParcaMeta, 2 cumulative i64, 3 flat i64, 4 diff i64
ParcaCallgraph = 1 nodes []ParcaCallNode, 2 edges []ParcaEdge, 3 cumulative i64
ParcaCallNode = 1 id str, 2 meta ParcaMeta, 3 cumulative i64, 4 flat i64
ParcaEdge = 1 id str, 2 source str, 3 target str, 4 cumulative i64, 5 isCollapsed bool
ParcaArrow = 1 record bytes, 2 unit str, 3 height i64, 4 trimmed i64
ParcaSourceAnswer = 1 record bytes, 2 source str, 3 unit str
ParcaMetadata = 1 mappingFiles []str, 2 labels []str
ParcaTypesRequest = 1 start Time, 2 end Time
ParcaTypes = 1 types []ParcaType
ParcaType = 1 name str, 2 sampleType str, 3 sampleUnit str, 4 periodType str, 5 periodUnit str, 6 delta bool
ParcaLabels = 1 match []str, 2 start Time, 3 end Time, 4 profileType str
ParcaLabelNames = 1 labelNames []str, 2 warnings []str
ParcaValues = 1 labelName str, 2 match []str, 3 start Time, 4 end Time, 5 profileType str
ParcaLabelValues = 1 labelValues []str, 2 warnings []str
ParcaHasData = 1 hasData bool
ParcaRuntimes = 1 showPython bool, 2 showRuby bool, 3 showInterpretedOnly bool
ParcaShare = 1 queryRequest ParcaQuery, 2 description str
ParcaShould = 1 buildId str, 2 hash str, 3 force bool, 4 type i64, 5 buildIdType i64
ParcaShouldAnswer = 1 shouldInitiateUpload bool, 2 reason str
ParcaInitiate = 1 buildId str, 2 size i64, 3 hash str, 4 force bool, 5 type i64, 6 buildIdType i64
ParcaInitiated = 1 uploadInstructions ParcaInstructions
ParcaInstructions = 1 buildId str, 2 uploadId str, 3 uploadStrategy i64, 4 signedUrl str, 5 type i64
ParcaUploaded = 1 buildId str, 2 size i64
ParcaFinished = 1 buildId str, 2 uploadId str, 3 type i64
StreamUploaded = 1 init ParcaShouldAnswer
MetricWrite = 1 timeseries []TimeSeries
TimeSeries = 1 labels []LabelPair, 2 samples []MetricSample
MetricSample = 1 value f64, 2 timestamp i64
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
        "f32" => {
            varint(u64::from(field.number) << 3 | 5, out);
            let number = value.as_f64().with_context(|| format!("{value} is no number"))?;
            out.extend((number as f32).to_le_bytes());
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
