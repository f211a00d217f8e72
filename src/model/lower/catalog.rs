//! What the spec declares, by name: types, landing tables, silver relations with their typed columns. Gives
//! every name its schema and sees to it that no two meet. Resolves no reference between relations.

use super::identity::Identity;
use super::names::{self, Namespace};
use super::relation::{Column, Relation, Section, Typed};
use super::report::Report;
use super::reserved::{LOADER_COLUMNS, SYSTEM_COLUMNS, TOOL_RELATIONS};
use super::scope::Scope;
use super::staging::{self, Staged};
use super::type_name::{self, Unusable};
use super::{calendar, enums, readable};
use crate::finding::{Code, Finding, Span};
use crate::model::{DataType, Enum, Name, Schemas, TOOL_SCHEMA, Writes};
use crate::spec::{self, At, Parsed};

/// What the spec declares.
pub(super) struct Catalog<'a> {
    pub schemas: Schemas,
    pub time_zone: String,
    pub relations: Vec<Relation<'a>>,
    pub landings: Vec<Landing<'a>>,
    pub stagings: Vec<Staged<'a>>,
    pub calendars: Vec<(&'a At<String>, &'a spec::Calendar)>,
    /// Joins over time, by their names.
    joins: Vec<&'a At<String>>,
    /// Whether every name that the spec gives could be read.
    pub all_named: bool,
    /// What stands beside each table that retention prunes.
    older: Beside,
    enums: Vec<Enum>,
}

/// What becomes of pruned rows, as far as names are concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    Archive,
}

/// A landing table: declared, or a lookup's.
pub(super) struct Landing<'a> {
    /// The name that a relation is fed by.
    pub declared: &'a At<String>,
    pub name: Name,
    pub from: Option<&'a At<String>>,
    pub key: &'a [At<String>],
    pub watermark: Option<&'a At<String>>,
    pub deletes: Option<&'a At<spec::Deletes>>,
    pub snapshot: Option<&'a At<spec::Snapshot>>,
    pub feed: Option<&'a At<spec::Feed>>,
    pub complete: bool,
    pub description: Option<&'a At<String>>,
}

impl<'a> Catalog<'a> {
    pub fn new(parsed: &'a Parsed<spec::Warehouse>, identity: &Identity, report: &mut Report<'_>) -> Self {
        let spec = &parsed.value;
        let schemas = identity.schemas.clone();
        let mut spaces = Spaces::default();
        for name in TOOL_RELATIONS {
            spaces.tool.reserve(name, "a table of medallion's own");
        }
        let enums = enums::lower(spec, &schemas, &mut spaces.readable, report);
        let then = spec.retention.as_ref().and_then(|retention| retention.then.as_ref());
        let older = match then.map(|then| then.value) {
            Some(spec::Then::Archive) => Beside::Archive,
            Some(spec::Then::Drop) | None => Beside::Nothing,
        };
        let mut catalog = Self {
            older,
            relations: Vec::new(),
            landings: Vec::new(),
            stagings: Vec::new(),
            calendars: Vec::new(),
            joins: Vec::new(),
            all_named: report.has_no_holes(),
            enums,
            schemas,
            time_zone: identity.time_zone.clone(),
        };
        for landing in &spec.landing {
            catalog.landing(landing, &mut spaces, report);
        }
        for staging in &spec.staging {
            let Some(name) = catalog.named(&staging.name, "the staging view", report) else { continue };
            spaces.readable.declare(name, "a staging view", report);
            let staged = staging::declare(name, staging, &catalog, report);
            catalog.stagings.push(staged);
        }
        for calendar in &spec.calendar {
            let Some(name) = catalog.named(&calendar.name, "the calendar", report) else { continue };
            spaces.readable.declare(name, "a calendar", report);
            catalog.calendars.push((name, calendar));
        }
        for lookup in &spec.lookup {
            catalog.lookup(lookup, &mut spaces, report);
        }
        for dimension in &spec.dimension {
            catalog.dimension(dimension, &mut spaces, report);
        }
        for fact in &spec.fact {
            catalog.fact(fact, &mut spaces, report);
        }
        for join in &spec.temporal_join {
            if let Some(name) = catalog.named(&join.name, "the temporal join", report) {
                spaces.readable.declare(name, "a temporal join", report);
                catalog.joins.push(name);
            }
        }
        for mart in &spec.mart {
            catalog.mart(mart, &mut spaces, report);
        }
        spaces.readable.check_partitions(report);
        catalog
    }

    /// The enumerated types.
    pub fn enums(&self) -> &[Enum] {
        &self.enums
    }

    /// A silver relation by the name that the spec gives it.
    pub fn relation(&self, name: &str) -> Option<&Relation<'a>> {
        self.relations.iter().find(|relation| relation.declared.value == name)
    }

    /// A staging view by its name.
    pub fn staging(&self, name: &str) -> Option<&Staged<'a>> {
        self.stagings.iter().find(|staged| staged.declared.value == name)
    }

    /// Whether a name is that of a view that nothing is stored behind but what has landed: staged rows, or days.
    pub fn is_derived(&self, name: &str) -> bool {
        self.staging(name).is_some() || self.calendars.iter().any(|(known, _)| known.value == name)
    }

    /// What marts can read before there are marts.
    pub fn scope(&self) -> Scope {
        let joins = self.joins.iter().map(|name| name.value.clone()).collect();
        let stagings = self.stagings.iter().map(|staged| staged.declared.value.clone()).collect();
        let mut scope = Scope { joins, stagings, all_named: self.all_named, ..Scope::default() };
        for (name, _) in &self.calendars {
            scope.readables.entry(name.value.clone()).or_insert_with(|| calendar::readable(name, self));
        }
        for relation in &self.relations {
            for readable in readable::of(relation, &self.schemas) {
                scope.readables.entry(readable.read.name.name.clone()).or_insert(readable);
            }
        }
        scope
    }

    fn landing(&mut self, landing: &'a At<spec::Landing>, spaces: &mut Spaces, report: &mut Report<'_>) {
        let Some(name) = self.named(&landing.name, "the landing table", report) else { return };
        if spaces.bronze.declare(name, "a landing table", report) {
            spaces.bronze.derive(&format!("{}_pkey", name.value), name, "the primary key", report);
            self.pruned(&name.value, name, spaces, report);
        }
        self.landings.push(Landing {
            declared: name,
            name: Name::new(&self.schemas.bronze, &name.value),
            from: landing.from.as_ref(),
            key: landing.key.as_ref().map_or(&[], |key| &key.value),
            watermark: landing.watermark.as_ref(),
            deletes: landing.deletes.as_ref(),
            snapshot: landing.snapshot.as_ref(),
            feed: landing.files.as_ref(),
            complete: report.is_complete(&landing.span),
            description: landing.description.as_ref(),
        });
    }

    fn lookup(&mut self, lookup: &'a At<spec::Lookup>, spaces: &mut Spaces, report: &mut Report<'_>) {
        let Some(name) = self.named(&lookup.name, "the lookup", report) else { return };
        let (cdc, hist) = (format!("{}_cdc", name.value), format!("{}_hist", name.value));
        let is_staged = lookup.from.as_ref().is_some_and(|from| self.staging(from).is_some());
        if spaces.readable.declare(name, "a lookup", report) {
            spaces.readable.derive(&hist, name, "the history", report);
            spaces.tool.derive(&hist, name, "the history", report);
            self.pruned(&hist, name, spaces, report);
            if !is_staged {
                spaces.tool.derive(&cdc, name, "the landing table", report);
                self.pruned(&cdc, name, spaces, report);
            }
        }
        names::check_derived(name, &[("_hist", "the history"), ("_cdc", "the landing table")], report);
        if !is_staged {
            self.landings.push(Landing {
                declared: name,
                name: Name::new(TOOL_SCHEMA, cdc),
                from: lookup.from.as_ref(),
                key: &[],
                watermark: lookup.watermark.as_ref(),
                deletes: lookup.deletes.as_ref(),
                snapshot: lookup.snapshot.as_ref(),
                feed: lookup.files.as_ref(),
                complete: report.is_complete(&lookup.span),
                description: None,
            });
        }
        let relation = Relation {
            section: Section::Lookup,
            declared: name,
            table: Name::new(TOOL_SCHEMA, hist),
            current_view: Some(Name::new(&self.schemas.silver, &name.value)),
            complete: report.is_complete(&lookup.span),
            from: lookup.from.as_ref(),
            staging: None,
            key: lookup.key.as_ref(),
            columns: Vec::new(),
            lookups: &[],
            description: lookup.description.as_ref(),
        };
        self.relation_with(relation, &lookup.columns, report);
    }

    fn dimension(
        &mut self,
        dimension: &'a At<spec::Dimension>,
        spaces: &mut Spaces,
        report: &mut Report<'_>,
    ) {
        let Some(name) = self.named(&dimension.name, "the dimension", report) else { return };
        let writes = match &dimension.system_versioning {
            Some(versioning) if versioning.value => Writes::Versioned,
            Some(_) | None => Writes::Loader,
        };
        let declared = spaces.readable.declare(name, "a dimension", report);
        if declared && writes == Writes::Versioned {
            let journal = format!("{}_journal", name.value);
            spaces.tool.derive(&journal, name, "the journal", report);
            self.pruned(&journal, name, spaces, report);
        }
        if declared {
            for (suffix, what) in [
                ("pkey", "the primary key"),
                ("current_key", "the index of current rows"),
                ("period_brin", "the index of periods"),
            ] {
                spaces.readable.derive(&format!("{}_{suffix}", name.value), name, what, report);
            }
            self.pruned(&name.value, name, spaces, report);
        }
        if declared && dimension.surrogate_key.is_some() {
            let index = format!("{}_surrogate_key", name.value);
            spaces.readable.derive(&index, name, "the index of the surrogate key", report);
        }
        if let Some(shown) = dimension.shown_as.as_ref().and_then(|shown| shown.name.as_ref())
            && names::check(shown, "the view of all versions", report)
        {
            spaces.readable.declare(shown, &format!("the view of all versions of `{}`", name.value), report);
        }
        if let Some(apart) = &dimension.closed_apart
            && declared
        {
            for (suffix, what) in [
                ("current", "the table of current versions"),
                ("closed", "the table of closed versions"),
                ("closed_default", "the default partition"),
            ] {
                spaces.readable.derive(&format!("{}_{suffix}", name.value), name, what, report);
            }
            spaces.readable.keep_for_partitions(&format!("{}_closed", name.value));
            let partition = format!("_closed{}", partition_suffix(apart.every.as_ref()));
            names::check_derived(name, &[(&partition, "a partition")], report);
        }
        let view = match &dimension.current_view {
            Some(view) => {
                if names::check(view, "the current view", report) {
                    spaces.readable.declare(view, &format!("the current view of `{}`", name.value), report);
                }
                Some(view.value.as_str())
            }
            None => name.strip_suffix("_hist").filter(|view| !view.is_empty()),
        };
        match view {
            Some(view) if dimension.current_view.is_none() && declared => {
                spaces.readable.derive(view, name, "the current view", report);
            }
            Some(_) => {}
            None => {
                let place = report.at(&name.span);
                let message = format!("`{}` has no `current_view`", name.value);
                report.push(
                    Finding::new(Code::MissingKey, message, place)
                        .label("does not end in `_hist`, so that the view has no name")
                        .help(format!("add `current_view = \"{}_current\"`", name.value)),
                );
            }
        }
        let relation = Relation {
            section: Section::Dimension { writes, written: dimension },
            declared: name,
            table: Name::new(&self.schemas.silver, &name.value),
            current_view: view.map(|view| Name::new(&self.schemas.silver, view)),
            complete: report.is_complete(&dimension.span),
            from: dimension.from.as_ref(),
            staging: None,
            key: dimension.key.as_ref(),
            columns: Vec::new(),
            lookups: &dimension.lookups,
            description: dimension.description.as_ref(),
        };
        self.relation_with(relation, &dimension.columns, report);
    }

    fn fact(&mut self, fact: &'a At<spec::Fact>, spaces: &mut Spaces, report: &mut Report<'_>) {
        let Some(name) = self.named(&fact.name, "the fact", report) else { return };
        if spaces.readable.declare(name, "a fact", report) {
            spaces.readable.derive(&format!("{}_pkey", name.value), name, "the primary key", report);
            spaces.readable.derive(&format!("{}_default", name.value), name, "the default partition", report);
            spaces.readable.keep_for_partitions(&name.value);
            let archive = format!("{}_history", name.value);
            spaces.tool.derive(&archive, name, "the archive", report);
            self.pruned(&archive, name, spaces, report);
        }
        let every = fact.partition.as_ref().and_then(|partition| partition.every.as_ref());
        let partition = partition_suffix(every);
        names::check_derived(name, &[(partition, "a partition"), ("_history", "the archive")], report);
        let relation = Relation {
            section: Section::Fact { partition: fact.partition.as_ref() },
            declared: name,
            table: Name::new(&self.schemas.silver, &name.value),
            current_view: None,
            complete: report.is_complete(&fact.span),
            from: fact.from.as_ref(),
            staging: None,
            key: fact.key.as_ref(),
            columns: Vec::new(),
            lookups: &fact.lookups,
            description: fact.description.as_ref(),
        };
        self.relation_with(relation, &fact.columns, report);
    }

    fn mart(&mut self, mart: &'a At<spec::Mart>, spaces: &mut Spaces, report: &mut Report<'_>) {
        let Some(name) = self.named(&mart.name, "the mart", report) else { return };
        let declared = spaces.readable.declare(name, "a mart", report);
        let stored = mart.storage.as_ref().is_some_and(|storage| storage.value != spec::Storage::View);
        if stored && declared {
            spaces.tool.derive(&format!("{}_definition", name.value), name, "the definition", report);
            spaces.tool.derive(&format!("{}_groups", name.value), name, "the groups", report);
        }
    }

    /// Gives the name of the table that takes what retention prunes from a table.
    fn pruned(&self, table: &str, from: &At<String>, spaces: &mut Spaces, report: &mut Report<'_>) {
        if self.older == Beside::Archive {
            spaces.tool.derive(&format!("{table}_pruned"), from, "the table of what was pruned", report);
        }
    }

    /// A name that can be one.
    fn named(
        &mut self,
        name: &'a Option<At<String>>,
        what: &str,
        report: &mut Report<'_>,
    ) -> Option<&'a At<String>> {
        match name {
            Some(name) => {
                names::check(name, what, report);
                Some(name)
            }
            None => {
                self.all_named = false;
                None
            }
        }
    }

    fn relation_with(
        &mut self,
        mut relation: Relation<'a>,
        columns: &'a Option<At<Vec<At<spec::Column>>>>,
        report: &mut Report<'_>,
    ) {
        let staged = relation.from.and_then(|from| self.staging(from));
        relation.staging = staged.map(|staged| (staged.feed(self), staged.name.clone()));
        let mut space = Namespace::default();
        for added in relation.added() {
            space.reserve(added, "a column that medallion adds");
        }
        if self.older == Beside::Archive {
            space.reserve("pruned_at", "a column that medallion adds");
        }
        for system in SYSTEM_COLUMNS {
            space.reserve(system, "a column that PostgreSQL gives every table");
        }
        if let Some(name) = relation.surrogate().and_then(|surrogate| surrogate.name.as_ref())
            && names::check(name, "the surrogate key", report)
        {
            space.declare(name, "the surrogate key", report);
        }
        if let Some(columns) = columns
            && columns.is_empty()
        {
            let place = report.at(&columns.span);
            let message = format!("`{}` has no columns", relation.declared.value);
            report.push(Finding::new(Code::MissingKey, message, place).label("at least those of the key"));
            relation.complete = false;
        }
        for column in columns.iter().flat_map(|columns| &columns.value) {
            let Some(name) = &column.value.name else {
                relation.complete = false;
                continue;
            };
            if names::check(name, "the column", report) {
                space.declare(name, "a column", report);
                if name.starts_with(LOADER_COLUMNS) {
                    let place = report.at(&name.span);
                    let message = format!("`{}` is kept for the loader", name.value);
                    report.push(
                        Finding::new(Code::ReservedName, message, place)
                            .label(format!("names in `{LOADER_COLUMNS}` are its own"))
                            .help("choose another name"),
                    );
                }
            }
            if let Some(from) = &column.value.from {
                names::check_tag(from, "the field", report);
            }
            let written = column.data_type.as_ref().and_then(|written| self.data_type(written, report));
            let Typed { data_type, nullability, taken } = match staged {
                Some(staged) => staging::take(staged, name, column, written, report),
                None => Typed::written(column, written),
            };
            if column.data_type.is_none() && data_type.is_none() {
                relation.complete = false;
                if taken.is_none() && staging::is_untyped(staged, name, column) {
                    report.push(untyped(name, report.at(&column.span)));
                }
            }
            relation.columns.push(Column { name, written: &column.value, data_type, nullability, taken });
        }
        self.relations.push(relation);
    }

    /// The type that a word of the spec means; a finding where it means none.
    pub fn data_type(&self, written: &At<String>, report: &mut Report<'_>) -> Option<DataType> {
        let unusable = match type_name::parse(written, &self.enums) {
            Ok(data_type) => return Some(data_type),
            Err(unusable) => unusable,
        };
        let place = report.at(&written.span);
        match unusable {
            Unusable::Unknown { base, meant } => {
                let message = match base.as_str() {
                    "" => "a type is missing".to_owned(),
                    base => format!("there is no type `{base}`"),
                };
                let finding = Finding::new(Code::UnknownType, message, place)
                    .label("neither PostgreSQL's nor one of `[types]`");
                let misspelt = meant.is_some();
                let finding = match meant {
                    Some(meant) => finding.help(format!("did you mean `{meant}`?")),
                    None => finding,
                };
                // An enumerated type may stand where the text could not be read.
                if misspelt || report.has_no_holes() {
                    report.push(finding);
                }
            }
            Unusable::Arguments(fits) => {
                let message = format!("`{}` is no type of a column", written.value);
                report.push(Finding::new(Code::TypeArguments, message, place).label(fits));
            }
        }
        None
    }
}

/// What is said of a column that nobody gives a type.
fn untyped(name: &At<String>, place: Span) -> Finding {
    let message = format!("`{}` in `columns` has no `type`", name.value);
    Finding::new(Code::MissingKey, message, place).label("`type` has to be given")
}

/// What the names of partitions end in.
fn partition_suffix(every: Option<&At<spec::Unit>>) -> &'static str {
    match every.map(|every| every.value) {
        Some(spec::Unit::Day) => "_2025_01_01",
        Some(spec::Unit::Week) => "_2025_w01",
        Some(spec::Unit::Year) => "_2025",
        Some(spec::Unit::Month | spec::Unit::Quarter) | None => "_2025_01",
    }
}

/// The namespaces in which names of the spec meet. What marts read by bare name stands in one, whatever its
/// schema: in the schema of time travel all of it stands side by side.
#[derive(Default)]
struct Spaces {
    bronze: Namespace,
    tool: Namespace,
    readable: Namespace,
}
