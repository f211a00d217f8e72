//! The warehouse of the laws: a dimension that all others look up, one that looks it up by system time, a fact
//! that does by its own time, a fact that looks up that fact; and marts. Its objects are made by hand.

use medallion_runtime::descriptor::{
    Column, ColumnFrom, Lookup, LookupTime, Mart, Name, Plugin, Refresh, RemovedPartitions, Scripts, Silver,
    SilverKind, Source, Storage, Tracking, Unit, UnitColumn, Warehouse,
};

/// The warehouse.
pub fn warehouse() -> Warehouse {
    let field = |name: &str, sql_type: &str| Column {
        name: name.to_owned(),
        sql_type: sql_type.to_owned(),
        from: ColumnFrom::Field(name.to_owned()),
        tracking: Tracking::Tracked,
        renamed: Vec::new(),
        counted: None,
    };
    let looked_up = |name: &str, lookup: &str| Column {
        from: ColumnFrom::Lookup { lookup: lookup.to_owned(), column: name.to_owned() },
        ..field(name, "bigint")
    };
    let lookup = |alias: &str, relation: &str, at: LookupTime| Lookup {
        alias: alias.to_owned(),
        relation: Name::new("t", relation),
        on: vec![(alias.to_owned(), "id".to_owned())],
        at,
    };
    let dimension = |name: &str| SilverKind::Dimension {
        current: Name::new("t", format!("{name}_current")),
        row_hash: "row_hash".to_owned(),
        start: "sys_start".to_owned(),
        end: "sys_end".to_owned(),
        journal: None,
        closed: None,
        surrogate: None,
    };
    let fact = |name: &str, partition_by: &str| SilverKind::Fact {
        snapshot: "snapshot_ts".to_owned(),
        archive: Name::new("t", format!("{name}_history")),
        partition_by: partition_by.to_owned(),
        partition_every: Unit::Month,
    };
    let silver = |table: &str, feed: &str, columns, lookups, kind| Silver {
        table: Name::new("t", table),
        feed: Name::new("t", feed),
        key: vec!["id".to_owned()],
        columns,
        lookups,
        kind,
    };
    let own_time = LookupTime::OwnTime("at".to_owned());
    Warehouse {
        name: "t",
        spec_hash: "",
        objects_hash: "",
        time_zone: "UTC",
        schemas: vec!["t"],
        source: Source {
            publication: "t".to_owned(),
            slot: "t".to_owned(),
            recorded_log: None,
            keep_log: None,
            plugin: Plugin::default(),
            removed_partitions: RemovedPartitions::default(),
            polling: None,
        },
        landings: Vec::new(),
        silver: vec![
            silver(
                "item_hist",
                "item_cdc",
                vec![
                    field("id", "bigint"),
                    field("film", "bigint"),
                    field("store", "bigint"),
                    // Two columns of one field, each of its own type.
                    Column { name: "film_text".to_owned(), ..field("film", "text") },
                ],
                Vec::new(),
                dimension("item"),
            ),
            silver(
                "customer_hist",
                "customer_cdc",
                vec![
                    field("id", "bigint"),
                    field("name", "text"),
                    field("item", "bigint"),
                    looked_up("store", "item"),
                    Column { tracking: Tracking::Untracked, ..field("note", "bigint") },
                ],
                vec![lookup("item", "item_hist", LookupTime::SystemTime)],
                dimension("customer"),
            ),
            silver(
                "rental",
                "rental_cdc",
                vec![
                    field("id", "bigint"),
                    field("at", "timestamptz"),
                    field("item", "bigint"),
                    looked_up("film", "item"),
                    looked_up("store", "item"),
                ],
                vec![lookup("item", "item_hist", own_time)],
                fact("rental", "at"),
            ),
            silver(
                "payment",
                "payment_cdc",
                vec![
                    field("id", "bigint"),
                    field("rental", "bigint"),
                    field("amount", "bigint"),
                    looked_up("store", "rental"),
                    field("day", "date"),
                    field("price", "numeric"),
                ],
                vec![lookup("rental", "rental", LookupTime::SystemTime)],
                fact("payment", "day"),
            ),
        ],
        marts: marts(),
        migrations: Vec::new,
        stagings: Vec::new(),
        calendars: Vec::new(),
        refused: &[],
        tags: Vec::new(),
        lineage: "[]",
        alerts: Vec::new(),
        scripts: Scripts::default(),
        tests: Vec::new(),
        demo: Vec::new(),
    }
}

/// By store and month, whose groups can be NULL and vanish; by month, ranked across stores; and by
/// customer, which a change of any kind recomputes.
fn marts() -> Vec<Mart> {
    let payment = Name::new("t", "payment");
    let month = || UnitColumn {
        column: "month".to_owned(),
        of: vec![(payment.clone(), "date_trunc('month', day::timestamp)::date".to_owned())],
    };
    // 1.0 and 1.00 are one price, whichever of them stands there.
    let price = UnitColumn { column: "price".to_owned(), of: vec![(payment.clone(), "price".to_owned())] };
    let store = UnitColumn { column: "store".to_owned(), of: vec![(payment.clone(), "store".to_owned())] };
    let mart = |name: &str, columns: &[&str], grain: usize, unit: Vec<UnitColumn>, reads: Vec<Name>| {
        let columns: Vec<String> = columns.iter().map(|&column| column.to_owned()).collect();
        Mart {
            table: Name::new("t", name),
            grain: columns[..grain].to_vec(),
            columns,
            storage: Storage::Incremental {
                definition: Name::new("t", format!("{name}_definition")),
                refresh: Refresh::Units(unit),
            },
            reads,
        }
    };
    vec![
        mart(
            "by_store",
            &["store", "month", "revenue", "payments"],
            2,
            vec![store, month()],
            vec![payment.clone()],
        ),
        mart("by_rank", &["store", "month", "place"], 2, vec![month()], vec![payment.clone()]),
        mart("by_price", &["price", "payments"], 1, vec![price], vec![payment.clone()]),
        mart("by_name", &["name", "customers"], 1, Vec::new(), vec![Name::new("t", "customer_hist")]),
    ]
}

/// Makes it as new.
pub const EMPTY: &str = "
    TRUNCATE t.by_store, t.by_rank, t.by_price, t.by_name,
        t.item_cdc, t.rental_cdc, t.payment_cdc, t.customer_cdc, t.item_hist, t.customer_hist,
        t.rental, t.rental_history, t.payment, t.payment_history, medallion.watermark, medallion.late_change;
    UPDATE medallion.source_position SET last_lsn = 0, last_commit_ts = NULL;
";

/// Its objects.
pub const OBJECTS: &str = "
    CREATE SCHEMA t;
    CREATE SCHEMA medallion;
    CREATE FUNCTION medallion.backfill() RETURNS void LANGUAGE sql
        AS $$SELECT set_config('medallion.backfill', 'on', true)$$;
    CREATE FUNCTION medallion.analyze(relation regclass) RETURNS void LANGUAGE plpgsql
        AS $$BEGIN EXECUTE format('ANALYZE %s', relation); END$$;
    CREATE FUNCTION medallion.make_partition(fact regclass, partition name, \"from\" text, \"to\" text) RETURNS void
        LANGUAGE plpgsql
        AS $$BEGIN EXECUTE format('CREATE TABLE IF NOT EXISTS t.%I PARTITION OF %s FOR VALUES FROM (%L) TO (%L)',
            partition, fact, \"from\", \"to\"); END$$;
    CREATE TABLE medallion.source_position (slot text PRIMARY KEY, last_lsn bigint, last_commit_ts timestamptz);
    INSERT INTO medallion.source_position VALUES ('t', 0, NULL);
    CREATE TABLE medallion.watermark (
        relation text PRIMARY KEY, lsn bigint NOT NULL, system_time timestamptz NOT NULL,
        streamed_lsn bigint NOT NULL DEFAULT -1, streamed_time timestamptz NOT NULL DEFAULT '-infinity',
        journal_id bigint NOT NULL DEFAULT 0, journal_time timestamptz NOT NULL DEFAULT '-infinity',
        updated_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE TABLE medallion.horizon (time timestamptz, lsn bigint);
    CREATE TABLE medallion.late_change (relation text, lsn bigint, seq bigint, PRIMARY KEY (relation, lsn, seq));
    CREATE TABLE medallion.recompute (relation text PRIMARY KEY);
    CREATE TABLE medallion.column_since (relation text, \"column\" text, lsn bigint, PRIMARY KEY (relation, \"column\"));
    CREATE FUNCTION medallion.note_late() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO medallion.late_change VALUES (TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, NEW.lsn, NEW.seq);
        RETURN NULL;
    END
    $$;
    CREATE TABLE t.item_cdc (
        lsn bigint, op char(1), full_row jsonb, load_ts timestamptz DEFAULT now(), commit_ts timestamptz, seq bigint,
        PRIMARY KEY (lsn, seq)
    );
    CREATE TABLE t.rental_cdc (LIKE t.item_cdc INCLUDING ALL);
    CREATE TABLE t.payment_cdc (LIKE t.item_cdc INCLUDING ALL);
    CREATE TABLE t.customer_cdc (LIKE t.item_cdc INCLUDING ALL);
    CREATE TRIGGER note AFTER INSERT ON t.item_cdc FOR EACH ROW EXECUTE FUNCTION medallion.note_late();
    CREATE TRIGGER note AFTER INSERT ON t.rental_cdc FOR EACH ROW EXECUTE FUNCTION medallion.note_late();
    CREATE TRIGGER note AFTER INSERT ON t.payment_cdc FOR EACH ROW EXECUTE FUNCTION medallion.note_late();
    CREATE TRIGGER note AFTER INSERT ON t.customer_cdc FOR EACH ROW EXECUTE FUNCTION medallion.note_late();
    CREATE TABLE t.item_hist (
        id bigint, film bigint, store bigint, film_text text, CHECK (film_text = film::text),
        row_hash bytea NOT NULL, sys_start timestamptz, sys_end timestamptz,
        PRIMARY KEY (id, sys_start), CHECK (sys_start < sys_end)
    );
    CREATE UNIQUE INDEX ON t.item_hist (id) WHERE sys_end = 'infinity';
    CREATE TABLE t.customer_hist (
        id bigint, name text, item bigint, store bigint, note bigint,
        row_hash bytea NOT NULL, sys_start timestamptz, sys_end timestamptz,
        PRIMARY KEY (id, sys_start), CHECK (sys_start < sys_end)
    );
    CREATE UNIQUE INDEX ON t.customer_hist (id) WHERE sys_end = 'infinity';
    CREATE TABLE t.rental (
        id bigint, at timestamptz, item bigint, film bigint, store bigint, snapshot_ts timestamptz NOT NULL,
        PRIMARY KEY (id, at)
    ) PARTITION BY RANGE (at);
    CREATE TABLE t.rental_default PARTITION OF t.rental DEFAULT;
    CREATE TABLE t.rental_history (
        id bigint, at timestamptz, item bigint, film bigint, store bigint, sys_start timestamptz, sys_end timestamptz,
        PRIMARY KEY (id, sys_start), CHECK (sys_start < sys_end)
    );
    CREATE TABLE t.payment (
        id bigint, rental bigint, amount bigint, store bigint, day date, price numeric,
        snapshot_ts timestamptz NOT NULL
    ) PARTITION BY RANGE (day);
    CREATE TABLE t.payment_default PARTITION OF t.payment DEFAULT;
    CREATE TABLE t.payment_history (
        id bigint, rental bigint, amount bigint, store bigint, day date, price numeric,
        sys_start timestamptz, sys_end timestamptz,
        PRIMARY KEY (id, sys_start), CHECK (sys_start < sys_end)
    );
    CREATE VIEW t.by_store_definition AS
    SELECT store, date_trunc('month', day::timestamp)::date AS month, sum(amount) AS revenue, count(*) AS payments
    FROM t.payment GROUP BY 1, 2;
    CREATE TABLE t.by_store AS TABLE t.by_store_definition;
    CREATE UNIQUE INDEX ON t.by_store (store, month) NULLS NOT DISTINCT;
    CREATE VIEW t.by_rank_definition AS
    SELECT store, date_trunc('month', day::timestamp)::date AS month,
        rank() OVER (PARTITION BY date_trunc('month', day::timestamp)::date ORDER BY sum(amount)) AS place
    FROM t.payment GROUP BY 1, 2;
    CREATE TABLE t.by_rank AS TABLE t.by_rank_definition;
    CREATE UNIQUE INDEX ON t.by_rank (store, month) NULLS NOT DISTINCT;
    CREATE VIEW t.by_price_definition AS
    SELECT price, count(*) AS payments FROM t.payment GROUP BY 1;
    CREATE TABLE t.by_price AS TABLE t.by_price_definition;
    CREATE UNIQUE INDEX ON t.by_price (price);
    CREATE VIEW t.by_name_definition AS
    SELECT name, count(*) AS customers FROM t.customer_hist WHERE sys_end = 'infinity' GROUP BY 1;
    CREATE TABLE t.by_name AS TABLE t.by_name_definition;
";
