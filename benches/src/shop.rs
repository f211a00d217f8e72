//! How long a day's order lines take in `spec/ecommerce`, of the time that computing all of the same warehouse anew takes:
//! 3,000 lines on 66,000, both by the binary, on a server for the source and one for the warehouse.

use std::process::Command;

use medallion_runtime::connection::Database;
use medallion_runtime::script;
use medallion_server::Server;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Row as _};

use crate::latency::program;
use crate::made::{execute, session};
use crate::record::{Goal, Line, Record};
use crate::scale::{Scale, Size};
use crate::{Error, neighbours, stopwatch};

const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../spec/ecommerce/files");

/// Orders of three lines each, as they come from the end of the sample on, and the last ones delivered.
const LINES: &str = "
    BEGIN;
    INSERT INTO orders
    SELECT 30000 + {day} * {lines} + id, 1 + id % 1000, timestamptz '2026-01-01 12:00+00' + {day} * interval '1 day',
        'placed', 30
    FROM generate_series(1, {lines} / 3) AS id;
    INSERT INTO order_items
    SELECT 90000 + {day} * {lines} + id, 30001 + {day} * {lines} + (id - 1) / 3, 1 + id % 20, 1, 10, 0,
        timestamptz '2026-01-01 12:00+00' + {day} * interval '1 day'
    FROM generate_series(1, {lines} / 3 * 3) AS id;
    COMMIT";

/// What the lines say, at the source and in the star.
const SAID: [&str; 2] = [
    "SELECT md5(string_agg(concat_ws('|', order_item_id, order_id, customer_id, product_id, quantity, discount,
        order_total, status), ',' ORDER BY order_item_id))
    FROM order_items
    JOIN orders USING (order_id)",
    "SELECT md5(string_agg(concat_ws('|', order_item_id, order_id, customer_id, product_id, quantity, discount,
        order_total, order_status), ',' ORDER BY order_item_id))
    FROM silver.fact_orders",
];

pub async fn measure(scale: Scale) -> Result<Record, Error> {
    let lines: u64 = scale.of(300, 3_000, 3_000);
    let (from, to) = (Server::scratch()?, Server::scratch()?);
    from.ensure_database("shop")?;
    to.ensure_database("warehouse")?;
    let scripts = warehouse::ecommerce::warehouse().scripts;
    for script in [scripts.source, scripts.sample].into_iter().flatten() {
        script::execute(Database::Source, &from.url("shop"), "script.sql", script).await?;
    }
    for arguments in [&["migrate", "up"][..], &["run"]] {
        carry_out(&from, &to, arguments)?;
    }
    let mut source = session(&from.url("shop")).await?;
    let mut target = session(&to.url("warehouse")).await?;
    let (mut days, mut wholes) = (Vec::new(), Vec::new());
    // The first day is for the caches.
    for day in 0..=scale.runs {
        let come = LINES.replace("{day}", &day.to_string()).replace("{lines}", &lines.to_string());
        execute(&come, &mut source).await?;
        let of_day = carry_out(&from, &to, &["run"])?;
        let said = value(SAID[0], &mut source).await?;
        let of_all = carry_out(&from, &to, &["run", "--full-refresh"])?;
        if value(SAID[1], &mut target).await? != said {
            return Err("the star does not say what the shop says".into());
        }
        if day > 0 {
            days.push(of_day);
            wholes.push(of_all);
        }
    }
    let what = format!("a day of the shop: {lines} order lines on 66,000");
    let line = Line::beside(&what, &days, "`run --full-refresh`", &wholes).map(|line| line.rows(lines));
    let goal = Goal::TimesFaster(10.0);
    let line = line.map(|line| if scale.size == Size::Small { line } else { line.goal(goal) });
    let notes =
        vec!["Both are the program's whole time, with its start and all tests of the data.".to_owned()];
    Ok(Record { lines: line.into_iter().collect(), notes, ..Record::default() })
}

/// The program's verb, and how long it took, in seconds.
fn carry_out(from: &Server, to: &Server, arguments: &[&str]) -> Result<f64, Error> {
    let running = stopwatch::start();
    neighbours::run(
        Command::new(program()?)
            .args(["--warehouse", "ecommerce"])
            .args(arguments)
            .env("DATABASE_URL", to.url("warehouse"))
            .env("SOURCE_DATABASE_URL", from.url("shop"))
            .env("FILES_URL", FILES),
    )?;
    Ok(running.stop())
}

async fn value(sql: &str, session: &mut PgConnection) -> Result<Option<String>, Error> {
    Ok(session.fetch_one(AssertSqlSafe(sql.to_owned())).await?.try_get(0)?)
}
