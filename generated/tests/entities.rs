//! Every generated entity, read through SeaORM as its users read it: no column that it cannot decode, whatever
//! the row holds, infinities included; keys of several columns find their row, enums and infinities filter.

use medallion_runtime::time::{Date, TimestampTz};
use medallion_server::Server;
use sea_orm::{
    ColumnTrait as _, Database, DatabaseConnection, EntityTrait, QueryFilter as _, QuerySelect as _,
};
use warehouse::pagila::silver::sea_orm_active_enums::MpaaRating;
use warehouse::pagila::silver::{dim_film, dim_film_hist};
use warehouse::pagila::{bronze, gold, silver};

use crate::support::Shop;

/// How many rows of each are read.
const ROWS: u64 = 50;

/// Reads rows of each entity of a layer; gives the names.
macro_rules! read {
    ($database:expr, $layer:path: $($entity:ident),+ $(,)?) => {{
        use $layer as layer;
        $(read::<layer::$entity>($database, stringify!($entity)).await;)+
        [$(stringify!($entity)),+]
    }};
}

#[tokio::test]
async fn every_entity_reads_every_row() {
    let server = Server::shared_scratch().unwrap();
    let mut shop = Shop::open(server, "entities").await;
    // The rows are as odd as rows can be; whether they make sense is not asked.
    shop.descriptor.tests.clear();
    shop.change(include_str!("entities.sql")).await;
    shop.migrate().await;
    shop.run().await;
    shop.change(
        "UPDATE film SET title = upper(title);
        UPDATE rental SET return_date = '-infinity' WHERE rental_id = 1;
        UPDATE payment SET amount = 5.99 WHERE payment_id = 1",
    )
    .await;
    shop.run().await;

    let database = Database::connect(&shop.place.warehouse).await.unwrap();
    let bronze = read!(
        &database,
        bronze::prelude: BrCustomerCdc, BrPaymentCdc, BrRentalCdc, LookupAddressCdc, LookupCategoryCdc,
        LookupFilmCategoryCdc, LookupFilmCdc, LookupInventoryCdc, LookupLanguageCdc, LookupStaffCdc,
        LookupStoreCdc
    );
    assert_eq!(bronze[..], names(include_str!("../src/pagila/bronze/prelude.rs")));
    let silver = read!(
        &database,
        silver::prelude: DimCustomer, DimCustomerHist, DimFilm, DimFilmHist, FactPayment, FactPaymentHistory,
        FactRental, FactRentalHistory, LookupAddress, LookupAddressHist, LookupCategory, LookupCategoryHist,
        LookupFilm, LookupFilmCategory, LookupFilmCategoryHist, LookupFilmHist, LookupInventory,
        LookupInventoryHist, LookupLanguage, LookupLanguageHist, LookupStaff, LookupStaffHist, LookupStore,
        LookupStoreHist
    );
    assert_eq!(silver[..], names(include_str!("../src/pagila/silver/prelude.rs")));
    let gold = read!(&database, gold::prelude: VwMonthlyRevenue, VwStoreScorecard, VwTopTitles);
    assert_eq!(gold[..], names(include_str!("../src/pagila/gold/prelude.rs")));

    values(&database).await;
    keys(&database).await;
}

/// Reads some rows; each entity has one at least.
async fn read<E: EntityTrait>(database: &DatabaseConnection, name: &str) {
    let rows = E::find().limit(ROWS).all(database).await;
    let rows = rows.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(!rows.is_empty(), "{name} has no rows to read");
}

/// The entities' names, as a prelude lists them.
fn names(prelude: &str) -> Vec<&str> {
    prelude
        .lines()
        .filter_map(|line| line.strip_suffix(';')?.rsplit_once("::Entity as "))
        .map(|(_, name)| name)
        .collect()
}

async fn values(database: &DatabaseConnection) {
    let customers = silver::dim_customer::Entity::find().all(database).await.unwrap();
    let created = |id| customers.iter().find(|customer| customer.customer_id == id).unwrap().create_date;
    assert_eq!(created(1), Date::INFINITY);
    assert_eq!(created(2), Date::NEG_INFINITY);
    assert_eq!(created(3).to_string(), "0044-03-15 BC");

    let rated = dim_film::Entity::find().filter(dim_film::Column::Rating.eq(MpaaRating::Pg13));
    let rated = rated.all(database).await.unwrap();
    let titles: Vec<&str> = rated.iter().map(|film| film.title.as_str()).collect();
    assert_eq!(titles, ["FOSS"]);
    assert_eq!(rated[0].rating, Some(MpaaRating::Pg13));
    assert_eq!(rated[0].special_features, Some(vec!["Trailers".to_owned(), String::new()]));

    let rentals = silver::fact_rental::Entity::find().all(database).await.unwrap();
    let returned = |id| rentals.iter().find(|rental| rental.rental_id == id).unwrap().return_date;
    assert_eq!(returned(1), Some(TimestampTz::NEG_INFINITY));
    assert_eq!(returned(2), Some(TimestampTz::INFINITY));
}

async fn keys(database: &DatabaseConnection) {
    let versions = dim_film_hist::Entity::find().filter(dim_film_hist::Column::FilmId.eq(1));
    assert_eq!(versions.clone().all(database).await.unwrap().len(), 2);
    let current = versions.filter(dim_film_hist::Column::SysEnd.eq(TimestampTz::INFINITY));
    let current = current.one(database).await.unwrap().unwrap();
    assert_eq!(current.sys_end, TimestampTz::INFINITY);
    let again = dim_film_hist::Entity::find_by_id((1, current.sys_start)).one(database).await.unwrap();
    assert_eq!(again, Some(current));

    for payment in silver::fact_payment::Entity::find().all(database).await.unwrap() {
        let key = (payment.payment_id, payment.payment_date);
        let again = silver::fact_payment::Entity::find_by_id(key).one(database).await.unwrap();
        assert_eq!(again, Some(payment));
    }
    for change in bronze::br_customer_cdc::Entity::find().all(database).await.unwrap() {
        let key = (change.lsn, change.seq);
        let again = bronze::br_customer_cdc::Entity::find_by_id(key).one(database).await.unwrap();
        assert_eq!(again, Some(change));
    }
    for day in gold::vw_store_scorecard::Entity::find().all(database).await.unwrap() {
        let key = (day.store_id, day.day);
        let again = gold::vw_store_scorecard::Entity::find_by_id(key).one(database).await.unwrap();
        assert_eq!(again, Some(day));
    }
}
