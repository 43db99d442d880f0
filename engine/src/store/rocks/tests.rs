use std::collections::BTreeMap;

use rocksdb::IteratorMode;

use super::*;
use crate::store::StoredTree;

fn rows(store: &Rocks) -> usize {
    let mut rows = 0;
    for table in Table::ALL {
        let counted = store.rows(table, &mut |_, _| {
            rows += 1;
            Ok(())
        });
        counted.unwrap();
    }
    rows
}

/// Of records that are nowhere.
fn frontier_of(size: u64) -> Frontier {
    let mut frontier = Frontier::default();
    (0..size).for_each(|_| frontier.append([7; 32], |_| {}));
    frontier
}

#[test]
fn a_directory_without_the_younger_tables_is_read_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let mut older = options(TablesOpen::USUAL);
    older.create_if_missing(true);
    older.create_missing_column_families(true);
    drop(DB::open_cf_descriptors(&older, directory.path().join(JOURNAL), journal_families()).unwrap());
    let names = [META, table_name(Table::Users)];
    let db = DB::open_cf_descriptors(&older, directory.path().join(ROWS), names.map(family)).unwrap();
    db.put_cf(db.cf_handle(META).unwrap(), FORMAT, [FORMAT_VERSION]).unwrap();
    db.put_cf(db.cf_handle(META).unwrap(), ID_SEED, [0; 8]).unwrap();
    db.put_cf(db.cf_handle(table_name(Table::Users)).unwrap(), b"user", b"row").unwrap();
    drop(db);
    let store = Rocks::open_read_only(directory.path()).unwrap();
    assert_eq!((rows(&store), store.row(Table::Alerts, b"key").unwrap()), (1, None));
    drop(store);
    let store = Rocks::open(directory.path(), SyncMode::Os).unwrap();
    let row = RowBytes { table: Table::Alerts, key: b"key".to_vec(), value: b"row".to_vec() };
    store.write_rows(&[row], &Frontier::default()).unwrap();
    assert_eq!(rows(&store), 2, "serving makes the tables that are missing");
    drop(store);
    assert_eq!(rows(&Rocks::open_read_only(directory.path()).unwrap()), 2);
}

#[test]
fn a_directory_of_another_version_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let mut older = Options::default();
    older.create_if_missing(true);
    drop(DB::open(&older, directory.path()).unwrap());
    let said = |store: Result<Rocks, StoreError>| store.unwrap_err().to_string();
    let check = |directory: &Path, expected: &str| {
        for said in [said(Rocks::open(directory, SyncMode::Os)), said(Rocks::open_read_only(directory))] {
            assert!(said.contains(expected) && said.contains("run the version of tapgate that wrote it"), "{said}");
        }
    };
    check(directory.path(), "has the format of an early version");
    assert!(!directory.path().join(ROWS).exists());

    let directory = tempfile::tempdir().unwrap();
    let store = Rocks::open(directory.path(), SyncMode::Os).unwrap();
    store.rows.put_cf(store.family(META).unwrap(), FORMAT, [FORMAT_VERSION + 1]).unwrap();
    drop(store);
    check(
        directory.path(),
        &format!("has format {}, and this tapgate reads format {FORMAT_VERSION}", FORMAT_VERSION + 1),
    );

    // A table that this program does not have, of an earlier format and of a later version.
    for (format, expected) in [(FORMAT_VERSION - 1, "has format "), (FORMAT_VERSION, "has the table coupons")] {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Rocks::open(directory.path(), SyncMode::Os).unwrap();
        store.rows.create_cf("coupons", &Options::default()).unwrap();
        store.rows.put_cf(store.family(META).unwrap(), FORMAT, [format]).unwrap();
        drop(store);
        check(directory.path(), expected);
    }
}

#[test]
fn a_journal_that_is_lost_is_not_begun_anew() {
    let directory = tempfile::tempdir().unwrap();
    drop(Rocks::open(directory.path(), SyncMode::Os).unwrap());
    std::fs::remove_dir_all(directory.path().join(JOURNAL)).unwrap();
    let opened = [Rocks::open(directory.path(), SyncMode::Os), Rocks::open_read_only(directory.path())];
    for said in opened.map(|opened| opened.unwrap_err().to_string()) {
        assert!(said.contains("has rows and no journal") && said.contains("tapgate journal verify"), "{said}");
    }
    assert!(!directory.path().join(JOURNAL).exists());
}

/// Whether any file of the directory holds the bytes.
fn holds(directory: &Path, bytes: &[u8]) -> bool {
    let files = [JOURNAL, ROWS].map(|half| std::fs::read_dir(directory.join(half)).unwrap());
    files.into_iter().flatten().any(|file| {
        let file = std::fs::read(file.unwrap().path()).unwrap();
        file.windows(bytes.len()).any(|part| part == bytes)
    })
}

#[test]
fn what_is_erased_leaves_every_file() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Rocks::open(directory.path(), SyncMode::Fsync).unwrap();
    let store = open();
    let row = |key: &str, value: &str| RowBytes {
        table: Table::Persons,
        key: key.as_bytes().to_vec(),
        value: value.as_bytes().to_vec(),
    };
    store.put_synced(&[row("1", "Wilhelmina"), row("2", "Aloysius"), row("3", "Bartholomew")]).unwrap();
    assert!(holds(directory.path(), b"Aloysius"), "on the disk without a turn of rows");
    store.put_synced(&[row("2", "Ignatius")]).unwrap();
    let read = store.rows.iterator_cf(store.table(Table::Persons).unwrap(), IteratorMode::Start);
    for _ in 0..2 {
        let said = store.erase(Table::Persons, b"2").unwrap_err().to_string();
        assert!(said.contains("in use: erase again"), "a reader holds the file: {said}");
    }
    drop(read);
    store.erase(Table::Persons, b"2").unwrap();
    assert_eq!(store.row(Table::Persons, b"2"), Ok(None));
    assert!(!holds(directory.path(), b"Aloysius") && !holds(directory.path(), b"Ignatius"));
    assert!(holds(directory.path(), b"Wilhelmina") && holds(directory.path(), b"Bartholomew"));
    // Cut short: the deletion is on the disk, and so is the value.
    store.delete_rows(Table::Persons, &[b"3".to_vec()]).unwrap();
    drop(store);
    let store = open();
    assert!(holds(directory.path(), b"Bartholomew"));
    for key in [b"3", b"3", b"9"] {
        store.erase(Table::Persons, key).unwrap();
    }
    assert!(!holds(directory.path(), b"Bartholomew") && holds(directory.path(), b"Wilhelmina"));
    drop(store);
    assert_eq!(rows(&open()), 1);
}

#[test]
fn turns_leave_no_logs_behind() {
    let directory = tempfile::tempdir().unwrap();
    let store = Rocks::open(directory.path(), SyncMode::Os).unwrap();
    for turn in 1..=20 {
        let row = RowBytes { table: Table::Users, key: vec![turn], value: b"row".to_vec() };
        store.write_rows(&[row], &frontier_of(turn.into())).unwrap();
    }
    let files = std::fs::read_dir(directory.path().join(ROWS)).unwrap();
    let logs = files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|end| end == "log"));
    assert!(logs.count() <= 1);
}

/// A copy of what a crash would leave: closing would write more.
fn crashed(directory: &Path) -> tempfile::TempDir {
    let crashed = tempfile::tempdir().unwrap();
    std::fs::copy(directory.join(durable_head::FILE), crashed.path().join(durable_head::FILE)).unwrap();
    for half in [JOURNAL, ROWS] {
        std::fs::create_dir(crashed.path().join(half)).unwrap();
        for file in std::fs::read_dir(directory.join(half)).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), crashed.path().join(half).join(file.file_name())).unwrap();
        }
    }
    crashed
}

#[test]
fn rows_and_their_watermark_are_on_the_disk_once_written() {
    let directory = tempfile::tempdir().unwrap();
    let store = Rocks::open(directory.path(), SyncMode::Os).unwrap();
    let row = RowBytes { table: Table::Users, key: b"user".to_vec(), value: b"row".to_vec() };
    store.write_rows(&[row], &frontier_of(7)).unwrap();
    let crashed = crashed(directory.path());
    let found = Rocks::open_read_only(crashed.path()).unwrap();
    assert_eq!((found.frontier().unwrap(), rows(&found)), (frontier_of(7), 1));
}

type KeyAndValue = (Box<[u8]>, Box<[u8]>);

/// Everything in the journal's database.
fn stored(store: &Rocks) -> Vec<KeyAndValue> {
    let families = [RECORDS, TILES].map(|name| store.journal_family(name).unwrap());
    let all = families.iter().flat_map(|family| store.journal.iterator_cf(family, IteratorMode::Start));
    all.collect::<Result<_, _>>().unwrap()
}

/// Writes records in groups of these sizes, over and over.
fn filled(directory: &Path, groups: &[usize], size: u64) -> Rocks {
    let store = Rocks::open(directory, SyncMode::Os).unwrap();
    let (mut frontier, mut records) = (Frontier::default(), 1..=size);
    for group in groups.iter().cycle() {
        let (mut entries, mut completed) = (Vec::new(), Vec::new());
        for record in records.by_ref().take(*group) {
            let (entry, leaf) = Entry::new(Sequence(record), record.to_string().into_bytes());
            frontier.append(leaf, |node| completed.push(node));
            entries.push(entry);
        }
        if entries.is_empty() {
            break;
        }
        store.append(&entries, &completed).unwrap();
    }
    store
}

#[test]
fn the_bytes_on_disk_do_not_depend_on_groups() {
    let all: Vec<_> = [&[1][..], &[1_100], &[3, 1, 700]]
        .into_iter()
        .map(|groups| {
            let directory = tempfile::tempdir().unwrap();
            drop(filled(directory.path(), groups, 1_100));
            stored(&Rocks::open_read_only(directory.path()).unwrap())
        })
        .collect();
    // Four tiles, the two and the one above them.
    assert_eq!(all[0].len(), 1_100 + 4 + 2 + 1);
    assert!(all.iter().all(|stored| stored == &all[0]));
}

#[test]
fn a_damaged_node_or_watermark_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(directory.path(), &[256], 256);
    let span = Span { level: 8, index: 0 };
    assert!(store.node(span).unwrap().is_some());
    assert_eq!(store.node(Span { level: 9, index: 0 }), Ok(None));
    store.journal.put_cf(store.journal_family(TILES).unwrap(), node_key(span), [7; 31]).unwrap();
    let damaged = StoreError::Corrupt("the tree's hash of records 1 to 256 is damaged".to_owned());
    assert_eq!(store.node(span), Err(damaged));
    store.put_meta(WATERMARK, &7_u64.to_be_bytes()).unwrap();
    assert_eq!(store.frontier(), Err(StoreError::Corrupt("the watermark is damaged".to_owned())));
}

/// The journal's write-ahead logs.
fn logs(directory: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(directory.join(JOURNAL)).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "log")).collect()
}

#[test]
fn a_torn_group_leaves_neither_records_nor_nodes() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(directory.path(), &[250], 260);
    let tile = Span { level: 8, index: 0 };
    let found = |directory: &Path| {
        // Of a group that was answered the durable head would say that it is missing.
        let store = Rocks::read_as_it_is(directory).unwrap();
        (store.head().unwrap(), store.node(tile).unwrap())
    };
    let whole = crashed(directory.path());
    assert_eq!(found(whole.path()), (Sequence(260), store.node(tile).unwrap()));
    let torn = crashed(directory.path());
    let [log] = &logs(torn.path())[..] else { panic!("one log") };
    let log = std::fs::File::options().write(true).open(log).unwrap();
    log.set_len(log.metadata().unwrap().len() - 1).unwrap();
    assert_eq!(found(torn.path()), (Sequence(250), None));
}

#[test]
fn a_full_buffer_leaves_no_log_behind_for_the_tree() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(directory.path(), &[256], 256);
    let logs = || logs(directory.path());
    let first = logs();
    assert_eq!(first.len(), 1);
    // The same in small: with its own buffers of 64 MiB the test would write for seconds.
    let records = store.journal_family(RECORDS).unwrap();
    store.journal.set_options_cf(records, &[("write_buffer_size", "1048576")]).unwrap();
    let payload = vec![7; 1 << 18];
    let mut appended = 0;
    // RocksDB's own bound on logs is four times all buffers, which are 6 MiB.
    while logs().contains(&first[0]) {
        appended += 1;
        assert!(appended < 64, "the first log is still there after 16 MiB");
        store.append(&[Entry::new(Sequence(256 + appended), payload.clone()).0], &[]).unwrap();
    }
}

/// Files of the directory that this process has open.
#[cfg(target_os = "linux")]
fn open_tables(directory: &Path) -> usize {
    let files = std::fs::read_dir("/proc/self/fd").unwrap();
    let paths = files.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
    paths.filter(|path| path.starts_with(directory) && path.extension().is_some_and(|end| end == "sst")).count()
}

#[test]
#[cfg(target_os = "linux")]
fn of_many_tables_no_more_than_the_bound_are_open_and_each_is_read() {
    const TABLES: u64 = 100;
    let directory = tempfile::tempdir().unwrap();
    let store = Rocks::open_within(directory.path(), SyncMode::Os, TablesOpen::LEAST).unwrap();
    // Records follow each other, so that no compaction joins their tables.
    for sequence in 1..=TABLES {
        let (entry, _) = Entry::new(Sequence(sequence), sequence.to_string().into_bytes());
        store.append(&[entry], &[]).unwrap();
        store.flush_all().unwrap();
    }
    assert!(store.journal.live_files().unwrap().len() as u64 >= TABLES / 2, "there are many tables");
    for _ in 0..2 {
        for sequence in 1..=TABLES {
            let found = store.entry(Sequence(sequence)).unwrap().unwrap();
            assert_eq!(found.payload, sequence.to_string().into_bytes());
            assert!(open_tables(directory.path()) <= usize::from(TablesOpen::LEAST.0));
        }
    }
}

#[test]
fn the_more_files_the_more_tables_are_kept_open() {
    let kept = |files| TablesOpen::within(files).0;
    assert_eq!([0, 192, 194, 480, u64::MAX].map(kept), [32, 32, 33, 176, 4_096]);
    for files in (192..20_000).step_by(7) {
        assert!(TablesOpen::within(files).files() <= files);
    }
    // Each part has room for 64 at least.
    assert_eq!([32, 176, 256, 4_096].map(|tables| TablesOpen(tables).parts_bits()), [0, 1, 2, 6]);
}

/// Appends records after the last one, each in a group of its own, as a ledger would.
fn append(store: &Rocks, count: u64) {
    let head = store.head().unwrap();
    let mut frontier = StoredTree::of(store).unwrap().frontier(head).unwrap();
    for record in head.0 + 1..=head.0 + count {
        let (entry, leaf) = Entry::new(Sequence(record), record.to_string().into_bytes());
        let mut completed = Vec::new();
        frontier.append(leaf, |node| completed.push(node));
        store.append(&[entry], &completed).unwrap();
    }
}

/// A store with so many records, crashed.
fn crashed_after(records: u64, sync_mode: SyncMode) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let store = Rocks::open(directory.path(), sync_mode).unwrap();
    append(&store, records);
    crashed(directory.path())
}

fn end_of(directory: &Path) -> Result<u64, StoreError> {
    Rocks::open(directory, SyncMode::Os).map(|store| store.head().unwrap().0)
}

/// Gives one directory the durable head of another.
fn put_head(from: &tempfile::TempDir, to: &tempfile::TempDir) {
    std::fs::copy(from.path().join(durable_head::FILE), to.path().join(durable_head::FILE)).unwrap();
}

/// Every file of records and rows, with its bytes: what RocksDB says of itself is none of them.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let all = [JOURNAL, ROWS].map(|half| std::fs::read_dir(directory.join(half)).unwrap());
    let paths = all.into_iter().flatten().map(|file| file.unwrap().path());
    let own = paths.filter(|path| !path.file_name().unwrap().to_string_lossy().starts_with("LOG"));
    own.chain([directory.join(durable_head::FILE)]).map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

fn refusal(directory: &Path) -> HeadError {
    let before = files(directory);
    let said = [Rocks::open(directory, SyncMode::Os), Rocks::open_read_only(directory)];
    let [Err(StoreError::Head(serving)), Err(StoreError::Head(reading))] = said else {
        panic!("both refuse: {said:?}")
    };
    assert_eq!(serving, reading);
    assert!(files(directory) == before, "a refusal changes nothing");
    serving
}

#[test]
fn a_journal_that_has_lost_its_end_is_refused_and_left_as_it_is() {
    let cut_in_half = |log: &Path| {
        let log = std::fs::File::options().write(true).open(log).unwrap();
        log.set_len(log.metadata().unwrap().len() / 2).unwrap();
    };
    let emptied = |log: &Path| std::fs::File::options().write(true).open(log).unwrap().set_len(0).unwrap();
    let gone = |log: &Path| std::fs::remove_file(log).unwrap();
    let damages: [&dyn Fn(&Path); 3] = [&cut_in_half, &emptied, &gone];
    for damage in damages {
        let directory = crashed_after(300, SyncMode::Fsync);
        logs(directory.path()).iter().for_each(|log| damage(log));
        let HeadError::Shorter { end, head, reason, .. } = refusal(directory.path()) else { panic!("it is shorter") };
        assert!(end < Sequence(300) && head == Sequence(300));
        assert!(cfg!(not(target_os = "linux")) || reason.contains("cut, deleted or replaced"), "{reason}");
    }
}

#[test]
fn a_process_that_ends_between_two_writes_loses_nothing_and_is_not_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = Rocks::open(directory.path(), SyncMode::Os).unwrap();
    let mut before = crashed(directory.path());
    for records in 1..=20 {
        append(&store, 1);
        let [after, between] = [(); 2].map(|()| crashed(directory.path()));
        // The log has the record, and the head does not yet say so.
        put_head(&before, &between);
        assert_eq!([&after, &between].map(|crashed| end_of(crashed.path())), [Ok(records), Ok(records)]);
        before = crashed(directory.path());
    }
}

#[test]
fn a_machine_that_ends_takes_no_more_of_the_head_than_of_the_log() {
    // A power loss leaves of the log what was synced; of the head what was written at the last sync, or before.
    for sync_mode in [SyncMode::Fsync, SyncMode::Os] {
        let directory = tempfile::tempdir().unwrap();
        let store = Rocks::open(directory.path(), sync_mode).unwrap();
        let mut heads = vec![crashed(directory.path())];
        for turn in 1..=9 {
            append(&store, 1 + turn % 3);
            if sync_mode == SyncMode::Fsync || turn % 3 == 0 {
                store.sync_head().unwrap();
                let synced = crashed(directory.path());
                for head in &heads {
                    put_head(head, &synced);
                    assert!(end_of(synced.path()).is_ok());
                }
                heads.push(crashed(directory.path()));
            }
        }
    }
}

#[test]
fn another_journal_of_the_same_length_is_refused() {
    let [ours, theirs] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    append(&Rocks::open(ours.path(), SyncMode::Os).unwrap(), 260);
    // Another first record: the last ones are alike, and the tile is not.
    let store = Rocks::open(theirs.path(), SyncMode::Os).unwrap();
    store.append(&[Entry::new(Sequence(1), b"another".to_vec()).0], &[]).unwrap();
    append(&store, 259);
    drop(store);
    put_head(&theirs, &ours);
    assert!(matches!(refusal(ours.path()), HeadError::Different { head: Sequence(260), .. }));
    append(&Rocks::open(theirs.path(), SyncMode::Os).unwrap(), 1);
    let [ours, theirs] = [ours.path(), theirs.path()];
    assert!(matches!(refusal(ours), HeadError::Different { .. }) && end_of(theirs) == Ok(261));
}

#[test]
fn while_one_slot_is_written_and_one_is_synced_the_one_before_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let store = Rocks::open(directory.path(), SyncMode::Fsync).unwrap();
    for _ in 0..3 {
        append(&store, 1);
        store.sync_head().unwrap();
    }
    append(&store, 1);
    let crashed = crashed(directory.path());
    let path = crashed.path().join(durable_head::FILE);
    let whole = std::fs::read(&path).unwrap();
    let with = |damaged: &[usize]| {
        let mut bytes = whole.clone();
        damaged.iter().for_each(|slot| bytes[slot * 4096 + 20] ^= 1);
        std::fs::write(&path, bytes).unwrap();
        Recorded::read(crashed.path()).unwrap().map(|recorded| recorded.sequence.0)
    };
    assert_eq!(with(&[]), Some(4));
    // Record 4 was written over record 1.
    let slot_of = |sequence| (0..3).find(|slot| with(&[(slot + 1) % 3, (slot + 2) % 3]) == Some(sequence)).unwrap();
    let (written, synced) = (slot_of(4), slot_of(3));
    assert_eq!((with(&[written]), with(&[written, synced])), (Some(3), Some(2)));
    assert_eq!(end_of(crashed.path()), Ok(4));
    std::fs::write(&path, [0; 3 * 4096]).unwrap();
    assert!(matches!(refusal(crashed.path()), HeadError::Unreadable { .. }));
    std::fs::remove_file(&path).unwrap();
    let said = Rocks::open(crashed.path(), SyncMode::Os).unwrap_err().to_string();
    assert!(said.contains("missing or damaged") && said.contains("--at-least"), "{said}");
}

#[test]
fn a_head_without_rows_is_not_begun_anew() {
    let directory = crashed_after(9, SyncMode::Os);
    for half in [ROWS, JOURNAL] {
        std::fs::remove_dir_all(directory.path().join(half)).unwrap();
        let said = Rocks::open(directory.path(), SyncMode::Os).unwrap_err();
        assert!(matches!(said, StoreError::Head(HeadError::Alone { .. })), "{said}");
        assert!(!directory.path().join(ROWS).exists());
    }
}

#[test]
fn a_directory_older_than_the_head_gets_one() {
    let directory = crashed_after(5, SyncMode::Os);
    let store = Rocks::open(directory.path(), SyncMode::Os).unwrap();
    store.rows.delete_cf(store.family(META).unwrap(), HEAD_KEPT).unwrap();
    drop(store);
    std::fs::remove_file(directory.path().join(durable_head::FILE)).unwrap();
    assert!(Rocks::open_read_only(directory.path()).is_ok());
    // A start that was cut short left an empty one.
    std::fs::write(directory.path().join(durable_head::FILE), [0; 3 * 4096]).unwrap();
    assert_eq!(end_of(directory.path()), Ok(5));
    assert_eq!(Recorded::read(directory.path()).unwrap().unwrap().sequence, Sequence(5));
    std::fs::remove_file(directory.path().join(durable_head::FILE)).unwrap();
    assert!(end_of(directory.path()).is_err(), "from then on it is missed");
}
