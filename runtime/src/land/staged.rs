//! Rows on the stage, within the transaction of their batch: those of which the source did not tell all are
//! filled from the version before, which is in bronze or came right before them; those that `jsonb` refuses
//! go into quarantine. Set-based, however many they are. Knows nothing of where changes come from.

pub mod quarantine;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};

use crate::capture::RESNAPSHOT;
use crate::descriptor::{Landing, Name};
use crate::error::{During as _, Error, Result};
use crate::quote;

/// How many columns a row on the stage has.
pub(super) const COLUMN_COUNT: i16 = 9;

const COLUMNS: &str = "landing, lsn, seq, op, commit_ts, moved, key, full_row, missing";

/// The statement that takes rows onto the stage.
pub fn copy_in() -> String {
    format!("COPY pg_temp.medallion_staged ({COLUMNS}) FROM STDIN (FORMAT binary)")
}

/// The query of a snapshot's rows for [`copy_in`], each its own text, out of a query of the table's rows.
pub fn snapshot(landing: usize, key: &[String], rows: &str, lsn: i64, time: &str) -> String {
    let key: Vec<String> = key
        .iter()
        .map(|column| format!("{}, t.{}", quote::literal(column), quote::identifier(column)))
        .collect();
    format!(
        "SELECT {landing}, {lsn}::bigint, row_number() OVER (), 'I'::bpchar, {time}, false,
            jsonb_build_object({}), row_to_json(t.*)::text, '{{}}'::text[]
        FROM ({rows}) AS t",
        key.join(", ")
    )
}

/// Makes the stage, once a session; it is empty after each transaction.
pub async fn prepare(target: &mut PgConnection) -> Result<()> {
    let failed = || "cannot make the stage for changes in the warehouse".to_owned();
    let stands: bool = sqlx::query_scalar("SELECT to_regclass('pg_temp.medallion_staged') IS NOT NULL")
        .fetch_one(&mut *target)
        .await
        .during(failed)?;
    if stands {
        return Ok(());
    }
    sqlx::raw_sql(
        "CREATE TEMPORARY TABLE medallion_staged (
            landing integer,
            lsn bigint,
            seq bigint,
            op char(1),
            commit_ts timestamptz,
            moved boolean,
            key jsonb,
            full_row text,
            missing text[],
            problem text,
            PRIMARY KEY (landing, lsn, seq)
        ) ON COMMIT DELETE ROWS",
    )
    .execute(target)
    .await
    .during(failed)?;
    Ok(())
}

/// Lands what is on the stage, and counts it; gives a finding for each landing table with rows in quarantine.
/// Where each row is to be looked at, whatever its JSON holds lands or goes into quarantine.
pub async fn finish(
    target: &mut PgConnection,
    landings: &[Landing],
    each: bool,
    landed: &mut [u64],
) -> Result<Vec<String>> {
    let failed = || "cannot look at the stage".to_owned();
    analyze(target).await?;
    let places: Vec<i32> =
        sqlx::query_scalar("SELECT DISTINCT landing FROM pg_temp.medallion_staged ORDER BY 1")
            .fetch_all(&mut *target)
            .await
            .during(failed)?;
    if each {
        quarantine::find_problems(target).await?;
    }
    let mut findings = Vec::new();
    for place in places {
        let at = usize::try_from(place).unwrap_or(usize::MAX);
        let Some(landing) = landings.get(at) else { continue };
        let stage = Stage { place, landing };
        let mut rows = 0;
        if each {
            stage.take_deletes_by_key(target).await?;
            rows += stage.land_whole(target).await?;
        }
        if stage.has_partial(target).await? {
            stage.index(target).await?;
            stage.set_erased_aside(target).await?;
            stage.follow_quarantine(target).await?;
            rows += stage.land_filled(target).await?;
            stage.refuse_unfilled(target).await?;
        }
        findings.extend(stage.quarantine(target).await?);
        if let Some(landed) = landed.get_mut(at) {
            *landed += rows;
        }
    }
    Ok(findings)
}

/// Hands the rows on the stage to a table of `full_row`, but those that go into quarantine; gives a finding
/// for these.
pub async fn hand_over(target: &mut PgConnection, landings: &[Landing], to: &str) -> Result<Vec<String>> {
    quarantine::find_problems(target).await?;
    let mut findings = Vec::new();
    for (place, landing) in (0..).zip(landings) {
        findings.extend(Stage { place, landing }.quarantine(target).await?);
    }
    let sql = format!(
        "INSERT INTO {to} (full_row)
        SELECT full_row::jsonb
        FROM pg_temp.medallion_staged
        WHERE problem IS NULL"
    );
    let handed = sqlx::raw_sql(AssertSqlSafe(sql)).execute(target).await;
    handed.during(|| "cannot read the stage".to_owned())?;
    Ok(findings)
}

/// Tells the planner how much is on the stage.
pub(super) async fn analyze(target: &mut PgConnection) -> Result<()> {
    let analyzed = sqlx::raw_sql("ANALYZE pg_temp.medallion_staged").execute(target).await;
    analyzed.map(drop).during(|| "cannot look at the stage".to_owned())
}

/// Clears the stage before its transaction ends.
pub async fn clear(target: &mut PgConnection) -> Result<()> {
    let cleared = sqlx::raw_sql("DELETE FROM pg_temp.medallion_staged").execute(target).await;
    cleared.map(drop).during(|| "cannot clear the stage".to_owned())
}

/// The rows of one landing table on the stage.
pub(super) struct Stage<'a> {
    pub place: i32,
    pub landing: &'a Landing,
}

impl Stage<'_> {
    /// A deleted row that cannot be told is the version before, which could.
    async fn take_deletes_by_key(&self, target: &mut PgConnection) -> Result<()> {
        let sql = "UPDATE pg_temp.medallion_staged
            SET
                problem = NULL,
                full_row = key::text,
                missing = ARRAY (
                    SELECT DISTINCT name
                    FROM json_object_keys(full_row::json) AS name
                    WHERE NOT key ? name
                )
            WHERE landing = $1 AND op = 'D' AND problem IS NOT NULL";
        self.run(target, sql).await.map(drop)
    }

    /// Lands the rows that are whole.
    async fn land_whole(&self, target: &mut PgConnection) -> Result<u64> {
        let sql = format!(
            "INSERT INTO {} (lsn, op, full_row, commit_ts, seq)
            SELECT lsn, op, full_row::jsonb, commit_ts, seq
            FROM pg_temp.medallion_staged
            WHERE landing = $1 AND missing = '{{}}' AND problem IS NULL",
            quote::name(&self.landing.table)
        );
        self.run(target, &sql).await
    }

    async fn has_partial(&self, target: &mut PgConnection) -> Result<bool> {
        sqlx::query_scalar(
            "SELECT EXISTS (
                SELECT FROM pg_temp.medallion_staged
                WHERE landing = $1 AND missing <> '{}' AND problem IS NULL
            )",
        )
        .bind(self.place)
        .fetch_one(target)
        .await
        .during(|| self.failed())
    }

    /// Makes the index that finds a key's last version, the first time that one is looked for.
    pub async fn index(&self, target: &mut PgConnection) -> Result<()> {
        let table = &self.landing.table;
        let index = Name::new(table.schema.clone(), index_name(&table.table));
        let stands: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
            .bind(quote::name(&index))
            .fetch_one(&mut *target)
            .await
            .during(|| self.failed())?;
        if stands {
            return Ok(());
        }
        sqlx::query("SELECT medallion.index_versions($1::regclass, $2, $3)")
            .bind(quote::name(table))
            .bind(&index.table)
            .bind(&self.landing.key)
            .execute(target)
            .await
            .during(|| format!("cannot make the index that finds versions before in `{table}`"))?;
        Ok(())
    }

    /// Lands what can be filled. Rows of a key that follow one another on the stage are a chain, whose first
    /// takes from the version that landed last; within it, a column's value is that of the last row that has
    /// it. A row whose key was changed goes on where the delete of its old key stands.
    async fn land_filled(&self, target: &mut PgConnection) -> Result<u64> {
        let table = quote::name(&self.landing.table);
        let sql = format!(
            "WITH RECURSIVE partial AS MATERIALIZED (
                SELECT
                    row_number() OVER (ORDER BY staged.lsn, staged.seq) AS number,
                    staged.lsn,
                    staged.seq,
                    staged.commit_ts,
                    staged.op,
                    staged.moved,
                    staged.key,
                    staged.missing,
                    before.lsn AS before_lsn,
                    before.seq AS before_seq,
                    before.commit_ts AS before_time
                FROM pg_temp.medallion_staged AS staged
                LEFT JOIN LATERAL ({}) AS before ON NOT staged.moved AND before.op <> 'D'
                WHERE staged.landing = $1 AND staged.missing <> '{{}}' AND staged.problem IS NULL
            ),
            linked AS (
                SELECT
                    *,
                    moved
                        OR lag(number) OVER own IS NULL
                        OR coalesce(
                            (before_time, before_lsn, before_seq)
                                > (lag(commit_ts) OVER own, lag(lsn) OVER own, lag(seq) OVER own),
                            false
                        ) AS is_first
                FROM partial
                WINDOW own AS (PARTITION BY key ORDER BY number)
            ),
            chained AS MATERIALIZED (
                SELECT
                    *,
                    max(number) FILTER (WHERE is_first) OVER (PARTITION BY key ORDER BY number) AS chain
                FROM linked
            ),
            needed AS (
                SELECT DISTINCT chain, name
                FROM chained, unnest(missing) AS name
            ),
            spread AS (
                SELECT
                    chained.number,
                    chained.chain,
                    needed.name,
                    needed.name = ANY (chained.missing) AS is_missing,
                    max(chained.number) FILTER (WHERE needed.name <> ALL (chained.missing)) OVER (
                        PARTITION BY chained.chain, needed.name
                        ORDER BY chained.number
                        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                    ) AS from_number
                FROM chained
                JOIN needed USING (chain)
            ),
            told AS MATERIALIZED (
                SELECT
                    spread.number,
                    spread.name,
                    spread.from_number,
                    first.before_lsn,
                    first.before_seq,
                    deleted.number AS deleted_number
                FROM spread
                JOIN chained AS first ON first.number = spread.chain
                LEFT JOIN chained AS deleted
                    ON first.moved AND deleted.lsn = first.lsn AND deleted.seq = first.seq - 1
                WHERE spread.is_missing
            ),
            traced AS (
                SELECT number, name, from_number, before_lsn, before_seq, deleted_number
                FROM told
                UNION ALL
                SELECT
                    traced.number,
                    traced.name,
                    told.from_number,
                    told.before_lsn,
                    told.before_seq,
                    told.deleted_number
                FROM traced
                JOIN told ON told.number = traced.deleted_number AND told.name = traced.name
                WHERE traced.from_number IS NULL
            ),
            sources AS (
                SELECT number, from_number, before_lsn, before_seq, array_agg(name) AS names
                FROM traced
                WHERE from_number IS NOT NULL OR deleted_number IS NULL
                GROUP BY number, from_number, before_lsn, before_seq
            ),
            filled AS (
                SELECT
                    sources.number,
                    count(field.key) AS found,
                    bool_and(sources.from_number IS NOT NULL OR sources.before_lsn IS NOT NULL) AS is_known,
                    jsonb_object_agg(field.key, field.value) FILTER (WHERE field.key IS NOT NULL) AS fields
                FROM sources
                LEFT JOIN LATERAL jsonb_each(
                    CASE
                        WHEN sources.from_number IS NULL THEN (
                            SELECT landed.full_row
                            FROM {table} AS landed
                            WHERE landed.lsn = sources.before_lsn AND landed.seq = sources.before_seq
                        )
                        ELSE (
                            SELECT staged.full_row::jsonb
                            FROM chained
                            JOIN pg_temp.medallion_staged AS staged
                                ON staged.landing = $1
                                AND staged.lsn = chained.lsn
                                AND staged.seq = chained.seq
                            WHERE chained.number = sources.from_number
                        )
                    END
                ) AS field ON field.key = ANY (sources.names)
                GROUP BY sources.number
            )
            INSERT INTO {table} (lsn, op, full_row, commit_ts, seq)
            SELECT
                staged.lsn,
                staged.op,
                staged.full_row::jsonb || coalesce(filled.fields, '{{}}'),
                staged.commit_ts,
                staged.seq
            FROM filled
            JOIN chained USING (number)
            JOIN pg_temp.medallion_staged AS staged
                ON staged.landing = $1 AND staged.lsn = chained.lsn AND staged.seq = chained.seq
            WHERE CASE staged.op
                WHEN 'D' THEN filled.is_known
                ELSE filled.found = cardinality(staged.missing)
            END",
            self.version_before("staged")
        );
        self.run(target, &sql).await
    }

    /// The change of a row's key that comes right before it, in the order in which silver takes them: by system time,
    /// for what lands late stands above what it comes before. By its index, one row for one.
    fn version_before(&self, row: &str) -> String {
        let bound = format!(
            "AND (landed.commit_ts, landed.lsn, landed.seq) < ({row}.commit_ts, {row}.lsn, {row}.seq)\n            "
        );
        self.of_last_version(&["lsn", "seq", "commit_ts", "op"], row, &bound)
    }

    /// Some columns of the change of a row's key that comes last of all that have landed.
    pub fn version_last(&self, told: &[&str], row: &str) -> String {
        self.of_last_version(told, row, "")
    }

    fn of_last_version(&self, told: &[&str], row: &str, bound: &str) -> String {
        let told: Vec<String> = told.iter().map(|column| format!("landed.{column}")).collect();
        let columns = self.landing.key.iter().map(|column| quote::literal(column));
        let equal: Vec<String> =
            columns.map(|column| format!("landed.full_row ->> {column} = {row}.key ->> {column}")).collect();
        format!(
            "SELECT {}
            FROM {} AS landed
            WHERE {} = {}
            AND {}
            {bound}ORDER BY landed.commit_ts DESC, landed.lsn DESC, landed.seq DESC
            LIMIT 1",
            told.join(", "),
            quote::name(&self.landing.table),
            self.hash("landed.full_row"),
            self.hash(&format!("{row}.key")),
            equal.join(" AND ")
        )
    }

    /// A number for a key, out of a JSON object that has its columns.
    fn hash(&self, object: &str) -> String {
        self.landing.key.iter().fold("0".to_owned(), |seed, column| {
            format!("hashtextextended({object} ->> {}, {seed})", quote::literal(column))
        })
    }

    /// A row that lacks a value lands nowhere.
    async fn refuse_unfilled(&self, target: &mut PgConnection) -> Result<()> {
        let Landing { table, source, .. } = self.landing;
        let sql = format!(
            "SELECT ('0/0'::pg_lsn + staged.lsn)::text AS lsn, staged.key::text AS key
            FROM pg_temp.medallion_staged AS staged
            WHERE staged.landing = $1
            AND staged.missing <> '{{}}'
            AND staged.problem IS NULL
            AND NOT EXISTS (
                SELECT FROM {} AS landed
                WHERE landed.lsn = staged.lsn AND landed.seq = staged.seq
            )
            ORDER BY staged.lsn, staged.seq
            LIMIT 1",
            quote::name(table)
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .persistent(false)
            .bind(self.place)
            .fetch_optional(target)
            .await
            .during(|| self.failed())?;
        let Some(row) = row else { return Ok(()) };
        let lsn: String = row.try_get("lsn").during(|| self.failed())?;
        let key: String = row.try_get("key").during(|| self.failed())?;
        Err(Error::new(format!(
            "the transaction at {lsn} changes row {key} of `{source}` and does not tell all of it, and `{table}` \
             has no version of it before"
        ))
        .remedy(format!("ALTER TABLE {} REPLICA IDENTITY FULL; then {RESNAPSHOT}", quote::name(source))))
    }

    async fn run(&self, target: &mut PgConnection, sql: &str) -> Result<u64> {
        let done = sqlx::query(AssertSqlSafe(sql))
            .persistent(false)
            .bind(self.place)
            .execute(target)
            .await
            .during(|| self.failed())?;
        Ok(done.rows_affected())
    }

    pub fn failed(&self) -> String {
        format!("cannot land staged changes of `{}` in `{}`", self.landing.source, self.landing.table)
    }
}

/// The index of a landing table that finds a key's last version. PostgreSQL cuts names at 63 bytes.
fn index_name(table: &str) -> String {
    const SUFFIX: &str = "_version_idx";
    let mut end = table.len().min(63 - SUFFIX.len());
    while !table.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{SUFFIX}", &table[..end])
}
