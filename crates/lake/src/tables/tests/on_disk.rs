//! What the tables are on disk, to the letter.

use super::*;

/// What is on disk. A change here is a change of the format: it needs a new version and a reader for the
/// one before.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_owned();
    let mut head = Head::default();
    let stack = head.add_stack("shop", &["work", "main"]);
    let series = head.add_series("shop", "process_cpu:cpu:nanoseconds:cpu:nanoseconds", "shop-1");
    head.add_profile(series, NOON, &[(stack.0, 10_000_000, 5)]);
    let (tables, _) = open_tables(root.clone()).await.unwrap();
    tables.commit(&head.flush(42), Sequences::default()).await.unwrap();
    tables.check_logs().await;
    let mut text = String::new();
    for (table, partition) in [
        ("samples", "date=2026-08-01"),
        ("profiles", "date=2026-08-01"),
        ("series", "date=2026-08-01"),
        ("stacks", ""),
    ] {
        let log =
            std::fs::read_to_string(root.join(table).join("_delta_log/00000000000000000000.json")).unwrap();
        let mut files = std::fs::read_dir(root.join(table).join(partition)).unwrap();
        let path = files.find_map(|entry| {
            let path = entry.unwrap().path();
            path.extension().is_some_and(|extension| extension == "parquet").then_some(path)
        });
        let data = DataFile::new(
            path.unwrap(),
            0,
            crate::FileStats {
                rows: 0,
                min_service: String::new(),
                max_service: String::new(),
                min_time: 0,
                max_time: 0,
            },
        );
        assert_eq!(data.checksum(), Some(crc32c::crc32c(&std::fs::read(&data.path).unwrap())));
        text += &format!("== {table}\n{}\n", without_moments(&log));
        let metadata = data.metadata().unwrap();
        let mut schema = Vec::new();
        parquet::schema::printer::print_schema(&mut schema, metadata.file_metadata().schema());
        text += &String::from_utf8(schema).unwrap();
        for column in metadata.row_group(0).columns() {
            let mut encodings: Vec<_> = column.encodings().map(|encoding| encoding.to_string()).collect();
            encodings.sort();
            text += &format!("{}: {} {}\n", column.column_path(), encodings.join(" "), column.compression());
        }
        assert!(metadata.column_index().is_some() && metadata.offset_index().is_some());
        assert!(metadata.row_group(0).sorting_columns().is_some());
        assert!(metadata.file_metadata().key_value_metadata().is_none_or(Vec::is_empty));
    }
    insta::assert_snapshot!(text);
}

/// A log without what differs between two runs: ids, times of writing, sizes, the program's version.
fn without_moments(log: &str) -> String {
    let mut lines = Vec::new();
    for line in log.lines() {
        let mut action: serde_json::Value = serde_json::from_str(line).unwrap();
        for (kind, field) in [
            ("commitInfo", "timestamp"),
            ("commitInfo", "engineInfo"),
            ("metaData", "id"),
            ("metaData", "createdTime"),
            ("add", "size"),
            ("add", "modificationTime"),
        ] {
            if let Some(value) = action.get_mut(kind).and_then(|action| action.get_mut(field)) {
                *value = "…".into();
            }
        }
        // The checksum in the name depends on the program's version.
        if let Some(path) = action.get_mut("add").and_then(|add| add.get_mut("path")) {
            let stem = path.as_str().unwrap().rsplit_once("-crc").unwrap().0;
            *path = format!("{stem}-crc….parquet").into();
        }
        lines.push(sorted_keys(&action).to_string());
    }
    lines.join("\n")
}

/// The value with the keys of all objects sorted: their order on disk is any.
fn sorted_keys(value: &serde_json::Value) -> serde_json::Value {
    let Some(object) = value.as_object() else { return value.clone() };
    let sorted: BTreeMap<&String, serde_json::Value> = object
        .iter()
        .map(|(key, value)| match (key.as_str(), value.as_str()) {
            ("stats", Some(stats)) => {
                let stats: serde_json::Value = serde_json::from_str(stats).unwrap();
                (key, sorted_keys(&stats).to_string().into())
            }
            _ => (key, sorted_keys(value)),
        })
        .collect();
    sorted.into_iter().map(|(key, value)| (key.clone(), value)).collect::<serde_json::Map<_, _>>().into()
}
