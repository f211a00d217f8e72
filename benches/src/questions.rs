//! Questions about a time: what the tool writes, asked as its users ask, against the best SQL by hand over the same
//! tables. Prepared statements, their whole answers read.

use std::collections::BTreeSet;

use medallion_runtime::apply;
use medallion_runtime::staging::Staging;
use medallion_server::Server;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqlSafeStr as _, Statement as _};

use crate::Error;
use crate::curve::count;
use crate::made::{execute, made, session};
use crate::record::{Goal, Line, Record};
use crate::scale::{Scale, Size};
use crate::stopwatch;

const SPEC: &str = r#"
[warehouse]
name = "bench"
time_zone = "UTC"

[schemas]
bronze = "bronze"
silver = "silver"
gold = "gold"

[source]
capture = "logical"

[[landing]]
name = "br_customer"
from = "customer"
key = ["customer_id"]

[[landing]]
name = "br_shop"
from = "shop"
key = ["shop_id"]

[[dimension]]
name = "dim_customer_hist"
from = "br_customer"
key = ["customer_id"]
current_view = "dim_customer"
columns = [
    { name = "customer_id", type = "integer" },
    { name = "shop_id", type = "integer" },
    { name = "name", type = "text" },
    { name = "email", type = "text" },
]

[[dimension]]
name = "dim_shop_hist"
from = "br_shop"
key = ["shop_id"]
current_view = "dim_shop"
columns = [
    { name = "shop_id", type = "integer" },
    { name = "city", type = "text" },
]
"#;

/// Ten states of each customer, a day apart and at another time of the day each; of every shop ten as well.
const ROWS: &str = "
    SELECT set_config('medallion.landing', 'on', false);
    INSERT INTO bronze.br_customer (lsn, op, full_row, commit_ts, seq)
    SELECT state, CASE state WHEN 1 THEN 'I' ELSE 'U' END,
        jsonb_build_object('customer_id', id, 'shop_id', (id + state) % {shops}, 'name', 'name ' || id % 5000,
            'email', 'mail' || id || '.' || state || '@example.com'),
        timestamptz '2025-01-01' + state * interval '1 day', id
    FROM generate_series(1, 10) AS state, generate_series(1, {customers}) AS id;
    INSERT INTO bronze.br_shop (lsn, op, full_row, commit_ts, seq)
    SELECT state, CASE state WHEN 1 THEN 'I' ELSE 'U' END,
        jsonb_build_object('shop_id', id, 'city', 'city ' || (id + state) % 77),
        timestamptz '2025-01-01' + state * interval '1 day', {customers} + 1 + id
    FROM generate_series(1, 10) AS state, generate_series(0, {shops} - 1) AS id;";

/// In the middle of the history.
const TIME: &str = "2025-01-06 12:00:00+00";

struct Question {
    what: &'static str,
    by_hand: &'static str,
    /// Each says what it is, and how it is asked.
    ours: &'static [(&'static str, &'static str)],
    goal: f64,
    /// How often it is asked in one run, so that a run takes its time.
    asked: u64,
}

const QUESTIONS: [Question; 3] = [
    Question {
        what: "one key as of a time",
        by_hand: "SELECT customer_id, shop_id, name, email FROM silver.dim_customer_hist
            WHERE customer_id = $1 AND sys_start <= '{time}' AND sys_end > '{time}'",
        ours: &[
            ("by the function", "SELECT customer_id, shop_id, name, email FROM silver.dim_customer_as_of('{time}', $1)"),
            ("by `as_of`", "SELECT customer_id, shop_id, name, email FROM as_of.dim_customer WHERE customer_id = $1"),
        ],
        goal: 1.1,
        asked: 3000,
    },
    Question {
        what: "all keys as of a time",
        by_hand: "SELECT count(email) FROM silver.dim_customer_hist WHERE sys_start <= '{time}' AND sys_end > '{time}' AND $1 > 0",
        ours: &[
            ("by the function", "SELECT count(email) FROM silver.dim_customer_as_of('{time}') WHERE $1 > 0"),
            ("by `as_of`", "SELECT count(email) FROM as_of.dim_customer WHERE $1 > 0"),
        ],
        goal: 1.5,
        asked: 3,
    },
    Question {
        what: "a join of two as of a time",
        by_hand: "SELECT city, count(*) FROM silver.dim_customer_hist AS customer JOIN silver.dim_shop_hist AS shop USING (shop_id)
            WHERE customer.sys_start <= '{time}' AND customer.sys_end > '{time}'
                AND shop.sys_start <= '{time}' AND shop.sys_end > '{time}' AND $1 > 0
            GROUP BY city",
        ours: &[
            (
                "by the functions",
                "SELECT city, count(*) FROM silver.dim_customer_as_of('{time}') JOIN silver.dim_shop_as_of('{time}') USING (shop_id)
                WHERE $1 > 0 GROUP BY city",
            ),
            (
                "by `as_of`",
                "SELECT city, count(*) FROM as_of.dim_customer JOIN as_of.dim_shop USING (shop_id) WHERE $1 > 0 GROUP BY city",
            ),
        ],
        goal: 1.5,
        asked: 3,
    },
];

pub async fn measure(scale: Scale) -> Result<Record, Error> {
    let customers: u32 = scale.of(2_000, 100_000, 1_000_000);
    let server = Server::scratch()?;
    server.ensure_database("questions")?;
    let mut session = session(&server.url("questions")).await?;
    let warehouse = made(SPEC, &mut session).await?;
    let rows =
        ROWS.replace("{customers}", &customers.to_string()).replace("{shops}", &(customers / 20).to_string());
    execute(&rows, &mut session).await?;
    let mut transaction = session.begin().await?;
    apply::apply_in(&warehouse, &BTreeSet::new(), &Staging::default(), &mut transaction, |_| ()).await?;
    transaction.commit().await?;
    execute("VACUUM ANALYZE", &mut session).await?;
    execute("CHECKPOINT", &mut session).await?;
    execute(&format!("SET medallion.as_of = '{TIME}'"), &mut session).await?;
    let mut record = Record::default();
    for question in &QUESTIONS {
        for (way, ours) in question.ours {
            let (mut own, mut by_hand) = (Vec::new(), Vec::new());
            // The first time plans and warms.
            for run in 0..=scale.runs {
                let pair = [ours, &question.by_hand];
                let mut answers = Vec::new();
                let mut seconds = Vec::new();
                for sql in pair {
                    let (took, rows) = ask(sql, question.asked, customers, &mut session).await?;
                    seconds.push(took);
                    answers.push(rows);
                }
                if answers[0] != answers[1] || answers[0] == 0 {
                    return Err(format!("{} answers, and {} by hand: {ours}", answers[0], answers[1]).into());
                }
                if run > 0 {
                    own.push(seconds[0]);
                    by_hand.push(seconds[1]);
                }
            }
            let what =
                format!("{}, of {} versions, {way}", question.what, count(f64::from(customers) * 10.0));
            let line = Line::beside(&what, &own, "SQL by hand", &by_hand);
            let goal = Goal::AtMostTimes(question.goal);
            record
                .lines
                .extend(line.map(|line| if scale.size == Size::Small { line } else { line.goal(goal) }));
        }
    }
    record.notes.push(format!(
        "One key is asked for {} times in a run, all of them {} times; the times are those of a run.",
        QUESTIONS[0].asked, QUESTIONS[1].asked
    ));
    Ok(record)
}

/// Asks it again and again, for one key after another; how long that took, and how many rows came.
async fn ask(
    sql: &str,
    times: u64,
    customers: u32,
    session: &mut PgConnection,
) -> Result<(f64, usize), Error> {
    let sql = sql.replace("{time}", TIME);
    let statement = session.prepare(AssertSqlSafe(sql).into_sql_str()).await?;
    let mut rows = 0;
    let running = stopwatch::start();
    for time in 0..times {
        let key = i32::try_from(1 + time * 7919 % u64::from(customers))?;
        rows += session.fetch_all(statement.query().bind(key)).await?.len();
    }
    Ok((running.stop(), rows))
}
