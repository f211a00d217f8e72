//! A database with the objects of the case `asking`, and short ways to ask it.

use medallion_runtime::connection::{self, Database};
use medallion_server::Server;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Row as _};

/// What `generate` writes for the case of that name; the tool's tests hold it to the templates.
const OBJECTS: &str = include_str!(
    "../../../tests/cases/generate/asking/expected/migration/src/asking/m000001_baseline/up.sql"
);

/// A session of a warehouse of its own.
pub struct Session {
    connection: PgConnection,
}

impl Session {
    /// Makes the warehouse, with nothing in it.
    pub async fn alone(name: &str) -> Self {
        let server = Server::shared_scratch().unwrap();
        let name = format!("asking_{name}");
        server.ensure_database(&name).unwrap();
        let mut connection = connection::connect(Database::Warehouse, &server.url(&name)).await.unwrap();
        connection.execute(OBJECTS).await.unwrap();
        Self { connection }
    }

    /// Runs what must succeed.
    pub async fn does(&mut self, sql: &str) {
        let done = self.connection.execute(AssertSqlSafe(sql.to_owned())).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// A question's rows as text, a value a column, in the question's order.
    pub async fn ask(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.try_ask(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The one value of a question, as text.
    pub async fn value(&mut self, sql: &str) -> Option<String> {
        self.ask(sql).await.remove(0).remove(0)
    }

    /// What a question is refused with: the message, and the hint.
    pub async fn refused(&mut self, sql: &str) -> (String, String) {
        let error = self.try_ask(sql).await.expect_err(sql);
        let error = error.into_database_error().unwrap_or_else(|| panic!("{sql}: no server refused it"));
        let error = error.downcast_ref::<sqlx::postgres::PgDatabaseError>();
        (error.message().to_owned(), error.hint().unwrap_or_default().to_owned())
    }

    /// How a question would be answered.
    pub async fn plan(&mut self, sql: &str) -> String {
        let lines = self.ask(&format!("EXPLAIN (COSTS OFF) {sql}")).await;
        lines.into_iter().map(|mut line| line.remove(0).unwrap() + "\n").collect()
    }

    async fn try_ask(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, sqlx::Error> {
        // By the simple protocol: every value comes as text.
        let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(&mut self.connection).await?;
        let text = |row: &sqlx::postgres::PgRow| (0..row.len()).map(|at| row.get_unchecked(at)).collect();
        Ok(rows.iter().map(text).collect())
    }
}
