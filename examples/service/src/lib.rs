//! What each store took, as JSON over HTTP: `/revenue`, `/revenue?store=1`, `/revenue?as_of=2025-07-01`. The mart is read by
//! the entity that medallion has generated of it; the same entity reads the past. Knows no pipeline.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use sea_orm::sea_query::Alias;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, DatabaseConnection, DbBackend, DbErr, EntityName as _,
    EntityTrait as _, QueryFilter as _, QueryOrder as _, QueryTrait, RuntimeErr, Select, Statement,
    TransactionTrait as _,
};
use serde::{Deserialize, Serialize};
use warehouse::pagila::gold::vw_monthly_revenue::{Column, Entity, Model};

/// What is asked.
#[derive(Debug, Deserialize)]
pub struct Question {
    /// Only this store.
    store: Option<i32>,
    /// As it was then; as it is without.
    as_of: Option<String>,
}

/// What a store took in a month.
#[derive(Debug, Serialize)]
pub struct Revenue {
    store: Option<i32>,
    /// Its first day.
    month: String,
    /// As text: a float would lose cents.
    revenue: String,
    payments: i64,
    paying_customers: i64,
}

impl From<Model> for Revenue {
    fn from(row: Model) -> Self {
        Self {
            store: row.store_id.0,
            month: row.month.to_string(),
            revenue: row.revenue.to_string(),
            payments: row.payments,
            paying_customers: row.paying_customers,
        }
    }
}

/// The service, on a warehouse.
pub fn service(warehouse: DatabaseConnection) -> Router {
    Router::new().route("/revenue", get(revenue)).with_state(warehouse)
}

async fn revenue(
    State(warehouse): State<DatabaseConnection>,
    Query(question): Query<Question>,
) -> Result<Json<Vec<Revenue>>, (StatusCode, String)> {
    let rows = ask(&warehouse, question).await.map_err(refused)?;
    Ok(Json(rows.into_iter().map(Revenue::from).collect()))
}

async fn ask(warehouse: &DatabaseConnection, question: Question) -> Result<Vec<Model>, DbErr> {
    let mut rows = Entity::find().order_by_asc(Column::StoreId).order_by_asc(Column::Month);
    if let Some(store) = question.store {
        rows = rows.filter(Column::StoreId.eq(store));
    }
    let Some(time) = question.as_of else { return rows.all(warehouse).await };
    // The time is the transaction's: connections are shared.
    let transaction = warehouse.begin().await?;
    let set = "SELECT set_config('medallion.as_of', $1, true)";
    transaction.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, set, [time.into()])).await?;
    let rows = in_the_past(rows).all(&transaction).await?;
    transaction.commit().await?;
    Ok(rows)
}

/// The same question of the view that answers as of the setting: it has the name of the relation, in a schema of its own.
fn in_the_past(mut rows: Select<Entity>) -> Select<Entity> {
    QueryTrait::query(&mut rows).from_clear().from((Alias::new("as_of"), Alias::new(Entity.table_name())));
    rows
}

/// What the database says of a value in the question is the asker's to read (SQLSTATE of class 22: a time that is none, or
/// that is before all that is kept); anything else is not.
fn refused(error: DbErr) -> (StatusCode, String) {
    if let DbErr::Query(RuntimeErr::SqlxError(cause)) = &error
        && let Some(said) = cause.as_database_error()
        && said.code().is_some_and(|code| code.starts_with("22"))
    {
        return (StatusCode::BAD_REQUEST, format!("{}\n", said.message()));
    }
    eprintln!("{error}");
    (StatusCode::INTERNAL_SERVER_ERROR, "the warehouse does not answer\n".to_owned())
}
