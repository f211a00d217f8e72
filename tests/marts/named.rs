//! Marts that usual models get wrong with all tests green: what moves between groups, groups that go, groups whose key is
//! NULL; and what is refreshed by adding.

use super::{Shop, execute, texts_of};

const BY_SHOP: &str = r#"
[[mart]]
name = "by_shop"
storage = "incremental"
from = { sale = "fact_sale" }
joins = [{ name = "shop", relation = "dim_shop", on = ["shop_id"] }]
grain = [{ name = "town", of = "shop.town" }]
measures = [
    { name = "revenue", type = "numeric(12,2)", expr = "sum(amount)" },
    { name = "sales", expr = "count(*)" },
    { name = "standing", expr = "rank() OVER (ORDER BY revenue DESC)" },
]

[[mart]]
name = "by_town"
storage = "incremental"
from = { sale = "fact_sale" }
grain = [{ name = "shop_id", of = "sale.shop_id" }]
measures = [
    { name = "notes", expr = "count(DISTINCT note)" },
    { name = "median", type = "numeric(8,2)", expr = "percentile_disc(0.5) WITHIN GROUP (ORDER BY amount)" },
    { name = "sales", expr = "count(*)" },
    { name = "share", type = "numeric(5,4)", expr = "sales / sum(sales) OVER ()" },
]

[[mart]]
name = "by_note"
storage = "incremental"
from = { sale = "fact_sale" }
grain = [{ name = "note", of = "sale.note" }]
measures = [
    { name = "revenue", type = "numeric(12,2)", expr = "sum(amount)" },
    { name = "sales", expr = "count(*)" },
    { name = "mean", type = "numeric(8,2)", expr = "avg(amount)" },
]

[[mart]]
name = "by_day"
storage = "incremental"
from = { sale = "fact_sale" }
filter = "pieces > 0"
grain = [
    { name = "shop_id", of = "sale.shop_id" },
    { name = "day", of = "sale.sold_at", cut = "day" },
]
measures = [
    { name = "revenue", type = "numeric(12,2)", expr = "sum(amount)" },
    { name = "prices", expr = "count(DISTINCT amount)" },
    { name = "dear", expr = "count(DISTINCT amount) FILTER (WHERE amount > 5)" },
    { name = "items", expr = "count(DISTINCT item_id)" },
]
"#;

fn shop(transaction: usize, op: &str, shop: usize, town: &str) -> String {
    format!(
        "INSERT INTO bronze.br_shop (lsn, op, full_row, commit_ts, seq) VALUES ({transaction}0, '{op}', \
         '{{\"shop_id\": {shop}, \"region_id\": null, \"town\": {town}}}', {}, {shop});",
        super::traffic::time(transaction)
    )
}

fn sale(transaction: usize, op: &str, sale: usize, shop: &str, amount: &str) -> String {
    format!(
        "INSERT INTO bronze.br_sale (lsn, op, full_row, commit_ts, seq) VALUES ({transaction}0, '{op}', \
         '{{\"sale_id\": {sale}, \"sold_at\": \"2025-06-02T10:00:00+00:00\", \"shop_id\": {shop}, \"item_id\": 1, \
         \"pieces\": 1, \"amount\": {amount}, \"rebate\": null, \"note\": \"a\"}}', {}, 1{sale});",
        super::traffic::time(transaction)
    )
}

async fn opened() -> Shop {
    let mut it = Shop::new(BY_SHOP).await.unwrap();
    let rows = [
        shop(1, "I", 1, "\"Bonn\""),
        shop(1, "I", 2, "\"Ulm\""),
        sale(1, "I", 1, "1", "10.00"),
        sale(1, "I", 2, "1", "20.00"),
        sale(1, "I", 3, "2", "5.00"),
        sale(1, "I", 4, "null", "1.00"),
    ];
    it.land(&rows.concat()).await.unwrap();
    it.run().await.unwrap();
    assert_eq!(by_shop(&mut it).await, ["(Bonn,30.00,2,1)", "(Ulm,5.00,1,2)", "(,1.00,1,3)"]);
    it
}

async fn by_shop(shop: &mut Shop) -> Vec<String> {
    texts_of("SELECT one::text FROM gold.by_shop AS one ORDER BY standing", &mut shop.connection)
        .await
        .unwrap()
}

async fn by_town(shop: &mut Shop) -> Vec<String> {
    texts_of("SELECT one::text FROM gold.by_town AS one ORDER BY shop_id", &mut shop.connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn an_order_that_changes_store_leaves_one_group_and_enters_another() {
    let mut it = opened().await;
    it.land(&sale(2, "U", 2, "2", "20.00")).await.unwrap();
    it.run().await.unwrap();
    assert_eq!(by_shop(&mut it).await, ["(Ulm,25.00,2,1)", "(Bonn,10.00,1,2)", "(,1.00,1,3)"]);
    assert_eq!(by_town(&mut it).await, ["(1,1,10.00,1,0.2500)", "(2,1,5.00,2,0.5000)", "(,1,1.00,1,0.2500)"]);
    it.end().await;
}

#[tokio::test]
async fn a_group_of_which_nothing_is_left_goes() {
    let mut it = opened().await;
    it.land(&sale(2, "D", 3, "2", "5.00")).await.unwrap();
    it.run().await.unwrap();
    assert_eq!(by_shop(&mut it).await, ["(Bonn,30.00,2,1)", "(,1.00,1,2)"]);
    assert_eq!(by_town(&mut it).await, ["(1,1,10.00,2,0.6667)", "(,1,1.00,1,0.3333)"]);
    it.end().await;
}

#[tokio::test]
async fn a_group_whose_key_is_null_is_one_as_others_are() {
    let mut it = opened().await;
    it.land(&[sale(2, "I", 5, "null", "50.00"), sale(2, "U", 1, "null", "10.00")].concat()).await.unwrap();
    it.run().await.unwrap();
    assert_eq!(by_shop(&mut it).await, ["(,61.00,3,1)", "(Bonn,20.00,1,2)", "(Ulm,5.00,1,3)"]);
    it.land(
        &[
            sale(3, "D", 5, "null", "50.00"),
            sale(3, "D", 1, "null", "10.00"),
            sale(3, "D", 4, "null", "1.00"),
        ]
        .concat(),
    )
    .await
    .unwrap();
    it.run().await.unwrap();
    assert_eq!(by_shop(&mut it).await, ["(Bonn,20.00,1,1)", "(Ulm,5.00,1,2)"]);
    it.end().await;
}

#[tokio::test]
async fn what_is_joined_moves_what_it_is_joined_to() {
    let mut it = opened().await;
    it.land(&[shop(2, "U", 1, "\"Ulm\""), sale(2, "I", 5, "1", "2.00")].concat()).await.unwrap();
    it.run().await.unwrap();
    assert_eq!(by_shop(&mut it).await, ["(Ulm,37.00,4,1)", "(,1.00,1,2)"]);
    it.land(&shop(3, "D", 2, "\"Ulm\"")).await.unwrap();
    it.run().await.unwrap();
    assert_eq!(by_shop(&mut it).await, ["(Ulm,32.00,3,1)", "(,6.00,2,2)"]);
    it.end().await;
}

/// A changed row of what is joined finds the rows that it is joined to, and does not look at the others.
#[tokio::test]
async fn what_is_joined_finds_its_rows_by_an_index() {
    let mut it = opened().await;
    let many = format!(
        "INSERT INTO bronze.br_sale (lsn, op, full_row, commit_ts, seq)
        SELECT 20, 'I', jsonb_build_object('sale_id', n, 'sold_at', '2025-06-02T10:00:00+00:00', 'shop_id', n % 3000 + 3,
            'item_id', 1, 'pieces', 1, 'amount', 1, 'rebate', null, 'note', 'a'), {}, n
        FROM generate_series(100, 10000) AS n",
        super::traffic::time(2)
    );
    it.land(&many).await.unwrap();
    it.run().await.unwrap();
    // Another mart has some that would do.
    execute(
        "DROP INDEX silver.by_day_rows_1_idx, silver.by_day_rows_2_idx; ANALYZE silver.fact_sale",
        &mut it.connection,
    )
    .await
    .unwrap();
    let scans = "SELECT coalesce(sum(found.idx_scan), 0)::text FROM pg_inherits AS part
        JOIN pg_stat_all_indexes AS found ON found.indexrelid = part.inhrelid
        WHERE part.inhparent = 'silver.fact_sale_shop_id_join_idx'::regclass";
    execute("SELECT pg_stat_force_next_flush()", &mut it.connection).await.unwrap();
    let before = texts_of(scans, &mut it.connection).await.unwrap();
    it.land(&shop(3, "I", 7, "\"Ulm\"")).await.unwrap();
    it.run().await.unwrap();
    execute("SELECT pg_stat_force_next_flush()", &mut it.connection).await.unwrap();
    assert_ne!(texts_of(scans, &mut it.connection).await.unwrap(), before, "no scan of the index");
    it.end().await;
}

/// A mart of sums is added to and not recomputed: what was changed in it by hand stays in the sum.
#[tokio::test]
async fn sums_are_added_to() {
    let mut it = opened().await;
    assert!(it.adds("by_shop") && !it.adds("by_town"), "one of them is of sums");
    execute("UPDATE gold.by_shop SET revenue = revenue + 1000 WHERE town = 'Bonn'", &mut it.connection)
        .await
        .unwrap();
    it.land(&sale(2, "I", 5, "1", "2.00")).await.unwrap();
    let told = it.run().await.unwrap_err();
    assert!(
        told.contains("stored (Bonn,1032.00,3,1)") && told.contains("defined (Bonn,32.00,3,1)"),
        "{told}"
    );
    it.end().await;
}

/// An average follows from the sum and the count beside it, and reads no fact either.
#[tokio::test]
async fn averages_follow() {
    let mut it = opened().await;
    assert!(it.adds("by_note"), "an average is one of what can be added");
    execute("UPDATE gold.by_note SET revenue = revenue + 1000", &mut it.connection).await.unwrap();
    it.land(&sale(2, "I", 5, "1", "2.00")).await.unwrap();
    let told = it.run().await.unwrap_err();
    assert!(
        told.contains("stored (a,1038.00,5,207.60)") && told.contains("defined (a,38.00,5,7.60)"),
        "{told}"
    );
    it.end().await;
}

/// What is not a number swallows a sum; the sum is back when it goes.
#[tokio::test]
async fn what_is_no_number_does_not_stay() {
    let mut it = opened().await;
    it.land(&sale(2, "I", 5, "1", "\"NaN\"")).await.unwrap();
    it.run().await.unwrap();
    assert_eq!(by_shop(&mut it).await[0], "(Bonn,NaN,3,1)");
    it.land(&sale(3, "D", 5, "1", "\"NaN\"")).await.unwrap();
    it.run().await.unwrap();
    assert_eq!(by_shop(&mut it).await[0], "(Bonn,30.00,2,1)");
    it.end().await;
}

async fn by_day(shop: &mut Shop) -> Vec<String> {
    texts_of("SELECT one::text FROM gold.by_day AS one ORDER BY shop_id", &mut shop.connection).await.unwrap()
}

/// A count of distinct values is added to: what tells whether a group has a value is looked up, value by value.
#[tokio::test]
async fn counts_of_distinct_values_are_added_to() {
    let mut it = opened().await;
    assert!(it.adds("by_day"));
    assert_eq!(
        by_day(&mut it).await,
        ["(1,2025-06-02,30.00,2,2,1)", "(2,2025-06-02,5.00,1,0,1)", "(,2025-06-02,1.00,1,0,1)"]
    );
    // One value more and one less, in the group without a shop too; a value that the group has already.
    let changed =
        [sale(2, "U", 1, "1", "20.0"), sale(2, "I", 5, "null", "7.00"), sale(2, "I", 6, "2", "5.00")];
    it.land(&changed.concat()).await.unwrap();
    it.run().await.unwrap();
    assert_eq!(
        by_day(&mut it).await,
        ["(1,2025-06-02,40.00,1,1,1)", "(2,2025-06-02,10.00,1,0,1)", "(,2025-06-02,8.00,2,1,1)"]
    );
    // The last row of a value, and the last of a group.
    let gone =
        [sale(3, "D", 1, "1", "20.00"), sale(3, "D", 4, "null", "1.00"), sale(3, "D", 5, "null", "7.00")];
    it.land(&gone.concat()).await.unwrap();
    it.run().await.unwrap();
    assert_eq!(by_day(&mut it).await, ["(1,2025-06-02,20.00,1,1,1)", "(2,2025-06-02,10.00,1,0,1)"]);
    // And no group is recomputed.
    execute("UPDATE gold.by_day SET prices = prices + 10 WHERE shop_id = 2", &mut it.connection)
        .await
        .unwrap();
    it.land(&sale(4, "I", 7, "2", "8.00")).await.unwrap();
    let told = it.run().await.unwrap_err();
    assert!(told.contains("stored (2,2025-06-02,18.00,12,1,1)"), "{told}");
    it.end().await;
}
