//! A change whose commit failed may be there all the same.

use super::*;
use crate::disk::Disk;
use crate::disk::sim::{DiskFaults, SimDisk};

/// A profile at that hour of the first of August.
fn head_at(hour: i64) -> Head {
    let mut head = Head::default();
    let stack = head.add_stack("api", &["work", "main"]);
    let series = head.add_series("api", "process_cpu:cpu:nanoseconds:cpu:nanoseconds", "a");
    head.add_profile(series, NOON + (hour - 12) * HOUR, &[(stack.0, 7, 0)]);
    head
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_on_a_full_disk_spares_the_files_of_the_one_before() {
    let disk = Arc::new(SimDisk::new(1));
    let full = |full| disk.change_faults(|faults: &mut DiskFaults| faults.full = full);
    disk.create_folder(Path::new("/data")).unwrap();
    disk.sync_folder(Path::new("/")).unwrap();
    let store: Arc<dyn Store> = Arc::new(Folder::new(disk.clone(), "/data/tenant".into()));
    let (tables, _) = Tables::open(store.clone(), &[], 0).await.unwrap();
    let mut files = Vec::new();
    for (sequence, hour) in [(1, 3), (2, 5)] {
        let committed = tables.commit(&head_at(hour).flush(sequence), Sequences::default()).await.unwrap();
        files.extend(added(&committed, TableId::Samples).to_vec());
    }
    let rewrite = || tables.rewrite(TableId::Samples, &files, None, &|| Ok(()));
    let added = rewrite().await.unwrap();
    full(true);
    let merge = Change {
        table: TableId::Samples,
        operation: "OPTIMIZE",
        removed: files.clone(),
        added,
        changes_data: false,
        sequence: None,
        horizon: None,
        import: None,
    };
    assert!(tables.replace(merge).await.is_err(), "the commit has no room");
    assert!(rewrite().await.is_err(), "the same file has no room either");
    full(false);
    // The commit of the merge comes before that of the flush.
    tables.commit(&head_at(7).flush(3), Sequences::default()).await.unwrap();
    drop(tables);
    disk.crash();
    let (_, opened) = Tables::open(store, &[], 0).await.unwrap();
    let left = &opened.tables[TableId::Samples].files;
    assert_eq!(left.iter().map(|file| file.stats.rows).collect::<Vec<_>>(), [2, 1]);
    for file in left {
        file.open().unwrap();
    }
}
