//! How a declared mart's groups are found and added to, as SQL in parts: what the runtime puts together. Knows no Rust.

use super::definition::{grain_value, measured};
use super::mart::{definition_view, groups_view};
use super::quote::{data_type, identifier};
use crate::model::data_type::BuiltIn;
use crate::model::{DataType, Definition, GrainValue, Mart, Name, Reach, Sum, Without};

/// What stands for the sign of a row that came, or went, in the SQL of a sum.
const SIGN: &str = "m$sign";

/// How a stored mart that is declared is refreshed.
pub struct Grouping {
    /// The view of its groups: the grain, and the measures that are taken of rows.
    pub groups: Name,
    /// The columns of that view.
    pub columns: Vec<String>,
    /// What is made of the groups: lists of columns, each over those before it, with their SQL.
    pub derived: Vec<Vec<(String, String)>>,
    /// The columns of the grain in which all rows agree that a change of one of them reaches; none where that is the
    /// row itself.
    pub reach: Option<Vec<String>>,
    /// Its sources.
    pub sources: Vec<Grouped>,
    /// How differences are added, where they can be.
    pub sums: Option<Added>,
}

/// How differences are added to a mart's groups.
pub struct Added {
    /// The measure that counts all rows.
    pub rows: Option<String>,
    /// The SQL of each measure's difference.
    pub differences: Vec<(String, String)>,
    /// The averages.
    pub averages: Vec<Averaged>,
    /// The counts of distinct values.
    pub distinct: Vec<Counted>,
}

/// A count of distinct values.
pub struct Counted {
    /// The measure.
    pub name: String,
    /// The SQL of the value.
    pub value: String,
    /// Which rows count.
    pub condition: Option<String>,
}

/// An average that follows from a sum and a count.
pub struct Averaged {
    /// The measure.
    pub name: String,
    /// The measure that has the sum.
    pub sum: String,
    /// The measure that has the count.
    pub count: String,
    /// Its SQL over `{sum}` and `{count}`.
    pub value: String,
}

/// A source of such a mart.
pub struct Grouped {
    /// The relation as the definition names it, and the stored one behind it.
    pub relation: (Name, Name),
    /// Its alias.
    pub alias: String,
    /// What is joined to it.
    pub joins: Vec<GroupedJoin>,
    /// The SQL of each column of the grain.
    pub grain: Vec<String>,
    /// Those columns of the grain that its own rows tell, without what is joined to them.
    pub own: Vec<String>,
    /// Whether an index finds the rows of a group.
    pub indexed: bool,
    /// Which rows count.
    pub filter: Option<String>,
    /// Whether the rows before and after a change tell the groups that it touches.
    pub told: bool,
}

/// What is joined to a source.
pub struct GroupedJoin {
    /// The relation as the definition names it, and the stored one behind it.
    pub relation: (Name, Name),
    /// Its alias.
    pub alias: String,
    /// Its key's columns, with what they are equal to.
    pub on: Vec<(String, String)>,
    /// Whether rows that find nothing are left out.
    pub required: bool,
}

/// How a mart is refreshed, if it is declared.
pub fn grouping(mart: &Mart, time_zone: &str) -> Option<Grouping> {
    let Definition::Declared(declared) = &mart.definition else { return None };
    let named = |name: &Name| {
        let read = mart.reads.iter().find(|read| read.name == *name);
        (name.clone(), read.map_or_else(|| name.clone(), |read| read.stored.clone()))
    };
    let sources = declared.sources.iter().map(|source| Grouped {
        relation: named(&source.relation),
        alias: source.alias.clone(),
        joins: source
            .joins
            .iter()
            .map(|join| GroupedJoin {
                relation: named(&join.relation),
                alias: join.alias.clone(),
                on: join
                    .on
                    .iter()
                    .map(|((of, own), key)| (key.clone(), format!("{}.{}", identifier(of), identifier(own))))
                    .collect(),
                required: join.without == Without::LeftOut,
            })
            .collect(),
        grain: mart
            .grain
            .iter()
            .zip(&source.grain)
            .map(|(column, value)| grain_value(column, source, value, time_zone))
            .collect(),
        own: mart
            .grain
            .iter()
            .zip(&source.grain)
            .filter(|(_, value)| match value {
                GrainValue::Column(alias, _) => *alias == source.alias,
                GrainValue::Expression(_) => source.joins.is_empty(),
            })
            .map(|(column, _)| column.name.clone())
            .collect(),
        // As the index on a fact has it: of its columns alone.
        indexed: named(&source.relation).1 == source.relation
            && source
                .grain
                .iter()
                .all(|value| matches!(value, GrainValue::Column(alias, _) if *alias == source.alias)),
        filter: source.filter.clone(),
        told: source.told,
    });
    let typed = |name: &String, value: &String| {
        let column = mart.measures.iter().find(|measure| measure.name == *name);
        let data_type = column.map_or_else(String::new, |column| data_type(&column.data_type));
        (name.clone(), format!("CAST({value} AS {data_type})"))
    };
    let columns = mart.grain.iter().chain(measured(mart, declared));
    Some(Grouping {
        groups: if declared.derived.is_empty() { definition_view(mart) } else { groups_view(mart) },
        columns: columns.map(|column| column.name.clone()).collect(),
        derived: declared
            .derived
            .iter()
            .map(|layer| layer.iter().map(|(name, value)| typed(name, value)).collect())
            .collect(),
        reach: match &declared.reach {
            Reach::Row => None,
            Reach::Rows(columns) => Some(columns.clone()),
        },
        sources: sources.collect(),
        sums: declared.sums.as_ref().map(|sums| {
            let all = sums.measures.iter().map(|(name, sum)| {
                let column = mart.measures.iter().find(|measure| measure.name == *name);
                let numeric = column
                    .is_some_and(|column| matches!(column.data_type, DataType::BuiltIn(BuiltIn::Numeric(_))));
                // Wide enough for what the column itself could not hold, and of its kind.
                let kind = if numeric { "numeric" } else { "bigint" };
                (name.clone(), format!("CAST({} AS {kind})", difference(sum)))
            });
            let averages = sums.averages.iter().map(|one| {
                let mean = "{sum}::numeric / nullif({count}, 0)".to_owned();
                let mean = match &one.places {
                    Some(places) => format!("round({mean}, {places})"),
                    None => mean,
                };
                let (name, value) = typed(&one.name, &mean);
                Averaged { name, sum: one.sum.clone(), count: one.count.clone(), value }
            });
            let distinct = sums.distinct.iter().map(|(name, counted)| {
                let alias = declared.sources.first().map_or("", |source| source.alias.as_str());
                let value = format!("{}.{}", identifier(alias), identifier(&counted.column));
                Counted { name: name.clone(), value, condition: counted.condition.clone() }
            });
            Added {
                rows: sums.rows.clone(),
                differences: all.collect(),
                averages: averages.collect(),
                distinct: distinct.collect(),
            }
        }),
    })
}

/// By how much a sum differs. Signs are multiplied as `numeric`, in which no number overflows.
fn difference(sum: &Sum) -> String {
    let (value, conditions) = match sum {
        Sum::Rows(condition) => (SIGN.to_owned(), vec![condition.clone()]),
        Sum::Known(value, condition) => {
            (SIGN.to_owned(), vec![Some(format!("({value}) IS NOT NULL")), condition.clone()])
        }
        Sum::Of(value, condition) => (format!("{SIGN} * ({value})::numeric"), vec![condition.clone()]),
    };
    let conditions: Vec<String> = conditions.into_iter().flatten().map(|one| format!("({one})")).collect();
    let filter = match conditions.is_empty() {
        true => String::new(),
        false => format!(" FILTER (WHERE {})", conditions.join(" AND ")),
    };
    format!("coalesce(sum({value}){filter}, 0)")
}
