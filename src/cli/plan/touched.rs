//! How many rows and bytes the statements of a plan touch, as a live database tells. Asks one question, and changes
//! nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::live;
use crate::plan::quote::literal;
use crate::plan::{Hazard, Step};

/// Rows and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// As the statistics have it.
    pub rows: u64,
    /// Of the table with all that belongs to it.
    pub bytes: u64,
}

/// The sizes of tables, by their quoted names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched(BTreeMap<String, Size>);

/// A partitioned table is as large as its partitions.
const SIZES: &str = "
SELECT json_build_array(
    named.name,
    sum(greatest(part.reltuples, pg_stat_get_live_tuples(part.oid), 0))::bigint,
    sum(pg_total_relation_size(part.oid))::bigint
)
FROM named
JOIN pg_class AS root ON root.oid = to_regclass(named.name) AND root.relkind IN ('r', 'p', 'm')
JOIN pg_class AS part
    ON part.oid = root.oid OR part.oid IN (SELECT relid FROM pg_partition_tree(root.oid) WHERE isleaf)
GROUP BY named.name;";

impl Touched {
    /// Asks a database how large the tables are that statements are about.
    pub(super) fn ask(url: &str, steps: &[Step]) -> Result<Self, String> {
        let tables: BTreeSet<&str> =
            steps.iter().flat_map(|step| &step.locks).map(|(_, table)| table.as_str()).collect();
        let names: Vec<String> = tables.iter().map(|name| format!("({})", literal(name))).collect();
        if names.is_empty() {
            return Ok(Self::default());
        }
        let sql = format!("WITH named (name) AS (VALUES {}){SIZES}", names.join(", "));
        let mut sizes = BTreeMap::new();
        for line in live::ask(url, &sql)?.lines().filter(|line| !line.is_empty()) {
            let (name, rows, bytes): (String, u64, u64) =
                serde_json::from_str(line).map_err(|cause| format!("{cause} in `{line}`"))?;
            sizes.insert(name, Size { rows, bytes });
        }
        Ok(Self(sizes))
    }

    /// What a statement touches: nothing where it only writes a note into the catalog.
    pub(super) fn of(&self, step: &Step) -> Option<Size> {
        // The table of notes says nothing of what the next run computes.
        if step.hazards.contains(&Hazard::Recompute) {
            return None;
        }
        let touching = [Hazard::DataLoss, Hazard::Rewrite, Hazard::Scan, Hazard::IndexBuild];
        let writes = ["UPDATE ", "DELETE ", "INSERT "].iter().any(|verb| step.sql.starts_with(verb));
        let touches = writes || step.hazards.iter().any(|hazard| touching.contains(hazard));
        let (_, table) = step.locks.first().filter(|_| touches)?;
        self.0.get(table).copied()
    }
}
