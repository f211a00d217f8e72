//! What each silver and gold relation has to say of a state of the source, by SQL of the tests' own, and
//! the comparison with what the warehouse says: now, or as of a time.

use super::{Shop, State, compare};

/// A relation of the warehouse and what it has to say.
struct Figure {
    relation: &'static str,
    expected: Expected,
    columns: &'static str,
    /// A column whose changes make no version: past versions say nothing of it.
    untracked: &'static str,
}

enum Expected {
    /// The columns of a table of the source.
    Table(&'static str),
    /// SQL over a state's tables.
    Sql(&'static str),
}

const SILVER: [Figure; 12] = [
    Figure {
        relation: "dim_customer",
        expected: Expected::Sql(include_str!("../figures/dim_customer.sql")),
        columns: "customer_id, store_id, first_name, last_name, email, address_id, address, district, \
                  postal_code, active, create_date",
        untracked: ", last_update",
    },
    Figure {
        relation: "dim_film",
        expected: Expected::Sql(include_str!("../figures/dim_film.sql")),
        columns: "film_id, title, description, release_year, language_id, language, original_language_id, \
                  rental_duration, rental_rate, length, replacement_cost, rating, special_features",
        untracked: ", last_update",
    },
    Figure {
        relation: "fact_rental",
        expected: Expected::Table("rented"),
        columns: "rental_id, rental_date, return_date, customer_id, inventory_id, film_id, store_id, staff_id, \
                  last_update",
        untracked: "",
    },
    Figure {
        relation: "fact_payment",
        expected: Expected::Table("paid"),
        columns: "payment_id, payment_date, customer_id, staff_id, rental_id, amount, film_id, store_id, \
                  rental_date",
        untracked: "",
    },
    lookup("lookup_film", "film", "film_id, title, language_id, rental_duration, rental_rate, rating"),
    lookup("lookup_inventory", "inventory", "inventory_id, film_id, store_id"),
    lookup("lookup_store", "store", "store_id, manager_staff_id, address_id"),
    lookup("lookup_staff", "staff", "staff_id, first_name, last_name, email, store_id, active"),
    lookup("lookup_category", "category", "category_id, name"),
    lookup("lookup_film_category", "film_category", "film_id, category_id"),
    lookup("lookup_language", "language", "language_id, name"),
    lookup(
        "lookup_address",
        "address",
        "address_id, address, address2, district, city_id, postal_code, phone",
    ),
];

const GOLD: [Figure; 3] = [
    Figure {
        relation: "vw_monthly_revenue",
        expected: Expected::Sql(include_str!("../figures/vw_monthly_revenue.sql")),
        columns: "store_id, month, revenue, payments, average_payment, paying_customers",
        untracked: "",
    },
    Figure {
        relation: "vw_top_titles",
        expected: Expected::Sql(include_str!("../figures/vw_top_titles.sql")),
        columns: "film_id, month, title, rentals, revenue, average_days_out, month_rank, utilisation",
        untracked: "",
    },
    Figure {
        relation: "vw_store_scorecard",
        expected: Expected::Sql(include_str!("../figures/vw_store_scorecard.sql")),
        columns: "store_id, day, revenue, rentals, late_return_pct, active_customers, manager",
        untracked: "",
    },
];

const fn lookup(relation: &'static str, table: &'static str, columns: &'static str) -> Figure {
    Figure { relation, expected: Expected::Table(table), columns, untracked: "" }
}

/// Fails unless the warehouse says of now what the state of the source does.
pub async fn assert_now(shop: &mut Shop, state: &State, context: &str) {
    let now = shop.now().await;
    prepare(shop, state, &now).await;
    let mut differences = Vec::new();
    for (schema, figures) in [("temporal_silver", &SILVER[..]), ("simple_gold", &GOLD[..])] {
        for figure in figures {
            let columns = format!("{}{}", figure.columns, figure.untracked);
            let relation = format!("{schema}.{}", figure.relation);
            compare_one(shop, figure, &columns, &relation, &mut differences).await;
        }
    }
    compare::execute(&mut shop.source, "RESET search_path").await;
    compare::assert_none(context, &differences);
}

/// Fails unless the warehouse says of a time what the state of the source does.
pub async fn assert_as_of(shop: &mut Shop, state: &State, time: &str, context: &str) {
    prepare(shop, state, time).await;
    compare::execute(&mut shop.warehouse, &format!("SET medallion.as_of = '{time}'")).await;
    let mut differences = Vec::new();
    for figure in SILVER.iter().chain(&GOLD) {
        let relation = format!("as_of.{}", figure.relation);
        compare_one(shop, figure, figure.columns, &relation, &mut differences).await;
    }
    compare::execute(&mut shop.warehouse, "RESET medallion.as_of").await;
    for figure in SILVER.iter().filter(|figure| figure.relation.starts_with("dim_")) {
        let relation = format!("temporal_silver.{}_as_of('{time}')", figure.relation);
        compare_one(shop, figure, figure.columns, &relation, &mut differences).await;
    }
    compare::execute(&mut shop.source, "RESET search_path").await;
    compare::assert_none(&format!("{context}, as of {time}"), &differences);
}

async fn prepare(shop: &mut Shop, state: &State, now: &str) {
    let sql = format!("SET search_path = {}, public; SET judge.now = '{now}'", state.schema);
    compare::execute(&mut shop.source, &sql).await;
}

async fn compare_one(
    shop: &mut Shop,
    figure: &Figure,
    columns: &str,
    relation: &str,
    differences: &mut Vec<String>,
) {
    let expected = match figure.expected {
        Expected::Table(table) => format!("SELECT {columns} FROM {table}"),
        Expected::Sql(sql) => format!("SELECT {columns} FROM (\n{sql}\n) AS expected"),
    };
    let found = format!("SELECT {columns} FROM {relation}");
    let (expected, found) =
        tokio::join!(compare::rows(&mut shop.source, &expected), compare::rows(&mut shop.warehouse, &found));
    differences.extend(compare::difference(relation, &expected, &found));
}
