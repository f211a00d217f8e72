//! A source of orders and prices: what is written to it, what it has, and what a warehouse says that it had. Knows no
//! feed.

use medallion_runtime::connection::{self, Database};
use medallion_server::Server;
use proptest::prelude::*;
use sqlx::{Connection as _, Executor as _, PgConnection};

use super::databases::drop_database;
use super::warehouse::text;

/// What is written to it.
#[derive(Clone, Debug)]
pub enum Written {
    /// An order comes, or changes.
    Order { id: i32, status: u8 },
    /// Several orders change in one statement: their times are one.
    Orders { below: i32, status: u8 },
    /// An order is only seen when its time of change is a while ago.
    Late { id: i32, status: u8, seconds: u8 },
    /// An order goes.
    Gone { id: i32 },
    /// A row of a table with a key of two columns, one of them text, comes or changes: perhaps in its digits alone.
    Price { region: &'static str, product: i32, price: &'static str },
}

/// What is written about so many orders as it happens: none of it late.
pub fn written(orders: i32) -> impl Strategy<Value = Written> {
    let region = prop::sample::select(vec!["north", "it's", "\"süd\"", "", "a\\b"]);
    let price = prop::sample::select(vec!["1", "1.0", "1.00", "2", "3.5"]);
    prop_oneof![
        5 => (0..orders, 0..3_u8).prop_map(|(id, status)| Written::Order { id, status }),
        1 => (0..orders, 0..3_u8).prop_map(|(below, status)| Written::Orders { below, status }),
        1 => (0..orders).prop_map(|id| Written::Gone { id }),
        3 => (region, 0..4, price).prop_map(|(region, product, price)| Written::Price { region, product, price }),
    ]
}

/// What is written late.
pub fn late(orders: i32) -> impl Strategy<Value = (Written, u8)> {
    (0..orders, 0..3_u8, 1..20_u8)
        .prop_map(|(id, status, seconds)| (Written::Late { id, status, seconds }, seconds))
}

/// A database with orders and prices.
pub struct Source {
    pub name: String,
    pub url: String,
    pub session: PgConnection,
}

impl Source {
    /// Makes it, by a script.
    pub async fn new(name: String, script: &'static str) -> Self {
        let server = Server::shared_scratch().unwrap();
        server.ensure_database(&name).unwrap();
        let url = server.url(&name);
        let mut session = connection::connect(Database::Source, &url).await.unwrap();
        session.execute(script).await.unwrap();
        Self { name, url, session }
    }

    pub async fn write(&mut self, written: &Written) {
        const STATUS: [&str; 3] = ["placed", "confirmed", "sent"];
        let query = match written {
            Written::Order { id, status } => sqlx::query(
                "INSERT INTO orders (order_id, status, note) VALUES ($1, $2, repeat('x', $1))
                ON CONFLICT (order_id) DO UPDATE SET status = $2, last_updated = clock_timestamp()",
            )
            .bind(id)
            .bind(STATUS[usize::from(*status)]),
            Written::Orders { below, status } => {
                sqlx::query("UPDATE orders SET status = $2, last_updated = now() WHERE order_id < $1")
                    .bind(below)
                    .bind(STATUS[usize::from(*status)])
            }
            Written::Late { id, status, seconds } => sqlx::query(
                "INSERT INTO orders (order_id, status, last_updated)
                VALUES ($1, $2, clock_timestamp() - $3 * interval '1 second')
                ON CONFLICT (order_id) DO UPDATE SET status = excluded.status, last_updated = excluded.last_updated",
            )
            .bind(id)
            .bind(STATUS[usize::from(*status)])
            .bind(i32::from(*seconds)),
            Written::Gone { id } => sqlx::query("DELETE FROM orders WHERE order_id = $1").bind(id),
            // The session is in UTC, whether or not the time of change says its zone.
            Written::Price { region, product, price } => sqlx::query(
                "INSERT INTO price (region, product_id, price) VALUES ($1, $2, $3::numeric)
                ON CONFLICT (region, product_id) DO UPDATE
                SET price = excluded.price, changed_at = clock_timestamp() AT TIME ZONE 'UTC'",
            )
            .bind(*region)
            .bind(product)
            .bind(*price),
        };
        query.execute(&mut self.session).await.unwrap();
    }

    /// What its orders and prices are, as text.
    pub async fn state(&mut self) -> String {
        text(
            &mut self.session,
            "SELECT concat_ws(' ', order_id, status) FROM orders
            UNION ALL
            SELECT concat_ws(' ', region, product_id, price) FROM price
            ORDER BY 1",
        )
        .await
    }

    pub async fn clock(&mut self) -> String {
        text(&mut self.session, "SELECT clock_timestamp()::text").await
    }

    pub async fn ago(&mut self, seconds: u8) -> String {
        let ago = format!("SELECT (clock_timestamp() - interval '{seconds} seconds')::text");
        text(&mut self.session, &ago).await
    }

    pub async fn end(mut self) {
        let slots = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
            WHERE database = current_database()";
        self.session.execute(slots).await.unwrap();
        self.session.close().await.unwrap();
        drop_database(&self.name).await;
    }
}

/// What a warehouse says that the source had.
pub async fn as_of(target: &mut PgConnection, time: &str) -> String {
    let sql = format!(
        "SELECT concat_ws(' ', order_id, status) FROM silver.dim_orders_as_of('{time}')
        UNION ALL
        SELECT concat_ws(' ', region, product_id, price) FROM silver.dim_price_as_of('{time}')
        ORDER BY 1"
    );
    text(target, &sql).await
}
