//! Apache Parquet: rows in row groups, each column by itself, put together as JSON. Holds some rows of each column, however
//! large the file is. `shape` says how rows are nested, `column` reads one column, `value` writes one value.

mod column;
mod shape;
mod value;

use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;

use ::parquet::basic::Compression;
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader as _, SerializedFileReader};

use super::{Fields, LONGEST, Record, Records, Row, Whole, malformed, rewind, unread};
use crate::error::{During as _, Error, Result};
use column::Column;
use shape::Shape;

/// What a file begins and ends with.
const MARK: &[u8; 4] = b"PAR1";

/// Looks whether the file has its end, which says what is in it, and whether that can be read.
pub fn whole(file: &mut File, size: u64) -> Result<Whole> {
    let mut mark = |at: u64| -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        rewind(file, at)?;
        file.by_ref().take(MARK.len() as u64).read_to_end(&mut bytes).during(unread)?;
        Ok(bytes)
    };
    if !MARK.starts_with(&mark(0)?) {
        return Ok(Whole::Unfit("it is no Parquet file".to_owned()));
    }
    if size < 3 * MARK.len() as u64 || mark(size - MARK.len() as u64)? != MARK {
        return Ok(Whole::Cut("it does not end as Parquet files do".to_owned()));
    }
    let opened = file.try_clone().during(unread)?;
    Ok(match open(opened).map_err(|error| error.to_string()).and_then(|file| unfit(&file)) {
        Ok(()) => Whole::To(size),
        Err(why) => Whole::Unfit(why),
    })
}

fn open(file: File) -> Result<SerializedFileReader<File>, ParquetError> {
    SerializedFileReader::new(file)
}

/// Why no row of a file can be read, if none can.
fn unfit(file: &SerializedFileReader<File>) -> Result<(), String> {
    Shape::of(file.metadata().file_metadata().schema_descr())?;
    let columns = file.metadata().row_groups().iter().flat_map(|group| group.columns());
    for column in columns {
        let name = match column.compression() {
            Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::GZIP(_) | Compression::ZSTD(_) => {
                continue;
            }
            Compression::BROTLI(_) => "Brotli",
            Compression::LZO => "LZO",
            Compression::LZ4 | Compression::LZ4_RAW => "LZ4",
        };
        return Err(format!(
            "its column `{}` is compressed by {name}: it can be by Snappy, Zstandard, gzip, or not at all",
            column.column_path().string()
        ));
    }
    Ok(())
}

/// The rows of a file.
pub struct Rows {
    fields: Fields,
    file: Arc<SerializedFileReader<File>>,
    shape: Shape,
    columns: Vec<Box<dyn Column>>,
    /// The row group that is read.
    group: usize,
    /// Which row of the file has been read last.
    row: u64,
    /// Which one is the last of the row group that is read.
    last: u64,
}

impl Rows {
    /// Reads on behind some rows.
    pub fn new(fields: Fields, file: File, read: u64) -> Result<Self> {
        let file = open(file).map_err(|error| Error::new("cannot read a Parquet file").because(error))?;
        let shape = Shape::of(file.metadata().file_metadata().schema_descr())
            .map_err(|why| Error::new("cannot read a Parquet file").because(why))?;
        let mut rows =
            Self { fields, file: Arc::new(file), shape, columns: Vec::new(), group: 0, row: 0, last: 0 };
        while rows.row < read && rows.next_group() {
            let skipped = read.min(rows.last) - rows.row;
            rows.row += skipped;
            if rows.row < rows.last {
                // What cannot be skipped cannot be read either, which the next row says.
                let _ = rows.open_group().and_then(|()| rows.skip(skipped));
            }
        }
        Ok(rows)
    }

    /// Goes to the next row group that has rows.
    fn next_group(&mut self) -> bool {
        self.columns.clear();
        while let Some(group) = self.file.metadata().row_groups().get(self.group) {
            let rows = u64::try_from(group.num_rows()).unwrap_or(0);
            self.group += 1;
            self.row = self.last;
            self.last += rows;
            if rows > 0 {
                return true;
            }
        }
        false
    }

    /// Opens the columns of the row group.
    fn open_group(&mut self) -> Result<(), ParquetError> {
        let group = self.file.get_row_group(self.group - 1)?;
        let columns = self.file.metadata().file_metadata().schema_descr().columns().iter().enumerate();
        self.columns = columns
            .map(|(index, described)| Ok(column::open(described, group.get_column_reader(index)?)))
            .collect::<Result<_, ParquetError>>()?;
        Ok(())
    }

    fn skip(&mut self, rows: u64) -> Result<(), ParquetError> {
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        self.columns.iter_mut().try_for_each(|column| column.skip(rows))
    }

    /// The row at which the columns stand.
    fn read(&mut self) -> Result<Row, ParquetError> {
        if self.columns.is_empty() {
            self.open_group()?;
        }
        let mut text = vec![b'{'];
        text.extend_from_slice(&self.fields.0);
        let wrong = self.shape.row(&mut self.columns, &mut text)?;
        text.push(b'}');
        Ok(match wrong {
            Some(why) => malformed(&text, why),
            None if text.len() as u64 > LONGEST => malformed(&text, "it is longer than 64 MB"),
            None => Row::Object(text),
        })
    }
}

impl Records for Rows {
    fn next(&mut self) -> Result<Option<Record>> {
        if self.row == self.last && !self.next_group() {
            return Ok(None);
        }
        let row = match self.read() {
            Ok(row) => row,
            // Its columns are read together: where one ends, the row group does.
            Err(error) => {
                let first = self.row + 1;
                self.columns.clear();
                self.row = self.last - 1;
                let which = match first == self.last {
                    true => "it".to_owned(),
                    false => format!("it and those from row {first} on"),
                };
                malformed(b"", format!("{which} cannot be read: {error}"))
            }
        };
        self.row += 1;
        Ok(Some(Record { line: self.row, end: 0, row }))
    }
}

#[cfg(test)]
mod tests;
