DO $$
DECLARE
    part regclass;
    parts regclass[];
    needed record;
BEGIN
    PERFORM "medallion"."backfill"();
    SELECT coalesce(array_agg(inhrelid::regclass), '{}') INTO parts
    FROM pg_inherits
    WHERE inhparent = {{ parted_literal }}::regclass
    AND inhrelid <> {{ rest_literal }}::regclass;
    FOREACH part IN ARRAY parts LOOP
        EXECUTE format($part$ALTER TABLE {{ parted }} DETACH PARTITION %s$part$, part);
    END LOOP;
    CREATE TEMPORARY TABLE "medallion$rest" AS
    SELECT {{ plain_columns }}
    FROM {{ plain_rest }};
    DELETE FROM {{ plain_rest }};
    FOREACH part IN ARRAY parts || '"medallion$rest"'::regclass LOOP
        {{ parting }}
        EXECUTE format(
            $part$
            INSERT INTO {{ table }} ({{ columns }})
            SELECT {{ columns }}
            FROM %s
            $part$,
            part
        );
        EXECUTE format('DROP TABLE %s', part);
    END LOOP;
    PERFORM set_config('medallion.backfill', '', true);
END
$$;
