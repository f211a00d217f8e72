//! A database with one versioned dimension, and short ways to ask it.

use medallion_runtime::connection::{self, Database};
use medallion_server::Server;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Row as _};

use crate::{LAYOUT, OBJECTS};

/// Where the closed versions of the dimension stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "each suite has one of them")]
pub enum Layout {
    /// In one table with the current ones.
    Together,
    /// In tables of their own.
    Apart,
}

/// A server's answer to one statement: how many rows it wrote, or the error's code and message.
pub type Answer = Result<u64, (String, String)>;

/// A database of its own.
pub struct Warehouse {
    pub url: String,
}

impl Warehouse {
    /// Makes it, with the dimension empty.
    pub async fn new(name: &str) -> Self {
        Self::of(name, OBJECTS.to_owned()).await
    }

    /// The same, its names in a collation that takes no notice of case, its keys' too.
    pub async fn in_any_case(name: &str) -> Self {
        let collation = "CREATE COLLATION public.any_case \
             (provider = icu, locale = 'und-u-ks-level2', deterministic = false)";
        let (before, table) = OBJECTS.split_once("CREATE TABLE \"silver\".\"dim_customer_hist\"").unwrap();
        let (table, after) = table.split_once(");").unwrap();
        let table = table.replace("\" text", "\" text COLLATE public.any_case");
        let objects = format!("{before}CREATE TABLE \"silver\".\"dim_customer_hist\"{table});{after}");
        Self::of(name, format!("{collation};\n{objects}")).await
    }

    async fn of(name: &str, objects: String) -> Self {
        let server = Server::shared_scratch().unwrap();
        let name = format!("versioning_{name}_{LAYOUT:?}").to_lowercase();
        server.ensure_database(&name).unwrap();
        let url = server.url(&name);
        let mut connection = connection::connect(Database::Warehouse, &url).await.unwrap();
        connection.execute(AssertSqlSafe(objects)).await.unwrap();
        Self { url }
    }

    /// A session.
    pub async fn connect(&self) -> Session {
        Session { connection: connection::connect(Database::Warehouse, &self.url).await.unwrap() }
    }
}

/// A session of a warehouse.
pub struct Session {
    pub connection: PgConnection,
}

impl Session {
    /// A warehouse of its own, and a session there.
    pub async fn alone(name: &str) -> Self {
        Warehouse::new(name).await.connect().await
    }

    /// Runs one statement, or several without an answer of interest.
    pub async fn run(&mut self, sql: &str) -> Answer {
        let sql = match LAYOUT {
            Layout::Together => sql.to_owned(),
            // A key has one version that ends at a time, which says as much.
            Layout::Apart => sql.replace(
                "ON CONFLICT (region, customer_id) WHERE sys_end = 'infinity'",
                "ON CONFLICT (region, customer_id, sys_end)",
            ),
        };
        match self.connection.execute(AssertSqlSafe(sql.clone())).await {
            Ok(done) => Ok(done.rows_affected()),
            Err(error) => {
                let error = error.as_database_error().unwrap_or_else(|| panic!("{sql}: {error}"));
                Err((error.code().unwrap_or_default().into_owned(), error.message().to_owned()))
            }
        }
    }

    /// Runs what must succeed.
    pub async fn does(&mut self, sql: &str) -> u64 {
        self.run(sql).await.unwrap_or_else(|(code, message)| panic!("{sql}\n{code}: {message}"))
    }

    /// Runs what must fail; returns its code.
    pub async fn fails(&mut self, sql: &str) -> String {
        self.run(sql).await.map_or_else(|(code, _)| code, |rows| panic!("{sql}\nwrote {rows} rows"))
    }

    /// The only column of a question's rows, as text.
    pub async fn ask(&mut self, sql: &str) -> Vec<String> {
        let sql = format!("SELECT coalesce(answer::text, '∅') FROM ({sql}) AS question (answer)");
        let rows = sqlx::raw_sql(AssertSqlSafe(sql.clone()))
            .fetch_all(&mut self.connection)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// All versions, by key and time: `key:name`, with `…` behind what is current and `|` where a gap follows.
    pub async fn versions(&mut self) -> String {
        self.ask(
            "SELECT string_agg(customer_id || ':' || coalesce(name, '∅') || CASE \
             WHEN sys_end = 'infinity' THEN '…' \
             WHEN next IS DISTINCT FROM sys_end THEN '|' ELSE '' END, ' ' ORDER BY customer_id, sys_start) \
             FROM (SELECT *, lead(sys_start) OVER (PARTITION BY customer_id ORDER BY sys_start) AS next \
             FROM silver.dim_customer_hist) AS version",
        )
        .await
        .remove(0)
    }
}
