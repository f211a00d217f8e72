"""Writes the files beside it, with PyArrow: the same rows twice, as files are written today and as they were of old."""

import datetime as dt
import decimal as de

import pyarrow as pa
import pyarrow.parquet as pq

at = dt.datetime(2026, 1, 2, 3, 4, 5, 678901)
old = dt.datetime(1, 1, 1)
no = None
struct = pa.struct([("a", pa.int32()), ("b", pa.list_(pa.string()))])
columns = {
    "flag": (pa.bool_(), [True, no, False]),
    "i8": (pa.int8(), [-128, no, 127]),
    "i64": (pa.int64(), [-(2**63), no, 2**63 - 1]),
    "u8": (pa.uint8(), [255, no, 0]),
    "u32": (pa.uint32(), [2**32 - 1, no, 0]),
    "u64": (pa.uint64(), [2**64 - 1, no, 0]),
    "f32": (pa.float32(), [0.1, no, float("nan")]),
    "f64": (pa.float64(), [1e-300, no, float("-inf")]),
    "money": (pa.decimal128(10, 2), [de.Decimal("12.50"), no, de.Decimal("-0.01")]),
    "long": (pa.decimal128(38, 10), [de.Decimal("1234567890123456789012345678.0123456789"), no, de.Decimal(0)]),
    "longer": (pa.decimal256(60, 5), [de.Decimal("-" + "9" * 55 + ".00001"), no, de.Decimal(1)]),
    "name": (pa.string(), ['Zoë "x"\n', no, ""]),
    "word": (pa.dictionary(pa.int32(), pa.string()), ["a", no, "a"]),
    "bytes": (pa.binary(), [b"\x00\xff", no, b""]),
    "fixed": (pa.binary(3), [b"abc", no, b"\x01\x02\x03"]),
    "day": (pa.date32(), [at.date(), no, old.date()]),
    "of_day": (pa.time32("ms"), [dt.time(23, 59, 59, 999000), no, dt.time(0)]),
    "of_day_us": (pa.time64("us"), [at.time(), no, dt.time(0)]),
    "local": (pa.timestamp("us"), [at, no, old]),
    "utc_ms": (pa.timestamp("ms", "UTC"), [at.replace(microsecond=678000), no, old]),
    "utc_us": (pa.timestamp("us", "Europe/Paris"), [at.replace(tzinfo=dt.timezone.utc), no, at.replace(tzinfo=dt.timezone.utc)]),
    "utc_ns": (pa.timestamp("ns", "UTC"), [1767323045678901234, no, -1]),
    "list": (pa.list_(pa.int32()), [[1, no, 3], no, []]),
    "lists": (pa.list_(pa.list_(pa.string())), [[["a"], no, [], ["b", no]], no, [no]]),
    "struct": (struct, [{"a": 1, "b": ["x", no]}, no, {"a": no, "b": no}]),
    "structs": (pa.list_(struct), [[{"a": 1, "b": []}, no], no, [{"a": no, "b": ["y"]}]]),
    "map": (pa.map_(pa.string(), pa.int32()), [[("k", 1), ('"', no)], no, []]),
    "by_number": (pa.map_(pa.int32(), struct), [[(7, {"a": 1, "b": no})], no, []]),
    "nothing": (pa.null(), [no, no, no]),
}
table = pa.table({name: pa.array(values, type) for name, (type, values) in columns.items()})
codecs = dict(zip(columns, ["snappy", "zstd", "gzip", "none"] * len(columns)))
pq.write_table(table, "today.parquet", compression={name: codecs[name] for name in columns}, row_group_size=2)
pq.write_table(
    table.drop(["longer"]),
    "of_old.parquet",
    compression="gzip",
    version="1.0",
    data_page_version="2.0",
    use_dictionary=False,
    use_deprecated_int96_timestamps=True,
    use_compliant_nested_type=False,
    store_schema=False,
)
