//! Rows of files as they are drawn: the files that hold them, of each kind, and the history that they tell. Knows no
//! warehouse.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::parquet;

/// The kinds of files whose rows tell their time.
pub const KINDS: [&str; 4] = ["csv", "lines", "array", "parquet"];

/// A row of a file, or what stands where one should. Its time is its place in the list.
#[derive(Clone, Debug)]
pub struct Line {
    pub kind: usize,
    pub file: usize,
    pub product: u8,
    pub price: u8,
    pub wrong: Option<Wrong>,
}

/// What is wrong with a row.
#[derive(Clone, Copy, Debug)]
pub enum Wrong {
    Json,
    Key,
    Time,
    Number,
}

pub fn line() -> impl Strategy<Value = Line> {
    let wrong = prop_oneof![
        6 => Just(None),
        1 => prop::sample::select(vec![Wrong::Json, Wrong::Key, Wrong::Time, Wrong::Number]).prop_map(Some),
    ];
    (0..KINDS.len(), 0..3_usize, 0..4_u8, 0..3_u8, wrong)
        .prop_map(|(kind, file, product, price, wrong)| Line { kind, file, product, price, wrong })
}

/// Where a file is put: its folder is a part of it.
pub fn path(kind: usize, file: usize, name: u8) -> String {
    match kind {
        0 => format!("csv/{file}_{name}.csv"),
        1 => format!("lines/date=2026-01-0{}/part-{name}-{file}.jsonl", file + 1),
        2 => format!("array/{}/{file}.json", ["a", "a/b", "c d"][usize::from(name)]),
        _ => format!("parquet/{name}/{file}.parquet"),
    }
}

/// When the row of a place in the list was so.
pub fn time(at: usize) -> String {
    format!("2026-01-01 {:02}:{:02}:00+00", at / 60, at % 60)
}

pub fn content(lines: &[Line], kind: usize, file: usize) -> Vec<u8> {
    let own = lines.iter().enumerate().filter(|(_, line)| (line.kind, line.file) == (kind, file));
    if kind == 3 {
        return parquet::file(&own.map(|(at, line)| row_of(at, line)).collect::<Vec<_>>());
    }
    let texts: Vec<String> = own.map(|(at, line)| text_of(at, line)).collect();
    let text = match kind {
        0 => texts.iter().fold("at,product,price\n".to_owned(), |all, text| all + text + "\n"),
        1 => texts.iter().fold(String::new(), |all, text| all + text + "\n"),
        _ => format!("{{\"count\": {}, \"rows\": [\n{}\n]}}\n", texts.len(), texts.join(",\n")),
    };
    text.into_bytes()
}

fn row_of(at: usize, line: &Line) -> parquet::Row {
    let minutes = 29_453_760 + i64::try_from(at).unwrap();
    let (product, price) = (format!("p\"{}", line.product).into_bytes(), line.price.to_string().into_bytes());
    let row = parquet::Row { at: Some(minutes * 60_000_000), product: Some(product), price: Some(price) };
    match line.wrong {
        None => row,
        Some(Wrong::Json) => parquet::Row { product: Some(vec![0xff]), ..row },
        Some(Wrong::Key) => parquet::Row { product: None, ..row },
        Some(Wrong::Time) => parquet::Row { at: None, ..row },
        Some(Wrong::Number) => parquet::Row { price: Some(b"x".to_vec()), ..row },
    }
}

fn text_of(at: usize, line: &Line) -> String {
    let (time, product, price) = (time(at), format!("p\"{}", line.product), line.price);
    let quoted = product.replace('"', "\\\"");
    match (line.kind, line.wrong) {
        (0, None) => format!("{time},\"{}\",{price}", product.replace('"', "\"\"")),
        (0, Some(Wrong::Json)) => format!("{time},{price}"),
        (0, Some(Wrong::Key)) => format!("{time},,{price}"),
        (0, Some(Wrong::Time)) => format!(",p{product},{price}"),
        (0, Some(Wrong::Number)) => format!("{time},p,x{price}"),
        (_, None) => format!(r#"{{"at": "{time}", "product": "{quoted}", "price": {price}}}"#),
        (_, Some(Wrong::Json)) => format!(r#"{{"at" "{time}", "price": {price}}}"#),
        (_, Some(Wrong::Key)) => format!(r#"{{"at": "{time}", "price": {price}}}"#),
        (_, Some(Wrong::Time)) => format!(r#"{{"product": "{quoted}", "price": {price}}}"#),
        (_, Some(Wrong::Number)) => {
            format!(r#"{{"at": "{time}", "product": "{quoted}", "price": "x\u0000"}}"#)
        }
    }
}

/// The versions that the rows of one kind of files tell, a line each.
pub fn wanted(lines: &[Line], kind: usize) -> String {
    let mut told: BTreeMap<u8, Vec<(usize, u8)>> = BTreeMap::new();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.kind == kind && line.wrong.is_none()) {
        let versions = told.entry(line.product).or_default();
        if versions.last().is_none_or(|(_, price)| *price != line.price) {
            versions.push((at, line.price));
        }
    }
    let mut all = Vec::new();
    for (product, versions) in told {
        for (number, (at, price)) in versions.iter().enumerate() {
            let end = versions.get(number + 1).map_or("infinity".to_owned(), |(next, _)| time(*next));
            all.push(format!("p\"{product} {price} {} {end}", time(*at)));
        }
    }
    all.sort();
    all.join("\n")
}
