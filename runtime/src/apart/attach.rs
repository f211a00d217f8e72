//! The end of bronze that stands in the warehouse's database: below each landing table, which is empty there, a foreign
//! table that is the one of the other database. Made anew by each migration, for only a migration changes what there is;
//! who may log in there, and how, is the server's to keep. Of the URL nothing is in a statement that could be logged.

use std::str::FromStr as _;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, Row as _};
use url::Url;

use super::{names, parted};
use crate::connection::{self, Database};
use crate::descriptor::Warehouse;
use crate::error::{During as _, Error, Result};
use crate::{quote, retain, statement};

/// The schema of what stands there.
pub const SCHEMA: &str = "medallion_bronze";

/// What is kept in it, whatever is made anew: notes that an apply has taken, and erasures that are under way. Whoever
/// takes notes may do so here.
const KEPT: &str = r#"
    CREATE SCHEMA IF NOT EXISTS "medallion_bronze";
    COMMENT ON SCHEMA "medallion_bronze" IS 'Bronze, as it stands in a database of its own.';
    CREATE TABLE IF NOT EXISTS "medallion_bronze"."late_taken" (
        "relation" text NOT NULL,
        "lsn" bigint NOT NULL,
        "seq" bigint NOT NULL
    );
    COMMENT ON TABLE "medallion_bronze"."late_taken" IS 'Notes of late changes that the last apply has taken: the next one deletes them.';
    CREATE TABLE IF NOT EXISTS "medallion_bronze"."forgetting" (
        "relation" text NOT NULL,
        "key" text[] NOT NULL,
        "staged" jsonb NOT NULL,
        "announced_at" timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    COMMENT ON TABLE "medallion_bronze"."forgetting" IS 'Whom an erasure under way erases, until it has ended in both databases.';
    DO $$
    DECLARE
        grantee text;
    BEGIN
        FOR grantee IN
            SELECT quote_ident(role.rolname)
            FROM pg_class AS noted
            CROSS JOIN LATERAL aclexplode(noted.relacl) AS may
            JOIN pg_roles AS role ON role.oid = may.grantee
            WHERE noted.oid = '"medallion"."late_change"'::regclass
            AND may.privilege_type = 'DELETE'
            AND may.grantee <> noted.relowner
        LOOP
            EXECUTE 'GRANT USAGE ON SCHEMA "medallion_bronze" TO ' || grantee;
            EXECUTE 'GRANT SELECT, INSERT, DELETE ON "medallion_bronze"."late_taken" TO ' || grantee;
            EXECUTE 'GRANT SELECT ON "medallion_bronze"."forgetting" TO ' || grantee;
            -- Who lands finds out that bronze is older.
            EXECUTE 'GRANT INSERT ON "medallion"."recompute" TO ' || grantee;
        END LOOP;
    END
    $$;
"#;

/// Nothing lands here: it would be seen beside what lands there.
const REFUSAL: &str = r#"
    CREATE FUNCTION "medallion_bronze"."refuse_landing"() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '`%.%` stands in another database: nothing lands in it here', TG_TABLE_SCHEMA, TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation',
                HINT = 'land it in the bronze database';
    END
    $$;
"#;

/// Makes the server and the mapping of its users of what `pg_temp.medallion_given` says. Whoever may read a landing
/// table here reads it there by one role; the mapping shows to the owner alone.
const SERVER: &str = r#"
    DO $$
    DECLARE
        server text := (SELECT string_agg(format('%I %L', name, value), ', ') FROM pg_temp.medallion_given WHERE NOT secret);
        login text := (SELECT string_agg(format('%I %L', name, value), ', ') FROM pg_temp.medallion_given WHERE secret);
    BEGIN
        EXECUTE 'CREATE SERVER "medallion_bronze" FOREIGN DATA WRAPPER "postgres_fdw" OPTIONS (' || server || ')';
        EXECUTE 'CREATE USER MAPPING FOR PUBLIC SERVER "medallion_bronze" OPTIONS (' || login || ')';
    EXCEPTION WHEN OTHERS THEN
        -- Said without the statement, which the server would write into its log.
        RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = SQLERRM;
    END
    $$;
"#;

/// The server's locks over there and the database's name, by which it is known. Whoever may read how far landing is may
/// see them: they say nothing of anybody.
const LOCKS: &str = r#"
    CREATE FOREIGN TABLE "medallion_bronze"."lock" (
        "locktype" text,
        "classid" oid,
        "objid" oid,
        "objsubid" smallint
    ) SERVER "medallion_bronze" OPTIONS (schema_name 'pg_catalog', table_name 'pg_locks');
    CREATE FOREIGN TABLE "medallion_bronze"."named" ("catalog_name" text) SERVER "medallion_bronze"
        OPTIONS (schema_name 'information_schema', table_name 'information_schema_catalog_name');
    DO $$
    DECLARE
        grantee text;
    BEGIN
        FOR grantee IN
            SELECT DISTINCT quote_ident(role.rolname)
            FROM pg_class AS landed
            CROSS JOIN LATERAL aclexplode(landed.relacl) AS may
            JOIN pg_roles AS role ON role.oid = may.grantee
            WHERE landed.oid = '"medallion"."source_position"'::regclass
            AND may.privilege_type = 'SELECT'
            AND may.grantee <> landed.relowner
        LOOP
            EXECUTE 'GRANT USAGE ON SCHEMA "medallion_bronze" TO ' || grantee;
            EXECUTE 'GRANT SELECT ON "medallion_bronze"."lock", "medallion_bronze"."named" TO ' || grantee;
        END LOOP;
    END
    $$;
"#;

/// Attaches what lands there.
pub async fn attach(warehouse: &Warehouse, url: &str, target: &mut PgConnection) -> Result<()> {
    let failed = || "cannot attach the bronze database to the warehouse".to_owned();
    let mut transaction = target.begin().await.during(failed)?;
    refuse_rows(warehouse, &mut transaction).await?;
    make_extension(&mut transaction).await?;
    detach(&mut transaction).await?;
    keep(&mut transaction).await?;
    give(url, &mut transaction).await?;
    sqlx::raw_sql(SERVER).execute(&mut *transaction).await.during(failed)?;
    sqlx::raw_sql(LOCKS).execute(&mut *transaction).await.during(failed)?;
    sqlx::raw_sql(REFUSAL).execute(&mut *transaction).await.during(failed)?;
    let mut there = standing(warehouse, &mut transaction).await?;
    // What retention prunes of them goes where they stand.
    let pruned = retain::archives(&mut transaction).await?.into_iter();
    let pruned = pruned.filter(|(from, _)| super::stands_there(warehouse, from));
    there.extend(pruned.map(|(_, archive)| (archive.schema, archive.table)));
    for (number, (schema, table)) in (1..).zip(there) {
        let name = format!("{}.{}", quote::identifier(&schema), quote::identifier(&table));
        let sql = format!(
            "CREATE FOREIGN TABLE {SCHEMA}.{} () INHERITS ({name}) SERVER {SCHEMA} OPTIONS (schema_name {}, table_name {})",
            quote::identifier(&format!("{number}_{table}").chars().take(40).collect::<String>()),
            quote::literal(&schema),
            quote::literal(&table),
        );
        for sql in [
            sql,
            format!(
                "CREATE TRIGGER refuse_landing BEFORE INSERT ON {name} \
                 FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.refuse_landing()"
            ),
            format!("ALTER TABLE {name} ENABLE ALWAYS TRIGGER refuse_landing"),
        ] {
            statement::execute(&mut transaction, &sql).await?;
        }
    }
    statement::scalar(&mut transaction, "SELECT count(*) FROM medallion.source_position", &[])
        .await
        .map_err(|error| {
            error.within("the warehouse's server does not reach the bronze database").remedy(format!(
                "{} is used by the warehouse's server too: host, port and pg_hba.conf have to let it in, and \
                 an owner who is no superuser needs a password in it",
                Database::Bronze.variable()
            ))
        })?;
    transaction.commit().await.during(failed)
}

/// Makes what stands beside it, and is kept.
pub(crate) async fn keep(target: &mut PgConnection) -> Result<()> {
    sqlx::raw_sql(KEPT)
        .execute(target)
        .await
        .map(drop)
        .during(|| "cannot make the schema `medallion_bronze` in the warehouse".to_owned())
}

/// Takes that away: what stands here is empty then, and no longer looks like bronze.
pub async fn detach(target: &mut PgConnection) -> Result<()> {
    let is_there: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_foreign_server WHERE srvname = 'medallion_bronze')",
    )
    .fetch_one(&mut *target)
    .await
    .during(|| "cannot look for the bronze database in the warehouse".to_owned())?;
    if !is_there {
        return Ok(());
    }
    statement::execute(target, "DROP FUNCTION IF EXISTS medallion_bronze.refuse_landing() CASCADE").await?;
    statement::execute(target, "DROP SERVER medallion_bronze CASCADE").await.map(drop)
}

/// The same for good.
pub async fn remove(target: &mut PgConnection) -> Result<()> {
    detach(target).await?;
    statement::execute(target, "DROP SCHEMA IF EXISTS medallion_bronze CASCADE").await.map(drop)
}

/// Refuses a database to which bronze is not attached that stands apart.
pub async fn check(warehouse: &Warehouse, target: &mut PgConnection) -> Result<()> {
    let failed = || "cannot tell whether the bronze database is attached".to_owned();
    if !warehouse.is_bronze_apart() {
        return Ok(());
    }
    let lacking: Option<String> = sqlx::query_scalar(
        "SELECT min(wanted.name)
        FROM unnest($1::text[]) AS wanted (name)
        WHERE to_regclass(wanted.name) IS NOT NULL
        AND NOT EXISTS (
            SELECT
            FROM pg_inherits AS below
            JOIN pg_foreign_table AS far ON far.ftrelid = below.inhrelid
            WHERE below.inhparent = to_regclass(wanted.name)
        )",
    )
    .bind(names(warehouse))
    .fetch_one(target)
    .await
    .during(failed)?;
    match lacking {
        None => Ok(()),
        Some(_) => Err(not_attached()),
    }
}

fn not_attached() -> Error {
    Error::new("the bronze database is not attached to the warehouse")
        .remedy("run `medallion migrate up`: it attaches it, also where there is nothing to migrate")
}

/// Refuses a bronze database that is not the one which the warehouse reads: what landed there would not be seen here.
/// A lock that is taken in the one is seen through the other, or they are of two servers, a copy and its original too;
/// on one server the names tell them apart.
pub async fn check_same(target: &mut PgConnection, bronze: &mut PgConnection) -> Result<()> {
    const UNDEFINED_TABLE: &str = "42P01";
    let failed = || "cannot tell whether the warehouse is attached to this bronze database".to_owned();
    let mut marked = bronze.begin().await.during(failed)?;
    let (database, key): (String, i64) = sqlx::query_as(
        "WITH mark AS MATERIALIZED (SELECT hashtextextended(gen_random_uuid()::text, 0) AS key) \
         SELECT current_database()::text, key FROM mark WHERE pg_try_advisory_xact_lock(key)",
    )
    .fetch_one(&mut *marked)
    .await
    .during(failed)?;
    let is_seen = sqlx::query_scalar(
        "SELECT EXISTS (
            SELECT
            FROM medallion_bronze.lock
            WHERE locktype = 'advisory' AND objsubid = 1
            AND classid::bigint = ($2 >> 32) & 4294967295 AND objid::bigint = $2 & 4294967295
        ) AND EXISTS (SELECT FROM medallion_bronze.named WHERE catalog_name = $1)",
    )
    .bind(database)
    .bind(key)
    .fetch_one(target)
    .await
    .during(failed);
    marked.rollback().await.during(failed)?;
    match is_seen {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::new(format!(
            "the warehouse is attached to another bronze database than {} names",
            Database::Bronze.variable()
        ))
        .remedy(format!(
            "correct {}; or run `medallion migrate up`, which attaches the one that it names",
            Database::Bronze.variable()
        ))),
        Err(error) if error.sqlstate().as_deref() == Some(UNDEFINED_TABLE) => Err(not_attached()),
        Err(error) => Err(error),
    }
}

/// Says that bronze is attached where the spec does not have it apart.
pub fn refuse_attached() -> Error {
    Error::new("bronze stands apart from this warehouse, and the spec does not say so")
        .remedy("write `database = \"apart\"` under `[bronze]`; or `medallion migrate fresh --yes` makes it anew in one")
}

/// The landing tables and the bookkeeping that this warehouse has.
async fn standing(warehouse: &Warehouse, target: &mut PgConnection) -> Result<Vec<(String, String)>> {
    let mut there = Vec::new();
    for ((schema, table), name) in parted(warehouse).into_iter().zip(names(warehouse)) {
        let is_there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
            .bind(&name)
            .fetch_one(&mut *target)
            .await
            .during(|| format!("cannot look for {name}"))?;
        if is_there {
            there.push((schema.to_owned(), table.to_owned()));
        }
    }
    Ok(there)
}

/// What has landed in the warehouse itself would be seen beside what lands elsewhere.
async fn refuse_rows(warehouse: &Warehouse, target: &mut PgConnection) -> Result<()> {
    for (schema, table) in standing(warehouse, target).await? {
        let name = format!("{}.{}", quote::identifier(&schema), quote::identifier(&table));
        let sql = format!("SELECT count(*) FROM (SELECT FROM ONLY {name} LIMIT 1) AS one");
        if statement::scalar(target, &sql, &[]).await? > 0 {
            return Err(Error::new(format!("`{schema}.{table}` has rows in the warehouse, and bronze is to stand apart"))
                .remedy("`medallion migrate fresh --yes` makes the warehouse anew, from its source, with bronze apart"));
        }
    }
    Ok(())
}

async fn make_extension(target: &mut PgConnection) -> Result<()> {
    let made = statement::execute(target, "CREATE EXTENSION IF NOT EXISTS postgres_fdw").await;
    made.map(drop).map_err(|error| {
        error.within("the warehouse's database lacks the extension `postgres_fdw`").remedy(
            "have a superuser run in it: CREATE EXTENSION postgres_fdw; \
             GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO the owner of the warehouse",
        )
    })
}

/// Puts into `pg_temp.medallion_given` how the other database is reached, by a COPY: no log has its rows.
async fn give(url: &str, target: &mut PgConnection) -> Result<()> {
    let failed = || "cannot tell the warehouse's server where the bronze database is".to_owned();
    statement::execute(
        target,
        "CREATE TEMPORARY TABLE medallion_given (name text, value text, secret boolean) ON COMMIT DROP",
    )
    .await?;
    let rows = given(url)?;
    let mut copy =
        target.copy_in_raw("COPY pg_temp.medallion_given FROM STDIN (FORMAT csv)").await.during(failed)?;
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let text: String =
        rows.iter().map(|(name, value, secret)| format!("{name},{},{secret}\n", quoted(value))).collect();
    copy.send(text.as_bytes()).await.during(failed)?;
    copy.finish().await.during(failed)?;
    Ok(())
}

/// A URL in the words of `postgres_fdw`: each option, its value, and whether it is of the login.
fn given(url: &str) -> Result<Vec<(&'static str, String, bool)>> {
    connection::options(Database::Bronze, url)?;
    let unreadable = || {
        Error::new(format!("`{}` is not a PostgreSQL URL", Database::Bronze.variable()))
            .remedy("write it as postgresql://user:password@host:5432/database")
    };
    let options = PgConnectOptions::from_str(url).map_err(|_| unreadable())?;
    let parsed = Url::parse(url).map_err(|_| unreadable())?;
    let host = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => options.get_host().to_owned(),
    };
    let database = options.get_database().unwrap_or_else(|| options.get_username()).to_owned();
    let mut given = vec![
        ("host", host, false),
        ("port", options.get_port().to_string(), false),
        ("dbname", database, false),
        // The planner asks over there how many rows come. What is erased is deleted from here: whether it may be
        // is for the guards here to say.
        ("use_remote_estimate", "true".to_owned(), false),
        ("fetch_size", "5000".to_owned(), false),
        ("options", "-c medallion.prune=on".to_owned(), false),
        ("user", options.get_username().to_owned(), true),
    ];
    let of_query =
        |name: &str| parsed.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let password = parsed
        .password()
        .map(|one| percent_encoding::percent_decode_str(one).decode_utf8_lossy().into_owned());
    given.extend(password.or_else(|| of_query("password")).map(|one| ("password", one, true)));
    let of_tls = [
        ("sslmode", ["sslmode", "ssl-mode"], false),
        ("sslrootcert", ["sslrootcert", "ssl-root-cert"], false),
        ("sslcert", ["sslcert", "ssl-cert"], true),
        ("sslkey", ["sslkey", "ssl-key"], true),
    ];
    for (name, spelled, secret) in of_tls {
        given.extend(spelled.iter().find_map(|one| of_query(one)).map(|value| (name, value, secret)));
    }
    Ok(given)
}

/// Refuses one database under both names.
pub async fn refuse_same(target: &mut PgConnection, url: &str) -> Result<()> {
    let mut bronze = connection::connect(Database::Bronze, url).await?;
    let mut sites = Vec::new();
    for session in [target, &mut bronze] {
        let row = sqlx::query(
            "SELECT (SELECT system_identifier::text FROM pg_control_system()), current_database()::text",
        )
        .fetch_one(session)
        .await
        .during(|| "cannot tell the databases apart".to_owned())?;
        sites.push((row.get::<String, _>(0), row.get::<String, _>(1)));
    }
    if sites[0] == sites[1] {
        return Err(Error::new(format!(
            "{} and {} name one database, and bronze is to stand apart",
            Database::Bronze.variable(),
            Database::Warehouse.variable()
        ))
        .remedy(format!("give bronze a database of its own in {}", Database::Bronze.variable())));
    }
    Ok(())
}
