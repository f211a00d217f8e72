//! What the runtime is told of a warehouse, made from the model and the lock instead of from compiled entities, so
//! that a spec that a test has just drawn can run. Says what the emitter of entities says, in data.

use std::time::Duration;

use medallion::emit;
use medallion::model::data_type::BuiltIn;
use medallion::model::{
    self, Closed, ColumnFrom, DataType, LookupTime, SilverKind, Storage, Tracking, Unit, Writes,
};
use medallion::plan::lock::Lock;
use medallion_runtime::descriptor::{
    self, Column, Landing, Lookup, Mart, Name, Scripts, Silver, Source, StagingView, Warehouse,
};
use sha2::{Digest as _, Sha256};

/// The warehouse, captured through a slot of this name.
pub fn warehouse(model: &model::Warehouse, lock: &Lock, slot: &str) -> Warehouse {
    Warehouse {
        name: kept(&model.name),
        spec_hash: "",
        objects_hash: kept(&lock.objects_hash),
        time_zone: kept(&model.time_zone),
        schemas: vec![kept(&model.schemas.silver), kept(&model.schemas.gold)],
        source: Source {
            publication: slot.to_owned(),
            slot: slot.to_owned(),
            recorded_log: None,
            keep_log: None,
            plugin: descriptor::Plugin::default(),
            removed_partitions: descriptor::RemovedPartitions::default(),
            polling: polling(model),
        },
        landings: landings(model),
        silver: model.silver.iter().map(|one| silver(one, model, lock)).collect(),
        marts: model.marts.iter().map(|one| mart(one, model)).collect(),
        migrations: Vec::new,
        stagings: model.stagings.iter().map(|one| staging(one, model)).collect(),
        calendars: model.calendars.iter().map(|one| name(&one.name)).collect(),
        refused: &[],
        tags: Vec::new(),
        lineage: "[]",
        alerts: Vec::new(),
        scripts: Scripts::default(),
        tests: Vec::new(),
        demo: Vec::new(),
    }
}

fn staging(staging: &model::Staging, model: &model::Warehouse) -> StagingView {
    StagingView {
        view: name(&staging.name),
        landing: name(&staging.feed),
        of_landed: kept(&emit::of_landed(staging, model)),
    }
}

/// Those that the source's changes feed first.
fn landings(model: &model::Warehouse) -> Vec<Landing> {
    let (changes, copies): (Vec<_>, Vec<_>) =
        model.landings.iter().partition(|landing| landing.is_captured());
    let all = changes.into_iter().chain(copies).map(landing);
    match model.is_bronze_apart {
        true => all.map(Landing::apart).collect(),
        false => all.collect(),
    }
}

fn landing(landing: &model::Landing) -> Landing {
    let key = landing.key.iter().map(String::as_str);
    let plain = Landing::new(name(&landing.name), name(&landing.source), key);
    match &landing.fed {
        model::Fed::Log | model::Fed::Watermark(_) => plain,
        model::Fed::Files(feed) => plain.by_files(self::feed(feed)),
        model::Fed::Snapshots(snapshots) => plain.by_snapshots(descriptor::Snapshots {
            every: snapshots.every.map(Duration::from_secs),
            gone: match snapshots.gone {
                model::Gone::Closed => descriptor::Gone::Closed,
                model::Gone::Kept => descriptor::Gone::Kept,
                model::Gone::Ignored => descriptor::Gone::Ignored,
            },
        }),
    }
}

fn feed(feed: &model::Feed) -> descriptor::Feed {
    descriptor::Feed {
        path: feed.path.clone(),
        format: match &feed.format {
            model::FeedFormat::Csv(csv) => descriptor::FeedFormat::Csv(descriptor::Csv {
                delimiter: u8::try_from(csv.delimiter).unwrap(),
                quote: u8::try_from(csv.quote).unwrap(),
                null: csv.null.clone(),
                columns: csv.columns.clone(),
            }),
            model::FeedFormat::JsonLines => descriptor::FeedFormat::JsonLines,
            model::FeedFormat::JsonArray => descriptor::FeedFormat::JsonArray,
            model::FeedFormat::ChangeLog => descriptor::FeedFormat::ChangeLog,
            model::FeedFormat::Parquet => descriptor::FeedFormat::Parquet,
        },
        changed: match feed.changed {
            model::Changed::Reread => descriptor::Changed::Reread,
            model::Changed::Grown => descriptor::Changed::Grown,
            model::Changed::Refused => descriptor::Changed::Refused,
        },
        time: feed.time.clone(),
        time_zone: feed.time_zone.clone().map(|zone| &*zone.leak()),
    }
}

/// A descriptor is made for good.
fn polling(model: &model::Warehouse) -> Option<descriptor::Polling> {
    let polling = model.source.polling.as_ref()?;
    let watermarks = model.landings.iter().filter_map(model::Landing::watermark);
    let watermarks = watermarks.map(|one| descriptor::Watermark {
        column: one.column.clone(),
        deletes: match one.deletes {
            model::Deletes::Ignored => descriptor::Deletes::Ignored,
            model::Deletes::Compared => descriptor::Deletes::Compared,
        },
    });
    Some(descriptor::Polling {
        every: Duration::from_secs(polling.every),
        margin: Duration::from_secs(polling.margin),
        look_back: Duration::from_secs(polling.look_back),
        page: polling.page,
        compare_every: Duration::from_secs(polling.compare_every),
        watermarks: watermarks.collect(),
    })
}

fn kept(text: &str) -> &'static str {
    String::leak(text.to_owned())
}

fn name(name: &model::Name) -> Name {
    Name::new(&name.schema, &name.name)
}

fn inputs(computed: &model::Computed) -> Vec<descriptor::Input> {
    let input = |input: &model::Input| descriptor::Input {
        name: input.name.clone(),
        sql_type: sql_type(&input.data_type),
        field: input.field.clone(),
    };
    computed.inputs.iter().map(input).collect()
}

fn silver(silver: &model::Silver, model: &model::Warehouse, lock: &Lock) -> Silver {
    let known = &lock.columns[&format!("{}.{}", silver.name.schema, silver.name.name)];
    let columns = known.iter().map(|column| {
        let column = silver.columns.iter().find(|one| one.name == *column).unwrap();
        Column {
            name: column.name.clone(),
            sql_type: sql_type(&column.data_type),
            counted: silver
                .filter
                .as_ref()
                .filter(|_| silver.key.first() == Some(&column.name))
                .map(|filter| descriptor::Filter { inputs: inputs(filter), sql: filter.sql.clone() }),
            from: match &column.from {
                ColumnFrom::Field(field) => descriptor::ColumnFrom::Field(field.clone()),
                ColumnFrom::Lookup { lookup, column } => match hash(silver, lookup, column, model) {
                    Some(sql) => descriptor::ColumnFrom::LookedUpHash { lookup: lookup.clone(), sql },
                    None => descriptor::ColumnFrom::Lookup { lookup: lookup.clone(), column: column.clone() },
                },
                ColumnFrom::Change(change) => descriptor::ColumnFrom::Change(told(*change)),
                ColumnFrom::Composed(composed) => {
                    descriptor::ColumnFrom::Composed { of: composed.of.clone(), sql: composed.sql.clone() }
                }
                ColumnFrom::Computed(computed) => {
                    descriptor::ColumnFrom::Computed { inputs: inputs(computed), sql: computed.sql.clone() }
                }
            },
            tracking: match column.tracking {
                Tracking::Opening => descriptor::Tracking::Opening,
                Tracking::Tracked => descriptor::Tracking::Tracked,
                Tracking::Untracked => descriptor::Tracking::Untracked,
            },
            renamed: column.renamed.clone().into_iter().collect(),
        }
    });
    let lookups = silver.lookups.iter().map(|one| Lookup {
        alias: one.alias.clone(),
        relation: name(&one.relation),
        on: one.on.clone(),
        at: match &one.at {
            LookupTime::SystemTime => descriptor::LookupTime::SystemTime,
            LookupTime::OwnTime(column) => descriptor::LookupTime::OwnTime(column.clone()),
        },
    });
    let kind = match &silver.kind {
        SilverKind::Dimension(dimension) => descriptor::SilverKind::Dimension {
            current: name(&dimension.current_view),
            row_hash: dimension.row_hash.clone(),
            start: dimension.start.clone(),
            end: dimension.end.clone(),
            journal: (dimension.writes == Writes::Versioned)
                .then(|| Name::new("medallion", derived(&silver.name.name, "journal"))),
            closed: match dimension.closed {
                Closed::Together => None,
                Closed::Apart { every } => Some(descriptor::Closed {
                    table: Name::new(&silver.name.schema, derived(&silver.name.name, "closed")),
                    every: unit(every),
                }),
            },
            surrogate: dimension.surrogate.as_ref().map(|one| descriptor::Surrogate {
                name: one.name.clone(),
                hash: emit::looked_up_hash(dimension),
            }),
        },
        SilverKind::Fact(fact) => descriptor::SilverKind::Fact {
            snapshot: fact.snapshot.clone(),
            archive: name(&fact.archive),
            partition_by: fact.partition_by.clone(),
            partition_every: unit(fact.partition_every),
        },
    };
    Silver {
        table: name(&silver.name),
        feed: name(&silver.feed),
        key: silver.key.clone(),
        columns: columns.collect(),
        lookups: lookups.collect(),
        kind,
    }
}

/// The SQL of a surrogate key that is looked up.
fn hash(silver: &model::Silver, lookup: &str, column: &str, model: &model::Warehouse) -> Option<String> {
    let lookup = silver.lookups.iter().find(|one| one.alias == lookup)?;
    let there = model.silver.iter().find(|one| one.name == lookup.relation)?;
    let SilverKind::Dimension(dimension) = &there.kind else { return None };
    let named = dimension.surrogate.as_ref().filter(|surrogate| surrogate.name == column);
    named.and_then(|_| emit::looked_up_hash(dimension))
}

fn told(change: model::Change) -> descriptor::Change {
    match change {
        model::Change::Operation => descriptor::Change::Operation,
        model::Change::Letter => descriptor::Change::Letter,
        model::Change::Time => descriptor::Change::Time,
        model::Change::Position => descriptor::Change::Position,
        model::Change::Landed => descriptor::Change::Landed,
        model::Change::Batch => descriptor::Change::Batch,
        model::Change::BatchId => descriptor::Change::BatchId,
    }
}

fn mart(mart: &model::Mart, model: &model::Warehouse) -> Mart {
    let names = |columns: &[model::MartColumn]| -> Vec<String> {
        columns.iter().map(|column| column.name.clone()).collect()
    };
    Mart {
        table: name(&mart.name),
        columns: [names(&mart.grain), names(&mart.measures)].concat(),
        grain: names(&mart.grain),
        storage: match &mart.storage {
            Storage::View => descriptor::Storage::View,
            Storage::MaterializedView => descriptor::Storage::MaterializedView,
            Storage::Incremental { .. } => descriptor::Storage::Incremental {
                definition: Name::new("medallion", derived(&mart.name.name, "definition")),
                refresh: match emit::grouping(mart, &model.time_zone) {
                    Some(grouping) => descriptor::Refresh::Groups(Box::new(groups(grouping))),
                    // Always the whole of it: what changes is the spec.
                    None => descriptor::Refresh::Units(Vec::new()),
                },
            },
        },
        reads: stored_reads(mart, model),
    }
}

fn groups(grouping: emit::Grouping) -> descriptor::Groups {
    let sources = grouping.sources.into_iter().map(|source| descriptor::MartSource {
        relation: name(&source.relation.0),
        stored: name(&source.relation.1),
        alias: source.alias,
        joins: source
            .joins
            .into_iter()
            .map(|join| descriptor::MartJoin {
                relation: name(&join.relation.0),
                stored: name(&join.relation.1),
                alias: join.alias,
                on: join.on,
                required: join.required,
            })
            .collect(),
        grain: source.grain,
        own: source.own,
        indexed: source.indexed,
        filter: source.filter,
        told: source.told,
    });
    descriptor::Groups {
        view: name(&grouping.groups),
        columns: grouping.columns,
        derived: grouping.derived,
        reach: grouping.reach,
        sources: sources.collect(),
        sums: grouping.sums.map(|sums| descriptor::Sums {
            rows: sums.rows,
            differences: sums.differences,
            averages: sums
                .averages
                .into_iter()
                .map(|one| descriptor::Average {
                    name: one.name,
                    sum: one.sum,
                    count: one.count,
                    value: one.value,
                })
                .collect(),
            distinct: sums
                .distinct
                .into_iter()
                .map(|one| descriptor::Distinct {
                    name: one.name,
                    value: one.value,
                    condition: one.condition,
                })
                .collect(),
        }),
    }
}

fn stored_reads(mart: &model::Mart, model: &model::Warehouse) -> Vec<Name> {
    let mut stored = Vec::new();
    for read in &mart.reads {
        match model.marts.iter().find(|other| other.name == read.stored) {
            Some(view) if !view.storage.is_kept() => stored.extend(stored_reads(view, model)),
            _ => stored.push(name(&read.stored)),
        }
    }
    stored.sort();
    stored.dedup();
    stored
}

fn unit(unit: Unit) -> descriptor::Unit {
    match unit {
        Unit::Day => descriptor::Unit::Day,
        Unit::Week => descriptor::Unit::Week,
        Unit::Month => descriptor::Unit::Month,
        Unit::Quarter => descriptor::Unit::Quarter,
        Unit::Year => descriptor::Unit::Year,
    }
}

fn sql_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Enum(name) => {
            let quoted = |part: &str| format!("\"{}\"", part.replace('"', "\"\""));
            format!("{}.{}", quoted(&name.schema), quoted(&name.name))
        }
        DataType::Array(element) => format!("{}[]", sql_type(element)),
        DataType::BuiltIn(built_in) => match built_in {
            BuiltIn::Boolean => "boolean".to_owned(),
            BuiltIn::SmallInt => "smallint".to_owned(),
            BuiltIn::Integer => "integer".to_owned(),
            BuiltIn::BigInt => "bigint".to_owned(),
            BuiltIn::Numeric(None) => "numeric".to_owned(),
            BuiltIn::Numeric(Some((precision, scale))) => format!("numeric({precision}, {scale})"),
            BuiltIn::Text => "text".to_owned(),
            BuiltIn::Varchar(None) => "varchar".to_owned(),
            BuiltIn::Varchar(Some(length)) => format!("varchar({length})"),
            BuiltIn::Date => "date".to_owned(),
            BuiltIn::Timestamp => "timestamp".to_owned(),
            BuiltIn::TimestampTz => "timestamptz".to_owned(),
            BuiltIn::Char(length) => format!("char({length})"),
            other => panic!("no test draws {other:?}"),
        },
    }
}

/// A name for what hangs on a relation, as the tool makes it of names that are too long.
pub fn derived(base: &str, suffix: &str) -> String {
    let whole = format!("{base}_{suffix}");
    if whole.len() <= 63 {
        return whole;
    }
    let digest = Sha256::digest(whole.as_bytes());
    let hash: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let mut room = 63 - suffix.len() - hash.len() - 2;
    while !base.is_char_boundary(room) {
        room -= 1;
    }
    format!("{}_{hash}_{suffix}", &base[..room])
}
