//! Migrations whose statements run each by itself, in no transaction: indexes are built so while others read and write.
//! Knows how such a migration is written down, and nothing of what it does.

use sea_orm::{ConnectionTrait, DbErr, Statement};

/// The line before a statement that runs by itself.
const ALONE: &str = "-- By itself:";
/// And before a question, of whose answer each line is such a statement: what runs have made is known to the server
/// alone.
const EACH: &str = "-- Each line of its answer, by itself:";

/// Runs the statements of a migration, each by itself.
///
/// # Errors
///
/// The first that fails. What was done before stays so.
pub async fn by_itself(connection: &impl ConnectionTrait, sql: &str) -> Result<(), DbErr> {
    let ask = "SELECT current_setting('lock_timeout')";
    let patience = answer(connection, ask).await?.pop().unwrap_or_default();
    for (is_asked, statement) in statements(sql) {
        if is_asked {
            for statement in answer(connection, &statement).await? {
                run(connection, &statement, &patience).await?;
            }
        } else {
            run(connection, &statement, &patience).await?;
        }
    }
    Ok(())
}

/// What works beside others keeps nobody waiting, and waits for whatever began before it. The rest is as patient as it is
/// told to be.
async fn run(connection: &impl ConnectionTrait, statement: &str, patience: &str) -> Result<(), DbErr> {
    if !statement.contains(" INDEX CONCURRENTLY ") {
        return connection.execute_unprepared(statement).await.map(drop);
    }
    connection.execute_unprepared("SET lock_timeout = 0").await?;
    let done = connection.execute_unprepared(statement).await;
    connection.execute_unprepared(&format!("SET lock_timeout = '{patience}'")).await?;
    done.map(drop)
}

async fn answer(connection: &impl ConnectionTrait, sql: &str) -> Result<Vec<String>, DbErr> {
    let ask = Statement::from_string(connection.get_database_backend(), sql);
    let rows = connection.query_all_raw(ask).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// The statements, and of each whether its answer is what is to be run.
fn statements(sql: &str) -> Vec<(bool, String)> {
    let mut found: Vec<(bool, String)> = Vec::new();
    for line in sql.lines() {
        match line.trim_end() {
            marker @ (ALONE | EACH) => found.push((marker == EACH, String::new())),
            line => {
                if let Some((_, statement)) = found.last_mut() {
                    statement.push_str(line);
                    statement.push('\n');
                }
            }
        }
    }
    found
}
