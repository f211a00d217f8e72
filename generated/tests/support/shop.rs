//! A shop and its warehouse: two databases of a scratch server, and the pipeline between them.

use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::Warehouse;
use medallion_runtime::place::Place;
use medallion_runtime::progress::Silent;
use medallion_runtime::run::{self, Outcome};
use medallion_runtime::{migrate, script};
use medallion_server::Server;
use sqlx::PgConnection;

use super::compare;

/// A source, a warehouse, and a session on each.
pub struct Shop {
    pub descriptor: Warehouse,
    pub place: Place,
    pub source: PgConnection,
    pub warehouse: PgConnection,
}

impl Shop {
    /// An empty source with its schema, and a warehouse that is not migrated yet.
    pub async fn open(server: &Server, name: &str) -> Self {
        let source = format!("{name}_source");
        server.ensure_database(&source).unwrap();
        let schema = warehouse::pagila::warehouse().scripts.source.expect("Pagila brings its source");
        script::execute(Database::Source, &server.url(&source), "source.sql", schema).await.unwrap();
        Self::of(server, &source, name).await
    }

    /// The same on a server of its own, where the slot can have its own name, as the binary knows it.
    pub async fn open_as_is(server: &Server, name: &str) -> Self {
        let mut shop = Self::open(server, name).await;
        shop.descriptor = warehouse::pagila::warehouse();
        shop
    }

    /// The same with the warehouse on a server of its own.
    pub async fn open_between(source: &Server, target: &Server, name: &str) -> Self {
        let mut shop = Self::open_as_is(source, name).await;
        let database = format!("{name}_warehouse");
        target.ensure_database(&database).unwrap();
        shop.place.warehouse = target.url(&database);
        shop.reconnect().await;
        shop
    }

    /// A second warehouse of the same source.
    pub async fn beside(&self, server: &Server, name: &str) -> Self {
        let mut shop = Self::of(server, "template1", name).await;
        shop.place.source.clone_from(&self.place.source);
        shop.source = connection::connect(Database::Source, &self.place.source).await.unwrap();
        shop
    }

    async fn of(server: &Server, source: &str, name: &str) -> Self {
        let target = format!("{name}_warehouse");
        server.ensure_database(&target).unwrap();
        let place = Place {
            source: server.url(source),
            warehouse: server.url(&target),
            bronze: None,
            embedded: None,
        };
        let mut descriptor = warehouse::pagila::warehouse();
        // A slot's name is the whole server's, and the tests share one.
        descriptor.source.slot = format!("{}_{name}", descriptor.source.slot);
        let source = connection::connect(Database::Source, &place.source).await.unwrap();
        let warehouse = connection::connect(Database::Warehouse, &place.warehouse).await.unwrap();
        Self { descriptor, place, source, warehouse }
    }

    /// New sessions, after a server has died under the old ones.
    pub async fn reconnect(&mut self) {
        self.source = connection::connect(Database::Source, &self.place.source).await.unwrap();
        self.warehouse = connection::connect(Database::Warehouse, &self.place.warehouse).await.unwrap();
    }

    /// Makes the warehouse's objects.
    pub async fn migrate(&self) {
        migrate::up(&self.descriptor, &self.place).await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Runs the pipeline once.
    pub async fn run(&self) -> Outcome {
        run::run(&self.descriptor, &self.place, &mut Silent).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// One transaction at the source.
    pub async fn change(&mut self, sql: &str) {
        compare::execute(&mut self.source, &format!("BEGIN;\n{sql};\nCOMMIT")).await;
    }

    /// The system time last applied.
    pub async fn now(&mut self) -> String {
        compare::value(&mut self.warehouse, "SELECT medallion.now()").await
    }

    /// The system time of what had committed below a position of the source.
    pub async fn time_of(&mut self, position: i64) -> String {
        let landings: Vec<String> = self
            .descriptor
            .landings
            .iter()
            .map(|landing| {
                format!("SELECT max(commit_ts) AS time FROM {} WHERE lsn <= {position}", landing.table)
            })
            .collect();
        let sql = format!("SELECT max(time) FROM ({}) AS landing", landings.join(" UNION ALL "));
        let time = compare::value(&mut self.warehouse, &sql).await;
        let said = format!("SELECT medallion.time_of('0/0'::pg_lsn + {position})");
        assert_eq!(compare::value(&mut self.warehouse, &said).await, time, "the time of {position}");
        time
    }
}
