//! The demo as a newcomer meets it, in a checkout of its own: it takes the place of databases that are empty
//! or a demo's, tells its story to the end, and leaves alone what somebody else has made.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use medallion_runtime::connection::{self, Database};
use medallion_server::Server;

use crate::support::{compare, program};

#[tokio::test]
async fn the_demo_tells_its_story_and_drops_nobodys_database() {
    let checkout = tempfile::tempdir().unwrap();
    // Root's server runs as somebody else, who has to get in.
    fs::set_permissions(checkout.path(), Permissions::from_mode(0o755)).unwrap();
    let server = Server::of_checkout(checkout.path()).unwrap();

    // Whoever looks around first makes two empty databases.
    let looked = warehouse(checkout.path(), "status");
    assert!(looked.status.success(), "{}", program::stderr(&looked));
    let told = warehouse(checkout.path(), "demo");
    assert!(told.status.success(), "{}", program::stderr(&told));
    let told = String::from_utf8_lossy(&told.stdout);
    assert!(told.contains("What to try next:"));
    let readme = include_str!("../../README.md");
    let shown = readme.split("```text\n…\n").nth(1).unwrap().split("\n…\n```").next().unwrap();
    assert!(
        shown.lines().count() > 10 && told.contains(shown),
        "the README shows another demo:\n{shown}\n{told}"
    );

    let url = server.url("pagila_warehouse");
    let mut session = connection::connect(Database::Warehouse, &url).await.unwrap();
    compare::execute(&mut session, "COMMENT ON DATABASE pagila_warehouse IS NULL").await;
    let refused = warehouse(checkout.path(), "demo");
    assert_eq!(refused.status.code(), Some(2));
    assert!(program::stderr(&refused).contains("that no demo made"), "{refused:?}");
    assert_eq!(
        compare::value(&mut session, "SELECT count(*) FROM simple_gold.vw_monthly_revenue").await,
        "84"
    );
    drop(session);
    server.stop().unwrap();
}

/// The binary in a checkout, without a database named.
fn warehouse(checkout: &Path, verb: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_warehouse"))
        .arg(verb)
        .current_dir(checkout)
        .env_remove("DATABASE_URL")
        .env_remove("SOURCE_DATABASE_URL")
        .env_remove("MEDALLION_WAREHOUSE")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}
