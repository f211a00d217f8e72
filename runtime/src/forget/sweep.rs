//! Where a subject is to be found: every table that holds rows of its landing table's, or columns that others
//! copied from them, what retention put aside included. Set-based, a few statements a table.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;

use super::announced::Staged;
use super::subject::{self, Subject, field, sql_type};
use crate::descriptor::{ColumnFrom, Name, Silver, SilverKind, Warehouse};
use crate::error::{Error, Result};
use crate::{quote, retain, statement};

/// The table of the keys by which the subject's rows had landed, each as a JSON array.
pub const LANDED: &str = "pg_temp.forgotten_landed";

/// A way through all tables.
pub struct Sweep<'a> {
    warehouse: &'a Warehouse,
    subject: &'a Subject<'a>,
    /// The tables that take what retention prunes, by the table that it is pruned from.
    archives: BTreeMap<Name, Name>,
    /// The relations of which keys are staged, by their places, and their columns that say something of the
    /// subject: all of those that it feeds, what was copied in others.
    columns: BTreeMap<usize, BTreeSet<String>>,
    /// Rows that went or lost what they had copied, by table.
    pub gone: BTreeMap<Name, u64>,
}

impl<'a> Sweep<'a> {
    /// Stages the keys of every relation that the subject's landing table feeds.
    pub async fn begin(
        warehouse: &'a Warehouse,
        subject: &'a Subject<'a>,
        said: Option<&Staged>,
        connection: &mut PgConnection,
    ) -> Result<Self> {
        subject.stage(connection).await?;
        let archives = retain::archives(connection).await?;
        let columns = BTreeMap::new();
        let mut sweep = Self { warehouse, subject, archives, columns, gone: BTreeMap::new() };
        for (number, silver) in sweep.fed() {
            let all = silver.columns.iter().map(|column| column.name.clone()).collect();
            sweep.columns.insert(number, all);
            if number != subject.number {
                subject::create(silver, number, connection).await?;
                let sql = sweep.keys_of_landed(silver, number);
                statement::execute(connection, &sql).await?;
            }
        }
        statement::execute(connection, &sweep.keys_landed()).await?;
        if let Some(said) = said {
            said.stage(warehouse, connection).await?;
        }
        Ok(sweep)
    }

    /// What was found by rows that have landed, and go.
    pub async fn staged(&self, connection: &mut PgConnection) -> Result<Staged> {
        Staged::read(self.warehouse, self.fed().into_iter().map(|(number, _)| number), connection).await
    }

    /// Makes the table of the keys by which rows have landed, or could not.
    fn keys_landed(&self) -> String {
        let landing = self.warehouse.landings.iter().find(|one| one.table == self.subject.silver.feed);
        let key = landing.map_or(&[][..], |landing| &landing.key);
        let of = |row: &str| {
            let values: Vec<String> =
                key.iter().map(|field| format!("{row} -> {}", quote::literal(field))).collect();
            format!("jsonb_build_array({})", values.join(", "))
        };
        let mut queries: Vec<String> = self
            .landings()
            .iter()
            .map(|table| {
                let (key, table) = (of("change.full_row"), quote::name(table));
                format!("SELECT {key} AS key FROM {table} AS change WHERE {}", self.is_landed())
            })
            .collect();
        let table = subject::table(self.subject.number);
        queries.push(format!(
            "SELECT {} FROM medallion.quarantine AS kept, {table} AS forgotten WHERE {}",
            of("kept.key"),
            self.is_quarantined()
        ));
        format!("CREATE TEMPORARY TABLE forgotten_landed ON COMMIT DROP AS\n{}", queries.join("\nUNION\n"))
    }

    /// The relations that the subject's landing table feeds.
    fn fed(&self) -> Vec<(usize, &'a Silver)> {
        let feed = &self.subject.silver.feed;
        self.warehouse.silver.iter().enumerate().filter(|(_, silver)| silver.feed == *feed).collect()
    }

    /// The keys that a relation has of the subject's landed rows, or by the subject's own where they are the
    /// same fields.
    fn keys_of_landed(&self, silver: &Silver, number: usize) -> String {
        let landed: Vec<String> = silver
            .key
            .iter()
            .map(|name| {
                let field = quote::literal(field(silver, name));
                format!("(change.full_row ->> {field})::{}", sql_type(silver, name))
            })
            .collect();
        let landed = landed.join(", ");
        let mut queries: Vec<String> = self
            .landings()
            .iter()
            .map(|table| {
                let table = quote::name(table);
                let fits = match silver.is_computed() {
                    true => format!(" AND NOT {}", is_misfit(silver)),
                    false => String::new(),
                };
                format!("SELECT {landed} FROM {table} AS change WHERE {}{fits}", self.is_landed())
            })
            .collect();
        let own = self.subject.silver;
        let same: Option<Vec<String>> = silver
            .key
            .iter()
            .map(|name| {
                let mine = own.key.iter().find(|mine| field(own, mine) == field(silver, name))?;
                Some(format!("forgotten.{}::text::{}", quote::identifier(mine), sql_type(silver, name)))
            })
            .collect();
        if let Some(same) = same {
            let table = subject::table(self.subject.number);
            queries.push(format!("SELECT {} FROM {table} AS forgotten", same.join(", ")));
        }
        format!("INSERT INTO {}\n{}", subject::table(number), queries.join("\nUNION\n"))
    }

    /// The landing table, and where retention puts what it prunes from it.
    fn landings(&self) -> Vec<&Name> {
        let feed = &self.subject.silver.feed;
        std::iter::once(feed).chain(self.archives.get(feed)).collect()
    }

    /// Whether a landed row, called `change`, is the subject's.
    fn is_landed(&self) -> String {
        let own = self.subject.silver;
        let same: Vec<String> = own
            .key
            .iter()
            .map(|name| {
                let field = quote::literal(field(own, name));
                let (column, sql_type) = (quote::identifier(name), sql_type(own, name));
                let read = format!("forgotten.{column} = (change.full_row ->> {field})::{sql_type}");
                // The key of what was left out may be none.
                match own.is_computed() {
                    true => format!(
                        "CASE WHEN {} THEN forgotten.{column}::text = change.full_row ->> {field} ELSE {read} END",
                        is_misfit(own)
                    ),
                    false => read,
                }
            })
            .collect();
        let table = subject::table(self.subject.number);
        format!("change.op <> 'T' AND EXISTS (SELECT FROM {table} AS forgotten WHERE {})", same.join(" AND "))
    }

    /// Whether a version of the subject's is current.
    pub async fn is_current(&self, connection: &mut PgConnection) -> Result<bool> {
        for (number, silver) in self.fed() {
            let current = match &silver.kind {
                SilverKind::Dimension { end, .. } => {
                    format!("stored.{} = 'infinity' AND ", quote::identifier(end))
                }
                SilverKind::Fact { .. } => String::new(),
            };
            let sql = format!(
                "SELECT count(*) FROM {} AS stored WHERE {current}{}",
                quote::name(&silver.table),
                is_forgotten(silver, number, "stored")
            );
            if statement::scalar(connection, &sql, &[]).await? > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Stages the keys of relations that copied something, down their chains, with the columns that they did.
    pub async fn find_copies(&mut self, connection: &mut PgConnection) -> Result<()> {
        for (number, silver) in self.warehouse.silver.iter().enumerate() {
            if self.columns.contains_key(&number) {
                continue;
            }
            let copies = self.copies(silver);
            if copies.is_empty() {
                continue;
            }
            subject::create(silver, number, connection).await?;
            let key = quote::list("reader.", &silver.key);
            let mut queries = Vec::new();
            for (on, from, _) in &copies {
                for place in self.places(silver) {
                    queries.push(format!(
                        "SELECT {key} FROM {} AS reader WHERE {}",
                        quote::name(&place),
                        self.reads("reader", on, *from)
                    ));
                }
            }
            let sql = format!("INSERT INTO {}\n{}", subject::table(number), queries.join("\nUNION\n"));
            statement::execute(connection, &sql).await?;
            let columns = copies.into_iter().flat_map(|(_, _, columns)| columns).collect();
            self.columns.insert(number, columns);
        }
        Ok(())
    }

    /// What a relation copies of the subject's: by which of its columns, from which relation, and into which.
    fn copies(&self, silver: &'a Silver) -> Vec<(Vec<String>, usize, Vec<String>)> {
        let mut copies = Vec::new();
        for lookup in &silver.lookups {
            let from = self.warehouse.silver.iter().position(|one| one.table == lookup.relation);
            let Some((from, said)) = from.and_then(|from| Some((from, self.columns.get(&from)?))) else {
                continue;
            };
            let mut columns: Vec<String> = silver
                .columns
                .iter()
                .filter(|column| match &column.from {
                    ColumnFrom::Lookup { lookup: alias, column } => {
                        *alias == lookup.alias && said.contains(column)
                    }
                    // It is made of the key, and of what else is the row's own.
                    ColumnFrom::LookedUpHash { lookup: alias, .. } => {
                        *alias == lookup.alias && lookup.on.iter().all(|(_, there)| said.contains(there))
                    }
                    ColumnFrom::Field(_)
                    | ColumnFrom::Computed { .. }
                    | ColumnFrom::Composed { .. }
                    | ColumnFrom::Change(_) => false,
                })
                .map(|column| column.name.clone())
                .collect();
            columns.extend(composed_of(silver, &columns));
            if !columns.is_empty() {
                // In the order of the key there.
                let key = &self.warehouse.silver[from].key;
                let on = key.iter().filter_map(|key| lookup.on.iter().find(|(_, there)| there == key));
                copies.push((on.map(|(mine, _)| mine.clone()).collect(), from, columns));
            }
        }
        copies
    }

    /// Whether a reader's row looks up a staged key.
    fn reads(&self, alias: &str, on: &[String], from: usize) -> String {
        let there = &self.warehouse.silver[from].key;
        let same = statement::equal("forgotten.", &format!("{alias}."), there, on);
        format!("EXISTS (SELECT FROM {} AS forgotten WHERE {same})", subject::table(from))
    }

    /// Every table that holds a relation's rows, present and past.
    fn places(&self, silver: &Silver) -> Vec<Name> {
        let mut places = vec![silver.table.clone()];
        match &silver.kind {
            SilverKind::Dimension { journal, .. } => places.extend(journal.clone()),
            SilverKind::Fact { archive, .. } => places.push(archive.clone()),
        }
        let older: Vec<Name> = places.iter().filter_map(|place| self.archives.get(place).cloned()).collect();
        places.extend(older);
        places
    }

    /// Takes away whatever silver is not computed to, and counts what repair will take.
    pub async fn erase(&mut self, connection: &mut PgConnection) -> Result<()> {
        for (number, silver) in self.fed() {
            for place in self.places(silver) {
                let forgotten = is_forgotten(silver, number, "stored");
                let table = quote::name(&place);
                let rows = if self.is_repaired(silver, &place) {
                    let sql = format!("SELECT count(*) FROM {table} AS stored WHERE {forgotten}");
                    u64::try_from(statement::scalar(connection, &sql, &[]).await?).unwrap_or_default()
                } else {
                    let sql = format!("DELETE FROM {table} AS stored WHERE {forgotten}");
                    statement::execute(connection, &sql).await?
                };
                self.count(&place, rows);
            }
        }
        self.erase_copies(connection).await?;
        self.erase_misfits(connection).await?;
        for landing in self.landings().into_iter().cloned().collect::<Vec<_>>() {
            let table = quote::name(&landing);
            let sql = format!("DELETE FROM {table} AS change WHERE {}", self.is_landed());
            let rows = statement::execute(connection, &sql).await?;
            self.count(&landing, rows);
        }
        self.erase_quarantine(connection).await?;
        if !self.gone.is_empty() {
            // What tests found wrong may show anybody, and is found again.
            let rows = statement::execute(connection, "DELETE FROM medallion.failed_row").await?;
            self.count(&Name::new("medallion", "failed_row"), rows);
            // So may what a run failed by.
            let failed = "UPDATE medallion.pipeline_metadata SET performance_metrics = performance_metrics - 'error' \
                          WHERE performance_metrics ? 'error'";
            let rows = statement::execute(connection, failed).await?;
            self.count(&Name::new("medallion", "pipeline_metadata"), rows);
        }
        Ok(())
    }

    /// Whether a table is silver's own, which repair computes anew.
    fn is_repaired(&self, silver: &Silver, place: &Name) -> bool {
        let archive = match &silver.kind {
            SilverKind::Fact { archive, .. } => Some(archive),
            SilverKind::Dimension { .. } => None,
        };
        *place == silver.table || Some(place) == archive
    }

    /// Takes copies out of what says by itself what was looked up: journals, and what retention put aside. Of
    /// what silver is computed to, counts those that repair will take.
    async fn erase_copies(&mut self, connection: &mut PgConnection) -> Result<()> {
        let fed: BTreeSet<usize> = self.fed().into_iter().map(|(number, _)| number).collect();
        let readers: Vec<usize> =
            self.columns.keys().copied().filter(|number| !fed.contains(number)).collect();
        for number in readers {
            let silver = &self.warehouse.silver[number];
            for place in self.places(silver) {
                let table = quote::name(&place);
                for (on, from, columns) in self.copies(silver) {
                    let columns: Vec<String> = columns.iter().map(|name| quote::identifier(name)).collect();
                    let copied: Vec<String> =
                        columns.iter().map(|column| format!("reader.{column} IS NOT NULL")).collect();
                    let copied = format!("({}) AND {}", copied.join(" OR "), self.reads("reader", &on, from));
                    let rows = if self.is_repaired(silver, &place) {
                        let sql = format!("SELECT count(*) FROM {table} AS reader WHERE {copied}");
                        u64::try_from(statement::scalar(connection, &sql, &[]).await?).unwrap_or_default()
                    } else {
                        let set: Vec<String> =
                            columns.iter().map(|column| format!("{column} = NULL")).collect();
                        let sql = format!("UPDATE {table} AS reader SET {} WHERE {copied}", set.join(", "));
                        statement::execute(connection, &sql).await?
                    };
                    self.count(&place, rows);
                }
            }
        }
        Ok(())
    }

    /// Why a change was left out repeats its values.
    async fn erase_misfits(&mut self, connection: &mut PgConnection) -> Result<()> {
        if !self.fed().iter().any(|(_, silver)| silver.is_computed()) {
            return Ok(());
        }
        for landing in self.landings().into_iter().cloned().collect::<Vec<_>>() {
            let sql = format!(
                "DELETE FROM medallion.misfit AS misfit USING {} AS change WHERE misfit.landing = {} \
                 AND misfit.lsn = change.lsn AND misfit.seq = change.seq AND {}",
                quote::name(&landing),
                quote::literal(&self.subject.silver.feed.to_string()),
                self.is_landed()
            );
            let rows = statement::execute(connection, &sql).await?;
            self.count(&Name::new("medallion", "misfit"), rows);
        }
        Ok(())
    }

    /// What could not land is text, but for its key.
    async fn erase_quarantine(&mut self, connection: &mut PgConnection) -> Result<()> {
        let sql = format!(
            "DELETE FROM medallion.quarantine AS kept USING {} AS forgotten WHERE {}",
            subject::table(self.subject.number),
            self.is_quarantined()
        );
        let rows = statement::execute(connection, &sql).await?;
        self.count(&Name::new("medallion", "quarantine"), rows);
        Ok(())
    }

    /// Whether a row in quarantine, called `kept`, is the subject's.
    fn is_quarantined(&self) -> String {
        let own = self.subject.silver;
        let same: Vec<String> = own
            .key
            .iter()
            .map(|name| {
                let field = quote::literal(field(own, name));
                let column = format!("forgotten.{}", quote::identifier(name));
                // A number or a time has more than one way of being written; what stands there need be none.
                format!("({column}::text = kept.key ->> {field} OR to_jsonb({column}) = kept.key -> {field})")
            })
            .collect();
        format!("kept.landing = {} AND {}", quote::literal(&own.feed.to_string()), same.join(" AND "))
    }

    fn count(&mut self, table: &Name, rows: u64) {
        if rows > 0 {
            *self.gone.entry(table.clone()).or_default() += rows;
        }
    }

    /// The keys that are repaired: by relation, the table of them.
    pub fn asked(&self) -> BTreeMap<Name, String> {
        let asked = |number: &usize| (self.warehouse.silver[*number].table.clone(), subject::table(*number));
        self.columns.keys().map(asked).collect()
    }

    /// Nothing of the subject's may be left.
    pub async fn prove(&self, connection: &mut PgConnection) -> Result<()> {
        for (number, silver) in self.fed() {
            for place in self.places(silver) {
                let table = quote::name(&place);
                let forgotten = is_forgotten(silver, number, "stored");
                let sql = format!("SELECT count(*) FROM {table} AS stored WHERE {forgotten}");
                if statement::scalar(connection, &sql, &[]).await? > 0 {
                    return Err(Error::new(format!(
                        "rows of the subject are left in `{place}`: nothing was erased"
                    ))
                    .remedy("`medallion verify` says whether the warehouse is what its changes make of it"));
                }
            }
        }
        Ok(())
    }
}

/// Whether a relation leaves out a landed row, called `change`.
fn is_misfit(silver: &Silver) -> String {
    format!(
        "EXISTS (SELECT FROM medallion.misfit AS left_out WHERE left_out.relation = {} \
         AND left_out.lsn = change.lsn AND left_out.seq = change.seq)",
        quote::literal(&silver.table.to_string())
    )
}

/// Whether a row of a relation has a staged key.
fn is_forgotten(silver: &Silver, number: usize, alias: &str) -> String {
    let same = statement::equal("forgotten.", &format!("{alias}."), &silver.key, &silver.key);
    format!("EXISTS (SELECT FROM {} AS forgotten WHERE {same})", subject::table(number))
}

/// What is computed of columns that were copied.
fn composed_of(silver: &Silver, copied: &[String]) -> Vec<String> {
    let columns = silver.columns.iter().filter(|column| match &column.from {
        ColumnFrom::Composed { of, .. } => of.iter().any(|one| copied.contains(one)),
        _ => false,
    });
    columns.map(|column| column.name.clone()).collect()
}
