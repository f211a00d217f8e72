//! Rows on the stage that land nowhere: what `jsonb` refuses, what stands on that, and what an erasure left untold, each
//! with its reason in `medallion.quarantine`. Knows nothing of how the others land.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::Stage;
use crate::descriptor::Landing;
use crate::error::{During as _, Result};
use crate::{quote, statement};

/// What is wrong with a row of a subject that was erased, when it does not tell all of itself.
const ERASED: &str = "what was known of the row before was erased, and the change does not tell all of it";

/// Writes down what is wrong with each row.
pub async fn find_problems(target: &mut PgConnection) -> Result<()> {
    sqlx::raw_sql(
        "CREATE OR REPLACE FUNCTION pg_temp.medallion_problem(full_row text) RETURNS text
        LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM full_row::jsonb;
            RETURN NULL;
        EXCEPTION
            WHEN data_exception OR program_limit_exceeded THEN
                RETURN SQLERRM;
        END
        $$;
        UPDATE pg_temp.medallion_staged
        SET problem = pg_temp.medallion_problem(full_row)
        WHERE pg_temp.medallion_problem(full_row) IS NOT NULL",
    )
    .execute(target)
    .await
    .during(|| "cannot look at each change on the stage".to_owned())?;
    Ok(())
}

impl Stage<'_> {
    /// What was known of a subject before it was erased fills no row. Such a row goes into quarantine, and the
    /// next change of the subject that tells all of it lands.
    pub(super) async fn set_erased_aside(&self, target: &mut PgConnection) -> Result<()> {
        let key = self.landing.key.iter();
        let values: Vec<String> =
            key.map(|column| format!("staged.key -> {}", quote::literal(column))).collect();
        let sql = format!(
            "UPDATE pg_temp.medallion_staged AS staged
            SET problem = $2
            FROM medallion.erasure AS erasure
            WHERE staged.landing = $1
            AND staged.missing <> '{{}}'
            AND staged.problem IS NULL
            AND NOT staged.moved
            AND erasure.landing = $3
            AND {} = ANY (erasure.landed_hashes)
            AND NOT EXISTS ({})",
            statement::salted_hash("erasure.salt", &format!("jsonb_build_array({})", values.join(", "))),
            self.version_before("staged")
        );
        sqlx::query(AssertSqlSafe(sql))
            .persistent(false)
            .bind(self.place)
            .bind(ERASED)
            .bind(self.landing.table.to_string())
            .execute(target)
            .await
            .during(|| self.failed())?;
        Ok(())
    }

    /// A row whose version before is in quarantine goes there too, but a delete of a version that landed.
    pub(super) async fn follow_quarantine(&self, target: &mut PgConnection) -> Result<()> {
        self.quarantine(target).await?;
        let sql = format!(
            "UPDATE pg_temp.medallion_staged AS staged
            SET problem = followed.problem
            FROM (
                SELECT
                    partial.lsn,
                    partial.seq,
                    CASE quarantined.problem
                        WHEN $3 THEN $3
                        ELSE 'the version before is in quarantine'
                    END AS problem
                FROM (
                    SELECT
                        staged.lsn,
                        staged.seq,
                        staged.commit_ts,
                        staged.op,
                        coalesce(before.key, staged.key) AS key
                    FROM pg_temp.medallion_staged AS staged
                    LEFT JOIN pg_temp.medallion_staged AS before
                        ON staged.moved
                        AND before.landing = staged.landing
                        AND before.lsn = staged.lsn
                        AND before.seq = staged.seq - 1
                    WHERE staged.landing = $1 AND staged.missing <> '{{}}' AND staged.problem IS NULL
                ) AS partial
                CROSS JOIN LATERAL (
                    SELECT quarantine.lsn, quarantine.seq, quarantine.commit_ts, quarantine.problem
                    FROM medallion.quarantine AS quarantine
                    WHERE quarantine.landing = $2
                    AND quarantine.key = partial.key
                    AND (quarantine.commit_ts, quarantine.lsn, quarantine.seq)
                        < (partial.commit_ts, partial.lsn, partial.seq)
                    ORDER BY quarantine.commit_ts DESC, quarantine.lsn DESC, quarantine.seq DESC
                    LIMIT 1
                ) AS quarantined
                LEFT JOIN LATERAL ({}) AS landed ON true
                WHERE CASE partial.op
                    WHEN 'D' THEN coalesce(landed.op = 'D', true)
                    ELSE coalesce(
                        (landed.commit_ts, landed.lsn, landed.seq)
                            < (quarantined.commit_ts, quarantined.lsn, quarantined.seq),
                        true
                    )
                END
            ) AS followed
            WHERE staged.landing = $1 AND staged.lsn = followed.lsn AND staged.seq = followed.seq",
            self.version_before("partial")
        );
        sqlx::query(AssertSqlSafe(sql))
            .persistent(false)
            .bind(self.place)
            .bind(self.landing.table.to_string())
            .bind(ERASED)
            .execute(target)
            .await
            .during(|| self.failed())?;
        Ok(())
    }

    /// Keeps aside what has a problem; gives the findings of it.
    pub async fn quarantine(&self, target: &mut PgConnection) -> Result<Vec<String>> {
        sqlx::query(
            "INSERT INTO medallion.quarantine (landing, lsn, seq, op, commit_ts, key, full_row, problem)
            SELECT $2, lsn, seq, op, commit_ts, key, full_row, problem
            FROM pg_temp.medallion_staged
            WHERE landing = $1 AND problem IS NOT NULL
            ON CONFLICT DO NOTHING",
        )
        .bind(self.place)
        .bind(self.landing.table.to_string())
        .execute(&mut *target)
        .await
        .during(|| self.failed())?;
        let kept = sqlx::query(
            "SELECT count(*) FILTER (WHERE problem = $2), count(*) FILTER (WHERE problem <> $2)
            FROM pg_temp.medallion_staged
            WHERE landing = $1",
        )
        .bind(self.place)
        .bind(ERASED)
        .fetch_one(target)
        .await
        .during(|| self.failed())?;
        let (erased, refused): (i64, i64) = (kept.get(0), kept.get(1));
        let Landing { table, source, .. } = self.landing;
        let aside = |what: String, rows: i64| {
            (rows > 0)
                .then(|| format!("{what} are kept in `medallion.quarantine` and not in `{table}`: {rows}"))
        };
        let refused = aside(
            format!("changes of `{source}` that jsonb cannot hold (json with `\\u0000`, for one)"),
            refused,
        );
        let erased = aside(
            format!("changes of `{source}` that do not tell all of a row, of which the rest was erased,"),
            erased,
        );
        Ok(refused.into_iter().chain(erased).collect())
    }
}
