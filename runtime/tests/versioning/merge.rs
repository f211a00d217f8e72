//! MERGE on a versioned dimension: the blueprint's statement, and what later servers add to it. A server that
//! lacks a form says so, which is tested there in its place.

use crate::support::Session;

const SYNTAX_ERROR: &str = "42601";

async fn ready(name: &str) -> (Session, i32) {
    let mut session = Session::alone(name).await;
    session
        .does(
            "CREATE TABLE staging (customer_id integer, name text); \
             CREATE TABLE said (answer text); \
             INSERT INTO silver.dim_customer_hist (region, customer_id, name) \
             VALUES ('eu', 1, 'a'), ('eu', 2, 'b'), ('eu', 3, 'c')",
        )
        .await;
    session.does("UPDATE silver.dim_customer_hist SET name = 'x' WHERE customer_id = 3").await;
    session.does("INSERT INTO staging VALUES (1, 'a'), (2, 'z'), (4, 'd')").await;
    let version = session.ask("SELECT current_setting('server_version_num')::integer / 10000").await;
    (session, version[0].parse().unwrap())
}

/// A source that has everything: what it lacks is gone.
const MERGE: &str = "MERGE INTO silver.dim_customer_hist AS tgt \
    USING (SELECT *, silver.dim_customer_row_hash(name, NULL, NULL, NULL, NULL) AS hash FROM staging) AS src \
    ON tgt.region = 'eu' AND tgt.customer_id = src.customer_id AND tgt.sys_end = 'infinity' \
    WHEN MATCHED AND src.hash <> tgt.row_hash THEN UPDATE SET name = src.name, row_hash = src.hash \
    WHEN NOT MATCHED BY TARGET THEN INSERT (region, customer_id, name, row_hash) \
    VALUES ('eu', src.customer_id, src.name, src.hash) \
    WHEN NOT MATCHED BY SOURCE AND tgt.sys_end = 'infinity' THEN DELETE";

#[tokio::test]
async fn a_merge_ends_what_its_source_lacks() {
    let (mut session, version) = ready("merge_by_source").await;
    if version < 17 {
        assert_eq!(session.fails(MERGE).await, SYNTAX_ERROR);
        return;
    }
    assert_eq!(session.does(MERGE).await, 3);
    assert_eq!(session.versions().await, "1:a… 2:b 2:z… 3:c 3:x| 4:d…");
    // Again, it changes nothing; without saying that it means current versions it would lose closed ones.
    assert_eq!(session.does(MERGE).await, 0);
    let all = MERGE.replace("BY SOURCE AND tgt.sys_end = 'infinity'", "BY SOURCE");
    let (code, message) = session.run(&all).await.unwrap_err();
    assert_eq!(code, "23001");
    assert!(message.contains("only closed versions"), "{message}");
    let update = MERGE.replace("THEN DELETE", "THEN UPDATE SET name = 'gone'");
    session.does("DELETE FROM staging WHERE customer_id = 1").await;
    assert_eq!(session.does(&update).await, 1);
    assert_eq!(session.versions().await, "1:a 1:gone… 2:b 2:z… 3:c 3:x| 4:d…");
}

#[tokio::test]
async fn a_merge_returns_what_it_did() {
    let (mut session, version) = ready("merge_returning").await;
    let with = format!(
        "WITH done AS ({MERGE} RETURNING merge_action() || tgt.customer_id || tgt.name || (tgt.sys_end = 'infinity') \
         AS answer) INSERT INTO said SELECT answer FROM done"
    );
    if version < 17 {
        assert_eq!(session.fails(&with).await, SYNTAX_ERROR);
        return;
    }
    session.does(&with).await;
    let said = session.ask("SELECT answer FROM said ORDER BY answer").await;
    assert_eq!(said, ["DELETE3xtrue", "INSERT4dtrue", "UPDATE2ztrue"]);
}

#[tokio::test]
async fn returning_tells_old_from_new() {
    let (mut session, version) = ready("old_and_new").await;
    let with = |statement: &str| {
        format!(
            "WITH done AS ({statement} RETURNING concat_ws(' ', old.name, new.name, \
             new.sys_start > old.sys_start, new.row_hash <> old.row_hash) AS answer) \
             INSERT INTO said SELECT answer FROM done"
        )
    };
    let update = with(
        "UPDATE silver.dim_customer_hist SET name = upper(name) WHERE customer_id = 1 AND sys_end = 'infinity'",
    );
    if version < 18 {
        assert_eq!(session.fails(&update).await, "42P01");
        return;
    }
    session.does(&update).await;
    session.does(&with("DELETE FROM silver.dim_customer_hist WHERE customer_id = 1")).await;
    session
        .does(&with("INSERT INTO silver.dim_customer_hist (region, customer_id, name) VALUES ('eu', 9, 'n')"))
        .await;
    session.does(&with(MERGE)).await;
    let said = session.ask("SELECT string_agg(answer, ', ' ORDER BY answer) FROM said").await;
    assert_eq!(said, ["A, a, a A t t, b z t t, d, n, n, x"]);
    assert_eq!(session.versions().await, "1:a 1:A| 1:a… 2:b 2:z… 3:c 3:x| 4:d… 9:n|");
}
