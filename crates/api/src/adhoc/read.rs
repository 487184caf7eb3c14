//! What can be seen in a file of any format that is read: a call tree for each thing that it measures.

use crate::error::ApiError;
use everflame_formats::{Error, ErrorKind, Format, Limits, Part, flamebearer, folded, otlp, pprof};
use everflame_profile::{Profile, ProfileType, Tree, ValueType};

/// One thing that a file measures.
pub(crate) struct View {
    /// What it is called among those of its file.
    pub(crate) name: String,
    pub(crate) profile_type: ProfileType,
    pub(crate) tree: Tree,
}

/// Most things that one file may measure.
const MAX_VIEWS: usize = 256;

/// Reads `bytes`, gzip or plain.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<View>, ApiError> {
    let limits = Limits::default();
    let mut views = Vec::new();
    if flamebearer::looks_like(bytes, &limits) {
        let flamebearer::Flamebearer { name, units, sample_rate, tree } =
            flamebearer::read(bytes, &limits).map_err(refusal)?;
        let unit = match units.as_str() {
            "samples" if sample_rate == 1_000_000_000 => "nanoseconds",
            "samples" | "objects" => "count",
            other => other,
        };
        let kind = if name.is_empty() { "samples" } else { name.as_str() };
        add(&mut views, ValueType::new(kind, unit), tree);
        return Ok(views);
    }
    if let Some(format) = Format::detect(bytes, &limits) {
        for part in format.read(bytes, &limits).map_err(refusal)?.parts {
            add_all(&mut views, &part.profile);
        }
    } else {
        match pprof::read(bytes, &limits) {
            Ok(decoded) if !decoded.profile.sample_types.is_empty() => add_all(&mut views, &decoded.profile),
            other => {
                if let Some(parts) = otlp_parts(bytes, &limits) {
                    parts.iter().for_each(|part| add_all(&mut views, &part.profile));
                    return Ok(views);
                }
                // Text that is no pprof may still be folded stacks; what is neither gets pprof's fault.
                let text = folded::read(bytes, folded::Lines::Counted, &limits).map(|text| text.profile);
                match (other, text) {
                    (_, Ok(profile)) if !profile.samples.is_empty() => add_all(&mut views, &profile),
                    (Err(error), _) => return Err(refusal(error)),
                    (Ok(_), _) => {}
                }
            }
        }
    }
    if views.is_empty() {
        return Err(ApiError::invalid(
            "profile: nothing is measured in it; send pprof, OTLP, JFR, speedscope, perf script, .cpuprofile, a Firefox \
             profile, folded stacks or flamebearer JSON",
        ));
    }
    Ok(views)
}

/// The profiles of an OTLP export, protobuf or JSON; `None` when it is no such thing.
fn otlp_parts(bytes: &[u8], limits: &Limits) -> Option<Vec<Part>> {
    let export = otlp::read(bytes, limits).or_else(|_| otlp::read_json(bytes, limits)).ok()?;
    (!export.parts.is_empty()).then_some(export.parts)
}

fn refusal(error: Error) -> ApiError {
    match error.kind() {
        ErrorKind::TooLarge => ApiError::too_large(error),
        _ => ApiError::invalid(error),
    }
}

fn add_all(views: &mut Vec<View>, profile: &Profile) {
    for (at, sample_type) in profile.sample_types.iter().enumerate() {
        if views.len() < MAX_VIEWS {
            add(views, sample_type.clone(), Tree::of_profile(profile, at));
        }
    }
}

fn add(views: &mut Vec<View>, sample: ValueType, tree: Tree) {
    let same = views.iter().filter(|view| view.profile_type.sample.kind == sample.kind).count();
    let name = if same == 0 { sample.kind.clone() } else { format!("{} ({})", sample.kind, same + 1) };
    let profile_type = ProfileType { name: sample.kind.clone(), sample, period: ValueType::default() };
    views.push(View { name, profile_type, tree });
}
