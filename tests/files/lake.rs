//! Files in a directory or a bucket, and the warehouse that they feed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use medallion_runtime::capture::Captured;
use medallion_runtime::descriptor::Warehouse;
use medallion_runtime::error::Result;
use medallion_runtime::files::{Feeder, Left, Portion, Storage};

use crate::bucket::{Bucket, Key};
use crate::drawn::{KINDS, Line};
use crate::fed::breaks::Breaks;
use crate::fed::databases::{Databases, Ends};
use crate::fed::law;
use crate::fed::warehouse::{make, number, spec, text, verified};

/// Files of every kind.
pub const SPEC: &str = include_str!("spec.toml");

/// Files, and the warehouse that they feed.
pub struct Lake {
    pub name: String,
    pub directory: tempfile::TempDir,
    /// Where files are put as well, and read from: below the name.
    pub bucket: Option<&'static Bucket>,
    pub warehouse: &'static Warehouse,
    pub databases: Databases,
    portion: Portion,
    written: u64,
}

impl Lake {
    pub async fn new(portion: Portion) -> Self {
        Self::of(SPEC, portion).await
    }

    pub async fn of(text: &str, portion: Portion) -> Self {
        let name = format!("lake_{}", number());
        let made = make(&spec("shop", text), &name, &name).await;
        let warehouse = Box::leak(Box::new(made.warehouse));
        let directory = tempfile::tempdir().unwrap();
        Self { name, directory, bucket: None, warehouse, databases: made.databases, portion, written: 0 }
    }

    /// Writes a file, an hour ago or later: each at a time of its own.
    pub fn put(&mut self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        self.written += 1;
        let time = SystemTime::now() - Duration::from_secs(3_600) + Duration::from_secs(self.written);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        if let Some(bucket) = self.bucket {
            bucket.put(&format!("{}/{name}", self.name), &path);
        }
    }

    pub fn storage(&self) -> Result<Storage> {
        match self.bucket {
            None => Storage::directory(self.directory.path()),
            Some(bucket) => bucket.storage(&format!("lake/{}", self.name), Key::Writes),
        }
    }

    pub async fn land(&mut self) -> Result<Captured> {
        self.land_until(None).await
    }

    pub async fn land_until(&mut self, after: Option<usize>) -> Result<Captured> {
        self.land_from(self.storage()?, after).await
    }

    pub async fn land_from(&mut self, storage: Storage, after: Option<usize>) -> Result<Captured> {
        let mut feeder = Feeder::new(self.warehouse, storage, self.portion);
        let (mut breaks, mut captured) = (Breaks::after(after), Captured::default());
        while feeder.step(self.databases.lands(), &mut breaks, &mut captured).await? == Left::Pieces {}
        Ok(captured)
    }

    /// As if the process had been killed.
    pub async fn broken(&mut self, after: usize) {
        let _ = self.land_until(Some(after)).await;
        self.databases.killed().await;
    }

    pub async fn apply(&mut self) -> Result<(), String> {
        self.databases.apply(self.warehouse, Ends::Well).await
    }

    pub async fn history(&mut self, table: &str) -> String {
        let sql = format!(
            "SELECT version FROM (SELECT concat_ws(' ', product, price, sys_start, sys_end) AS version FROM {table}) AS one
            ORDER BY version COLLATE \"C\""
        );
        self.text(&sql).await
    }

    /// Each line has landed, was known, or is in quarantine.
    pub async fn counted(&mut self) -> Result<(), String> {
        let sql = "SELECT concat_ws(' ', landing, path, version, state, lines, rows, known, quarantined)
            FROM medallion.landed_file
            WHERE state IN ('landing', 'landed')
            AND (
                state <> 'landed'
                OR rows + known + quarantined <> CASE WHEN landing = 'bronze.br_csv' THEN greatest(lines - 1, 0) ELSE lines END
            )";
        let wrong = self.text(sql).await;
        if wrong.is_empty() { Ok(()) } else { Err(format!("counted wrong: {wrong}")) }
    }

    /// What is wrong is in quarantine, and nothing else, each under its line and file.
    pub async fn quarantined(&mut self, lines: &[Line]) -> Result<(), String> {
        let mut wanted: BTreeSet<(usize, usize, usize)> = BTreeSet::new();
        let mut numbers: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for line in lines {
            let number = numbers.entry((line.kind, line.file)).or_insert(usize::from(line.kind == 0));
            *number += 1;
            if line.wrong.is_some() {
                wanted.insert((line.kind, line.file, *number));
            }
        }
        let rows = self
            .text(
                "SELECT DISTINCT concat_ws('|', landing, substring(problem FROM 'line (\\d+) of'),
                    substring(problem FROM 'of `([^`]+)`: .'))
                FROM medallion.quarantine",
            )
            .await;
        let mut kept = BTreeSet::new();
        for row in rows.lines() {
            let [landing, line, path] = row.splitn(3, '|').collect::<Vec<_>>().try_into().unwrap();
            let kind = KINDS.iter().position(|kind| landing == format!("bronze.br_{kind}")).unwrap();
            let name = path.rsplit('/').next().unwrap();
            let digits: Vec<usize> =
                name.bytes().filter(u8::is_ascii_digit).map(|one| usize::from(one - b'0')).collect();
            let file = if kind == 1 { digits[1] } else { digits[0] };
            kept.insert((kind, file, line.parse().unwrap()));
        }
        if kept == wanted { Ok(()) } else { Err(format!("wrong are {wanted:?}, and kept {kept:?}")) }
    }

    /// What stands is what all of bronze tells.
    pub async fn verified(&mut self) -> Result<(), String> {
        verified(self.warehouse, &mut self.databases.target).await
    }

    pub async fn text(&mut self, sql: &str) -> String {
        text(&mut self.databases.target, sql).await
    }

    /// Lands what is there, and tells what landed and what was found.
    pub async fn tell(&mut self, what: &str, told: &mut String) {
        let captured = self.land().await.unwrap();
        let _ = writeln!(told, "{what}");
        for (landing, rows) in &captured.landed {
            let _ = writeln!(told, "  {landing}: {rows}");
        }
        for finding in &captured.findings {
            let _ = writeln!(told, "  {finding}");
        }
    }

    pub async fn end(self) {
        self.databases.end().await;
    }
}

/// Compares what is told with what was expected.
pub fn expect(name: &str, found: &str) {
    law::expect(&format!("files/{name}"), found);
}
