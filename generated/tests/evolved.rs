//! A warehouse whose spec changes while it holds a year: a column goes and comes back, with its past or without,
//! and the laws hold. The migrations are those that the tool writes for the change.

use std::path::Path;

use medallion::cli::read;
use medallion::emit::{self, FileSet, Past, Workspace};
use medallion::finding::SourceText;
use medallion::model;
use medallion_runtime::connection::Database;
use medallion_runtime::{script, verify};
use medallion_server::Server;

use crate::support::{Shop, compare};

/// The column of `dim_customer_hist` that goes and comes.
const EMAIL: &str = "    { name = \"email\", type = \"text\", null = true },\n";

/// Pagila's spec, with that column as given.
fn spec(email: &str, more: &str) -> model::Warehouse {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec/pagila");
    let mut files = read::warehouse(&folder).unwrap();
    let (before, dimension) = files.spec.text().split_once("name = \"dim_customer_hist\"").unwrap();
    assert!(dimension.contains(EMAIL), "the spec has no such column");
    let dimension = dimension.replacen(EMAIL, email, 1);
    // What is tested of the column goes with it.
    let dimension: String =
        dimension.split_inclusive('\n').filter(|line| !line.contains("email_is_an_address")).collect();
    let text = format!("{before}name = \"dim_customer_hist\"{dimension}{more}");
    files.spec = SourceText::new(files.spec.path(), text);
    model::load(&files)
        .unwrap_or_else(|findings| panic!("{}", findings.human(medallion::finding::Colour::Plain)))
}

fn workspace() -> Workspace {
    Workspace { warehouses: vec!["pagila".to_owned()], default: None }
}

fn past(files: &FileSet) -> Past {
    Past::left_by(files, "pagila").unwrap()
}

/// The files of the next migration, and its SQL.
fn next(before: &FileSet, warehouse: &model::Warehouse) -> (FileSet, String) {
    let after = emit::evolve(warehouse, &workspace(), &past(before)).unwrap();
    let name = past(&after).lock.migrations.last().unwrap().name.clone();
    let up = after.get(&format!("migration/src/pagila/{name}/up.sql")).unwrap().to_owned();
    (after, up)
}

#[tokio::test]
async fn a_column_that_comes_back_has_its_past_or_begins_anew() {
    let mut shop = Shop::open(Server::shared_scratch().unwrap(), "evolved").await;
    let sample = shop.descriptor.scripts.sample.expect("Pagila brings a sample");
    script::execute(Database::Source, &shop.place.source, "sample.sql", sample).await.unwrap();
    shop.migrate().await;
    shop.run().await;
    let traffic = shop.descriptor.scripts.traffic.expect("Pagila brings traffic");
    compare::execute(&mut shop.source, traffic).await;
    shop.run().await;
    let stood = history(&mut shop).await;
    let mails = "SELECT count(DISTINCT (customer_id, email)) FROM temporal_silver.dim_customer_hist";
    assert_ne!(compare::value(&mut shop.warehouse, mails).await, "599", "some have changed their address");

    let whole = spec(EMAIL, "");
    let first = emit::emit(&whole, &workspace());
    let allowed = "\n[allow_drop]\n\"dim_customer_hist.email\" = \"Nobody may mail them.\"\n";
    let (without, drop) = next(&first, &spec("", allowed));
    let filled = EMAIL.replace(" },", ", backfill = \"bronze\" },");
    let (_, add) = next(&without, &spec(&filled, ""));
    migrate(&mut shop, &drop).await;
    migrate(&mut shop, &add).await;
    let gone = "SELECT count(*) FROM temporal_silver.dim_customer_hist WHERE email IS NOT NULL";
    assert_eq!(compare::value(&mut shop.warehouse, gone).await, "0");
    broken(&shop).await;
    shop.run().await;
    assert_eq!(history(&mut shop).await, stood, "as if it had always been there");
    broken(&shop).await;
    assert!(shop.run().await.is_empty(), "what was left to do is done once");

    // Without its past it is NULL up to here, whatever bronze says, also where a key is repaired.
    let (_, begin) = next(&without, &spec(EMAIL, ""));
    migrate(&mut shop, &drop).await;
    migrate(&mut shop, &begin).await;
    shop.run().await;
    assert_eq!(compare::value(&mut shop.warehouse, gone).await, "0");
    broken(&shop).await;
    shop.change("UPDATE customer SET email = 'new@example.com' WHERE customer_id = 5").await;
    let late = "INSERT INTO cdc_bronze.br_customer_cdc (lsn, op, full_row, commit_ts, seq)
        SELECT lsn, 'U', full_row || '{\"last_name\": \"Between\"}', commit_ts, 1000000
        FROM cdc_bronze.br_customer_cdc WHERE full_row ->> 'customer_id' = '5' ORDER BY lsn LIMIT 1";
    compare::execute(&mut shop.warehouse, late).await;
    shop.run().await;
    let of_five = "SELECT string_agg(coalesce(email, '-'), ' ' ORDER BY sys_start)
        FROM (SELECT DISTINCT ON (email) * FROM temporal_silver.dim_customer_hist WHERE customer_id = 5) AS one";
    assert_eq!(compare::value(&mut shop.warehouse, of_five).await, "- new@example.com");
    broken(&shop).await;
}

async fn migrate(shop: &mut Shop, sql: &str) {
    compare::execute(&mut shop.warehouse, &format!("BEGIN;\n{sql}\nCOMMIT")).await;
}

async fn broken(shop: &Shop) {
    let checks = verify::verify(&shop.descriptor, &shop.place, |_| ()).await.unwrap();
    let broken: Vec<String> = checks
        .iter()
        .filter(|check| check.broken > 0)
        .map(|check| format!("{} {}: {:?}", check.relation, check.law, check.findings))
        .collect();
    assert_eq!(broken, [""; 0]);
}

/// Every version, column by column: the order in which they stand means nothing.
async fn history(shop: &mut Shop) -> Vec<String> {
    let sql = "SELECT to_jsonb(version)::text FROM temporal_silver.dim_customer_hist AS version ORDER BY 1";
    compare::rows(&mut shop.warehouse, sql).await
}
