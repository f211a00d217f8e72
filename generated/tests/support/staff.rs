//! A shop whose warehouse is worked at by roles: an owner that is no superuser, a login of the loader's and one
//! of the reader's.

use medallion_runtime::connection::{self, Database};
use medallion_server::Server;

use super::{Shop, compare};

/// What PostgreSQL gives to PUBLIC unasked, taken back before there is a warehouse.
const HARDENED: &str = "
    ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
    ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE USAGE ON TYPES FROM PUBLIC;
    REVOKE ALL ON DATABASE {warehouse} FROM PUBLIC;
    GRANT CONNECT ON DATABASE {warehouse} TO {loader}, {reader}";

/// A migrated shop with a few rows, the loader's URL, by which it is run, and the reader's.
pub async fn open(name: &str) -> (Shop, String, String) {
    open_after(name, "").await
}

/// The same where nobody may do anything that was not granted by name.
pub async fn open_hardened(name: &str) -> (Shop, String, String) {
    let hardened = HARDENED
        .replace("{owner}", &format!("{name}_owner"))
        .replace("{loader}", &format!("{name}_load"))
        .replace("{reader}", &format!("{name}_read"))
        .replace("{warehouse}", &format!("{name}_warehouse"));
    open_after(name, &hardened).await
}

/// The same after a statement of a superuser's in the warehouse's database.
async fn open_after(name: &str, prepared: &str) -> (Shop, String, String) {
    let server = Server::shared_scratch().unwrap();
    let mut shop = Shop::open(server, name).await;
    let mut control = connection::connect(Database::Source, &server.url("postgres")).await.unwrap();
    compare::execute(
        &mut control,
        &format!(
            "CREATE ROLE {name}_owner LOGIN CREATEROLE;
            CREATE ROLE {name}_load LOGIN;
            CREATE ROLE {name}_read LOGIN;
            ALTER DATABASE {name}_warehouse OWNER TO {name}_owner"
        ),
    )
    .await;
    compare::execute(&mut shop.warehouse, prepared).await;
    let as_role = |role: &str| {
        let url = server.url(&format!("{name}_warehouse"));
        url.replace("user=medallion", &format!("user={name}_{role}"))
    };
    shop.place.warehouse = as_role("owner");
    shop.migrate().await;
    compare::execute(
        &mut control,
        &format!("GRANT pagila_loader TO {name}_load; GRANT pagila_reader TO {name}_read"),
    )
    .await;
    compare::execute(
        &mut shop.source,
        "INSERT INTO language (name) SELECT 'Language ' || n FROM generate_series(1, 3) AS n;
        INSERT INTO category (name) VALUES ('Drama')",
    )
    .await;
    let (loader, reader) = (as_role("load"), as_role("read"));
    shop.place.warehouse.clone_from(&loader);
    (shop, loader, reader)
}
