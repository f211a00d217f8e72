//! A database for a while: on the warehouse's server where one may be made there, else on the embedded server. Has the
//! warehouse's objects, in which rows need not be whole; is gone when the tests are done.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use crate::connection::{self, Database};
use crate::descriptor::{Name, Silver, SilverKind, Warehouse};
use crate::error::{During as _, Error, Result};
use crate::place;
use crate::{migrate, quote, statement};

/// What the databases' names begin with; what follows is the process that made it.
const PREFIX: &str = "medallion_unit_";

/// A database for a while.
pub struct Scratch {
    /// Who may make and drop it.
    server: PgConnection,
    name: String,
    /// Where it is.
    url: String,
}

impl Scratch {
    /// Makes one; `url` is a database of the server, the embedded one's without.
    pub async fn make(url: Option<&str>) -> Result<Self> {
        if let Some(url) = url {
            match Self::on(url).await {
                Err(error) if error.sqlstate().as_deref() == Some("42501") => {}
                outcome => return outcome,
            }
        }
        let server = place::server()?;
        Self::on(&server.url("postgres")).await
    }

    async fn on(url: &str) -> Result<Self> {
        let mut server = connection::connect(Database::Warehouse, url).await?;
        sweep(&mut server).await?;
        let row =
            sqlx::query("SELECT pg_backend_pid(), (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
                .fetch_one(&mut server)
                .await
                .during(|| "cannot name a scratch database".to_owned())?;
        let name = format!("{PREFIX}{}_{}", row.get::<i32, _>(0), row.get::<i64, _>(1));
        // Nothing of what the server's databases begin with: another one's objects would be in the way.
        let sql = format!("CREATE DATABASE {} TEMPLATE template0", quote::identifier(&name));
        sqlx::query(AssertSqlSafe(sql))
            .execute(&mut server)
            .await
            .during(|| "cannot make a scratch database".to_owned())?;
        let url = with_database(url, &name);
        Ok(Self { server, name, url })
    }

    /// Makes the warehouse's objects, and lets rows be of what a test is about.
    pub async fn furnish(&self, warehouse: &Warehouse) -> Result<PgConnection> {
        migrate::up_as_one(warehouse, &self.url).await?;
        let mut connection = connection::connect(Database::Warehouse, &self.url).await?;
        crate::round::prepare_session(&mut connection).await?;
        sqlx::raw_sql(AssertSqlSafe(nullable(warehouse)))
            .execute(&mut connection)
            .await
            .during(|| "cannot prepare the scratch database".to_owned())?;
        Ok(connection)
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Drops it.
    pub async fn drop(mut self) -> Result<()> {
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote::identifier(&self.name));
        statement::execute(&mut self.server, &sql)
            .await
            .map_err(|error| error.within(format!("cannot drop the scratch database `{}`", self.name)))?;
        self.server.close().await.during(|| "cannot close a connection".to_owned())
    }
}

/// Drops what was left behind by one that was killed: who made it is gone.
async fn sweep(server: &mut PgConnection) -> Result<()> {
    let left = sqlx::query(
        "SELECT datname FROM pg_database WHERE starts_with(datname, $1) \
         AND pg_has_role(datdba, 'USAGE') \
         AND split_part(datname, '_', 3)::integer NOT IN (SELECT pid FROM pg_stat_activity)",
    )
    .bind(PREFIX)
    .fetch_all(&mut *server)
    .await
    .during(|| "cannot look for scratch databases that were left".to_owned())?;
    for row in left {
        let name: String = row.get(0);
        // Another one may sweep at the same time.
        let sql = format!("DROP DATABASE IF EXISTS {}", quote::identifier(&name));
        let _ = statement::execute(server, &sql).await;
    }
    Ok(())
}

/// The same server's other database.
fn with_database(url: &str, name: &str) -> String {
    let (before, query) = match url.split_once('?') {
        Some((before, query)) => (before, format!("?{query}")),
        None => (url, String::new()),
    };
    let start = before.find("://").map_or(0, |at| at + 3);
    let server = before[start..].find('/').map_or(before, |slash| &before[..start + slash]);
    format!("{server}/{name}{query}")
}

/// Lets every column but those of keys be NULL: a test says what it is about.
fn nullable(warehouse: &Warehouse) -> String {
    let archive = |silver: &Silver| match &silver.kind {
        SilverKind::Fact { archive, .. } => Some(archive.clone()),
        SilverKind::Dimension { .. } => None,
    };
    let silver = warehouse.silver.iter().flat_map(|one| archive(one).into_iter().chain([one.table.clone()]));
    let stored = warehouse.marts.iter().filter(|mart| mart.storage.is_table());
    let tables: Vec<Name> = silver.chain(stored.map(|mart| mart.table.clone())).collect();
    let tables: Vec<String> = tables.iter().map(|name| quote::literal(&quote::name(name))).collect();
    format!(
        "DO $$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT attrelid::regclass AS relation, attname AS name
        FROM pg_attribute
        WHERE attrelid = ANY (ARRAY[{tables}]::regclass[])
        AND attnum > 0
        AND attnotnull
        AND attidentity = ''
        AND NOT attisdropped
        AND NOT EXISTS (
            SELECT
            FROM pg_index
            WHERE indrelid = attrelid
            AND indisprimary
            AND attnum = ANY (indkey)
        )
    LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL', one.relation, one.name);
    END LOOP;
END
$$",
        tables = tables.join(", "),
    )
}

/// An error of a scratch database, said of what it is for.
pub fn unmade(error: Error) -> Error {
    error.within("cannot make a scratch database for the unit tests")
}

#[cfg(test)]
mod tests {
    use super::with_database;

    #[test]
    fn another_database_is_on_the_same_server() {
        for (url, expected) in [
            ("postgresql://me:secret@host:5432/shop", "postgresql://me:secret@host:5432/x"),
            ("postgresql://host", "postgresql://host/x"),
            ("postgresql:///shop?host=%2Ftmp&port=1", "postgresql:///x?host=%2Ftmp&port=1"),
            ("postgres://host/?sslmode=require", "postgres://host/x?sslmode=require"),
        ] {
            assert_eq!(with_database(url, "x"), expected);
        }
    }
}
