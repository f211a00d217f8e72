//! One column of a row group, value by value: some rows of it are in memory at a time.

use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor};

use super::value::{Kind, Value};

/// So many rows of each column are read at once: few, for a value may be long.
const ROWS: usize = 64;

/// A column, which stands before one of its values.
pub trait Column: Send {
    /// Has the next row in memory.
    fn begin(&mut self) -> Result<(), ParquetError>;

    /// How much of the value's path is there.
    fn definition(&self) -> Result<i16, ParquetError>;

    /// From which list on the value is one more; 0 where it begins a row.
    fn repetition(&self) -> i16;

    /// Whether it stands where a row begins.
    fn is_at_row(&self) -> bool {
        self.repetition() == 0
    }

    /// Writes the value as JSON, and goes on behind it; gives why it cannot be written.
    fn write(&mut self, out: &mut Vec<u8>) -> Result<Option<String>, ParquetError>;

    /// Goes on behind so many rows.
    fn skip(&mut self, rows: usize) -> Result<(), ParquetError>;
}

/// Opens a column of a row group.
pub fn open(described: &ColumnDescPtr, reader: ColumnReader) -> Box<dyn Column> {
    match reader {
        ColumnReader::BoolColumnReader(reader) => Typed::boxed(described, reader),
        ColumnReader::Int32ColumnReader(reader) => Typed::boxed(described, reader),
        ColumnReader::Int64ColumnReader(reader) => Typed::boxed(described, reader),
        ColumnReader::Int96ColumnReader(reader) => Typed::boxed(described, reader),
        ColumnReader::FloatColumnReader(reader) => Typed::boxed(described, reader),
        ColumnReader::DoubleColumnReader(reader) => Typed::boxed(described, reader),
        ColumnReader::ByteArrayColumnReader(reader) => Typed::boxed(described, reader),
        ColumnReader::FixedLenByteArrayColumnReader(reader) => Typed::boxed(described, reader),
    }
}

struct Typed<T: DataType> {
    reader: ColumnReaderImpl<T>,
    kind: Kind,
    name: String,
    /// The definition of a value that is there.
    full: i16,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
    values: std::vec::IntoIter<T::T>,
    /// How many levels are in memory, and how many of them have been read.
    levels: usize,
    read: usize,
}

impl<T: DataType> Typed<T>
where
    T::T: Value,
{
    fn boxed(described: &ColumnDescriptor, reader: ColumnReaderImpl<T>) -> Box<dyn Column> {
        Box::new(Self {
            reader,
            kind: Kind::of(described),
            name: described.path().string(),
            full: described.max_def_level(),
            definitions: Vec::new(),
            repetitions: Vec::new(),
            values: Vec::new().into_iter(),
            levels: 0,
            read: 0,
        })
    }
}

impl<T: DataType> Column for Typed<T>
where
    T::T: Value,
{
    fn begin(&mut self) -> Result<(), ParquetError> {
        if self.read < self.levels {
            return Ok(());
        }
        self.definitions.clear();
        self.repetitions.clear();
        let mut values = Vec::new();
        let (_, _, levels) = self.reader.read_records(
            ROWS,
            Some(&mut self.definitions),
            Some(&mut self.repetitions),
            &mut values,
        )?;
        self.values = values.into_iter();
        (self.levels, self.read) = (levels, 0);
        if levels == 0 { Err(ended(&self.name)) } else { Ok(()) }
    }

    fn definition(&self) -> Result<i16, ParquetError> {
        match self.read < self.levels {
            true => Ok(self.definitions.get(self.read).copied().unwrap_or(self.full)),
            false => Err(ended(&self.name)),
        }
    }

    fn repetition(&self) -> i16 {
        self.repetitions.get(self.read).copied().unwrap_or(0)
    }

    fn write(&mut self, out: &mut Vec<u8>) -> Result<Option<String>, ParquetError> {
        let definition = self.definition()?;
        self.read += 1;
        if definition < self.full {
            out.extend_from_slice(b"null");
            return Ok(None);
        }
        let Some(value) = self.values.next() else { return Err(ended(&self.name)) };
        let begins = out.len();
        let Err(why) = value.write(&self.kind, out) else { return Ok(None) };
        out.truncate(begins);
        out.extend_from_slice(b"null");
        Ok(Some(format!("the value of `{}` {why}", self.name)))
    }

    fn skip(&mut self, rows: usize) -> Result<(), ParquetError> {
        match self.reader.skip_records(rows)? == rows {
            true => Ok(()),
            false => Err(ended(&self.name)),
        }
    }
}

fn ended(name: &str) -> ParquetError {
    ParquetError::General(format!("its column `{name}` ends before its rows do"))
}
