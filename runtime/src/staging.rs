//! The tables that a round works in, and how its statements are planned. Small rounds keep both for the session: tables
//! made anew each time would fill the catalogs, and parsing and planning would take longer than a few rows do. Large
//! ones make tables and plans of their own. Knows no relation and no step.
//!
//! What is kept is emptied when it is filled the next time: emptied at commit, each table would be a millisecond's work,
//! for the sake of the index of its large values.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use sqlx::PgConnection;

use crate::error::Result;
use crate::statement::{self, Bound, Plan};

/// A kept table is made anew when so many rows have gone through it: what has gone leaves traces.
const WORN: u64 = 50_000;

/// Rounds with more changes than this are planned for what is there.
pub(crate) const SMALL: u64 = 1_000;

/// How a small round's changes are brought together with what stands: a few are looked up in a large table, by its
/// index. Of a table that is filled anew each time the planner knows no size, and would rather read all of the
/// large one.
const LOOKED_UP: &str = "SET LOCAL random_page_cost = 1.1; \
                         SET LOCAL enable_hashjoin = off; \
                         SET LOCAL enable_mergejoin = off";

/// How everything else is.
const AS_PLANNED: &str = "SET LOCAL random_page_cost TO DEFAULT; \
                          SET LOCAL enable_hashjoin TO DEFAULT; \
                          SET LOCAL enable_mergejoin TO DEFAULT";

/// What one session has for its rounds.
#[derive(Debug, Default)]
pub struct Staging(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The tables that are kept, and how many rows have gone through each.
    kept: BTreeMap<String, u64>,
    plan: Plan,
}

impl Staging {
    /// Begins a round of so many changes, about.
    pub(crate) async fn begin(&self, changes: u64, connection: &mut PgConnection) -> Result<()> {
        let plan = if changes <= SMALL { Plan::Kept } else { Plan::Anew };
        self.with(|state| state.plan = plan);
        match plan {
            Plan::Kept => statement::set(connection, LOOKED_UP).await,
            Plan::Anew => Ok(()),
        }
    }

    /// So many rows are what a few changes have brought about.
    pub(crate) async fn grown(&self, rows: u64, connection: &mut PgConnection) -> Result<()> {
        if rows <= SMALL || self.plan() == Plan::Anew {
            return Ok(());
        }
        self.with(|state| state.plan = Plan::Anew);
        statement::set(connection, AS_PLANNED).await
    }

    /// What is repaired is read from all that has landed, however few changes wait.
    pub(crate) async fn repaired(&self, connection: &mut PgConnection) -> Result<()> {
        self.grown(u64::MAX, connection).await
    }

    /// From here on whole relations are read.
    pub(crate) async fn read_on(&self, connection: &mut PgConnection) -> Result<()> {
        match self.plan() {
            Plan::Kept => statement::set(connection, AS_PLANNED).await,
            Plan::Anew => Ok(()),
        }
    }

    /// How the round's statements are planned.
    pub(crate) fn plan(&self) -> Plan {
        self.with(|state| state.plan)
    }

    /// A transaction was rolled back, and with it what was made in it.
    pub(crate) fn forget(&self) {
        self.with(|state| state.kept.clear());
    }

    /// Leaves nothing behind of what went through.
    pub(crate) async fn clear(&self, connection: &mut PgConnection) -> Result<()> {
        self.forget();
        statement::execute(connection, "DISCARD TEMP").await.map(drop)
    }

    /// Fills a table in `pg_temp` with a query's rows; returns how many.
    pub(crate) async fn fill(
        &self,
        table: &str,
        query: &str,
        plan: Plan,
        bound: &Bound,
        connection: &mut PgConnection,
    ) -> Result<u64> {
        let worn = self.with(|state| state.kept.get(table).copied()).unwrap_or(WORN);
        if plan == Plan::Kept && worn < WORN {
            let sql =
                format!("WITH m$gone AS (DELETE FROM pg_temp.{table})\nINSERT INTO pg_temp.{table}\n{query}");
            let rows = statement::execute_as(connection, plan, &sql, bound).await?;
            self.with(|state| state.kept.insert(table.to_owned(), worn + rows));
            return Ok(rows);
        }
        // Others may have had rounds on this session, or one of this has been rolled back.
        statement::execute(connection, &format!("DROP TABLE IF EXISTS pg_temp.{table}")).await?;
        let stays = match plan {
            Plan::Kept => "PRESERVE ROWS",
            Plan::Anew => "DROP",
        };
        let sql = format!("CREATE TEMPORARY TABLE {table} ON COMMIT {stays} AS\n{query}");
        let rows = statement::execute_as(connection, Plan::Anew, &sql, bound).await?;
        self.with(|state| match plan {
            Plan::Kept => state.kept.insert(table.to_owned(), rows),
            Plan::Anew => state.kept.remove(table),
        });
        Ok(rows)
    }

    fn with<T>(&self, what: impl FnOnce(&mut State) -> T) -> T {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
