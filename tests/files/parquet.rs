//! Writes Parquet files of rows that may be wrong. Knows no warehouse.

use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// A row: a time in microseconds since 1970, and two texts.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub at: Option<i64>,
    pub product: Option<Vec<u8>>,
    pub price: Option<Vec<u8>>,
}

/// The rows as a file, two in each row group.
pub fn file(rows: &[Row]) -> Vec<u8> {
    let schema = "message row {
        optional int64 at (TIMESTAMP(MICROS, true));
        optional binary product (STRING);
        optional binary price (STRING);
    }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::default()).unwrap();
    for rows in rows.chunks(2) {
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let times: Vec<i64> = rows.iter().filter_map(|row| row.at).collect();
        let there: Vec<i16> = rows.iter().map(|row| i16::from(row.at.is_some())).collect();
        column.typed::<Int64Type>().write_batch(&times, Some(&there), None).unwrap();
        column.close().unwrap();
        for text in [|row: &Row| row.product.clone(), |row: &Row| row.price.clone()] {
            let mut column = group.next_column().unwrap().unwrap();
            let texts: Vec<ByteArray> = rows.iter().filter_map(text).map(ByteArray::from).collect();
            let there: Vec<i16> = rows.iter().map(|row| i16::from(text(row).is_some())).collect();
            column.typed::<ByteArrayType>().write_batch(&texts, Some(&there), None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
    bytes
}
