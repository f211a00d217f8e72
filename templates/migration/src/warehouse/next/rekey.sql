DO $$
BEGIN
    IF EXISTS (
        SELECT
        FROM {{ landing }}
        WHERE "op" <> 'T'
        GROUP BY {{ before }}
        HAVING count(DISTINCT {{ now }}) > 1
    ) OR EXISTS (
        SELECT
        FROM {{ landing }}
        WHERE "op" <> 'T'
        GROUP BY {{ now }}
        HAVING count(DISTINCT {{ before }}) > 1
    ) THEN
        RAISE EXCEPTION '`%` cannot be told by (%): rows that have landed had several keys under one', {{ called }}, {{ key }}
            USING ERRCODE = 'unique_violation',
                HINT = 'declare a landing table of another name beside it; let this one go when the other has taken its place';
    END IF;
    IF EXISTS (SELECT FROM {{ quarantine }} WHERE "landing" = {{ name }}) THEN
        RAISE EXCEPTION 'rows of `%` wait in quarantine under the key of before', {{ called }}
            USING ERRCODE = 'object_not_in_prerequisite_state',
                HINT = 'mend them at the source, run, then migrate';
    END IF;
END
$$;
