//! Questions to a database that stands, where the environment names one. Reads only, and gives up soon where nobody
//! answers.

/// Asks a question; returns the rows, a line each, or why there are none, without ever showing a URL.
pub(super) fn ask(url: &str, sql: &str) -> Result<String, String> {
    let sql = format!("SET TRANSACTION READ ONLY;\nSET statement_timeout = '60s';\n{sql}");
    let failed = |why: String| {
        let why = why.strip_prefix("psql: error: ").unwrap_or(&why).replace(url, "DATABASE_URL");
        why.lines().next().unwrap_or_default().to_owned()
    };
    medallion_server::ask(url, &sql).map_err(|error| failed(error.to_string()))?.map_err(failed)
}
