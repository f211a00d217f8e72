//! The roles that the migration makes: an owner without superuser's rights migrates, a login of the loader's
//! runs, one of the reader's asks; and of all statements on all layers each may those that it needs, and no
//! other.

use medallion_runtime::connection::{self, Database};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::support::program::{self, command_on};
use crate::support::{Shop, compare, laws, staff};

/// What is tried on a relation, by the letter that stands for it.
const KINDS: [(char, &str); 8] = [
    ('S', "SELECT * FROM {} LIMIT 0"),
    ('I', "INSERT INTO {} DEFAULT VALUES"),
    ('U', "UPDATE {} SET {column} = {column}"),
    ('D', "DELETE FROM {}"),
    ('T', "TRUNCATE {}"),
    ('A', "ALTER TABLE {} DISABLE TRIGGER ALL"),
    ('X', "DROP TABLE {} CASCADE"),
    ('C', "CREATE TRIGGER own BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION medallion.keep_history()"),
];

/// What only the owner calls: retention, erasure, guards; and what the triggers of versioned dimensions call as the
/// owner, or would as the writer, for Pagila has no such dimension.
const LOADER_MAY_NOT: [&str; 24] = [
    "fold_landed",
    "go_by_index",
    "guards",
    "is_given",
    "is_other",
    "kept_since",
    "last_landed",
    "mark_ending",
    "met",
    "note_switch",
    "notice",
    "prune",
    "pruned",
    "pruning",
    "refuse_closed",
    "refuse_conflict",
    "refuse_period",
    "refuse_unseen",
    "settling",
    "shifted",
    "stamp",
    "switch_guards",
    "whole",
    "wrote",
];

/// That, and what makes the loader one.
fn reader_may_not() -> Vec<&'static str> {
    let loading = [
        "analyze",
        "backfill",
        "backfilling",
        "fold_apart",
        "index_versions",
        "make_partition",
        "refresh",
        "retain",
    ];
    let mut names = [&LOADER_MAY_NOT[..], &loading].concat();
    names.sort_unstable();
    names
}

const INSUFFICIENT_PRIVILEGE: &str = "42501";

#[tokio::test]
async fn the_loader_runs_and_the_reader_asks() {
    let (shop, loader, reader) = staff::open("roles_run").await;
    assert_at_work(shop, &loader, &reader).await;
}

/// Where PUBLIC may nothing, the roles may what they may elsewhere: their pages leave nothing to it.
#[tokio::test]
async fn the_loader_runs_and_the_reader_asks_where_public_has_no_rights() {
    let (mut shop, loader, reader) = staff::open_hardened("roles_hard").await;
    let open_to_all = "SELECT count(*) FROM pg_proc AS procedure
        WHERE pronamespace::regnamespace::text IN ('temporal_silver', 'simple_gold', 'as_of', 'medallion')
        AND has_function_privilege('public', procedure.oid, 'EXECUTE')";
    assert_eq!(compare::value(&mut shop.warehouse, open_to_all).await, "0");
    for (role, expected) in [("pagila_loader", LOADER_MAY_NOT.to_vec()), ("pagila_reader", reader_may_not())]
    {
        let may_not = format!(
            "SELECT DISTINCT proname
            FROM pg_proc AS procedure
            WHERE pronamespace::regnamespace::text IN ('temporal_silver', 'simple_gold', 'as_of', 'medallion')
            AND prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
            AND NOT has_function_privilege('{role}', procedure.oid, 'EXECUTE')
            ORDER BY proname"
        );
        assert_eq!(compare::rows(&mut shop.warehouse, &may_not).await, expected, "{role}");
    }
    assert_at_work(shop, &loader, &reader).await;
}

async fn assert_at_work(mut shop: Shop, loader: &str, reader: &str) {
    let sample = shop.descriptor.scripts.sample.expect("Pagila brings a sample");
    let fill = "TRUNCATE language, category CASCADE";
    compare::execute(&mut shop.source, fill).await;
    compare::execute(&mut shop.source, sample).await;
    shop.run().await;
    let traffic = shop.descriptor.scripts.traffic.expect("Pagila brings traffic");
    compare::execute(&mut shop.source, traffic).await;
    assert!(!shop.run().await.is_empty());
    laws::assert_hold(&mut shop, "run by the loader").await;
    let analyzed = "SELECT count(*) FROM pg_stats WHERE schemaname = 'temporal_silver'";
    assert_ne!(compare::value(&mut shop.warehouse, analyzed).await, "0", "statistics are taken");

    let ask = |arguments: &[&str]| command_on(&shop.place.source, reader, arguments).output().unwrap();
    for question in [
        &["query", "SELECT count(*) FROM dim_customer"][..],
        &["query", "SELECT * FROM dim_film_as_of('2025-07-01') LIMIT 1"],
        &["query", "SELECT * FROM lookup_store_as_of('2025-07-01')"],
        &["query", "--as-of", "2025-07-01", "SELECT sum(revenue) FROM vw_monthly_revenue"],
        &["query", "--as-of", "2025-07-01", "SELECT count(*) FROM vw_store_scorecard"],
        &["query", "SELECT medallion.now(), count(*) FROM vw_top_titles"],
        &["query", "SELECT count(*) FROM vw_store_scorecard"],
        &["query", "SELECT count(*) FROM dim_customer FOR SYSTEM_TIME AS OF '2025-07-01'"],
        &["query", "SELECT count(*) FROM dim_film FOR SYSTEM_TIME BETWEEN '2025-01-01' AND '2025-07-01'"],
        &["query", "SELECT medallion.time_of(pg_lsn '0/0')::text, medallion.time_of(0)"],
    ] {
        let output = ask(question);
        assert!(output.status.success(), "{question:?}: {}", program::stderr(&output));
    }
    for question in ["SELECT * FROM cdc_bronze.br_customer_cdc", "SELECT * FROM medallion.watermark"] {
        let output = ask(&["query", question]);
        assert_eq!(output.status.code(), Some(2), "{question}");
        assert!(program::stderr(&output).contains("permission denied"), "{question}");
    }
    // What landed is not the reader's to see; what differs is.
    let difference = ["diff", "fact_payment", "--from", "2025-01-01"];
    let output = ask(&difference);
    let said = program::stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("payment_id = "), "{said}");
    assert!(said.contains("may not read `cdc_bronze.br_payment_cdc`"), "{said}");
    assert!(said.contains("`medallion.fact_payment_history`"), "{said}");
    let run = command_on(&shop.place.source, reader, &["run"]).output().unwrap();
    assert_eq!(run.status.code(), Some(2), "a reader does not run");
    // The loader reads all that makes a difference.
    let output = command_on(&shop.place.source, loader, &difference).output().unwrap();
    let said = program::stderr(&output);
    assert!(output.status.success() && said.is_empty(), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("cdc_bronze.br_payment_cdc 0/"));
    for verb in
        [&["verify"][..], &["test"], &["rebuild", "dim_customer"], &["rebuild", "fact_rental"], &["status"]]
    {
        let output = command_on(&shop.place.source, loader, verb).output().unwrap();
        assert!(output.status.success(), "{verb:?}: {}", program::stderr(&output));
    }

    // By any other client.
    for url in [loader, reader] {
        let mut session = connection::connect(Database::Warehouse, url).await.unwrap();
        for question in [
            "SELECT FROM temporal_silver.dim_customer_as_of('2025-07-01')",
            "SELECT FROM temporal_silver.dim_customer_as_of('2025-07-01', 1)",
            "SELECT FROM temporal_silver.dim_customer_between('2025-01-01', '2025-07-01')",
            "SELECT FROM temporal_silver.dim_customer_history(1)",
            "SELECT FROM temporal_silver.dim_customer_changes('2025-01-01', '2025-07-01')",
            "SELECT FROM temporal_silver.lookup_store_as_of('2025-07-01')",
            "SELECT FROM simple_gold.vw_store_scorecard",
            "SET medallion.as_of = '2025-07-01'; SELECT FROM as_of.vw_store_scorecard; SELECT FROM as_of.dim_film",
            "CREATE TEMPORARY TABLE own AS SELECT * FROM temporal_silver.dim_film",
            "CREATE TEMPORARY TABLE rated (rating temporal_silver.mpaa_rating)",
        ] {
            assert_eq!(fails(&mut session, question).await, None, "{question}");
        }
    }
}

#[tokio::test]
async fn each_role_may_what_it_needs_and_nothing_else() {
    let (mut shop, loader, reader) = staff::open("roles_rights").await;
    shop.run().await;
    let relations = compare::rows(
        &mut shop.warehouse,
        "SELECT format('%I.%I', relnamespace::regnamespace, relname), quote_ident(attname), relkind
        FROM pg_class AS relation
        JOIN LATERAL (
            SELECT attname
            FROM pg_attribute
            WHERE attrelid = relation.oid AND attnum > 0 AND attidentity = ''
            ORDER BY attnum
            LIMIT 1
        ) AS attribute ON true
        WHERE relnamespace::regnamespace::text IN
            ('cdc_bronze', 'temporal_silver', 'simple_gold', 'as_of', 'medallion')
        AND relkind IN ('r', 'p', 'v', 'm')",
    )
    .await;
    let mut different = Vec::new();
    for (role, url) in [("loader", &loader), ("reader", &reader)] {
        let mut session = connection::connect(Database::Warehouse, url).await.unwrap();
        for relation in &relations {
            let [name, column, kind] = relation.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{relation}")
            };
            let mut may = String::new();
            for (letter, sql) in KINDS {
                let sql = sql.replace("{}", name).replace("{column}", column);
                if allowed(&mut session, &sql).await {
                    may.push(letter);
                }
            }
            let expected = expected(role, name, kind);
            if may != expected {
                different.push(format!("{role} on {name}: may `{may}`, should `{expected}`"));
            }
        }
    }
    compare::assert_none("rights", &different);
}

/// What a role should be able to do on a relation.
fn expected(role: &str, name: &str, kind: &str) -> &'static str {
    let (schema, table) = name.split_once('.').unwrap();
    let view = kind == "v";
    let partition = ["_default", "_2025", "_2026", "_2024"].iter().any(|part| table.contains(part))
        && table.starts_with("fact_");
    match (role, schema) {
        // Through the table as a whole.
        (_, "temporal_silver") if partition => "",
        ("loader", "cdc_bronze") => "SI",
        ("loader", "temporal_silver" | "simple_gold") if !view => "SIUD",
        ("loader", "temporal_silver" | "simple_gold") => "S",
        ("loader", "medallion") => match table {
            "pipeline_metadata" | "source_position" | "captured_table" | "watermark" => "SIU",
            "quarantine" => "SI",
            "failed_row" => "SID",
            "late_change" => "SID",
            "recompute" => "SD",
            "column_since" | "erasure" | "guard_switch" | "horizon" | "warehouse" => "S",
            _ if table.ends_with("_cdc") => "SI",
            _ if table.ends_with("_hist") || table.ends_with("_history") => "SIUD",
            _ if table.ends_with("_definition") => "S",
            _ => "",
        },
        (_, "as_of") => "S",
        ("reader", "temporal_silver" | "simple_gold") => "S",
        ("reader", "medallion") if table.starts_with("lookup_") && table.ends_with("_hist") => "S",
        ("reader", "medallion") if matches!(table, "horizon" | "warehouse") => "S",
        _ => "",
    }
}

/// Whether a statement is not refused as such, whatever it meets; nothing of it stays.
async fn allowed(session: &mut PgConnection, sql: &str) -> bool {
    let mut transaction = session.begin().await.unwrap();
    let outcome = transaction.execute(AssertSqlSafe(sql.to_owned())).await;
    transaction.rollback().await.unwrap();
    // A view of several tables takes no writes, whoever tries, and has no triggers.
    let refused = [INSUFFICIENT_PRIVILEGE, "55000", "42809"];
    !code(outcome).is_some_and(|code| refused.contains(&code.as_str()))
}

fn code<T>(outcome: Result<T, sqlx::Error>) -> Option<String> {
    let error = outcome.err()?;
    let code = error.as_database_error().and_then(|error| error.code());
    Some(code.unwrap_or_else(|| panic!("{error}")).into_owned())
}

/// The code with which a statement fails, if it does.
async fn fails(session: &mut PgConnection, sql: &str) -> Option<String> {
    code(session.execute(AssertSqlSafe(sql.to_owned())).await)
}

#[tokio::test]
async fn what_has_ended_changes_by_repair_only() {
    let (mut shop, loader, reader) = staff::open("roles_history").await;
    shop.run().await;
    shop.change("UPDATE language SET name = name || '!'; DELETE FROM category").await;
    shop.run().await;
    let versions = "SELECT * FROM medallion.lookup_language_hist";
    let before = compare::rows(&mut shop.warehouse, versions).await;
    assert_eq!(before.len(), 6);

    let mut session = connection::connect(Database::Warehouse, &loader).await.unwrap();
    for (sql, expected) in [
        ("UPDATE medallion.lookup_language_hist SET name = 'x' WHERE sys_end < 'infinity'", "23001"),
        (
            "UPDATE medallion.lookup_language_hist SET sys_end = 'infinity' WHERE sys_end < 'infinity'",
            "23001",
        ),
        ("DELETE FROM medallion.lookup_language_hist", "23001"),
        ("UPDATE medallion.fact_rental_history SET customer_id = 1", "23001"),
        ("DELETE FROM medallion.fact_rental_history", "23001"),
        ("UPDATE medallion.lookup_language_cdc SET full_row = '{}'", INSUFFICIENT_PRIVILEGE),
        ("SET session_replication_role = replica", INSUFFICIENT_PRIVILEGE),
        ("ALTER TABLE medallion.lookup_language_hist DISABLE TRIGGER keep_history", INSUFFICIENT_PRIVILEGE),
        ("CREATE TABLE temporal_silver.own ()", INSUFFICIENT_PRIVILEGE),
        ("CREATE SCHEMA own", INSUFFICIENT_PRIVILEGE),
        ("SELECT medallion.make_partition('medallion.lookup_language_hist', 'x_2025_01', '1', '2')", "22023"),
        (
            "SELECT medallion.make_partition('temporal_silver.fact_rental', 'evil', '2025-01-01', '2025-02-01')",
            "22023",
        ),
        ("SELECT medallion.analyze('pg_catalog.pg_class')", "22023"),
        ("SELECT medallion.refresh('simple_gold.vw_top_titles')", "22023"),
    ] {
        assert_eq!(fails(&mut session, sql).await.as_deref(), Some(expected), "{sql}");
    }
    // A setting is no gate without the privilege.
    let mut asking = connection::connect(Database::Warehouse, &reader).await.unwrap();
    for sql in [
        "SELECT medallion.backfill()",
        "SELECT medallion.analyze('temporal_silver.dim_film_hist')",
        "SELECT medallion.make_partition('temporal_silver.fact_rental', 'fact_rental_1999_01', '1999-01-01', '1999-02-01')",
    ] {
        assert_eq!(fails(&mut asking, sql).await.as_deref(), Some(INSUFFICIENT_PRIVILEGE), "{sql}");
    }
    compare::execute(&mut session, "SET medallion.backfill = ''").await;
    let sql = "DELETE FROM medallion.lookup_language_hist WHERE sys_end < 'infinity'";
    assert_eq!(fails(&mut session, sql).await.as_deref(), Some("23001"));
    // Nobody empties it, the owner neither; by mistake, that is.
    for table in ["lookup_language_hist", "fact_rental_history"] {
        let sql = format!("TRUNCATE medallion.{table}");
        assert_eq!(fails(&mut shop.warehouse, &sql).await.as_deref(), Some("23001"), "{sql}");
    }
    assert_eq!(compare::rows(&mut shop.warehouse, versions).await, before);

    // Repair is open to the loader, by a function of the owner's, within a transaction.
    let repair = "BEGIN; SELECT medallion.backfill();
        DELETE FROM medallion.lookup_language_hist WHERE sys_end < 'infinity'; ROLLBACK";
    assert_eq!(fails(&mut session, repair).await, None);
}

#[tokio::test]
async fn what_runs_as_the_owner_is_pinned_and_granted_by_name() {
    let (mut shop, ..) = staff::open("roles_functions").await;
    let open_to_all = compare::rows(
        &mut shop.warehouse,
        "SELECT pronamespace::regnamespace || '.' || proname
        FROM pg_proc AS procedure
        WHERE pronamespace::regnamespace::text IN ('temporal_silver', 'simple_gold', 'as_of', 'medallion')
        AND prosecdef
        AND has_function_privilege('public', procedure.oid, 'EXECUTE')",
    )
    .await;
    // Four tell a time and no more; a writer of a versioned dimension meets closed versions.
    let known = [
        "medallion.notice",
        "medallion.now",
        "medallion.since_horizon",
        "medallion.time_of",
        "medallion.time_of",
    ];
    assert_eq!(open_to_all, known);
    let loose = compare::rows(
        &mut shop.warehouse,
        "SELECT pronamespace::regnamespace || '.' || proname
        FROM pg_proc AS procedure
        WHERE pronamespace::regnamespace::text IN ('temporal_silver', 'simple_gold', 'as_of', 'medallion')
        AND prosecdef
        AND NOT EXISTS (SELECT FROM unnest(proconfig) AS setting WHERE setting = 'search_path=pg_catalog, pg_temp')",
    )
    .await;
    assert_eq!(loose, [""; 0]);
}

/// Who may do what, in the warehouse's schemas and with its database.
const GRANTED: &str = "
    SELECT of, privilege_type, coalesce(nullif(grantee, 0)::regrole::text, 'PUBLIC')
    FROM (
        SELECT oid::regprocedure::text, coalesce(proacl, acldefault('f', proowner)), pronamespace FROM pg_proc
        UNION ALL
        SELECT oid::regclass::text, coalesce(relacl, acldefault('r', relowner)), relnamespace
        FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm')
        UNION ALL
        SELECT oid::regtype::text, coalesce(typacl, acldefault('T', typowner)), typnamespace
        FROM pg_type WHERE typtype = 'e'
        UNION ALL
        SELECT nspname, coalesce(nspacl, acldefault('n', nspowner)), oid FROM pg_namespace
        UNION ALL
        SELECT 'database', coalesce(datacl, acldefault('d', datdba)), 'medallion'::regnamespace
        FROM pg_database WHERE datname = current_database()
    ) AS object (of, acl, schema)
    CROSS JOIN LATERAL aclexplode(acl)
    WHERE schema::regnamespace::text IN ('cdc_bronze', 'temporal_silver', 'simple_gold', 'as_of', 'medallion')";

/// What is not for everybody, in the order in which it is told.
const CLOSED: &str = "
    SELECT replace(oid::regprocedure::text, 'medallion.', '')
    FROM pg_proc
    WHERE pronamespace = 'medallion'::regnamespace AND NOT has_function_privilege('public', oid, 'EXECUTE')
    ORDER BY 1";

/// What a restore leaves where the roles are not there: of each object that was granted to one, nothing of what was
/// granted or revoked.
const RESTORED: &str = "
    UPDATE pg_proc SET proacl = NULL WHERE proacl::text LIKE '%pagila\\_%';
    UPDATE pg_class SET relacl = NULL WHERE relacl::text LIKE '%pagila\\_%';
    UPDATE pg_type SET typacl = NULL WHERE typacl::text LIKE '%pagila\\_%';
    UPDATE pg_namespace SET nspacl = NULL WHERE nspacl::text LIKE '%pagila\\_%';
    UPDATE pg_database SET datacl = NULL WHERE datname = current_database()";

#[tokio::test]
async fn what_a_restore_without_the_roles_opens_is_found_and_closed_by_the_pages() {
    let (mut shop, loader, _) = staff::open("roles_restored").await;
    shop.run().await;
    let fresh = compare::rows(&mut shop.warehouse, GRANTED).await;
    let closed = compare::rows(&mut shop.warehouse, CLOSED).await;
    assert!(closed.len() > 7);
    let verify = || command_on(&shop.place.source, &loader, &["verify"]).output().unwrap();
    let output = verify();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));

    compare::execute(&mut shop.warehouse, RESTORED).await;
    let owner = shop.place.warehouse.replace("user=roles_restored_load", "user=roles_restored_owner");
    assert_ne!(owner, shop.place.warehouse);
    let verify = || command_on(&shop.place.source, &owner, &["verify"]).output().unwrap();
    let output = verify();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("FAIL medallion keeps its functions from PUBLIC: 7 rows broken"), "{said}");
    for function in ["retain()", "backfill()", "refresh(regclass)", "make_partition(", "fold_apart("] {
        assert!(said.contains(&format!("function \"medallion.{function}")), "{said}");
    }
    assert!(said.contains("= have the owner run the pages of `40_roles` again"), "{said}");

    // One that leaves privileges out opens all that had been closed, and no more is asked for.
    compare::execute(
        &mut shop.warehouse,
        "UPDATE pg_proc SET proacl = NULL WHERE pronamespace = 'medallion'::regnamespace",
    )
    .await;
    let output = verify();
    let said = String::from_utf8_lossy(&output.stdout);
    let named = said.lines().filter_map(|line| {
        let function = line.trim().strip_prefix("function \"medallion.")?.split("\": ").next()?;
        Some(function.replace('\\', ""))
    });
    assert_eq!(named.collect::<Vec<_>>(), closed, "{said}");

    let mut owning = connection::connect(Database::Warehouse, &owner).await.unwrap();
    for page in [
        include_str!("../sql/pagila/40_roles/everybody.sql"),
        include_str!("../sql/pagila/40_roles/loader.sql"),
        include_str!("../sql/pagila/40_roles/reader.sql"),
    ] {
        compare::execute(&mut owning, page).await;
    }
    assert!(verify().status.success());
    assert_eq!(compare::rows(&mut shop.warehouse, GRANTED).await, fresh);
}
