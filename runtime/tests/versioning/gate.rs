//! Who may pass versioning: the loader, by a privilege, and nobody by a setting.

use crate::support::{Session, Warehouse};

const FORGERIES: [&str; 6] = [
    "UPDATE silver.dim_customer_hist SET sys_end = now() WHERE sys_end = 'infinity'",
    "UPDATE silver.dim_customer_hist SET sys_start = '2000-01-01' WHERE sys_end = 'infinity'",
    "UPDATE silver.dim_customer_hist SET row_hash = '' WHERE sys_end = 'infinity'",
    "INSERT INTO silver.dim_customer_hist (region, customer_id, sys_start) VALUES ('eu', 5, '2000-01-01')",
    "INSERT INTO silver.dim_customer_hist (region, customer_id, sys_end) VALUES ('eu', 5, '2000-01-01')",
    "INSERT INTO silver.dim_customer_hist (region, customer_id, row_hash) VALUES ('eu', 5, '')",
];

/// A session of a role that may write the dimension and nothing else.
async fn writer(warehouse: &Warehouse, role: &str) -> Session {
    let mut owner = warehouse.connect().await;
    owner
        .does(&format!(
            "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA silver TO {role}; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON silver.dim_customer_hist TO {role}"
        ))
        .await;
    let url = warehouse.url.replace("user=medallion", &format!("user={role}"));
    assert_ne!(url, warehouse.url);
    Warehouse { url }.connect().await
}

async fn with_history(warehouse: &Warehouse) -> Session {
    let mut owner = warehouse.connect().await;
    owner
        .does("INSERT INTO silver.dim_customer_hist (region, customer_id, name) VALUES ('eu', 1, 'a')")
        .await;
    owner.does("UPDATE silver.dim_customer_hist SET name = 'b' WHERE customer_id = 1").await;
    owner
}

#[tokio::test]
async fn nobody_sets_hash_or_period() {
    let warehouse = Warehouse::new("forged").await;
    let mut owner = with_history(&warehouse).await;
    for forgery in FORGERIES {
        assert_eq!(owner.fails(forgery).await, "428C9", "{forgery}");
    }
    let mut writer = writer(&warehouse, "forger").await;
    for forgery in FORGERIES {
        assert_eq!(writer.fails(forgery).await, "428C9", "{forgery}");
    }
    assert_eq!(owner.versions().await, "1:a 1:b…");
}

#[tokio::test]
async fn a_role_that_may_write_the_dimension_writes_history() {
    let warehouse = Warehouse::new("writer").await;
    let mut owner = with_history(&warehouse).await;
    let mut writer = writer(&warehouse, "plain_writer").await;
    writer.does("UPDATE silver.dim_customer_hist SET name = 'c' WHERE customer_id = 1").await;
    writer.does("UPDATE silver.dim_customer_hist SET customer_id = 2 WHERE sys_end = 'infinity'").await;
    writer
        .does(
            "BEGIN; DELETE FROM silver.dim_customer_hist WHERE sys_end = 'infinity'; \
             INSERT INTO silver.dim_customer_hist (region, customer_id, name) VALUES ('eu', 2, 'c'); COMMIT",
        )
        .await;
    assert_eq!(owner.versions().await, "1:a 1:b 1:c| 2:c…");
    let by = "SELECT DISTINCT journal_by FROM medallion.dim_customer_hist_journal ORDER BY 1";
    assert_eq!(owner.ask(by).await, ["medallion", "plain_writer"]);
    assert_eq!(writer.fails("TABLE medallion.dim_customer_hist_journal").await, "42501");
    assert_eq!(writer.fails("ALTER TABLE silver.dim_customer_hist DISABLE TRIGGER ALL").await, "42501");
}

#[tokio::test]
async fn no_setting_opens_the_gate() {
    let warehouse = Warehouse::new("settings_gate").await;
    let mut owner = with_history(&warehouse).await;
    let mut writer = writer(&warehouse, "setter").await;
    assert_eq!(writer.fails("SELECT medallion.backfill()").await, "42501");
    for setting in ["medallion.backfill", "medallion.noticed", "medallion.stamp"] {
        for value in ["on", "0", "946684800", "99999999999", "infinity"] {
            writer.does(&format!("SET {setting} = '{value}'")).await;
            for forgery in FORGERIES {
                writer.fails(forgery).await;
            }
            let _ = writer.run("DELETE FROM silver.dim_customer_hist WHERE sys_end < 'infinity'").await;
            writer.does(&format!("RESET {setting}")).await;
            let versions = owner.versions().await;
            assert!(versions.starts_with("1:a 1:b"), "{setting} = {value}: {versions}");
        }
    }
    // A time of one's own choosing is not taken.
    writer.does("SET medallion.stamp = '946684800'").await;
    writer.does("UPDATE silver.dim_customer_hist SET name = 'c' WHERE sys_end = 'infinity'").await;
    let recent = "SELECT sys_start > now() - interval '1 hour' FROM silver.dim_customer_hist \
         WHERE sys_end = 'infinity'";
    assert_eq!(owner.ask(recent).await, ["true"]);
    // Nor is one that is set while the statement runs.
    writer.does("RESET medallion.stamp").await;
    writer
        .does(
            "UPDATE silver.dim_customer_hist SET name = 'd' || set_config('medallion.backfill', 'on', false) \
             WHERE sys_end = 'infinity' RETURNING set_config('medallion.backfill', '', false)",
        )
        .await;
    assert_eq!(owner.versions().await, "1:a 1:b 1:c 1:don…");
}

#[tokio::test]
async fn a_function_that_runs_as_the_owner_lends_no_privilege() {
    let warehouse = Warehouse::new("deputy").await;
    let mut owner = with_history(&warehouse).await;
    let mut writer = writer(&warehouse, "deputised").await;
    owner
        .does(
            "CREATE FUNCTION silver.rename(text) RETURNS void LANGUAGE sql SECURITY DEFINER AS $$ \
             UPDATE silver.dim_customer_hist SET name = $1 WHERE sys_end = 'infinity' $$; \
             CREATE TABLE silver.door (name text); GRANT INSERT ON silver.door TO deputised; \
             CREATE FUNCTION silver.through() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN \
             UPDATE silver.dim_customer_hist SET name = NEW.name; RETURN NEW; END $$; \
             CREATE TRIGGER through BEFORE INSERT ON silver.door FOR EACH ROW EXECUTE FUNCTION silver.through()",
        )
        .await;
    writer.does("SET medallion.backfill = 'on'").await;
    writer.does("SELECT silver.rename('c')").await;
    writer.does("INSERT INTO silver.door VALUES ('d')").await;
    assert_eq!(owner.versions().await, "1:a 1:b 1:c 1:d…");
}

#[tokio::test]
async fn operators_of_the_writers_own_change_nothing() {
    let warehouse = Warehouse::new("operators").await;
    let mut owner = with_history(&warehouse).await;
    let mut writer = writer(&warehouse, "operator").await;
    owner.does("CREATE SCHEMA evil; GRANT ALL ON SCHEMA evil TO operator").await;
    for (kind, left) in
        [("bytea", "bytea"), ("timestamptz", "timestamptz"), ("text", "text"), ("int", "integer")]
    {
        for (number, operator) in ["=", "<>", "<", ">="].iter().enumerate() {
            let wrong = if *operator == "=" { "true" } else { "false" };
            writer
                .does(&format!(
                    "CREATE FUNCTION evil.{kind}_{number}({left}, {left}) RETURNS boolean LANGUAGE sql \
                     IMMUTABLE AS 'SELECT {wrong}'; \
                     CREATE OPERATOR evil.{operator} (FUNCTION = evil.{kind}_{number}, LEFTARG = {left}, RIGHTARG = {left})"
                ))
                .await;
        }
    }
    writer.does("SET search_path = evil, pg_catalog").await;
    writer
        .does("UPDATE silver.dim_customer_hist SET name = 'c' WHERE customer_id OPERATOR(pg_catalog.=) 1")
        .await;
    assert_eq!(writer.fails("UPDATE silver.dim_customer_hist SET sys_start = '2000-01-01'").await, "428C9");
    assert_eq!(owner.versions().await, "1:a 1:b 1:c…");
}

#[tokio::test]
async fn a_replica_session_writes_history_too() {
    let mut session = Session::alone("replica").await;
    session.does("SET session_replication_role = replica").await;
    session
        .does("INSERT INTO silver.dim_customer_hist (region, customer_id, name) VALUES ('eu', 1, 'a')")
        .await;
    session.does("UPDATE silver.dim_customer_hist SET name = 'b' WHERE customer_id = 1").await;
    session.does("DELETE FROM silver.dim_customer_hist WHERE customer_id = 1").await;
    assert_eq!(session.versions().await, "1:a 1:b|");
}

#[tokio::test]
async fn the_loader_writes_versions_as_they_are() {
    let mut session = Session::alone("loader").await;
    let versions = "INSERT INTO silver.dim_customer_hist (region, customer_id, name, row_hash, sys_start, sys_end) \
         VALUES ('eu', 1, 'a', '', '2020-01-01', '2021-01-01'), ('eu', 1, 'b', '', '2021-01-01', 'infinity')";
    assert_eq!(session.fails(versions).await, "428C9");
    session.does(&format!("BEGIN; SELECT medallion.backfill(); {versions}; ROLLBACK")).await;
    // What was granted ends with the transaction.
    assert_eq!(session.fails(versions).await, "428C9");
    session
        .does(&format!(
            "BEGIN; SELECT medallion.backfill(); {versions}; \
             UPDATE silver.dim_customer_hist SET sys_end = '2022-01-01' WHERE sys_end = 'infinity'; COMMIT"
        ))
        .await;
    assert_eq!(session.versions().await, "1:a 1:b|");
    assert_eq!(session.ask("SELECT count(*) FROM medallion.dim_customer_hist_journal").await, ["0"]);
}

/// Who may write versions as they are says so first.
#[tokio::test]
async fn the_owner_changes_no_closed_version_by_mistake() {
    let mut session = Session::alone("owners_mistake").await;
    session
        .does("INSERT INTO silver.dim_customer_hist (region, customer_id, name) VALUES ('eu', 1, 'a')")
        .await;
    session.does("UPDATE silver.dim_customer_hist SET name = 'b'").await;
    for sql in [
        "UPDATE silver.dim_customer_hist SET sys_end = now() WHERE sys_end < 'infinity'",
        "UPDATE silver.dim_customer_hist SET sys_end = 'infinity' WHERE name = 'a'",
        "DELETE FROM silver.dim_customer_hist WHERE sys_end < 'infinity'",
    ] {
        assert_eq!(session.fails(sql).await, "23001", "{sql}");
    }
    assert_eq!(session.versions().await, "1:a 1:b…");
}
