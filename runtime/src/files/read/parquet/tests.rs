//! What is read of Parquet files: those that PyArrow wrote, those that the `parquet` crate writes, and what is broken.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use ::parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use proptest::prelude::*;

use super::*;

fn kept(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("it takes bytes");
    file
}

fn judged(bytes: &[u8]) -> Whole {
    whole(&mut kept(bytes), bytes.len() as u64).expect("a file can be read")
}

fn rows(bytes: &[u8], read: u64) -> Vec<Record> {
    let fields = Fields::new(&BTreeMap::new());
    let mut rows = Rows::new(fields, kept(bytes), read).expect("rows");
    let mut all = Vec::new();
    while let Some(record) = rows.next().expect("a row") {
        all.push(record);
    }
    all
}

fn written(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parquet").join(name);
    std::fs::read(path).expect("it is committed")
}

fn text(record: &Record) -> String {
    match &record.row {
        Row::Object(text) => String::from_utf8(text.clone()).expect("JSON"),
        Row::Malformed { why, .. } => why.clone(),
    }
}

#[test]
fn what_others_write_is_read_to_the_last_digit() {
    for name in ["today", "of_old"] {
        let file = written(&format!("{name}.parquet"));
        assert_eq!(judged(&file), Whole::To(file.len() as u64), "{name}");
        let mut found = String::new();
        for record in rows(&file, 0) {
            let row = text(&record);
            serde_json::from_str::<serde::de::IgnoredAny>(&row)
                .unwrap_or_else(|error| panic!("{row}: {error}"));
            let _ = writeln!(found, "{}", row.replace(",\"", ",\n  \""));
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/parquet/{name}.txt"));
        if std::env::var_os("MEDALLION_UPDATE").is_some() {
            std::fs::write(&path, &found).expect("it can be written");
        }
        let wanted = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(found, wanted, "{name}: MEDALLION_UPDATE=1 rewrites it");
    }
}

#[test]
fn fields_of_the_path_stand_before_a_rows_own() {
    let fields = Fields::new(&BTreeMap::from([("date".to_owned(), "x".to_owned())]));
    let mut rows = Rows::new(fields, kept(&written("today.parquet")), 2).expect("rows");
    let row = rows.next().expect("a row").expect("the third");
    assert_eq!(row.line, 3);
    assert!(text(&row).starts_with("{\"date\":\"x\",\"flag\":false,"), "{}", text(&row));
}

#[test]
fn what_is_none_or_not_whole_is_told() {
    let file = written("today.parquet");
    assert_eq!(judged(b"id,name\n1,a\n"), Whole::Unfit("it is no Parquet file".to_owned()));
    for length in [0, 3, 4, 11, 12, file.len() / 2, file.len() - 1] {
        let cut = "it does not end as Parquet files do".to_owned();
        assert_eq!(judged(&file[..length]), Whole::Cut(cut), "{length}");
    }
    let mut broken = file.clone();
    let end = broken.len();
    broken[end - 40..end - 8].fill(0xff);
    assert!(matches!(judged(&broken), Whole::Unfit(_)));
}

/// What cannot be read of a row group is told once, and the others' rows land.
#[test]
fn rows_around_a_broken_page_are_read() {
    let names: Vec<Option<String>> = (0..30).map(|row| Some(format!("row {row}"))).collect();
    let numbers: Vec<Numbers> = names.iter().map(|_| None).collect();
    let mut file = made(&names, &numbers, 10, 5);
    let at = file.windows(6).position(|window| window == b"row 17").expect("it is not compressed");
    // The value's length, of four bytes, stands before it.
    file[at - 4..at].fill(0xff);
    let read = rows(&file, 0);
    let lines: Vec<u64> = read.iter().map(|record| record.line).collect();
    assert_eq!(lines, (1..=10).chain([20]).chain(21..=30).collect::<Vec<u64>>());
    let why = text(&read[10]);
    assert!(why.starts_with("it and those from row 11 on cannot be read: "), "{why}");
    assert_eq!(rows(&file, 20), read[11..]);
}

#[test]
fn a_value_that_is_none_takes_its_row_alone() {
    let names = [Some("a".to_owned()), None, Some("c".to_owned())];
    let mut file = made(&names, &[None, Some(vec![Some(1)]), None], 3, 3);
    let at = file.windows(5).position(|window| window == [1, 0, 0, 0, b'c']).expect("it is not compressed");
    file[at + 4] = 0xff;
    let read = rows(&file, 0);
    let texts: Vec<String> = read.iter().map(text).collect();
    assert_eq!(
        texts,
        [
            r#"{"name":"a","numbers":null}"#,
            r#"{"name":null,"numbers":[1]}"#,
            "the value of `name` is not UTF-8"
        ]
    );
}

type Numbers = Option<Vec<Option<i64>>>;

/// A file of names and of lists of numbers, in row groups and pages of so many rows.
fn made(names: &[Option<String>], numbers: &[Numbers], group: usize, page: usize) -> Vec<u8> {
    let schema = "message row {
        optional binary name (STRING);
        optional group numbers (LIST) { repeated group list { optional int64 element; } }
    }";
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let properties = WriterProperties::builder()
        .set_data_page_row_count_limit(page)
        .set_write_batch_size(1)
        .set_dictionary_enabled(false)
        .build();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties)).expect("a writer");
    for (names, numbers) in names.chunks(group).zip(numbers.chunks(group)) {
        let mut rows = writer.next_row_group().expect("a row group");
        let mut column = rows.next_column().expect("a column").expect("the names");
        let definitions: Vec<i16> = names.iter().map(|name| i16::from(name.is_some())).collect();
        let values: Vec<ByteArray> = names.iter().flatten().map(|name| name.as_str().into()).collect();
        column.typed::<ByteArrayType>().write_batch(&values, Some(&definitions), None).expect("names");
        column.close().expect("names");
        let mut column = rows.next_column().expect("a column").expect("the numbers");
        let (mut definitions, mut repetitions, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for numbers in numbers {
            match numbers.as_deref() {
                None => definitions.push(0),
                Some([]) => definitions.push(1),
                Some(numbers) => {
                    definitions.extend(numbers.iter().map(|number| if number.is_some() { 3 } else { 2 }));
                    values.extend(numbers.iter().flatten().copied());
                }
            }
            repetitions.push(0);
            repetitions.resize(definitions.len(), 1);
        }
        column
            .typed::<Int64Type>()
            .write_batch(&values, Some(&definitions), Some(&repetitions))
            .expect("numbers");
        column.close().expect("numbers");
        rows.close().expect("a row group");
    }
    writer.close().expect("a file");
    bytes
}

fn row() -> impl Strategy<Value = (Option<String>, Numbers)> {
    let number = prop::option::of(any::<i64>());
    (prop::option::of("\\PC{0,6}"), prop::option::of(prop::collection::vec(number, 0..5)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever row groups and pages there are, the rows are those that were written; and reading on behind any of
    /// them gives the others.
    #[test]
    fn rows_are_as_they_were_written(
        drawn in prop::collection::vec(row(), 1..200),
        group in 1..90_usize,
        page in 1..40_usize,
        read in any::<prop::sample::Index>(),
    ) {
        let (names, numbers): (Vec<_>, Vec<_>) = drawn.iter().cloned().unzip();
        let file = made(&names, &numbers, group, page);
        prop_assert_eq!(judged(&file), Whole::To(file.len() as u64));
        let all = rows(&file, 0);
        let wanted: Vec<serde_json::Value> =
            drawn.iter().map(|(name, numbers)| serde_json::json!({ "name": name, "numbers": numbers })).collect();
        let found: Vec<serde_json::Value> =
            all.iter().map(|record| serde_json::from_str(&text(record)).expect("JSON")).collect();
        prop_assert_eq!(found, wanted);
        let read = read.index(drawn.len() + 1);
        prop_assert_eq!(&rows(&file, read as u64)[..], &all[read..]);
    }

    /// Whatever has become of its bytes, a file is read to its end, or said why not.
    #[test]
    fn broken_bytes_are_no_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        is_old in any::<bool>(),
    ) {
        let mut file = written(if is_old { "of_old.parquet" } else { "today.parquet" });
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if matches!(judged(&file), Whole::To(_)) {
            prop_assert!(rows(&file, 0).len() <= 8);
        }
    }
}
