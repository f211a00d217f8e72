//! Neighbours, on the sample's warehouse: every line of the psql page is run by psql, and dbt reads what it is told, asks its
//! tests and builds on top. `MEDALLION_NEIGHBOURS` names the folder that `scripts/neighbours` prints; without it dbt is said
//! and passed by.

use std::path::{Path, PathBuf};
use std::process::Command;

use medallion::cli::read;
use medallion::emit::dbt;
use medallion::model;
use medallion_runtime::connection::Database;
use medallion_runtime::script;
use medallion_server::Server;
use sqlx::postgres::PgConnectOptions;

use crate::support::{Shop, compare};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The blocks of SQL in a page, which go on from one to the next.
fn blocks(page: &str) -> String {
    let blocks = page.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    blocks.collect()
}

#[tokio::test]
async fn psql_and_dbt_ask_the_warehouse() {
    let server = Server::shared_scratch().unwrap();
    let mut shop = Shop::open(server, "neighbours").await;
    let sample = shop.descriptor.scripts.sample.expect("Pagila brings a sample");
    script::execute(Database::Source, &shop.place.source, "sample.sql", sample).await.unwrap();
    shop.migrate().await;
    shop.run().await;

    psql(&shop);
    if let Some(programs) = std::env::var_os("MEDALLION_NEIGHBOURS") {
        Dbt::new(&Path::new(&programs).join("dbt/bin/dbt"), &shop).is_content(&mut shop).await;
    } else {
        eprintln!(
            "NOT TESTED with dbt: MEDALLION_NEIGHBOURS does not name the folder that scripts/neighbours prints"
        );
    }
}

fn psql(shop: &Shop) {
    let page = std::fs::read_to_string(root().join("docs/psql.md")).unwrap();
    let script = blocks(&page);
    assert!(script.lines().filter(|line| !line.trim().is_empty()).count() > 30, "the page has lines");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page.sql");
    std::fs::write(&file, script).unwrap();
    let output = Command::new("psql")
        .args(["--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--pset", "pager=off", "--file"])
        .arg(&file)
        .arg(&shop.place.warehouse)
        .output()
        .unwrap();
    let (printed, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // `\d` of what is not there is no error to psql.
    let nothing = said.contains("Did not find") || said.contains("error:");
    assert!(output.status.success() && !nothing, "{said}");
    // Questions that show nothing teach nothing, but for those of what may not be.
    let empty = printed.matches("(0 rows)").count();
    assert!(empty <= 3, "{printed}");
}

/// A project of dbt's on the warehouse, with a model of its own.
struct Dbt<'a> {
    program: &'a Path,
    folder: tempfile::TempDir,
}

impl<'a> Dbt<'a> {
    fn new(program: &'a Path, shop: &Shop) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let url: PgConnectOptions = shop.place.warehouse.parse().unwrap();
        let host =
            url.get_socket().map_or_else(|| url.get_host().to_owned(), |socket| socket.display().to_string());
        let (port, user, database) = (url.get_port(), url.get_username(), url.get_database().unwrap());
        write(
            "dbt_project.yml",
            "name: beside\nversion: '1.0'\nprofile: beside\nmodels:\n  +materialized: table\n",
        );
        write(
            "profiles.yml",
            &format!(
                "beside:\n  target: there\n  outputs:\n    there: {{type: postgres, host: '{host}', port: {port}, \
                 user: '{user}', password: none, dbname: '{database}', schema: beside, threads: 2}}\n"
            ),
        );
        let spec = read::warehouse(&root().join("spec/pagila")).unwrap();
        let warehouse = model::load(&spec).unwrap_or_else(|_| panic!("the spec is right"));
        write("models/pagila.yml", &dbt::schema(&warehouse));
        write(
            "models/best_month.sql",
            "SELECT store_id, max(revenue) AS revenue FROM {{ source('simple_gold', 'vw_monthly_revenue') }} GROUP BY store_id",
        );
        Self { program, folder }
    }

    async fn is_content(&self, shop: &mut Shop) {
        let output = Command::new(self.program)
            .args(["--warn-error", "build", "--no-use-colors", "--project-dir"])
            .arg(self.folder.path())
            .arg("--profiles-dir")
            .arg(self.folder.path())
            .env("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        let stores = compare::value(&mut shop.warehouse, "SELECT count(*) FROM beside.best_month").await;
        assert_eq!(stores, "7", "{said}");
    }
}
