//! Lands a piece of a file in one transaction of the warehouse: its lines come onto a stage, are read as what silver
//! takes, and those land that say something new; the others go into quarantine, each with its line and the reason.
//! Set-based, however many they are. Knows no storage and no format.

use std::fmt::Write as _;

use sqlx::postgres::{PgConnection, PgCopyIn};
use sqlx::{AssertSqlSafe, Row as _};

use super::change_log;
use super::read::{Record, Row};
use crate::apply::landed::{Records, said_as};
use crate::capture::SystemTime;
use crate::descriptor::{ColumnFrom, Feed, FeedFormat, Landing, Name, OPERATION, Silver, Warehouse};
use crate::error::{During as _, Result};
use crate::{land, quote};

/// What is found to be true of the rows of a landing table before they land.
pub struct Checks {
    /// Reads every field that silver takes, as the type that it takes it as.
    reads: String,
    /// Says why a row cannot land, or NULL.
    problem: String,
    /// The row's time, or NULL.
    time: String,
    /// Whether the row tells its time.
    is_timed: bool,
    /// Whether it tells what was done to it.
    is_log: bool,
}

/// How far ahead of the warehouse's clock the time of a row may be.
const AHEAD: &str = "interval '5 minutes'";

/// How much is gathered before it is sent on.
const PIPED: usize = 256 << 10;

impl Checks {
    /// Asks the warehouse what silver takes of a landing table.
    pub async fn of(warehouse: &Warehouse, landing: &Landing, target: &mut PgConnection) -> Result<Self> {
        let time_field = landing.feed().and_then(Feed::time_field);
        let is_log = landing.feed().is_some_and(|feed| feed.format == FeedFormat::ChangeLog);
        let mut reads = String::new();
        let mut problem = String::from("CASE");
        for key in &landing.key {
            let missing = quote::literal(&format!("the key `{key}` is missing"));
            let _ = write!(problem, "\n    WHEN line.row ->> {} IS NULL THEN {missing}", quote::literal(key));
        }
        let time = match time_field {
            None => "NULL::timestamptz".to_owned(),
            Some(field) => {
                let missing = quote::literal(&format!("the time `{field}` is missing"));
                let ahead = quote::literal(&format!("the time `{field}` is ahead of the clock"));
                let _ = write!(
                    problem,
                    "\n    WHEN read_time.at IS NULL THEN {missing}\n    WHEN NOT isfinite(read_time.at) \
                     OR read_time.at > clock_timestamp() + {AHEAD} THEN {ahead}"
                );
                let zone = landing.feed().and_then(|feed| feed.time_zone);
                let _ = write!(
                    reads,
                    "\nCROSS JOIN LATERAL (SELECT {} AS at) AS read_time",
                    time_of(field, zone)
                );
                "read_time.at".to_owned()
            }
        };
        if is_log {
            let operation = change_log::operation("line.row");
            let _ = write!(
                problem,
                "\n    WHEN {operation} IS NULL THEN '`{OPERATION}` is none of INSERT, UPDATE and DELETE'\n    \
                 WHEN {operation} = 'D' THEN NULL"
            );
        }
        let mut records = Records::default();
        // What cannot be computed is no reason not to land: it is left out where it is applied, until it can be.
        let fed = |silver: &&Silver| silver.feed == landing.table && !silver.is_computed();
        for silver in warehouse.silver.iter().filter(fed) {
            let required = required(&silver.table, target).await?;
            for column in &silver.columns {
                let ColumnFrom::Field(field) = &column.from else { continue };
                let value = records.value(field, said_as(column));
                if required.contains(&column.name) {
                    let missing = format!("`{field}` is missing, and `{}` takes no NULL", silver.table);
                    let _ = write!(problem, "\n    WHEN {value} IS NULL THEN {}", quote::literal(&missing));
                }
            }
        }
        reads.push_str(&records.from("line.row"));
        problem.push_str("\nEND");
        Ok(Self { reads, problem, time, is_timed: time_field.is_some(), is_log })
    }

    /// Whether a row is what its key is after the row before it, for rows say no time.
    pub fn go_by_order(&self) -> bool {
        !self.is_timed && !self.is_log
    }
}

/// A field as a time: text as PostgreSQL reads it, a number as seconds since 1970, or as milliseconds where it would be
/// thousands of years otherwise. Text without a zone is in the feed's.
fn time_of(field: &str, zone: Option<&str>) -> String {
    let field = quote::literal(field);
    let text = match zone {
        None => format!("(line.row ->> {field})::timestamptz"),
        // A zone stands behind the time of day, as Z, as an offset or by its name; `infinity` has none and needs none.
        Some(zone) => format!(
            "CASE WHEN (line.row ->> {field}) ~* ':\\d\\d(\\.\\d+)?\\s*([+-]\\d|[a-z])'
                THEN (line.row ->> {field})::timestamptz
                ELSE (line.row ->> {field})::timestamp AT TIME ZONE {}
            END",
            quote::literal(zone)
        ),
    };
    format!(
        "CASE jsonb_typeof(line.row -> {field})
            WHEN 'number' THEN to_timestamp(
                (line.row ->> {field})::double precision
                / CASE WHEN abs((line.row ->> {field})::numeric) < 100000000000 THEN 1 ELSE 1000 END
            )
            ELSE {text}
        END"
    )
}

/// The columns that take no NULL.
async fn required(table: &Name, target: &mut PgConnection) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT attname::text FROM pg_attribute
        WHERE attrelid = to_regclass($1) AND attnum > 0 AND attnotnull AND NOT attisdropped",
    )
    .bind(quote::name(table))
    .fetch_all(target)
    .await
    .during(|| format!("cannot look at the columns of `{table}`"))
}

/// What a piece has brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Landed {
    /// How many rows landed.
    pub rows: u64,
    /// How many were known already.
    pub known: u64,
    /// How many lines are in quarantine.
    pub quarantined: u64,
    /// The first of these lines, and why.
    pub first_problem: Option<(u64, String)>,
}

/// A file's lines on their way onto the stage.
pub struct Stage<'a> {
    copy: PgCopyIn<&'a mut PgConnection>,
    bytes: Vec<u8>,
}

const HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

impl<'a> Stage<'a> {
    /// Makes the stage, which is empty after each transaction, and begins to fill it.
    pub async fn begin(target: &'a mut PgConnection) -> Result<Self> {
        sqlx::raw_sql(
            "SET LOCAL client_min_messages = warning;
            CREATE TEMPORARY TABLE IF NOT EXISTS medallion_file_line (
                line bigint PRIMARY KEY,
                text text NOT NULL,
                problem text
            ) ON COMMIT DELETE ROWS;
            CREATE TEMPORARY TABLE IF NOT EXISTS medallion_file_row (
                line bigint,
                row jsonb,
                at timestamptz,
                problem text
            ) ON COMMIT DELETE ROWS",
        )
        .execute(&mut *target)
        .await
        .during(unstaged)?;
        let mut copy = target
            .copy_in_raw("COPY pg_temp.medallion_file_line (line, text, problem) FROM STDIN (FORMAT binary)")
            .await
            .during(unstaged)?;
        copy.send(&HEADER[..]).await.during(unstaged)?;
        Ok(Self { copy, bytes: Vec::with_capacity(PIPED) })
    }

    /// Adds a line.
    pub async fn push(&mut self, record: &Record) -> Result<()> {
        let (text, problem) = match &record.row {
            Row::Object(text) => (text.as_slice(), None),
            Row::Malformed { text, why } => (text.as_bytes(), Some(why)),
        };
        self.bytes.extend_from_slice(&3_i16.to_be_bytes());
        self.field(&record.line.to_be_bytes());
        self.field(text);
        match problem {
            Some(problem) => self.field(problem.as_bytes()),
            None => self.bytes.extend_from_slice(&(-1_i32).to_be_bytes()),
        }
        if self.bytes.len() >= PIPED {
            self.copy.send(&self.bytes[..]).await.during(unstaged)?;
            self.bytes.clear();
            self.bytes.shrink_to(PIPED);
        }
        Ok(())
    }

    fn field(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(&i32::try_from(value.len()).unwrap_or(i32::MAX).to_be_bytes());
        self.bytes.extend_from_slice(value);
    }

    /// Ends it.
    pub async fn finish(mut self) -> Result<u64> {
        self.bytes.extend_from_slice(&(-1_i16).to_be_bytes());
        self.copy.send(&self.bytes[..]).await.during(unstaged)?;
        self.copy.finish().await.during(unstaged)
    }
}

fn unstaged() -> String {
    "cannot stage the lines of a file in the warehouse".to_owned()
}

/// Where a piece comes from, and where it goes.
pub struct Piece<'a> {
    /// The landing table.
    pub landing: &'a Landing,
    /// What its rows have to be.
    pub checks: &'a Checks,
    /// The file's path.
    pub path: &'a str,
    /// When the file was written, in microseconds since 2000.
    pub time: i64,
    /// The position in bronze that its rows take.
    pub lsn: i64,
    /// Whether it is all of a file that has landed as it was before, and whose rows say no time.
    pub is_reread: bool,
}

impl Piece<'_> {
    /// Lands what is new on the stage.
    pub async fn land(&self, target: &mut PgConnection) -> Result<Landed> {
        self.analyze("line", target).await?;
        self.run("SAVEPOINT medallion_file", target).await?;
        match self.read(target).await {
            Err(error) if land::is_of_data(&error) => {
                self.run("ROLLBACK TO SAVEPOINT medallion_file", target).await?;
                self.find_problems(target).await?;
                self.read(target).await?;
            }
            read => read?,
        }
        self.analyze("row", target).await?;
        let (rows, known) = match self.checks.is_log {
            true => change_log::land(self.landing, self.lsn, target, || self.failed()).await?,
            false => self.land_new(target).await?,
        };
        let (quarantined, first_problem) = self.quarantine(target).await?;
        Ok(Landed { rows, known, quarantined, first_problem })
    }

    fn failed(&self) -> String {
        format!("cannot land rows of the file `{}` in `{}`", self.path, self.landing.table)
    }

    async fn run(&self, sql: &'static str, target: &mut PgConnection) -> Result<()> {
        sqlx::raw_sql(sql).execute(target).await.map(drop).during(|| self.failed())
    }

    async fn analyze(&self, what: &str, target: &mut PgConnection) -> Result<()> {
        let sql = format!("ANALYZE pg_temp.medallion_file_{what}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(target).await.map(drop).during(|| self.failed())
    }

    /// The lines as rows, each with its time, and with what keeps it from landing.
    async fn read(&self, target: &mut PgConnection) -> Result<()> {
        let Checks { reads, problem, time, .. } = self.checks;
        let sql = format!(
            "INSERT INTO pg_temp.medallion_file_row (line, row, at, problem)\nSELECT line.line, line.row, {time}, {problem}\n\
             FROM (\nSELECT line, text::jsonb AS row FROM pg_temp.medallion_file_line WHERE problem IS NULL OFFSET 0\n\
             ) AS line{reads}"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(target).await.map(drop).during(|| self.failed())
    }

    /// Writes down what is wrong with each line, by reading it alone.
    async fn find_problems(&self, target: &mut PgConnection) -> Result<()> {
        let Checks { reads, time, .. } = self.checks;
        let sql = format!(
            "CREATE OR REPLACE FUNCTION pg_temp.medallion_file_problem(text text) RETURNS text
            LANGUAGE plpgsql AS $medallion$
            DECLARE
                read record;
            BEGIN
                SELECT {time} AS at, line.* INTO read
                FROM (SELECT text::jsonb AS row OFFSET 0) AS line{reads};
                RETURN NULL;
            EXCEPTION
                WHEN data_exception OR program_limit_exceeded OR integrity_constraint_violation THEN
                    RETURN SQLERRM;
            END
            $medallion$;
            UPDATE pg_temp.medallion_file_line
            SET problem = pg_temp.medallion_file_problem(text)
            WHERE problem IS NULL AND pg_temp.medallion_file_problem(text) IS NOT NULL"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(target).await.map(drop).during(|| self.failed())
    }

    /// Lands each row that says something else than what landed of its key: at the same time, where rows tell their
    /// time, for what comes in between may still come; else last. Of a file that is read once more, a key's rows up
    /// to the one that landed last have landed; where that one is gone, the last of them is what the key is now.
    async fn land_new(&self, target: &mut PgConnection) -> Result<(u64, u64)> {
        let table = quote::name(&self.landing.table);
        let key = |row: &str| -> Vec<String> {
            self.landing.key.iter().map(|column| format!("{row} ->> {}", quote::literal(column))).collect()
        };
        let hash = |row: &str| {
            key(row).iter().fold("0".to_owned(), |seed, value| format!("hashtextextended({value}, {seed})"))
        };
        let equal: Vec<String> = key("landed.full_row")
            .iter()
            .zip(key("read.row"))
            .map(|(landed, read)| format!("AND {landed} = {read}"))
            .collect();
        let file_time = SystemTime::to_sql("$2::bigint");
        let (same, upto, is_same_time, time) = match self.checks.is_timed {
            true => (
                ", read.at",
                "\nAND landed.commit_ts <= read.at",
                "AND before.commit_ts = read.at",
                "read.at".to_owned(),
            ),
            false => (
                "",
                "",
                "",
                // Time never runs backwards for a key.
                format!("greatest({file_time}, before.commit_ts + interval '1 microsecond')"),
            ),
        };
        let text = |row: &str| format!("{row}::text COLLATE \"C\"");
        let (row_before, row, landed) = (text("read.row_before"), text("read.row"), text("before.full_row"));
        let last_known = format!("max(read.line) FILTER (WHERE {landed} = {row}) OVER of_key");
        let is_known = match self.is_reread {
            false => format!(
                "CASE
                        WHEN read.row_before IS NOT NULL THEN {row_before} = {row}
                        ELSE coalesce(before.op <> 'D' {is_same_time} AND {landed} = {row}, false)
                    END"
            ),
            true => format!(
                "CASE
                        WHEN coalesce(before.op = 'D', true) THEN coalesce({row_before} = {row}, false)
                        WHEN {last_known} IS NULL THEN read.line < max(read.line) OVER of_key
                        ELSE read.line <= {last_known} OR {row_before} = {row}
                    END"
            ),
        };
        let sql = format!(
            "WITH read AS (
                SELECT
                    read.line,
                    read.row,
                    read.at,
                    lag(read.row) OVER (PARTITION BY {key}{same} ORDER BY read.line) AS row_before,
                    row_number() OVER (PARTITION BY {key} ORDER BY read.at, read.line) > 1 AS follows
                FROM pg_temp.medallion_file_row AS read
                WHERE read.problem IS NULL
            ),
            compared AS (
                SELECT
                    read.line,
                    read.row,
                    {time} AS commit_ts,
                    read.follows OR coalesce(before.op <> 'D', false) AS is_there,
                    {is_known} AS is_known
                FROM read
                LEFT JOIN LATERAL (
                    SELECT landed.op, landed.full_row, landed.commit_ts
                    FROM {table} AS landed
                    WHERE {hash_landed} = {hash_read}
                    {equal}{upto}
                    ORDER BY landed.commit_ts DESC, landed.lsn DESC, landed.seq DESC
                    LIMIT 1
                ) AS before ON true
                WINDOW of_key AS (PARTITION BY {key})
            ),
            landed AS (
                INSERT INTO {table} (lsn, op, full_row, commit_ts, seq)
                SELECT $1, CASE WHEN is_there THEN 'U' ELSE 'I' END, row, commit_ts, line
                FROM compared
                WHERE NOT is_known
                ORDER BY line
                RETURNING 1
            )
            SELECT (SELECT count(*) FROM landed), (SELECT count(*) FROM compared WHERE is_known)",
            key = key("read.row").join(", "),
            hash_landed = hash("landed.full_row"),
            hash_read = hash("read.row"),
            equal = equal.join("\n"),
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false).bind(self.lsn);
        if !self.checks.is_timed {
            query = query.bind(self.time);
        }
        let row = query.fetch_one(target).await.during(|| self.failed())?;
        let count = |at: usize| row.try_get::<i64, _>(at).map(|rows| u64::try_from(rows).unwrap_or(0));
        Ok((count(0).during(|| self.failed())?, count(1).during(|| self.failed())?))
    }

    /// Keeps aside what has a problem, by its key where it has one.
    async fn quarantine(&self, target: &mut PgConnection) -> Result<(u64, Option<(u64, String)>)> {
        let pairs: Vec<String> = self
            .landing
            .key
            .iter()
            .map(|column| format!("{0}, row -> {0}", quote::literal(column)))
            .collect();
        let sql = format!(
            "WITH wrong AS (
                SELECT line, text, problem, NULL::jsonb AS row
                FROM pg_temp.medallion_file_line
                WHERE problem IS NOT NULL
                UNION ALL
                SELECT line, row::text, problem, row
                FROM pg_temp.medallion_file_row
                WHERE problem IS NOT NULL
            ),
            kept AS (
                INSERT INTO medallion.quarantine (landing, lsn, seq, op, commit_ts, key, full_row, problem)
                SELECT
                    $1,
                    $2,
                    line,
                    'I',
                    {time},
                    CASE
                        WHEN row IS NULL THEN jsonb_build_object('file', $4::text, 'line', line)
                        ELSE jsonb_build_object({pairs})
                    END,
                    text,
                    format('line %s of `%s`: %s', line, $4::text, problem)
                FROM wrong
                RETURNING 1
            )
            SELECT (SELECT count(*) FROM kept), line, problem FROM wrong ORDER BY line LIMIT 1",
            time = SystemTime::to_sql("$3::bigint"),
            pairs = pairs.join(", "),
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .persistent(false)
            .bind(self.landing.table.to_string())
            .bind(self.lsn)
            .bind(self.time)
            .bind(self.path)
            .fetch_optional(target)
            .await
            .during(|| self.failed())?;
        let Some(row) = row else { return Ok((0, None)) };
        let number = |at: usize| row.try_get::<i64, _>(at).map(|rows| u64::try_from(rows).unwrap_or(0));
        let line = number(1).during(|| self.failed())?;
        let why = row.try_get(2).during(|| self.failed())?;
        Ok((number(0).during(|| self.failed())?, Some((line, why))))
    }
}
