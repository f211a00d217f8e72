//! Generated entities and migrations against a real server: those of the generator's own cases, whose names
//! are keywords and whose columns have every type. Compiles what a warehouse package would.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeSet;

use medallion_runtime::key::OrNull;
use medallion_runtime::time::{Date, Timestamp, TimestampTz};
use medallion_server::Server;
use sea_orm::prelude::{Decimal, Json, Time, Uuid};
use sea_orm::{
    ActiveModelTrait as _, ActiveValue, ColumnTrait as _, ConnectOptions, Database, DatabaseConnection,
    EntityTrait as _, IntoActiveModel as _, ModelTrait as _, PaginatorTrait as _, QueryFilter as _,
};
use sea_orm_migration::MigratorTrait;

// The generated warehouse looks for its migrations in the crate of that name.
extern crate self as migration;

#[path = "../../tests/cases/generate/asking/expected/migration/src/asking/mod.rs"]
pub mod asking;
#[path = "../../tests/cases/generate/asking/expected/generated/src/asking/mod.rs"]
#[allow(unused_qualifications, reason = "SeaORM writes them")]
pub mod asking_warehouse;
#[path = "../../tests/cases/generate/every_type/expected/migration/src/every_type/mod.rs"]
pub mod every_type;
#[path = "../../tests/cases/generate/every_type/expected/generated/src/every_type/mod.rs"]
#[allow(unused_qualifications, reason = "SeaORM writes them")]
pub mod every_type_warehouse;
#[path = "../../tests/cases/generate/facts_meet_at_a_grain/expected/migration/src/facts_meet_at_a_grain/mod.rs"]
pub mod facts_meet_at_a_grain;
#[path = "../../tests/cases/generate/facts_meet_at_a_grain/expected/generated/src/facts_meet_at_a_grain/mod.rs"]
#[allow(unused_qualifications, reason = "SeaORM writes them")]
pub mod facts_meet_at_a_grain_warehouse;
#[path = "../../tests/cases/generate/keywords_as_names/expected/migration/src/keywords_as_names/mod.rs"]
pub mod keywords_as_names;
#[path = "../../tests/cases/generate/keywords_as_names/expected/generated/src/keywords_as_names/mod.rs"]
#[allow(unused_qualifications, reason = "SeaORM writes them")]
pub mod keywords_as_names_warehouse;

use every_type_warehouse::silver::sea_orm_active_enums::Mood;
use every_type_warehouse::silver::{thing, thing_hist};

/// A database of its own with a warehouse in it.
async fn migrated<M: MigratorTrait>(name: &str) -> DatabaseConnection {
    let server = Server::shared_scratch().unwrap();
    server.ensure_database(name).unwrap();
    let mut options = ConnectOptions::new(server.url(name));
    options.max_connections(2).sqlx_logging(false);
    let setup = Database::connect(options.clone()).await.unwrap();
    sea_orm::ConnectionTrait::execute_unprepared(&setup, "CREATE SCHEMA medallion").await.unwrap();
    let database = Database::connect(options.set_schema_search_path("medallion").to_owned()).await.unwrap();
    M::up(&database, None).await.unwrap();
    database
}

fn thing() -> thing_hist::Model {
    thing_hist::Model {
        id: i64::MAX,
        a_boolean: true,
        a_smallint: i16::MIN,
        an_integer: i32::MIN,
        a_real: 1.5,
        a_double: -0.0,
        a_numeric: "123456789012345678901234567890.000000000000000000000000000001".to_owned(),
        a_price: Decimal::new(-99999, 2),
        a_long_numeric: "99999999999999999999999999999999999999.99".to_owned(),
        a_text: "it's \"quoted\" \\ and long".to_owned(),
        a_varchar: "é".repeat(20),
        a_char: "abc".to_owned(),
        a_date: Date::INFINITY,
        a_time: Time::from_hms_micro_opt(23, 59, 59, 999_999).unwrap(),
        a_timestamp: Timestamp::NEG_INFINITY,
        a_timestamptz: "0044-03-15 12:00:00+00 BC".parse().unwrap(),
        a_uuid: Uuid::from_u128(7),
        a_jsonb: Json::from(vec![1, 2]),
        a_bytea: vec![0, 255],
        an_interval: "1 day 02:00:00".to_owned(),
        an_inet: "10.0.0.0/8".to_owned(),
        a_mood: Mood::Ok,
        some_texts: vec!["a,b".to_owned(), "{}".to_owned(), String::new()],
        some_integers: vec![1, -1],
        some_moods: "{sad,happy}".to_owned(),
        some_dates: "{infinity,2024-02-29}".to_owned(),
        maybe_price: None,
        maybe_numeric: Some("NaN".to_owned()),
        maybe_date: Some("2024-02-29".parse().unwrap()),
        maybe_timestamptz: None,
        maybe_mood: Some(Mood::Happy),
        maybe_inet: None,
        maybe_texts: None,
        maybe_moods: Some("{}".to_owned()),
        row_hash: vec![1],
        sys_start: TimestampTz::NEG_INFINITY,
        sys_end: TimestampTz::INFINITY,
    }
}

#[tokio::test]
async fn every_type_is_written_and_read() {
    let database = migrated::<every_type::Migrator>("every_type").await;
    let model = thing();
    let inserted = model.clone().into_active_model().insert(&database).await.unwrap();
    assert_eq!(inserted, model);

    let key = (model.id, model.sys_start);
    assert_eq!(thing_hist::Entity::find_by_id(key).one(&database).await.unwrap(), Some(model.clone()));
    let current = thing_hist::Entity::find().filter(thing_hist::Column::SysEnd.eq(TimestampTz::INFINITY));
    assert_eq!(current.all(&database).await.unwrap(), std::slice::from_ref(&model));
    let in_mood = thing::Entity::find().filter(thing::Column::AMood.eq(Mood::Ok));
    let seen = in_mood.one(&database).await.unwrap().unwrap();
    assert_eq!((seen.id, seen.sys_start, seen.a_date), (model.id, model.sys_start, Date::INFINITY));

    let end: TimestampTz = "2024-01-01 00:00:00.000001+00".parse().unwrap();
    let mut closed = model.clone().into_active_model();
    closed.sys_end = ActiveValue::Set(end);
    closed.maybe_date = ActiveValue::Set(None);
    closed.maybe_mood = ActiveValue::Set(None);
    let closed = closed.update(&database).await.unwrap();
    assert_eq!((closed.sys_end, closed.maybe_date, closed.maybe_mood), (end, None, None));
    assert_eq!(thing::Entity::find().count(&database).await.unwrap(), 0);
    let refused = closed.delete(&database).await.unwrap_err();
    assert!(refused.to_string().contains("keeps what has ended as it was"), "{refused}");
    assert_eq!(thing_hist::Entity::find().count(&database).await.unwrap(), 1);
}

#[tokio::test]
async fn keywords_are_names_like_any_other() {
    use keywords_as_names_warehouse::silver::sea_orm_active_enums::Order;
    use keywords_as_names_warehouse::silver::{r#async, prelude_};

    let database = migrated::<keywords_as_names::Migrator>("keywords_as_names").await;
    let model = prelude_::Model {
        self_: 1,
        order: "first".to_owned(),
        super_: Some(Order::ItS),
        crate_: Some("crate".to_owned()),
        r#gen: Some("one".to_owned()),
        a_b_2: Some(2),
        a_b: Some(3),
        gr_uf6_udf_e_x: None,
        n2fa: Some(true),
        customer_id: Some(Uuid::nil()),
        unnamed: Some("nothing".to_owned()),
        row_hash: vec![0],
        sys_start: "2024-01-01 00:00:00+00".parse().unwrap(),
        sys_end: TimestampTz::INFINITY,
    };
    let inserted = model.clone().into_active_model().insert(&database).await.unwrap();
    assert_eq!(inserted, model);
    let seen = r#async::Entity::find_by_id((1, "first".to_owned())).one(&database).await.unwrap().unwrap();
    assert_eq!((seen.crate_, seen.a_b_2, seen.super_), (model.crate_, model.a_b_2, model.super_));
}

#[tokio::test]
async fn a_join_over_time_is_read_by_its_key_and_its_start() {
    use asking_warehouse::silver::{fact_visit, owner_at_home, owner_hist, site_hist, visit_with_owner};

    let database = migrated::<asking::Migrator>("asking_entities").await;
    let day = |day: u8| -> TimestampTz { format!("2024-01-0{day} 00:00:00+00").parse().unwrap() };
    let site = |city: &str, start: TimestampTz, end: TimestampTz| site_hist::Model {
        id: 1,
        city: Some(city.to_owned()),
        row_hash: vec![0],
        sys_start: start,
        sys_end: end,
    };
    let owner = owner_hist::Model {
        id: 7,
        name: Some("Ada".to_owned()),
        site_id: Some(1),
        boss_id: Some(7),
        row_hash: vec![0],
        sys_start: day(1),
        sys_end: TimestampTz::INFINITY,
    };
    owner.into_active_model().insert(&database).await.unwrap();
    site("Ulm", day(2), day(3)).into_active_model().insert(&database).await.unwrap();
    site("Bonn", day(3), TimestampTz::INFINITY).into_active_model().insert(&database).await.unwrap();
    let visit = fact_visit::Model { id: 5, at: day(2), day: None, owner_id: Some(7), snapshot_ts: day(2) };
    visit.into_active_model().insert(&database).await.unwrap();

    let stretch = owner_at_home::Entity::find_by_id((7, day(2))).one(&database).await.unwrap().unwrap();
    assert_eq!((stretch.city.as_deref(), stretch.sys_end), (Some("Ulm"), day(3)));
    let stretch = owner_at_home::Entity::find_by_id((7, day(3))).one(&database).await.unwrap().unwrap();
    assert_eq!((stretch.city.as_deref(), stretch.sys_end), (Some("Bonn"), TimestampTz::INFINITY));
    assert_eq!(owner_at_home::Entity::find().count(&database).await.unwrap(), 2);
    let visit = visit_with_owner::Entity::find_by_id(5).one(&database).await.unwrap().unwrap();
    assert_eq!((visit.owner.as_deref(), visit.owner_that_day), (Some("Ada"), None));
}

#[tokio::test]
async fn a_key_may_hold_null() {
    use facts_meet_at_a_grain_warehouse::gold::sales_by_day::{Column, Entity, Model};

    let database = migrated::<facts_meet_at_a_grain::Migrator>("facts_meet_at_a_grain").await;
    let day: Date = "2024-03-01".parse().unwrap();
    let row = |shop: Option<&str>, sold: i64| Model {
        shop: OrNull(shop.map(str::to_owned)),
        day,
        sold: Some(Decimal::new(sold, 2)),
        orders: 1,
        any_express: Some(false),
        returned: None,
    };
    for row in [row(None, 100), row(Some("Ulm"), 250)] {
        assert_eq!(row.clone().into_active_model().insert(&database).await.unwrap(), row);
    }
    assert!(row(None, 300).into_active_model().insert(&database).await.is_err(), "one row of no shop a day");
    let ulm = Entity::find_by_id((Some("Ulm".to_owned()).into(), day)).one(&database).await.unwrap();
    assert_eq!(ulm, Some(row(Some("Ulm"), 250)));
    let none = Entity::find().filter(Column::Shop.is_null()).one(&database).await.unwrap();
    assert_eq!(none, Some(row(None, 100)));
}

#[tokio::test]
async fn migrations_go_up_and_down_by_the_orm() {
    let database = migrated::<every_type::Migrator>("up_and_down").await;
    every_type::Migrator::down(&database, None).await.unwrap();
    every_type::Migrator::up(&database, None).await.unwrap();
    let applied = every_type::Migrator::get_applied_migrations(&database).await.unwrap();
    assert_eq!(applied.iter().map(|one| one.name()).collect::<Vec<_>>(), ["m000001_baseline"]);
}

#[test]
fn descriptors_name_what_the_entities_have() {
    for warehouse in [
        asking_warehouse::warehouse(),
        every_type_warehouse::warehouse(),
        facts_meet_at_a_grain_warehouse::warehouse(),
        keywords_as_names_warehouse::warehouse(),
    ] {
        assert_eq!((warehouse.spec_hash.len(), warehouse.objects_hash.len()), (64, 64));
        let landings: BTreeSet<_> = warehouse.landings.iter().map(|landing| &landing.table).collect();
        let mut known = BTreeSet::new();
        for silver in &warehouse.silver {
            assert!(landings.contains(&silver.feed), "{}", silver.table);
            assert!(silver.lookups.iter().all(|lookup| known.contains(&lookup.relation)), "{}", silver.table);
            known.insert(silver.table.clone());
        }
        for mart in &warehouse.marts {
            assert!(mart.reads.iter().all(|read| known.contains(read)), "{}", mart.table);
            known.insert(mart.table.clone());
        }
    }
}
