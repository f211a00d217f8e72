//! Erases a subject: a row of the source by its key, with all that is known of it. What landed, what was written
//! past the feed, what could not land, and what retention put aside goes; silver is repaired from what is left, so
//! that versions, earlier states and whatever others copied go with it; marts follow. One transaction, which
//! leaves a trace that it happened; where bronze stands apart, one in each database, of which the second is finished
//! whatever happens (`announced`). No value of the subject's is in a message.

mod announced;
mod subject;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{Connection as _, PgConnection, Row as _};

use crate::connection::{self, Database};
use crate::data_test::{self, Changed, Look, Tested};
use crate::descriptor::{Name, Warehouse};
use crate::error::{During as _, Error, Result};
use crate::place::Place;
use crate::{apart, apply, lock, migrate, quote, refresh, retain, statement};
use announced::Staged;
pub use subject::Subject;
use sweep::{LANDED, Sweep};

/// What to do about a subject that the warehouse takes to be at the source still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Current {
    /// Nothing is erased: it would come back.
    Refuse,
    /// It is erased all the same.
    Erase,
}

/// Whether what is done stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// It does, unless a test of the data refuses what is left.
    Keep,
    /// It does, whatever tests say.
    Insist,
    /// It is undone: what would go is told.
    Try,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Rows that went, or lost what they had copied, by table.
    Forgotten(BTreeMap<String, u64>),
    /// The subject is at the source still, as far as is known; nothing was done.
    StillThere,
    /// Nothing is known of such a key.
    Unknown,
    /// Tests of the data refuse what would be left; nothing was done. What they found.
    Held(Vec<String>),
}

/// Erases a subject.
pub async fn forget(
    warehouse: &Warehouse,
    place: &Place,
    subject: &Subject<'_>,
    current: Current,
    extent: Extent,
) -> Result<Outcome> {
    let mut target = connection::connect(Database::Warehouse, &place.warehouse).await?;
    refuse_others(&mut target).await?;
    lock::take(&mut target).await?;
    migrate::check(warehouse, &mut target).await?;
    let mut bronze = apart::open(warehouse, place, &mut target).await?;
    if let Some(bronze) = &mut bronze {
        retain::refuse_older(warehouse, &mut target, bronze).await?;
        finish(warehouse, &mut target, bronze).await?;
    }

    let failed = || "cannot erase in one transaction".to_owned();
    let mut transaction = target.begin().await.during(failed)?;
    apply::hold(warehouse, &mut transaction).await?;
    let Erased { outcome, written, tested, staged } =
        erase(warehouse, subject, None, current, extent, &mut transaction).await?;
    if let Outcome::Held(_) = &outcome {
        transaction.rollback().await.during(failed)?;
        data_test::keep_held(warehouse, "forget", &tested, &mut target).await?;
        return Ok(outcome);
    }
    let Outcome::Forgotten(_) = &outcome else {
        return Ok(outcome);
    };
    if extent == Extent::Try {
        transaction.rollback().await.during(failed)?;
        return Ok(outcome);
    }
    if let (Some(bronze), Some(staged)) = (&mut bronze, staged) {
        let mut beside = connection::connect(Database::Warehouse, &place.warehouse).await?;
        let id = announced::announce(subject, &staged, &mut beside).await?;
        transaction.commit().await.during(failed)?;
        announced::tell_traces(&mut target, bronze).await?;
        announced::end(&id, &mut beside).await?;
    } else {
        transaction.commit().await.during(failed)?;
    }
    clean(warehouse, &written, &mut target, bronze.as_mut())
        .await
        .map_err(|error| error.within("it is erased; its space was not given back"))?;
    Ok(outcome)
}

/// Ends erasures that were killed between the two databases, where bronze stands apart: one of them has lost the
/// subject already, or neither, and tests of the data had passed.
pub(crate) async fn finish(
    warehouse: &Warehouse,
    target: &mut PgConnection,
    bronze: &mut PgConnection,
) -> Result<()> {
    for one in announced::all(target).await? {
        refuse_others(target)
            .await
            .map_err(|error| error.within("an erasure that was killed on its way is to be finished first"))?;
        let failed = || "cannot finish an erasure that was killed on its way".to_owned();
        if let Some(subject) = Subject::again(warehouse, &one.relation, one.key.clone()) {
            let mut transaction = target.begin().await.during(failed)?;
            apply::hold(warehouse, &mut transaction).await?;
            let said = Some(&one.staged);
            let Erased { written, .. } =
                erase(warehouse, &subject, said, Current::Erase, Extent::Insist, &mut transaction).await?;
            transaction.commit().await.during(failed)?;
            clean(warehouse, &written, target, Some(&mut *bronze)).await?;
        }
        announced::tell_traces(target, bronze).await?;
        one.end(target).await?;
    }
    Ok(())
}

/// What is erased is erased for good, and whose warehouse it is answers for it.
async fn refuse_others(connection: &mut PgConnection) -> Result<()> {
    let row = sqlx::query(
        "SELECT pg_has_role(nspowner, 'USAGE'), nspowner::regrole::text FROM pg_namespace \
         WHERE nspname = 'medallion'",
    )
    .fetch_optional(connection)
    .await
    .during(|| "cannot tell whose the warehouse is".to_owned())?;
    match row {
        Some(row) if !row.get::<bool, _>(0) => {
            Err(Error::new("only the owner of the warehouse erases from it")
                .remedy(format!("connect as {} in DATABASE_URL", row.get::<String, _>(1))))
        }
        // Where there is none, nothing is migrated, which is said next.
        Some(_) | None => Ok(()),
    }
}

/// How an erasure ended, within its transaction.
struct Erased {
    outcome: Outcome,
    /// What was written to.
    written: BTreeSet<Name>,
    /// What was tested of what is left.
    tested: Vec<Tested>,
    /// What was found by what had landed, where that stands in another database.
    staged: Option<Staged>,
}

impl From<Outcome> for Erased {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, written: BTreeSet::new(), tested: Vec::new(), staged: None }
    }
}

async fn erase(
    warehouse: &Warehouse,
    subject: &Subject<'_>,
    said: Option<&Staged>,
    current: Current,
    extent: Extent,
    connection: &mut PgConnection,
) -> Result<Erased> {
    let landed = data_test::landed_since(warehouse, connection).await?;
    let mut sweep = Sweep::begin(warehouse, subject, said, connection).await?;
    if current == Current::Refuse && sweep.is_current(connection).await? {
        return Ok(Outcome::StillThere.into());
    }
    sweep.find_copies(connection).await?;
    for opened in ["prune", "backfill"] {
        statement::execute(connection, &format!("SELECT \"medallion\".\"{opened}\"()")).await?;
    }
    sweep.erase(connection).await?;
    let applied = apply::repair_keys(warehouse, &sweep.asked(), connection).await?;
    let refreshed = refresh::refresh(warehouse, &applied, connection, |_| {}).await?;
    sweep.prove(connection).await?;
    if extent == Extent::Keep {
        let changed = Changed::new(warehouse, &applied, &refreshed, landed).without(sweep.gone.keys());
        let tested = data_test::look(warehouse, &Look::Changed(&changed), connection, |_| ()).await?;
        let refused = tested.iter().filter(|one| one.status.holds_back());
        let refused: Vec<String> = refused.map(data_test::finding).collect();
        if !refused.is_empty() {
            return Ok(Erased { tested, ..Outcome::Held(refused).into() });
        }
    }
    let staged = match warehouse.is_bronze_apart() {
        true => Some(sweep.staged(connection).await?),
        false => None,
    };
    let gone = sweep.gone;
    if gone.is_empty() {
        return Ok(Outcome::Unknown.into());
    }
    trace(subject, &gone, connection).await?;
    let mut written: BTreeSet<Name> = gone.keys().cloned().collect();
    written.extend(applied.into_iter().map(|one| one.relation));
    written.extend(refreshed.into_iter().map(|one| one.mart));
    let gone = gone.into_iter().map(|(table, rows)| (table.to_string(), rows)).collect();
    Ok(Erased { outcome: Outcome::Forgotten(gone), written, tested: Vec::new(), staged })
}

/// Writes down that it happened: who knows the key can tell whose it was, and nobody else.
async fn trace(
    subject: &Subject<'_>,
    gone: &BTreeMap<Name, u64>,
    connection: &mut PgConnection,
) -> Result<()> {
    let gone: BTreeMap<String, u64> = gone.iter().map(|(table, rows)| (table.to_string(), *rows)).collect();
    let key = quote::list("forgotten.", &subject.silver.key);
    let sql = format!(
        "INSERT INTO medallion.erasure (relation, salt, key_hash, landing, landed_hashes, gone) \
         SELECT $1, salt, {}, $2, ARRAY(SELECT {} FROM {LANDED} AS landed), $3::jsonb \
         FROM {} AS forgotten CROSS JOIN (SELECT gen_random_uuid()::text AS salt) AS random",
        statement::salted_hash("salt", &format!("jsonb_build_array({key})")),
        statement::salted_hash("salt", "landed.key"),
        subject::table(subject.number),
    );
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .persistent(false)
        .bind(subject.silver.table.to_string())
        .bind(subject.silver.feed.to_string())
        .bind(serde_json::to_string(&gone).expect("a map of numbers is JSON"))
        .execute(connection)
        .await
        .during(|| "cannot leave a trace in `medallion.erasure`".to_owned())?;
    Ok(())
}

/// Gives the rows' space back, and takes the values out of the statistics that the planner keeps.
async fn clean(
    warehouse: &Warehouse,
    written: &BTreeSet<Name>,
    connection: &mut PgConnection,
    bronze: Option<&mut PgConnection>,
) -> Result<()> {
    let archives = retain::archives(connection).await?;
    let lands = |name: &Name| apart::stands_there(warehouse, name);
    let is_there = |name: &&Name| {
        let pruned = archives.iter().any(|(from, archive)| archive == *name && lands(from));
        bronze.is_some() && (pruned || lands(name))
    };
    let (there, here): (Vec<&Name>, Vec<&Name>) = written.iter().partition(is_there);
    for table in &there {
        analyze_again(table, connection).await?;
    }
    if let Some(bronze) = bronze {
        announced::clean(there.into_iter(), bronze).await?;
    }
    for table in here {
        statement::execute(connection, &format!("VACUUM (ANALYZE) {}", quote::name(table))).await?;
    }
    Ok(())
}

/// What stands over there may have been sampled here.
async fn analyze_again(table: &Name, connection: &mut PgConnection) -> Result<()> {
    let sampled: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT known.relation::text
        FROM pg_stats AS statistic
        CROSS JOIN LATERAL (SELECT format('%I.%I', statistic.schemaname, statistic.tablename)::regclass) AS known (relation)
        WHERE known.relation = $1::regclass
        OR known.relation IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = $1::regclass)",
    )
    .bind(quote::name(table))
    .fetch_all(&mut *connection)
    .await
    .during(|| format!("cannot tell what the planner knows of `{table}`"))?;
    for relation in sampled {
        statement::execute(connection, &format!("ANALYZE {relation}")).await?;
    }
    Ok(())
}
