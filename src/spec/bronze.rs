//! Where bronze stands, as it was written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::At;

/// The database that changes land in.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bronze {
    /// Which one it is; the warehouse's own unless said otherwise.
    pub database: Option<At<BronzeDatabase>>,
}

/// A database that changes land in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BronzeDatabase {
    /// One of its own, on the same server or another one: `BRONZE_DATABASE_URL` says where.
    Apart,
}
