//! Names that are the loader's, the tool's or PostgreSQL's own, whatever a spec says.

/// The hash of a dimension's tracked columns.
pub(super) const ROW_HASH: &str = "row_hash";
/// A period's start.
pub(super) const SYS_START: &str = "sys_start";
/// A period's end.
pub(super) const SYS_END: &str = "sys_end";
/// The system time of a fact's row.
pub(super) const SNAPSHOT: &str = "snapshot_ts";

/// How columns begin that stand beside a relation's own while it is loaded.
pub(super) const LOADER_COLUMNS: &str = "m$";
/// Columns that PostgreSQL gives every table.
pub(super) const SYSTEM_COLUMNS: &[&str] = &["cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"];

/// What stands in the tool's schema whatever the spec says.
pub(super) const TOOL_RELATIONS: &[&str] = &[
    "captured_table",
    "column_since",
    "erasure",
    "failed_row",
    "guard_switch",
    "horizon",
    "landed_file",
    "late_change",
    "latest_ending",
    "misfit",
    "noticed",
    "pipeline_metadata",
    "recompute",
    "seaql_migrations",
    "quarantine",
    "source_position",
    "warehouse",
    "watermark",
];
