//! A source with two warehouses: one polls it, the other reads the files that tell of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use medallion::cli::read;
use medallion::spec::Files;
use medallion_runtime::capture::extract::{Extractor, To};
use medallion_runtime::capture::{self, Captured};
use medallion_runtime::descriptor::Warehouse;
use medallion_runtime::error::Result;
use medallion_runtime::files::{Feeder, Left, Portion, Storage};

use crate::bucket::{Bucket, Key};
use crate::fed::breaks::Breaks;
use crate::fed::databases::Databases;
use crate::fed::orders::Source;
use crate::fed::warehouse::{make, number, spec, text};
use crate::objects;

/// Who polls the source, and who reads files.
pub struct Specs {
    polled: Files,
    fed: Files,
}

impl Specs {
    pub fn law(bronze: &str) -> Self {
        Self {
            polled: spec("orders", include_str!("../polling/spec.toml")),
            fed: spec("orders", &format!("{}{bronze}", include_str!("fed.toml"))),
        }
    }

    pub fn orders() -> Self {
        let read = |folder: &str| {
            read::warehouse(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
                .unwrap_or_else(|_| panic!("`{folder}` is no spec"))
        };
        Self { polled: read("spec/orders"), fed: read("tests/cases/generate/change_logs") }
    }
}

/// A source, a warehouse that polls it, files that tell of it, and a warehouse that reads them.
pub struct Shop {
    pub polled: Warehouse,
    pub fed: Warehouse,
    pub source: Source,
    pub poller: Databases,
    pub reader: Databases,
    pub written: tempfile::TempDir,
    /// Where files are written to, where it is no directory; then they come to `written` from there.
    pub bucket: Option<&'static Bucket>,
    /// What was written to a bucket.
    said: tempfile::TempDir,
    lake: tempfile::TempDir,
    /// How many files were delivered: each at a time of its own.
    puts: u64,
    /// What was delivered under which name.
    delivered: BTreeMap<PathBuf, PathBuf>,
}

impl Shop {
    pub async fn new(specs: Specs, source_sql: &'static str) -> Self {
        let number = number();
        let source = Source::new(format!("told_source_{number}"), source_sql).await;
        let polled = make(&specs.polled, "orders", &format!("told_poller_{number}")).await;
        let fed = make(&specs.fed, "orders", &format!("told_reader_{number}")).await;
        let [written, said, lake] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        fs::create_dir_all(lake.path().join("orders")).unwrap();
        fs::create_dir_all(lake.path().join("price")).unwrap();
        Self {
            polled: polled.warehouse,
            fed: fed.warehouse,
            source,
            poller: polled.databases,
            reader: fed.databases,
            written,
            bucket: None,
            said,
            lake,
            puts: 0,
            delivered: BTreeMap::new(),
        }
    }

    /// Both look; gives when, and what the source had.
    pub async fn poll(&mut self) -> Result<(String, String), String> {
        self.extract(None).await.map_err(|error| format!("{error:?}"))?;
        let polled =
            capture::capture(&self.polled, &self.source.url, &mut self.poller.target, &mut Breaks::default())
                .await;
        polled.map_err(|error| format!("{error:?}"))?;
        Ok((self.source.clock().await, self.source.state().await))
    }

    /// Writes files; as if the process had been killed, where it is broken off.
    pub async fn extract(&mut self, after: Option<usize>) -> Result<()> {
        let to = match self.bucket {
            None => To::Directory(self.written.path()),
            Some(bucket) => {
                To::Bucket { bucket: bucket.storage(&self.place(), Key::Writes)?, state: self.state() }
            }
        };
        let extracted = match Extractor::begin(&self.polled, &self.source.url, to).await {
            Ok(mut extractor) => extractor.poll(&mut Breaks::after(after)).await.map(drop),
            Err(error) => Err(error),
        };
        if let Some(bucket) = self.bucket {
            objects::fetch(&bucket.storage(&self.place(), Key::Writes)?, self.written.path()).await?;
        }
        extracted
    }

    /// Where what was written is kept.
    pub fn state(&self) -> &Path {
        match self.bucket {
            None => self.written.path(),
            Some(_) => self.said.path(),
        }
    }

    /// The bucket, and what its files' names begin with.
    pub fn place(&self) -> String {
        format!("lake/{}", self.source.name)
    }

    /// The files that were written, in the order of their names.
    pub fn files(&self) -> Vec<PathBuf> {
        let pattern = format!("{}/*/*.json", self.written.path().display());
        let mut files: Vec<PathBuf> = glob::glob(&pattern).unwrap().map(Result::unwrap).collect();
        files.sort();
        files
    }

    /// A file is there under a name, as much of it as has come.
    pub fn deliver(&mut self, file: usize, name: u8, part: u8) {
        let files = self.files();
        let Some(file) = files.get(file % files.len().max(1)) else { return };
        let table = file.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        let path = match name {
            0 => format!("{table}/{stem}.json"),
            1 => format!("{table}/{}.json", stem.chars().rev().collect::<String>()),
            name => format!("{table}/{name}/a {stem}.json"),
        };
        let content = fs::read(file).unwrap();
        self.delivered.insert(path.clone().into(), file.clone());
        self.put(&path, &content[..content.len() * usize::from(part) / 100]);
    }

    /// All that were written, and all that was delivered is whole.
    pub fn deliver_all(&mut self) {
        for file in 0..self.files().len() {
            self.deliver(file, 0, 100);
        }
        for (path, file) in self.delivered.clone() {
            self.put(path.to_str().unwrap(), &fs::read(file).unwrap());
        }
    }

    /// Writes a file, an hour ago or later: each at a time of its own.
    pub fn put(&mut self, path: &str, content: &[u8]) {
        let path = self.lake.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        self.puts += 1;
        let time = SystemTime::now() - Duration::from_secs(3_600) + Duration::from_secs(self.puts);
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }

    pub async fn land(&mut self, after: Option<usize>) -> Result<Captured> {
        let storage = Storage::directory(self.lake.path())?;
        // However small the pieces, a batch lands as a whole.
        let mut feeder = Feeder::new(&self.fed, storage, Portion { rows: 2, bytes: 1 << 10 });
        let (mut breaks, mut captured) = (Breaks::after(after), Captured::default());
        while feeder.step(self.reader.lands(), &mut breaks, &mut captured).await? == Left::Pieces {}
        Ok(captured)
    }

    /// As if the process had been killed.
    pub async fn land_broken(&mut self, after: usize) {
        let _ = self.land(Some(after)).await;
        self.reader.killed().await;
    }

    /// The warehouse that polls has the same prices, at the same times. (When an order went each of the two knows by
    /// its own clock.)
    pub async fn tells_the_same(&mut self) -> Result<(), String> {
        let versions = "SELECT concat_ws(' ', region, product_id, price, sys_start, sys_end) FROM silver.dim_price_hist ORDER BY 1";
        let (polled, told) =
            (text(&mut self.poller.target, versions).await, text(&mut self.reader.target, versions).await);
        if polled == told { Ok(()) } else { Err(format!("polls say\n{polled}\nand files\n{told}")) }
    }

    /// No change is in bronze twice, and each that a file has landed or was known.
    pub async fn landed_once(&mut self) -> Result<(), String> {
        let twice = text(
            &mut self.reader.target,
            "SELECT 'twice: ' || (full_row ->> 'order_id') || ' ' || commit_ts FROM bronze.br_orders
            GROUP BY full_row ->> 'order_id', commit_ts, op = 'D' HAVING count(*) > 1
            UNION ALL
            SELECT concat_ws(' ', 'counted wrong:', path, state, lines, rows, known) FROM medallion.landed_file
            WHERE state IN ('landed', 'landing') AND (state = 'landing' OR rows + known <> lines OR quarantined > 0)",
        )
        .await;
        if twice.is_empty() { Ok(()) } else { Err(twice) }
    }

    pub async fn end(self) {
        self.source.end().await;
        self.poller.end().await;
        self.reader.end().await;
    }
}
