//! What can be seen in a file of any format that is read: a call tree for each thing that it measures.

use crate::error::ApiError;
use everflame_formats::{Error, ErrorKind, Format, Limits, Part, flamebearer, folded, gzip, otlp, pprof};
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
                // Text that is no pprof may still be folded stacks.
                let text = folded::read(bytes, folded::Lines::Counted, &limits).map(|text| text.profile);
                match (other, text) {
                    (_, Ok(profile)) if !profile.samples.is_empty() => add_all(&mut views, &profile),
                    (Ok(_), _) => {}
                    (Err(of_pprof), of_folded) => match (first_of_text(bytes, &limits), of_folded) {
                        // A document: no line of it is at fault.
                        (Some('{' | '[' | '<'), _) | (Some(_), Ok(_)) => {}
                        (Some(_), Err(of_folded)) => return Err(refusal(of_folded)),
                        (None, _) => return Err(refusal(of_pprof)),
                    },
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

/// What text begins with; `None` when `bytes` are none, gzip or plain.
fn first_of_text(bytes: &[u8], limits: &Limits) -> Option<char> {
    let body = gzip::inflate_if_gzip(bytes, limits).ok()?;
    let text = std::str::from_utf8(&body).ok()?;
    let is_text = text.chars().all(|found| !found.is_control() || found.is_whitespace());
    text.trim_start().chars().next().filter(|_| is_text)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_gets_the_fault_that_helps() {
        let fault = |bytes: &[u8]| read(bytes).err().map(|error| error.to_string()).unwrap_or_default();
        for lines in ["main;work 3\nmain;rest many\n".as_bytes(), &gzip::deflate(b"main;work 3\nmain many")] {
            assert!(fault(lines).starts_with(r#"folded: line 2: "many" after the last space"#));
        }
        assert!(fault(b"\x0a\x05ab\xff").starts_with("pprof: "));
        for other in ["{\"some\": \"thing else\"}", "<svg viewBox=\"0 0 1 1\"></svg>", "# word\n"] {
            assert!(fault(other.as_bytes()).starts_with("profile: nothing is measured"), "{other}");
        }
        assert!(fault(b"word").starts_with(r#"folded: line 1: "word" has no count"#));
        assert_eq!(read(b"main;work 3\n").map_or(0, |views| views.len()), 1);
    }
}
