//! Every kind of change that a spec can make, as edits of one small spec.

/// What is replaced in the spec's text, by what.
pub type Edit = (&'static str, &'static str);

pub const EMAIL: &str = "    { name = \"email\", type = \"text\", null = true },\n";

/// Every kind of change, with a name.
pub const CHANGES: &[(&str, &[Edit])] = &[
    ("nothing", &[]),
    (
        "column added",
        &[(
            EMAIL,
            "    { name = \"email\", type = \"text\", null = true },\n    { name = \"phone\", type = \"text\", null = true },\n",
        )],
    ),
    (
        "column added from bronze",
        &[(
            EMAIL,
            "    { name = \"email\", type = \"text\", null = true },\n    { name = \"phone\", type = \"text\", null = true, backfill = \"bronze\" },\n",
        )],
    ),
    (
        "column dropped",
        &[
            (EMAIL, ""),
            ("[types]", "[allow_drop]\n\"dim_customer_hist.email\" = \"Nobody may mail them.\"\n\n[types]"),
        ],
    ),
    (
        "column renamed",
        &[("name = \"email\", type", "name = \"mail\", from = \"email\", renamed_from = \"email\", type")],
    ),
    ("column retyped", &[("name = \"points\", type = \"integer\"", "name = \"points\", type = \"bigint\"")]),
    (
        "column retyped by text",
        &[("name = \"points\", type = \"integer\"", "name = \"points\", type = \"text\"")],
    ),
    (
        "column narrowed",
        &[
            ("name = \"points\", type = \"integer\"", "name = \"points\", type = \"smallint\""),
            (
                "[types]",
                "[allow_hazard]\n\"dim_customer_hist.narrowing\" = \"All of them are small.\"\n\n[types]",
            ),
        ],
    ),
    (
        "column cut short",
        &[
            ("name = \"name\", type = \"text\"", "name = \"name\", type = \"varchar(9)\""),
            (
                "[types]",
                "[allow_hazard]\n\"dim_customer_hist.narrowing\" = \"All of them are short.\"\n\n[types]",
            ),
        ],
    ),
    (
        "column rounded",
        &[
            ("name = \"amount\", type = \"numeric(10,2)\"", "name = \"amount\", type = \"numeric(10,1)\""),
            ("[types]", "[allow_hazard]\n\"fact_sale.irreversible\" = \"Nobody counts cents.\"\n\n[types]"),
        ],
    ),
    (
        "column not null",
        &[("name = \"points\", type = \"integer\", null = true", "name = \"points\", type = \"integer\"")],
    ),
    (
        "columns reordered",
        &[
            (EMAIL, ""),
            (
                "    { name = \"seen\"",
                "    { name = \"email\", type = \"text\", null = true },\n    { name = \"seen\"",
            ),
        ],
    ),
    ("column commented", &[("What to call them.", "Their name; it's theirs.")]),
    ("column no longer commented", &[(", description = \"What to call them.\"", "")]),
    (
        "column untracked",
        &[(
            "name = \"points\", type = \"integer\", null = true",
            "name = \"points\", type = \"integer\", null = true, tracked = false",
        )],
    ),
    ("column tracked", &[(", tracked = false", "")]),
    ("enum value added", &[("[\"fine\", \"sour\"]", "[\"fine\", \"flat\", \"sour\", \"wild\"]")]),
    ("enum value removed", &[("[\"fine\", \"sour\"]", "[\"fine\"]")]),
    (
        "enum value renamed",
        &[
            ("[\"fine\", \"sour\"]", "[\"fine\", \"bitter\"]"),
            ("[types]", "[renamed_values]\n\"mood.sour\" = \"bitter\"\n\n[types]"),
        ],
    ),
    (
        "enum value becomes another",
        &[
            ("[\"fine\", \"sour\"]", "[\"sour\"]"),
            ("[types]", "[renamed_values]\n\"mood.fine\" = \"sour\"\n\n[types]"),
        ],
    ),
    ("enum values reordered", &[("[\"fine\", \"sour\"]", "[\"sour\", \"fine\"]")]),
    (
        "dimension renamed",
        &[(
            "name = \"dim_customer_hist\"",
            "name = \"dim_client_hist\"\nrenamed_from = \"dim_customer_hist\"",
        )],
    ),
    (
        "dimension and column renamed",
        &[
            (
                "name = \"dim_customer_hist\"",
                "name = \"dim_client_hist\"\nrenamed_from = \"dim_customer_hist\"",
            ),
            ("name = \"email\", type", "name = \"mail\", from = \"email\", renamed_from = \"email\", type"),
        ],
    ),
    (
        "dimension no longer versioned",
        &[
            ("system_versioning = true\n", ""),
            (
                "[types]",
                "[allow_drop]\n\"dim_customer_hist.journal\" = \"Only the source writes it.\"\n\n[types]",
            ),
        ],
    ),
    (
        "landing renamed",
        &[
            ("name = \"br_sale_cdc\"", "name = \"br_sold_cdc\"\nrenamed_from = \"br_sale_cdc\""),
            ("\nfrom = \"br_sale_cdc\"", "\nfrom = \"br_sold_cdc\""),
        ],
    ),
    (
        "fact renamed",
        &[
            ("name = \"fact_sale\"", "name = \"fact_sold\"\nrenamed_from = \"fact_sale\""),
            ("sale = \"fact_sale\"", "sale = \"fact_sold\""),
            ("sale = \"fact_sale\"", "sale = \"fact_sold\""),
        ],
    ),
    (
        "lookup renamed",
        &[
            ("name = \"lookup_store\"", "name = \"lookup_shop\"\nrenamed_from = \"lookup_store\""),
            ("relation = \"lookup_store\"", "relation = \"lookup_shop\""),
        ],
    ),
    (
        "fact column added",
        &[(
            "    { name = \"amount\"",
            "    { name = \"till\", type = \"integer\", null = true },\n    { name = \"amount\"",
        )],
    ),
    (
        "fact column retyped under a mart",
        &[("name = \"amount\", type = \"numeric(10,2)\"", "name = \"amount\", type = \"numeric(12,3)\"")],
    ),
    (
        "dimension dropped",
        &[
            ("[[dimension]]", "[allow_drop]\ndim_customer_hist = \"Not ours to keep.\"\n\n[[dimension]]"),
            (
                "from = \"br_customer_cdc\"\nkey = [\"customer_id\"]\nsystem_versioning = true\n",
                "from = \"br_customer_cdc\"\nkey = [\"customer_id\"]\n",
            ),
            ("name = \"dim_customer_hist\"", "name = \"dim_person_hist\""),
        ],
    ),
    (
        "stored marts added",
        &[(
            "[[mart]]\nname = \"sales_by_city\"",
            "[[mart]]\nname = \"a_day\"\nstorage = \"incremental\"\nfrom = { sale = \"fact_sale\" }\ngrain = [{ name = \"day\", of = \"sale.sold_at\", cut = \"day\" }]\nmeasures = [{ name = \"sales\", of = \"sale\", expr = \"count(*)\" }]\n\n\
             [[mart]]\nname = \"a USING (month\"\nstorage = \"incremental\"\nfrom = { sale = \"fact_sale\" }\ngrain = [{ name = \"city\", of = \"sale.city\" }, { name = \"month\", of = \"sale.sold_at\", cut = \"month\" }]\nmeasures = [{ name = \"sales\", of = \"sale\", expr = \"count(*)\" }]\n\n\
             [[mart]]\nname = \"sales_by_city\"",
        )],
    ),
    (
        "mart column added",
        &[(
            "    { name = \"sales\",",
            "    { name = \"most\", type = \"numeric(10,2)\", of = \"sale\", expr = \"max(amount)\" },\n    { name = \"sales\",",
        )],
    ),
    (
        "mart redefined",
        &[(
            "expr = \"sum(amount)\" },\n    {",
            "expr = \"sum(amount) FILTER (WHERE amount > 0)\", null = true },\n    {",
        )],
    ),
    ("mart stored otherwise", &[("storage = \"incremental\"", "storage = \"view\"")]),
    ("materialized view into a table", &[("storage = \"materialized_view\"", "storage = \"incremental\"")]),
    (
        "mart dropped",
        &[(
            "[[mart]]\nname = \"sales_by_city\"\nstorage = \"materialized_view\"\nfrom = { sale = \"fact_sale\" }\ngrain = [{ name = \"city\", of = \"sale.city\" }]\nmeasures = [{ name = \"sold\", type = \"numeric(12,2)\", of = \"sale\", expr = \"sum(amount)\" }]\n",
            "",
        )],
    ),
    ("roles gone", &[("[roles]\nloader = \"shop_loader\"\nreader = \"shop_reader\"\n", "")]),
    ("reader gone", &[("reader = \"shop_reader\"\n", "")]),
    ("dimension described", &[("Customers, every version.", "Whoever buys.")]),
    (
        "relation added",
        &[(
            "[[fact]]",
            "[[dimension]]\nname = \"dim_sale_hist\"\nfrom = \"br_sale_cdc\"\nkey = [\"sale_id\"]\ncolumns = [{ name = \"sale_id\", type = \"bigint\" }]\n\n[[fact]]",
        )],
    ),
    (
        "lookup dropped under a fact",
        &[
            (
                "[[lookup]]\nname = \"lookup_store\"\nfrom = \"store\"\nkey = [\"store_id\"]\ncolumns = [\n    { name = \"store_id\", type = \"integer\" },\n    { name = \"city\", type = \"text\", null = true },\n]\n",
                "[allow_drop]\nlookup_store = \"Stores are gone.\"\n",
            ),
            (
                "lookups = [{ name = \"shop\", relation = \"lookup_store\", on = [\"store_id\"], at = \"sold_at\" }]\n",
                "",
            ),
            (", from = \"shop.city\"", ""),
        ],
    ),
    (
        "dimension looks up",
        &[
            (
                "from = \"br_customer_cdc\"\nkey = [\"customer_id\"]\n",
                "from = \"br_customer_cdc\"\nkey = [\"customer_id\"]\nlookups = [{ name = \"shop\", relation = \"lookup_store\", on = [\"points\"] }]\n",
            ),
            (
                EMAIL,
                "    { name = \"email\", type = \"text\", null = true },\n    { name = \"city\", type = \"text\", null = true, from = \"shop.city\", backfill = \"bronze\" },\n",
            ),
        ],
    ),
    (
        "fact looks up once more",
        &[
            (
                "at = \"sold_at\" }]",
                "at = \"sold_at\" }, { name = \"other\", relation = \"lookup_store\", on = [\"customer_id\"], at = \"sold_at\" }]",
            ),
            (
                "    { name = \"amount\"",
                "    { name = \"home\", type = \"text\", null = true, from = \"other.city\", backfill = \"bronze\" },\n    { name = \"amount\"",
            ),
        ],
    ),
    ("fact looks up by another column", &[("on = [\"store_id\"], at", "on = [\"customer_id\"], at")]),
    ("schema renamed", &[("[types]", "[schemas]\nsilver = \"refined\"\n\n[types]")]),
    (
        "schemas swapped and a dimension renamed",
        &[
            ("[types]", "[schemas]\nbronze = \"silver\"\nsilver = \"bronze\"\n\n[types]"),
            (
                "name = \"dim_customer_hist\"",
                "name = \"dim_client_hist\"\nrenamed_from = \"dim_customer_hist\"",
            ),
            (
                EMAIL,
                "    { name = \"mail\", from = \"email\", renamed_from = \"email\", type = \"text\", null = true },\n",
            ),
        ],
    ),
    (
        "schema renamed as a relation goes and another is cut anew",
        &[
            (
                "[types]",
                "[schemas]\nsilver = \"refined\"\nbronze = \"raw\"\n\n[allow_drop]\n\"dim_customer_hist.email\" = \"Nobody may mail them.\"\n\n[types]",
            ),
            (EMAIL, ""),
            ("every = \"month\"", "every = \"day\""),
        ],
    ),
    ("fact partitioned by day", &[("every = \"month\"", "every = \"day\"")]),
    (
        "fact partitioned by another column",
        &[
            ("by = \"sold_at\"", "by = \"due\""),
            (
                "    { name = \"amount\"",
                "    { name = \"due\", type = \"timestamptz\", from = \"sold_at\", renamed_from = \"sold_at\" },\n    { name = \"amount\"",
            ),
            ("    { name = \"sold_at\", type = \"timestamptz\" },\n", ""),
            ("at = \"sold_at\"", "at = \"due\""),
            ("sale.sold_at", "sale.due"),
        ],
    ),
    (
        "closed versions apart",
        &[("system_versioning = true\n", "system_versioning = true\nclosed_apart = { every = \"year\" }\n")],
    ),
    (
        "closed versions apart and nobody else writes",
        &[
            ("system_versioning = true\n", "closed_apart = { every = \"year\" }\n"),
            (
                "[types]",
                "[allow_drop]\n\"dim_customer_hist.journal\" = \"Only the source writes it.\"\n\n[types]",
            ),
        ],
    ),
    (
        "overlaps refused",
        &[("system_versioning = true\n", "system_versioning = true\noverlaps = \"refused\"\n")],
    ),
    ("key wider", &[("key = [\"sale_id\"]\npartition", "key = [\"sale_id\", \"customer_id\"]\npartition")]),
    ("key of another column", &[("key = [\"customer_id\"]\nsystem", "key = [\"name\"]\nsystem")]),
    (
        "landing of another key",
        &[("from = \"customer\"\nkey = [\"customer_id\"]", "from = \"customer\"\nkey = [\"name\"]")],
    ),
];
