//! What a run costs, in rows that the server reads: as many as have changed, a few times over. Counted by the server and
//! not timed, so that a busy machine makes no difference.

use medallion_server::Server;

use crate::support::{Shop, compare};
use crate::tested::STOCK;

/// Rentals of the first customer and copy, each with its payment.
fn trade(from: u32, to: u32) -> String {
    format!(
        "INSERT INTO rental (rental_id, rental_date, inventory_id, customer_id, staff_id)
        SELECT n, timestamptz '2025-01-01 00:00:30+00' + n * interval '1 minute', 1, 1, 1
        FROM generate_series({from}, {to}) AS n;
        INSERT INTO payment (payment_id, customer_id, staff_id, rental_id, amount, payment_date)
        SELECT n, 1, 1, n, 2.99, timestamptz '2025-01-01 00:00:30+00' + n * interval '1 minute'
        FROM generate_series({from}, {to}) AS n"
    )
}

/// How many rows have been read in the warehouse by sessions that have ended.
async fn read(shop: &mut Shop) -> i64 {
    compare::alone(&mut shop.warehouse).await;
    let read = "SELECT tup_returned FROM pg_stat_database WHERE datname = current_database()";
    compare::value(&mut shop.warehouse, read).await.parse().unwrap()
}

/// As in a young warehouse, or after a long outage: of the payments that are looked at again, since their rentals have
/// changed, none is left once those that came with them are taken out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_stands_is_read_a_few_times() {
    const STANDS: u32 = 4_000;
    const COMES: u32 = 6_000;
    let mut shop = Shop::open(Server::shared_scratch().unwrap(), "costs").await;
    shop.change(STOCK).await;
    shop.change(&trade(1_001, 1_000 + STANDS)).await;
    shop.migrate().await;
    shop.run().await;
    let before = read(&mut shop).await;
    shop.change(&trade(10_001, 10_000 + COMES)).await;
    shop.run().await;
    let read = read(&mut shop).await - before;
    let rows = i64::from(2 * (STANDS + COMES));
    assert!(read < 100 * rows, "{read} rows read for {rows}");
}
