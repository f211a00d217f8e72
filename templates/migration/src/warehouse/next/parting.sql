FOR needed IN EXECUTE format(
    $needed$
    SELECT
        to_char(start, '{{ every.pattern }}') AS suffix,
        ({{ from }})::text AS "from",
        ({{ to }})::text AS "to"
    FROM (
        SELECT DISTINCT date_trunc('{{ every.unit }}', {{ local }}) AS start
        FROM %s
        WHERE {{ column }} >= '0001-01-02'
        AND {{ column }} < '9999-01-01'
    ) AS stretch
    $needed$,
    {{ source }}
)
LOOP
    PERFORM "medallion"."make_partition"(
        {{ parted }},
        {{ prefix }} || '_' || needed.suffix,
        needed."from",
        needed."to"
    );
END LOOP;
