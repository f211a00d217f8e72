//! Lands a table's rows as one snapshot saw them: all of them into an empty landing table, else only what
//! differs from the latest state there (`land::compared`). Knows no stream and no bookkeeping.

use sqlx::postgres::PgConnection;

use super::position::SystemTime;
use super::preflight::SourceTable;
use crate::descriptor::{Gone, Landing};
use crate::error::Result;
use crate::land::{self, Place, compared, staged};
use crate::{quote, statement};

/// What a landing table holds already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// Nothing.
    None,
    /// Changes: of a recorded log, or of a stream that broke off.
    Landed,
}

/// A table's rows as a snapshot saw them, on their way to a landing table.
pub struct Snapshot<'a> {
    /// The source table.
    pub table: &'a SourceTable,
    /// All landing tables.
    pub landings: &'a [Landing],
    /// Which of them takes the rows.
    pub at: usize,
    /// Where in bronze they land.
    pub place: Place,
    /// What is there already.
    pub past: Past,
    /// What becomes of rows that are there and not in the snapshot.
    pub gone: Gone,
    /// Whether its key finds one row.
    pub keys: Keys,
}

/// Whether the key of a landing table finds one row of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// The source sees to it.
    Unique,
    /// Nobody does: the rows are looked at before they land, where they are compared.
    Unproven,
}

/// What has landed of a snapshot.
#[derive(Debug, Default)]
pub struct Landed {
    /// How many rows.
    pub rows: u64,
    /// How many rows that are there are not in the snapshot, whatever became of them.
    pub gone: u64,
    /// What somebody should look at.
    pub findings: Vec<String>,
}

impl Snapshot<'_> {
    /// Lands the table. Where `jsonb` refuses a row, both transactions go back to where the table began, and each row
    /// is looked at.
    pub async fn land(&self, source: &mut PgConnection, target: &mut PgConnection) -> Result<Landed> {
        for connection in [&mut *source, &mut *target] {
            statement::execute(connection, "SAVEPOINT table_begins").await?;
        }
        let landed = match self.land_at_once(source, target).await {
            Err(error) if land::is_of_data(&error) => {
                for connection in [&mut *source, &mut *target] {
                    statement::execute(connection, "ROLLBACK TO SAVEPOINT table_begins").await?;
                }
                self.land_each(source, target).await?
            }
            landed => landed?,
        };
        for connection in [source, target] {
            statement::execute(connection, "RELEASE SAVEPOINT table_begins").await?;
        }
        Ok(landed)
    }

    async fn land_at_once(&self, source: &mut PgConnection, target: &mut PgConnection) -> Result<Landed> {
        let (landing, rows) = (self.landing(), self.rows());
        match self.past {
            Past::None => {
                // `t.*`, so that a column called `t` is not meant.
                let query = format!(
                    "SELECT {}::bigint, 'I'::bpchar, to_jsonb(t.*), {}, row_number() OVER () FROM ({rows}) AS t",
                    self.place.lsn,
                    self.time(),
                );
                let copy_in = land::copy_in(&landing.table);
                let rows =
                    land::pipe(source, &land::copy_out(&query), target, &copy_in, &self.what()).await?;
                Ok(Landed { rows, ..Landed::default() })
            }
            Past::Landed => {
                let query = format!("SELECT to_jsonb(t.*) FROM ({rows}) AS t");
                compared::prepare(target, &self.what()).await?;
                land::pipe(source, &land::copy_out(&query), target, &compared::copy_in(), &self.what())
                    .await?;
                self.land_compared(target, Vec::new()).await
            }
        }
    }

    /// The same by the stage, which tells the rows that `jsonb` refuses from the others.
    async fn land_each(&self, source: &mut PgConnection, target: &mut PgConnection) -> Result<Landed> {
        let (landing, rows) = (self.landing(), self.rows());
        staged::prepare(target).await?;
        let query = staged::snapshot(self.at, &landing.key, &rows, self.place.lsn, &self.time());
        land::pipe(source, &land::copy_out(&query), target, &staged::copy_in(), &self.what()).await?;
        let landed = match self.past {
            Past::None => {
                let mut landed = vec![0; self.landings.len()];
                let findings = staged::finish(target, self.landings, true, &mut landed).await?;
                Landed { rows: landed.get(self.at).copied().unwrap_or(0), gone: 0, findings }
            }
            Past::Landed => {
                compared::prepare(target, &self.what()).await?;
                let findings = staged::hand_over(target, self.landings, compared::STAGED).await?;
                self.land_compared(target, findings).await?
            }
        };
        staged::clear(target).await?;
        Ok(landed)
    }

    /// Lands what differs of what stands on the stage for comparing.
    async fn land_compared(&self, target: &mut PgConnection, findings: Vec<String>) -> Result<Landed> {
        if self.keys == Keys::Unproven {
            compared::refuse_doubles(target, self.landing()).await?;
        }
        let differs = compared::land(target, self.landing(), self.place, self.gone).await?;
        Ok(Landed { rows: differs.rows, gone: differs.gone, findings })
    }

    fn landing(&self) -> &Landing {
        &self.landings[self.at]
    }

    fn rows(&self) -> String {
        format!("SELECT {} FROM {}", quote::list("", &self.table.columns), self.table.table_sql())
    }

    fn time(&self) -> String {
        SystemTime::to_sql(&self.place.time.to_string())
    }

    fn what(&self) -> String {
        format!("`{}` into `{}`", self.table.name, self.landing().table)
    }
}
