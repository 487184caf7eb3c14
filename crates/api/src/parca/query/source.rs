//! The report of a source file: its text, where `source-code` of the configuration says where it is, and what each
//! of its lines adds up to.

use super::flamegraph_arrow::{fault, stream};
use super::load::Selection;
use super::selector;
use super::stacks::Stacks;
use crate::app::App;
use crate::error::ApiError;
use crate::source::{CodePlace, Wanted};
use crate::wire::parca::query::v1alpha1::{QueryRequest, Source, SourceReference};
use arrow::array::{ArrayRef, DictionaryArray, Int32Array, Int64Array, StringArray};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use hashbrown::{HashMap, HashSet};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Places of code in which a file is looked for.
const MAX_PLACES: usize = 4;
/// Names of the file, as profiles have it, under which it is looked for.
const MAX_NAMES: usize = 4;
/// Labels that say which version of its code a service runs, the surest first.
const VERSION_LABELS: [&str; 4] = ["service_git_ref", "service.version", "service_version", "version"];

/// The reference of a request to a file, which its report needs.
pub(super) fn reference(request: &QueryRequest) -> Result<SourceReference, ApiError> {
    let found = request.source_reference.as_option().filter(|reference| !reference.filename.is_empty());
    found.cloned().ok_or_else(|| {
        ApiError::invalid(
            "source_reference.filename is missing; send the file that is asked for, as a profile names it",
        )
    })
}

/// Where the code of the services of a selection is.
pub(super) struct Places<'a> {
    places: Vec<&'a CodePlace>,
    /// The version that was profiled, where there is just one; otherwise empty.
    revision: String,
}

impl<'a> Places<'a> {
    pub(super) async fn of(app: &'a App, selection: &Selection) -> Result<Self, ApiError> {
        let mut found = Self { places: Vec::new(), revision: String::new() };
        if app.sources.is_empty() {
            return Ok(found);
        }
        let selectors = [selector::of_type(selection.query.selector.clone(), &selection.query.profile_type)];
        let range = selection.range;
        let (services, mut versions) = app
            .catalogue(move |engine| {
                let values = |name: &str| engine.label_values(name, &selectors, range);
                (values("service_name"), VERSION_LABELS.map(values))
            })
            .await?;
        for place in services.iter().filter_map(|service| app.sources.of_service(service)) {
            if found.places.len() < MAX_PLACES && !found.places.contains(&place) {
                found.places.push(place);
            }
        }
        let version = versions.iter_mut().find(|values| !values.is_empty());
        if let Some([version]) = version.map(Vec::as_mut_slice) {
            found.revision = std::mem::take(version);
        }
        Ok(found)
    }

    /// That there may be sources; a refusal when there are none.
    pub(super) fn check(&self, reference: &SourceReference) -> Result<(), ApiError> {
        match self.places.is_empty() {
            true => Err(ApiError::not_found(format_args!(
                "there are no sources of build {:?} here; source-code in the configuration says where the code of a \
                 service is",
                reference.build_id
            ))),
            false => Ok(()),
        }
    }

    /// The text of the file that has one of `names`; empty when it is not found, as in the peer: what its lines
    /// add up to is an answer without it.
    pub(super) async fn text(&self, app: &App, names: &[String]) -> Result<String, ApiError> {
        for place in &self.places {
            for file in names {
                let wanted = Wanted { file, function: "", revision: &self.revision };
                match app.sources.file(place, wanted).await {
                    Ok(found) => return Ok(found.content),
                    Err(error) if error.is_not_found() => {}
                    Err(error) => return Err(error.at("source_reference.filename")),
                }
            }
        }
        Ok(String::new())
    }
}

/// What the lines of a file add up to, by file as profiles name it, and by line: cumulative and flat.
#[derive(Debug, Default)]
pub(super) struct Lines(BTreeMap<String, BTreeMap<i64, (i64, i64)>>);

impl Lines {
    /// Those of the files that `reference` means. A line counts once in each stack.
    pub(super) fn of(stacks: &Stacks, reference: &SourceReference) -> Self {
        let frames = stacks.symbols.frames.iter().map(|frame| {
            let file = stacks.text(frame.file);
            let build = stacks.text(stacks.symbols.mapping(frame.mapping).build_id);
            let is_of_build = reference.build_id.is_empty() || reference.build_id == build;
            (is_of_build && is_meant(file, &reference.filename)).then_some((frame.file, frame.line))
        });
        let lines: Vec<Option<(u32, i64)>> = frames.collect();
        let mut sums: HashMap<(u32, i64), (i64, i64)> = HashMap::new();
        let mut met = HashSet::new();
        for (row, frames) in stacks.iter() {
            met.clear();
            for (depth, &frame) in frames.iter().enumerate() {
                let Some(Some(line)) = lines.get(frame as usize) else { continue };
                let (cumulative, flat) = sums.entry(*line).or_default();
                if met.insert(*line) {
                    *cumulative = cumulative.saturating_add(row.value);
                }
                if depth == 0 {
                    *flat = flat.saturating_add(row.value);
                }
            }
        }
        let mut all = Self::default();
        for ((file, line), sums) in sums {
            all.0.entry(stacks.text(file).to_owned()).or_default().insert(line, sums);
        }
        all
    }

    /// The names under which profiles know the file, or else that which `reference` has.
    pub(super) fn names(&self, reference: &SourceReference) -> Vec<String> {
        let mut names: Vec<String> = self.0.keys().take(MAX_NAMES).cloned().collect();
        if names.is_empty() {
            names.push(reference.filename.clone());
        }
        names
    }

    pub(super) fn report(&self, source: String, unit: String) -> Result<Source, ApiError> {
        let record = self.record().and_then(|record| stream(&record)).map_err(fault)?;
        Ok(Source { record, source, unit, ..Default::default() })
    }

    /// A row for each line, by file and line.
    fn record(&self) -> Result<RecordBatch, ArrowError> {
        let rows =
            || self.0.values().zip(0..).flat_map(|(lines, file)| lines.iter().map(move |row| (file, row)));
        let files = StringArray::from_iter_values(self.0.keys());
        let keys = Int32Array::from_iter_values(rows().map(|(file, _)| file));
        let column = |of: fn((&i64, &(i64, i64))) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(rows().map(|(_, row)| of(row))))
        };
        RecordBatch::try_from_iter([
            ("filename", Arc::new(DictionaryArray::<Int32Type>::try_new(keys, Arc::new(files))?) as ArrayRef),
            ("line_number", column(|(line, _)| *line)),
            ("cumulative", column(|(_, (cumulative, _))| *cumulative)),
            ("flat", column(|(_, (_, flat))| *flat)),
        ])
    }
}

/// Whether `file` is what is asked for: the same, or a longer path to it.
fn is_meant(file: &str, asked: &str) -> bool {
    let before = file.strip_suffix(asked);
    before.is_some_and(|before| before.is_empty() || !asked.is_empty() && before.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parca::query::stacks::tests::stacks;
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;
    use arrow_ipc::reader::StreamReader;

    #[test]
    fn a_path_is_meant_by_its_end() {
        for (file, asked, expect) in [
            ("pkg/query/sources.go", "pkg/query/sources.go", true),
            ("/home/ci/pkg/query/sources.go", "query/sources.go", true),
            ("/home/ci/buildpkg/sources.go", "pkg/sources.go", false),
            ("xsources.go", "sources.go", false),
            ("sources.go", "pkg/sources.go", false),
            ("", "sources.go", false),
        ] {
            assert_eq!(is_meant(file, asked), expect, "{file} {asked}");
        }
    }

    #[test]
    fn lines_of_all_files_of_that_name() {
        let mut stacks =
            stacks("main@/app/a.go;fib@/app/b.go;fib@/app/b.go 3\nmain@/app/a.go 2\nidle@b.go 1");
        for (frame, line) in stacks.symbols.frames.iter_mut().zip(10..) {
            frame.line = line;
        }
        let reference = |filename: &str, build_id: &str| SourceReference {
            filename: filename.to_owned(),
            build_id: build_id.to_owned(),
            ..Default::default()
        };
        let lines = Lines::of(&stacks, &reference("b.go", ""));
        assert_eq!(lines.names(&reference("b.go", "")), ["/app/b.go", "b.go"]);
        let answer = lines.report("package b".to_owned(), "count".to_owned()).unwrap();
        let record = StreamReader::try_new(answer.record.as_slice(), None).unwrap().next().unwrap().unwrap();
        let files = record.column(0).as_dictionary::<Int32Type>().downcast_dict::<StringArray>().unwrap();
        assert_eq!(files.into_iter().flatten().collect::<Vec<_>>(), ["/app/b.go", "b.go"]);
        let numbers: Vec<Vec<i64>> =
            (1..4).map(|at| record.column(at).as_primitive::<Int64Type>().values().to_vec()).collect();
        // A line that calls itself counts once.
        assert_eq!(numbers, [[10, 12], [3, 1], [3, 1]]);
        assert_eq!(Lines::of(&stacks, &reference("a.go", "")).0["/app/a.go"], [(11, (5, 2))].into());
        assert!(Lines::of(&stacks, &reference("b.go", "c0ffee")).0.is_empty());
        assert_eq!(Lines::default().names(&reference("b.go", "")), ["b.go"]);
        assert_eq!(Lines::default().record().unwrap().num_rows(), 0);
    }
}
