//! The refresh of stored marts against `REFRESH MATERIALIZED VIEW CONCURRENTLY` of the same definitions: 100 changed rows
//! of a fact, 7,200 groups; one mart of sums, one with a distinct count. Each is refreshed as `run` does, on a session
//! of its own, and as `watch` does, on one that has done so before.

use std::collections::BTreeSet;

use medallion_runtime::descriptor::Warehouse;
use medallion_runtime::refresh::Refreshed;
use medallion_runtime::staging::Staging;
use medallion_runtime::{apply, refresh};
use medallion_server::Server;
use sqlx::PgConnection;

use crate::Error;
use crate::curve::count;
use crate::made::{begin_round, execute, made, session};
use crate::record::{Curve, Goal, Line, Record, Spread, float};
use crate::scale::Scale;
use crate::stopwatch;

/// How many rows change each time.
const CHANGED: u64 = 100;

/// The marts, and how many times faster than the other's each is to be.
const MARTS: [(&str, &str, f64); 2] =
    [("by_sum", "a mart of sums", 200.0), ("by_distinct", "a mart with a distinct count", 10.0)];

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
name = "br_sale"
from = "sale"
key = ["sale_id"]

[[fact]]
name = "fact_sale"
from = "br_sale"
key = ["sale_id"]
partition = { by = "sold_at", every = "month" }
columns = [
    { name = "sale_id", type = "bigint" },
    { name = "sold_at", type = "timestamptz" },
    { name = "shop_id", type = "integer" },
    { name = "customer_id", type = "integer" },
    { name = "amount", type = "numeric(10,2)" },
]

[[mart]]
name = "by_sum"
storage = "incremental"
from = { sale = "fact_sale" }
grain = [
    { name = "shop_id", of = "sale.shop_id" },
    { name = "month", of = "sale.sold_at", cut = "month" },
]
measures = [
    { name = "revenue", type = "numeric(16,2)", expr = "sum(amount)" },
    { name = "sales", expr = "count(*)" },
]

[[mart]]
name = "by_distinct"
storage = "incremental"
from = { sale = "fact_sale" }
grain = [
    { name = "shop_id", of = "sale.shop_id" },
    { name = "month", of = "sale.sold_at", cut = "month" },
]
measures = [
    { name = "revenue", type = "numeric(16,2)", expr = "sum(amount)" },
    { name = "customers", expr = "count(DISTINCT customer_id)" },
]
"#;

/// The months of two years, and the rows of a sale by its number: 300 shops, so 7,200 groups.
const ROWS: &str = "
    DO $$
    BEGIN
        FOR month IN 0..23 LOOP
            EXECUTE format('CREATE TABLE silver.fact_sale_m%s PARTITION OF silver.fact_sale FOR VALUES FROM (%L) TO (%L)',
                month, timestamptz '2024-01-01 00:00+00' + month * interval '1 month',
                timestamptz '2024-01-01 00:00+00' + (month + 1) * interval '1 month');
        END LOOP;
    END
    $$;
    INSERT INTO silver.fact_sale (sale_id, sold_at, shop_id, customer_id, amount, snapshot_ts)
    SELECT sale, timestamptz '2024-01-01 00:00+00' + (sale * 7 % 24) * interval '1 month' + sale % 27 * interval '1 day',
        sale / 24 % 300, sale * 7919 % 100000, (sale % 1000) / 4.0, '2024-01-01'
    FROM generate_series(1::bigint, {rows}) AS sale;
    INSERT INTO gold.by_sum SELECT * FROM medallion.by_sum_definition;
    INSERT INTO gold.by_distinct SELECT * FROM medallion.by_distinct_definition;
    CREATE MATERIALIZED VIEW gold.by_sum_view AS SELECT * FROM medallion.by_sum_definition;
    CREATE UNIQUE INDEX ON gold.by_sum_view (shop_id, month);
    CREATE MATERIALIZED VIEW gold.by_distinct_view AS SELECT * FROM medallion.by_distinct_definition;
    CREATE UNIQUE INDEX ON gold.by_distinct_view (shop_id, month)";

/// Sales far from each other get another amount and another customer.
const CHANGES: &str = "
    INSERT INTO bronze.br_sale (lsn, op, full_row, commit_ts, seq)
    SELECT {run}0, 'U', to_jsonb(changed), timestamptz '2026-01-01 00:00+00' + {run} * interval '1 second', changed.sale_id
    FROM (
        SELECT sale_id, sold_at, shop_id, customer_id + 1 AS customer_id, amount + 0.25 AS amount
        FROM silver.fact_sale
        WHERE sale_id IN (SELECT 1 + (change * 7919::bigint + {run} * 31) % {rows} FROM generate_series(1, {changed}) AS change)
    ) AS changed";

/// On a session of its own, and on one that has done so before.
const WAYS: [&str; 2] = ["run", "watch"];

/// What was measured of a mart: its own refresh in each way, and the other's, in seconds.
#[derive(Default)]
struct Times {
    own: [Vec<f64>; WAYS.len()],
    other: Vec<f64>,
}

pub async fn measure(scale: Scale) -> Result<Record, Error> {
    let sizes: &[u64] = scale.of(&[20_000], &[100_000, 1_000_000], &[100_000, 1_000_000, 10_000_000]);
    let mut record = Record::default();
    let mut curves: Vec<Curve> = Vec::new();
    for &rows in sizes {
        for ((mart, said, faster), times) in MARTS.iter().zip(at(rows, scale.runs).await?) {
            let mut points: Vec<(String, Option<Spread>)> = Vec::new();
            for (way, own) in WAYS.iter().zip(&times.own) {
                let what = format!("{said}, {CHANGED} of {} rows changed, by `{way}`", count(float(rows)));
                let line = Line::beside(&what, own, "REFRESH … CONCURRENTLY", &times.other);
                let goal = Goal::TimesFaster(*faster);
                // What a refresh of everything costs grows with the rows: the goal is one of large facts.
                let line = line.map(|line| if rows >= 10_000_000 { line.goal(goal) } else { line });
                record.lines.extend(line);
                points.push((format!("medallion, {way}"), Spread::of(own.iter().copied())));
            }
            points.push(("REFRESH … CONCURRENTLY".to_owned(), Spread::of(times.other.iter().copied())));
            grow(&mut curves, mart, &format!("{CHANGED} changed rows, {said}"), rows, points);
        }
    }
    record.curves = curves.into_iter().filter(|_| sizes.len() > 1).collect();
    Ok(record)
}

/// Puts what was measured at a size on its curve.
fn grow(curves: &mut Vec<Curve>, mart: &str, title: &str, rows: u64, points: Vec<(String, Option<Spread>)>) {
    let name = format!("marts_{mart}");
    let place = curves.iter().position(|curve| curve.name == name).unwrap_or_else(|| {
        let x = "rows of the fact".to_owned();
        let ways = points.iter().map(|(way, _)| (way.clone(), Vec::new())).collect();
        curves.push(Curve { name: name.clone(), title: title.to_owned(), x, ways });
        curves.len() - 1
    });
    for ((_, line), (_, spread)) in curves[place].ways.iter_mut().zip(points) {
        line.extend(spread.map(|spread| (float(rows), spread.median)));
    }
}

/// For each mart its own refresh and the other's, by turns.
async fn at(rows: u64, runs: usize) -> Result<[Times; MARTS.len()], Error> {
    let server = Server::scratch()?;
    server.ensure_database("marts")?;
    let url = server.url("marts");
    let mut connection = session(&url).await?;
    let warehouse = made(SPEC, &mut connection).await?;
    execute(&ROWS.replace("{rows}", &rows.to_string()), &mut connection).await?;
    execute("VACUUM ANALYZE", &mut connection).await?;
    let mut times = MARTS.map(|_| Times::default());
    let mut watching = session(&url).await?;
    let kept = Staging::default();
    // The first time plans and warms.
    for run in 0..=runs {
        for (place, way) in WAYS.iter().enumerate() {
            let changes = CHANGES
                .replace("{run}", &(1 + run * WAYS.len() + place).to_string())
                .replace("{rows}", &rows.to_string())
                .replace("{changed}", &CHANGED.to_string());
            execute(&changes, &mut connection).await?;
            execute("DELETE FROM medallion.late_change", &mut connection).await?;
            let refreshed = match *way {
                "watch" => round(&warehouse, &kept, &mut watching).await?,
                _ => round(&warehouse, &Staging::default(), &mut session(&url).await?).await?,
            };
            for ((mart, ..), times) in MARTS.iter().zip(&mut times).filter(|_| run > 0) {
                let own = refreshed.iter().find(|one| one.mart.table == *mart);
                times.own[place].extend(own.map(|one| one.elapsed.as_secs_f64()));
            }
        }
        for ((mart, ..), times) in MARTS.iter().zip(&mut times) {
            let running = stopwatch::start();
            execute(&format!("REFRESH MATERIALIZED VIEW CONCURRENTLY gold.{mart}_view"), &mut connection)
                .await?;
            if run > 0 {
                times.other.push(running.stop());
            }
        }
    }
    for (mart, ..) in MARTS {
        let sql = format!(
            "DO $$ BEGIN IF EXISTS ((TABLE gold.{mart} EXCEPT TABLE gold.{mart}_view) UNION ALL \
             (TABLE gold.{mart}_view EXCEPT TABLE gold.{mart})) THEN RAISE EXCEPTION '{mart} is wrong'; END IF; END $$"
        );
        execute(&sql, &mut connection).await?;
    }
    Ok(times)
}

/// Applies what has landed and refreshes what follows from it.
async fn round(
    warehouse: &Warehouse,
    staging: &Staging,
    session: &mut PgConnection,
) -> Result<Vec<Refreshed>, Error> {
    let nothing = BTreeSet::new();
    let mut transaction = begin_round(session).await?;
    let applied = apply::apply_in(warehouse, &nothing, staging, &mut transaction, |_| ()).await?;
    let refreshed =
        refresh::refresh_in(warehouse, &applied, &nothing, staging, &mut transaction, |_| ()).await?;
    transaction.commit().await?;
    if refreshed.len() == MARTS.len() { Ok(refreshed) } else { Err("a mart was not refreshed".into()) }
}
