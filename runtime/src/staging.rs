//! The tables that a round works in. They are made once a session and emptied as each transaction ends: tables made
//! anew each time would fill the catalogs, and no plan over them could be kept. A small round goes by plans that are
//! kept: parsing and planning would take it longer than its rows do. Knows no relation and no step.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use sqlx::PgConnection;

use crate::error::Result;
use crate::statement::{self, Bound, Plan};

/// Rounds with more changes than this are planned for what is there.
pub(crate) const SMALL: u64 = 2_000;

/// What one session has for its rounds.
#[derive(Debug, Default)]
pub struct Staging(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    made: BTreeSet<String>,
    plan: Plan,
}

impl Staging {
    /// So many changes, about, come in this round.
    pub(crate) fn expect(&self, changes: u64) {
        self.with(|state| state.plan = if changes <= SMALL { Plan::Kept } else { Plan::Anew });
    }

    /// How the round's statements are planned.
    pub(crate) fn plan(&self) -> Plan {
        self.with(|state| state.plan)
    }

    /// A transaction was rolled back, and with it what was made in it.
    pub(crate) fn forget(&self) {
        self.with(|state| state.made.clear());
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
        if self.with(|state| state.made.contains(table)) {
            let sql = format!("INSERT INTO pg_temp.{table}\n{query}");
            return statement::execute_as(connection, plan, &sql, bound).await;
        }
        // Others may have had rounds on this session, or one of this has been rolled back.
        statement::execute(connection, &format!("DROP TABLE IF EXISTS pg_temp.{table}")).await?;
        let sql = format!("CREATE TEMPORARY TABLE {table} ON COMMIT DELETE ROWS AS\n{query}");
        let rows = statement::execute_as(connection, Plan::Anew, &sql, bound).await?;
        self.with(|state| state.made.insert(table.to_owned()));
        Ok(rows)
    }

    fn with<T>(&self, what: impl FnOnce(&mut State) -> T) -> T {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
