//! The columns of an answer: as of a time they are those of now, whatever a dimension wears.

use medallion_runtime::answer::{self, Format, Printer, Settings};
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::{SilverKind, Warehouse};
use medallion_runtime::migrate;
use medallion_runtime::place::Place;
use medallion_server::Server;
use sqlx::PgConnection;

/// What is asked of a dimension as of a time has the columns of what is current, whatever it wears.
#[tokio::test]
async fn a_dimension_as_of_a_time_has_the_columns_that_it_has_now() {
    let server = Server::shared_scratch().unwrap();
    for (number, descriptor) in [
        warehouse::pagila::warehouse(),
        warehouse::pagila_enterprise::warehouse(),
        warehouse::ecommerce::warehouse(),
        warehouse::orders::warehouse(),
    ]
    .into_iter()
    .enumerate()
    {
        let target = format!("columns_of_{number}");
        server.ensure_database(&target).unwrap();
        let url = server.url(&target);
        let place = Place { source: url.clone(), warehouse: url, bronze: None, embedded: None };
        migrate::up(&descriptor, &place).await.unwrap_or_else(|error| panic!("{error}"));
        let mut session = connection::connect(Database::Warehouse, &place.warehouse).await.unwrap();
        for silver in &descriptor.silver {
            let name = match &silver.kind {
                SilverKind::Dimension { current, .. } => current,
                SilverKind::Fact { .. } => &silver.table,
            };
            let now = header(&descriptor, &mut session, &format!("SELECT * FROM {name}")).await;
            for times in ["AS OF 'infinity'", "BETWEEN '2025-01-01' AND 'infinity'", "AS OF moment.at"] {
                let sql = format!(
                    "SELECT one.* FROM (SELECT now() AS at) AS moment CROSS JOIN {name} FOR SYSTEM_TIME {times} AS one"
                );
                assert_eq!(header(&descriptor, &mut session, &sql).await, now, "{sql}");
            }
        }
    }
}

/// The names of an answer's columns, in any order.
async fn header(descriptor: &Warehouse, session: &mut PgConnection, sql: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut printer = Printer::new(Format::Csv, None, &mut out);
    let settings = Settings::default();
    let asked = answer::ask(descriptor, session, sql, &settings, &mut printer).await;
    asked.unwrap_or_else(|error| panic!("{sql}\n{error}"));
    let text = String::from_utf8(out).unwrap();
    let mut names: Vec<String> = text.lines().next().unwrap().split(',').map(str::to_owned).collect();
    names.sort();
    names
}
