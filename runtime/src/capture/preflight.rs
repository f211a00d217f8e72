//! Asks the source whether it can be captured: its settings, the role, the tables, their replica identities
//! and the publication. Says all that is wrong at once, with the SQL that helps. Creates the publication
//! and nothing else; reads no row.

use std::collections::BTreeMap;

use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};

use super::standing::{self, Brings, Identity, KnownTables, Standing};
use super::{RESNAPSHOT, identity, publication, recorded_log};
use crate::descriptor::{Landing, Name, Warehouse};
use crate::error::{During as _, Error, Result};
use crate::quote;

/// The oldest release of PostgreSQL whose publications tell which columns they publish.
const OLDEST_VERSION: i32 = 150_000;

/// The server and database behind a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Made by `initdb`, the same in all physical copies of a server.
    pub system_identifier: String,
    /// The database.
    pub database: String,
    /// The history that the server goes on with: one that was restored to a point in time, or has taken over from
    /// another, has a later one.
    pub timeline: i32,
}

impl Site {
    /// Whether it is the same server and database, whatever happened to it since.
    pub fn is_same_database(&self, other: &Self) -> bool {
        (&self.system_identifier, &self.database) == (&other.system_identifier, &other.database)
    }
}

/// A source that can be captured.
#[derive(Debug)]
pub struct Ready {
    /// Where it is.
    pub site: Site,
    /// The source table of each landing table, in the order of the landing tables.
    pub tables: Vec<SourceTable>,
    /// What somebody should look at.
    pub findings: Vec<String>,
}

/// A table at the source.
#[derive(Clone, Debug)]
pub struct SourceTable {
    /// Its name.
    pub name: Name,
    /// Whether its rows stand in partitions.
    pub layout: Layout,
    /// The columns that the publication publishes, in order.
    pub columns: Vec<String>,
    /// Which table it is.
    pub identity: Identity,
    /// How it stands with what is captured.
    pub standing: Standing,
    /// What the stream brings to its landing table.
    pub brings: Option<Brings>,
}

impl SourceTable {
    /// What to read its rows from: tables that inherit from it are tables of their own.
    pub fn table_sql(&self) -> String {
        match self.layout {
            Layout::Plain => format!("ONLY {}", quote::name(&self.name)),
            Layout::Partitioned => quote::name(&self.name),
        }
    }
}

/// Where a table's rows stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// In itself.
    Plain,
    /// In its partitions.
    Partitioned,
}

/// What has been captured before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing: a publication that is absent can be created.
    Nothing,
    /// Something that nothing goes on from: all tables begin anew, above what has landed. A publication that is absent
    /// can be created, and one that lacks tables is added to.
    Broken,
    /// Something, from here, and of these tables: a publication that is absent leaves a gap.
    Something(Site, KnownTables),
}

impl Before {
    /// Whether what comes goes on from what was captured.
    pub fn goes_on(&self) -> bool {
        matches!(self, Self::Something(..))
    }

    /// Whether a landing table has been fed: its source may have gone since.
    fn knows(&self, landing: &Landing) -> bool {
        match self {
            Self::Nothing | Self::Broken => false,
            Self::Something(_, known) => known.contains_key(&landing.table.to_string()),
        }
    }
}

/// What is wrong with a source, with the way out of each.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

/// Something that is wrong, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// What is wrong.
    pub what: String,
    /// The way out: SQL to paste, or a sentence.
    pub remedy: String,
}

impl Problems {
    pub(super) fn add(&mut self, what: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Problem { what: what.into(), remedy: remedy.into() });
    }

    pub(super) fn into_list(self) -> Vec<Problem> {
        self.0
    }

    pub(super) fn refuse(self) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut remedies: Vec<&str> = Vec::new();
        for problem in &self.0 {
            if !remedies.contains(&problem.remedy.as_str()) {
                remedies.push(&problem.remedy);
            }
        }
        let what: Vec<&str> = self.0.iter().map(|problem| problem.what.as_str()).collect();
        let what = format!("the source cannot be captured: {}", what.join("\n  and "));
        Err(Error::new(what).remedy(remedies.join("\n    ")))
    }
}

/// What a look at a source tells, whether it can be captured or not.
#[derive(Debug)]
pub(super) struct Seen {
    /// Where it is.
    pub site: Site,
    /// Its release: 150004 is 15.4.
    pub version: i32,
    /// The tables that are there.
    pub layouts: BTreeMap<Name, Layout>,
    /// Those that were captured, and are not.
    pub gone: Vec<Name>,
    /// Those that are there, and that the publication lacks: they join what is captured already.
    pub lacking: Vec<Name>,
    /// Those that it publishes, and that are copied by now: nobody reads their changes.
    pub surplus: Vec<Name>,
    /// The recorded log, where it is there and has not landed.
    pub recorded_log: Option<Name>,
    /// What the publication publishes; none where there is no publication.
    pub published: Option<publication::Published>,
}

/// Checks a source, creates the publication where there is none yet, and adds to it what joins.
pub async fn check(source: &mut PgConnection, warehouse: &Warehouse, before: &Before) -> Result<Ready> {
    let mut problems = Problems::default();
    let seen = look(source, warehouse, before, &mut problems).await?;
    problems.refuse()?;
    let publication = &warehouse.source.publication;
    let mut findings: Vec<String> = seen.gone.iter().map(|name| gone(name).what).collect();
    for name in &seen.surplus {
        findings.extend(publication::remove(source, publication, name).await?);
    }
    let published = match seen.published {
        Some(published) if seen.lacking.is_empty() => published,
        Some(_) => {
            for name in &seen.lacking {
                let layout = seen.layouts.get(name).copied().unwrap_or(Layout::Plain);
                findings.extend(publication::add(source, publication, name, layout).await?);
            }
            publication::published(source, publication, seen.version).await?
        }
        None => publication::create(source, publication, &seen.layouts, seen.version).await?,
    };
    let mut problems = Problems::default();
    let mut tables = tables(warehouse, &seen.layouts, &published, before, &mut problems);
    problems.refuse()?;
    let identities = standing::identities(source, publication, seen.layouts.keys()).await?;
    for (table, landing) in tables.iter_mut().zip(warehouse.captured()) {
        let identity = identities.get(&table.name);
        if let Some(identity) = identity {
            table.identity.clone_from(identity);
        }
        if let Before::Something(_, known) = before {
            let published = identity.filter(|_| published.contains_key(&table.name));
            let known = known.get(&landing.table.to_string());
            (table.standing, table.brings) = standing::stands(known, published);
        } else {
            table.brings = Some(Brings { oid: table.identity.oid, fence: None });
        }
    }
    Ok(Ready { site: seen.site, tables, findings })
}

/// What is said of a table that was captured and is gone.
pub(super) fn gone(name: &Name) -> Problem {
    Problem {
        what: format!("`{name}` is gone from the source: what landed of it stays as it was"),
        remedy: "bring it back, and what differs lands; or take it out of the spec".to_owned(),
    }
}

/// Looks at a source and changes nothing.
pub(super) async fn look(
    source: &mut PgConnection,
    warehouse: &Warehouse,
    before: &Before,
    problems: &mut Problems,
) -> Result<Seen> {
    let (site, version) = check_server(source, problems).await?;
    let is_known = match before {
        Before::Something(known, _) => is_site(&site, known, problems),
        Before::Nothing | Before::Broken => true,
    };
    if version < OLDEST_VERSION || !is_known {
        // The rest would be questions that it does not understand, or answers about something else.
        let layouts = BTreeMap::new();
        return Ok(Seen {
            site,
            version,
            layouts,
            gone: vec![],
            lacking: vec![],
            surplus: vec![],
            recorded_log: None,
            published: None,
        });
    }
    let may_be_gone = |name: &Name| {
        let mut landings = warehouse.captured().iter().filter(|landing| landing.source == *name);
        landings.all(|landing| before.knows(landing))
    };
    let (layouts, gone) = check_tables(source, warehouse.captured(), may_be_gone, problems).await?;
    let recorded_log = match before {
        Before::Nothing => recorded_log::look(source, warehouse, problems).await?,
        Before::Something(..) | Before::Broken => None,
    };
    identity::check(source, warehouse.captured(), problems).await?;
    let publication = &warehouse.source.publication;
    let published = publication::look(source, publication, &layouts, before, version, problems).await?;
    let lacks = |name: &&Name| published.as_ref().is_some_and(|published| !published.contains_key(*name));
    let lacking = match before {
        Before::Nothing => vec![],
        Before::Something(..) | Before::Broken => layouts.keys().filter(lacks).cloned().collect(),
    };
    let copied = warehouse.landings.iter().filter(|landing| landing.snapshots().is_some());
    let surplus = copied
        .map(|landing| &landing.source)
        .filter(|name| !layouts.contains_key(*name) && !gone.contains(name))
        .filter(|name| published.as_ref().is_some_and(|published| published.contains_key(*name)))
        .cloned()
        .collect();
    Ok(Seen { site, version, layouts, gone, lacking, surplus, recorded_log, published })
}

/// The source table of each landing table, as it is published.
pub(super) fn tables(
    warehouse: &Warehouse,
    layouts: &BTreeMap<Name, Layout>,
    published: &publication::Published,
    before: &Before,
    problems: &mut Problems,
) -> Vec<SourceTable> {
    let mut tables = Vec::new();
    for landing in warehouse.captured() {
        let name = &landing.source;
        let columns = published.get(name).cloned().unwrap_or_default();
        let missing: Vec<&String> = landing.key.iter().filter(|key| !columns.contains(key)).collect();
        // Of what is not published nothing comes, and nothing is to be asked of it.
        let waits = before.goes_on() && !published.contains_key(name);
        for column in missing.iter().filter(|_| !waits) {
            problems.add(
                format!(
                    "`{name}` publishes no column `{column}`, which is of the key of `{}`",
                    landing.table
                ),
                "correct the key in the spec and run `medallion generate`, or publish the column",
            );
        }
        let layout = layouts.get(name).copied().unwrap_or(Layout::Plain);
        let identity = Identity { oid: 0, membership: String::new() };
        let standing = if waits { Standing::Waits } else { Standing::Captured };
        tables.push(SourceTable { name: name.clone(), layout, columns, identity, standing, brings: None });
    }
    tables
}

/// Looks at the server alone: whether it is the one that was captured before.
pub(super) async fn check_site(
    source: &mut PgConnection,
    known: &Site,
    problems: &mut Problems,
) -> Result<()> {
    let (site, _) = check_server(source, problems).await?;
    is_site(&site, known, problems);
    Ok(())
}

/// Where the source is.
pub(super) async fn site(source: &mut PgConnection) -> Result<Site> {
    let (site, _) = check_server(source, &mut Problems::default()).await?;
    Ok(site)
}

async fn check_server(source: &mut PgConnection, problems: &mut Problems) -> Result<(Site, i32)> {
    let unasked = || "cannot ask the source for its settings".to_owned();
    let row = sqlx::query(
        "SELECT
            current_setting('server_version_num')::integer AS version,
            current_setting('wal_level') AS wal_level,
            pg_is_in_recovery() AS standby,
            (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
            CASE
                WHEN pg_is_in_recovery() THEN 0
                ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer
            END AS timeline,
            current_database()::text AS database,
            current_user::text AS role,
            (
                SELECT rolsuper OR rolreplication
                FROM pg_roles
                WHERE rolname = current_user
            ) OR EXISTS (
                SELECT FROM pg_roles
                WHERE rolname = 'rds_replication' AND pg_has_role(current_user, oid, 'MEMBER')
            ) AS replicates",
    )
    .fetch_one(&mut *source)
    .await
    .during(unasked)?;

    let version: i32 = row.try_get("version").during(unasked)?;
    let role: String = row.try_get("role").during(unasked)?;
    let wal_level: String = row.try_get("wal_level").during(unasked)?;
    if version < OLDEST_VERSION {
        problems.add(format!("it is PostgreSQL {}", version / 10_000), "capture from PostgreSQL 15 or later");
    }
    if row.try_get("standby").during(unasked)? {
        problems.add("it is a standby", "point SOURCE_DATABASE_URL at the primary server");
    }
    if wal_level != "logical" {
        problems.add(
            format!("its `wal_level` is `{wal_level}`"),
            "ALTER SYSTEM SET wal_level = 'logical'; -- then restart the source",
        );
    }
    if !row.try_get::<bool, _>("replicates").during(unasked)? {
        problems.add(
            format!("the role `{role}` may not replicate"),
            format!("ALTER ROLE {} REPLICATION;", quote::identifier(&role)),
        );
    }
    let site = Site {
        system_identifier: row.try_get("system_identifier").during(unasked)?,
        database: row.try_get("database").during(unasked)?,
        timeline: row.try_get("timeline").during(unasked)?,
    };
    Ok((site, version))
}

/// Whether it is where was captured before: positions of one server mean nothing on another.
fn is_site(site: &Site, known: &Site, problems: &mut Problems) -> bool {
    if known.system_identifier != site.system_identifier {
        problems.add(
            format!(
                "it is another server (system {}) than the one captured so far (system {})",
                site.system_identifier, known.system_identifier
            ),
            format!("correct SOURCE_DATABASE_URL; or, to follow this server: {RESNAPSHOT}"),
        );
        return false;
    }
    if known.database != site.database {
        problems.add(
            format!("it is database `{}`, the one captured so far is `{}`", site.database, known.database),
            format!("correct SOURCE_DATABASE_URL; or, to follow this database: {RESNAPSHOT}"),
        );
        return false;
    }
    // That it is a standby has been told.
    if known.timeline != site.timeline && site.timeline > 0 {
        problems.add(
            format!(
                "it is on timeline {}, the one captured so far is {}: the server was restored or has taken over \
                 from another, and may never have had what landed last",
                site.timeline, known.timeline
            ),
            RESNAPSHOT,
        );
        return false;
    }
    true
}

/// Schemas and tables of the landings' sources, as two lists to bind.
fn names(landings: &[Landing]) -> (Vec<String>, Vec<String>) {
    let mut names: Vec<&Name> = landings.iter().map(|landing| &landing.source).collect();
    names.sort();
    names.dedup();
    names.into_iter().map(|name| (name.schema.clone(), name.table.clone())).unzip()
}

/// A row's `schema` and `name`.
fn name(row: &PgRow) -> Result<Name, sqlx::Error> {
    Ok(Name::new(row.try_get::<String, _>("schema")?, row.try_get::<String, _>("name")?))
}

async fn check_tables(
    source: &mut PgConnection,
    landings: &[Landing],
    may_be_gone: impl Fn(&Name) -> bool,
    problems: &mut Problems,
) -> Result<(BTreeMap<Name, Layout>, Vec<Name>)> {
    let unasked = || "cannot ask the source for its tables".to_owned();
    let (schemas, tables) = names(landings);
    let rows = sqlx::query(
        "SELECT
            asked.schema,
            asked.name,
            relation.relkind::text AS kind,
            relation.relpersistence::text AS persistence,
            current_user::text AS role,
            coalesce(has_schema_privilege(space.oid, 'USAGE'), false) AS enters,
            coalesce(has_table_privilege(relation.oid, 'SELECT'), false) AS reads
        FROM unnest($1::text[], $2::text[]) AS asked (schema, name)
        LEFT JOIN pg_namespace AS space ON space.nspname = asked.schema
        LEFT JOIN pg_class AS relation ON relation.relnamespace = space.oid AND relation.relname = asked.name
        ORDER BY 1, 2",
    )
    .bind(schemas)
    .bind(tables)
    .fetch_all(source)
    .await
    .during(unasked)?;

    let (mut layouts, mut gone) = (BTreeMap::new(), Vec::new());
    for row in &rows {
        let name = name(row).during(unasked)?;
        let kind: Option<String> = row.try_get("kind").during(unasked)?;
        let role: String = row.try_get("role").during(unasked)?;
        let role = quote::identifier(&role);
        match kind.as_deref() {
            None if may_be_gone(&name) => {
                gone.push(name);
                continue;
            }
            None => {
                problems.add(
                    format!("it has no table `{name}`"),
                    "is SOURCE_DATABASE_URL the database that the spec describes? correct one or the other",
                );
                continue;
            }
            Some("r") => layouts.insert(name.clone(), Layout::Plain),
            Some("p") => layouts.insert(name.clone(), Layout::Partitioned),
            Some(_) => {
                problems.add(
                    format!("`{name}` is no table, so it has no changes of its own"),
                    "capture the tables that it reads",
                );
                continue;
            }
        };
        if row.try_get::<Option<String>, _>("persistence").during(unasked)?.as_deref() != Some("p") {
            problems.add(
                format!("`{name}` is not logged, so its changes cannot be read"),
                format!("ALTER TABLE {} SET LOGGED;", quote::name(&name)),
            );
        }
        if !row.try_get::<bool, _>("enters").during(unasked)? {
            problems.add(
                format!("the schema of `{name}` cannot be used"),
                format!("GRANT USAGE ON SCHEMA {} TO {role};", quote::identifier(&name.schema)),
            );
        }
        if !row.try_get::<bool, _>("reads").during(unasked)? {
            problems.add(
                format!("`{name}` cannot be read"),
                format!("GRANT SELECT ON {} TO {role};", quote::name(&name)),
            );
        }
    }
    Ok((layouts, gone))
}
