//! What others have granted on objects that a migration makes again, and said of them. Nothing of it is known here: the
//! migration itself looks before they go, and grants and says it again when they stand. Where the spec says something of
//! an object or a column, that holds.

use std::collections::BTreeSet;

use super::difference::{Step, column_of};
use super::object::{Catalog, Comment, Identity, Kind};
use super::quote::literal;
use super::table::{quoted, unquoted};

const SECTION: &str = "medallion: what others have granted and said";

/// Where what is found is kept meanwhile.
const LOOK: &str = "\
CREATE TEMPORARY TABLE \"medallion$kept\" (
    \"statement\" text,
    \"relation\" text,
    \"column\" name,
    \"comment\" text
);";

/// What others may do with relations and their columns.
const GRANTED: &str = "\
INSERT INTO \"medallion$kept\" (\"statement\", \"relation\", \"column\")
SELECT
    format(
        'GRANT %s ON %s TO %s%s',
        granted.privilege_type || coalesce(' (' || quote_ident(held.attname) || ')', ''),
        held.relation,
        coalesce(quote_ident(role.rolname), 'PUBLIC'),
        CASE WHEN granted.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
    ),
    held.relation::text,
    held.attname
FROM (
    SELECT \"oid\"::regclass, relowner, NULL::name, relacl
    FROM pg_class
    UNION ALL
    SELECT attrelid::regclass, relowner, attname, attacl
    FROM pg_attribute
    JOIN pg_class ON pg_class.\"oid\" = attrelid
    WHERE NOT attisdropped
) AS held (relation, owner, attname, acl)
CROSS JOIN LATERAL aclexplode(held.acl) AS granted
LEFT JOIN pg_roles AS role ON role.\"oid\" = granted.grantee
WHERE held.relation IN (
    {relations}
)
AND granted.grantee <> held.owner{others};";

/// What they have said of them.
const SAID: &str = "\
INSERT INTO \"medallion$kept\" (\"relation\", \"column\", \"comment\")
SELECT said.objoid::regclass::text, attname, said.description
FROM pg_description AS said
LEFT JOIN pg_attribute ON attrelid = said.objoid AND attnum = said.objsubid AND attnum > 0
WHERE said.classoid = 'pg_class'::regclass
AND said.objoid::regclass IN (
    {relations}
){unless};";

/// The same of functions. What they are for, the tool says of each.
const FUNCTIONS: &str = "\
INSERT INTO \"medallion$kept\" (\"statement\")
SELECT format(
    'GRANT %s ON FUNCTION %s TO %I%s',
    granted.privilege_type,
    pg_proc.\"oid\"::regprocedure,
    role.rolname,
    CASE WHEN granted.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
)
FROM pg_proc
CROSS JOIN LATERAL aclexplode(proacl) AS granted
JOIN pg_roles AS role ON role.\"oid\" = granted.grantee
WHERE pg_proc.\"oid\" IN (
    {functions}
)
AND granted.grantee <> proowner{others};";

const SAID_OF_TRIGGERS: &str = "\
INSERT INTO \"medallion$kept\" (\"statement\")
SELECT format('COMMENT ON TRIGGER %I ON %s IS %L', tgname, tgrelid::regclass, description)
FROM pg_description
JOIN pg_trigger ON pg_trigger.\"oid\" = objoid
WHERE classoid = 'pg_trigger'::regclass
AND (tgrelid::regclass, tgname) IN (
    {triggers}
);";

/// What still has its place comes back: a column may have gone, and a mart may be a table that was a view.
const AGAIN: &str = "\
DO $$
DECLARE
    kept text;
BEGIN
    FOR kept IN
        SELECT coalesce(there.\"statement\", format(
            'COMMENT ON %s %s IS %L',
            CASE
                WHEN there.\"column\" IS NOT NULL THEN 'COLUMN'
                WHEN made.relkind = 'v' THEN 'VIEW'
                WHEN made.relkind = 'm' THEN 'MATERIALIZED VIEW'
                WHEN made.relkind IN ('i', 'I') THEN 'INDEX'
                ELSE 'TABLE'
            END,
            there.\"relation\" || coalesce('.' || quote_ident(there.\"column\"), ''),
            there.\"comment\"
        ))
        FROM \"medallion$kept\" AS there
        LEFT JOIN pg_class AS made ON made.\"oid\" = to_regclass(there.\"relation\")
        LEFT JOIN pg_attribute ON attrelid = made.\"oid\" AND attname = there.\"column\" AND NOT attisdropped
        WHERE (there.\"column\" IS NULL OR attnum > 0)
        AND (
            there.\"comment\" IS NULL
            OR NOT EXISTS (
                SELECT
                FROM pg_description
                WHERE classoid = 'pg_class'::regclass
                AND objoid = made.\"oid\"
                AND objsubid = coalesce(attnum, 0)
            )
        )
    LOOP
        EXECUTE kept;
    END LOOP;
    DROP TABLE \"medallion$kept\";
END
$$;";

/// What is looked up before objects go that are made again, and what brings it back when they are.
pub(super) fn steps(old: &Catalog, new: &Catalog, made_again: &[&Identity]) -> (Vec<Step>, Option<Step>) {
    let is_relation =
        |kind: Kind| matches!(kind, Kind::Table | Kind::View | Kind::MaterializedView | Kind::Index);
    let relations: Vec<&Identity> = made_again.iter().copied().filter(|one| is_relation(one.kind)).collect();
    let functions: Vec<&Identity> =
        made_again.iter().copied().filter(|one| one.kind == Kind::Function).collect();
    let triggers: Vec<&Identity> =
        made_again.iter().copied().filter(|one| one.kind == Kind::Trigger).collect();
    let unsaid = |one: &&&Identity| !old.comments.iter().any(|comment| one.is_called(&comment.target));
    let mut statements = Vec::new();
    if !relations.is_empty() {
        let list = list(relations.iter().map(|one| regclass(&one.name)));
        let others = others(old, new);
        statements.push(GRANTED.replace("{relations}", &list).replace("{others}", &others));
        let unless = unless(&old.comments, &relations);
        statements.push(SAID.replace("{relations}", &list).replace("{unless}", &unless));
    }
    if !functions.is_empty() {
        let called =
            |one: &&Identity| format!("{}::regprocedure", literal(&format!("{}{}", one.name, one.of)));
        let all = list(functions.iter().map(called));
        statements.push(FUNCTIONS.replace("{functions}", &all).replace("{others}", &others(old, new)));
    }
    let unsaid: Vec<String> = triggers
        .iter()
        .filter(unsaid)
        .map(|one| format!("({}, {})", regclass(&one.of), literal(&unquoted(&one.name))))
        .collect();
    if !unsaid.is_empty() {
        statements.push(SAID_OF_TRIGGERS.replace("{triggers}", &list(unsaid.into_iter())));
    }
    if statements.is_empty() {
        return (Vec::new(), None);
    }
    let remark =
        "-- What stands in the way is made again, with what others have granted on it and said of it.\n";
    let first = Step { remark: remark.to_owned(), ..Step::new(SECTION, LOOK) };
    let rest = statements.into_iter().map(|sql| Step::new(SECTION, sql));
    (std::iter::once(first).chain(rest).collect(), Some(Step::new(SECTION, AGAIN)))
}

/// Those whose privileges the spec does not tell.
fn others(old: &Catalog, new: &Catalog) -> String {
    let roles: BTreeSet<String> = old
        .grants
        .iter()
        .chain(&new.grants)
        .filter(|(_, grant)| grant.role.starts_with('"'))
        .map(|(_, grant)| literal(&unquoted(&grant.role)))
        .collect();
    match roles.is_empty() {
        true => String::new(),
        false => {
            format!("\nAND coalesce(role.rolname, '') NOT IN ({})", Vec::from_iter(roles).join(", "))
        }
    }
}

/// What the spec said of relations and columns is not others'.
fn unless(comments: &[Comment], relations: &[&Identity]) -> String {
    let named: BTreeSet<&str> = relations.iter().map(|one| one.name.as_str()).collect();
    let called: BTreeSet<String> = relations.iter().flat_map(|one| one.calls()).collect();
    let said: Vec<String> = comments
        .iter()
        .filter_map(|one| match column_of(&one.target) {
            Some((relation, column)) if named.contains(relation) => {
                Some(format!("({}, {})", regclass(relation), literal(&unquoted(column))))
            }
            Some(_) => None,
            None if called.contains(&one.target) => {
                let name = &one.target[one.target.find('"')?..];
                Some(format!("({}, '')", regclass(name)))
            }
            None => None,
        })
        .collect();
    match said.is_empty() {
        true => String::new(),
        false => format!(
            "\nAND (said.objoid::regclass, coalesce(attname, '')) NOT IN (\n    {}\n)",
            list(said.into_iter())
        ),
    }
}

fn regclass(name: &str) -> String {
    debug_assert!(quoted(name).is_some(), "relations are called by quoted names");
    format!("{}::regclass", literal(name))
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<String>>().join(",\n    ")
}
