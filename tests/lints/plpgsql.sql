-- What plpgsql_check finds in the functions of a database, a line each; a trigger's function at each of its tables.
SELECT concat_ws(' ', function.oid::regprocedure, 'on ' || trigger.tgrelid::regclass::text, found.level || ':', found.message,
    'in line ' || found.lineno, found.detail)
FROM pg_proc AS function
JOIN pg_language AS language ON language.oid = function.prolang AND language.lanname = 'plpgsql'
LEFT JOIN (
    SELECT DISTINCT tgfoid, tgrelid, tgnewtable, tgoldtable FROM pg_trigger WHERE NOT tgisinternal AND tgparentid = 0
) AS trigger ON trigger.tgfoid = function.oid
CROSS JOIN LATERAL plpgsql_check_function_tb(
    function.oid,
    coalesce(trigger.tgrelid, 0),
    fatal_errors => false,
    extra_warnings => true,
    performance_warnings => true,
    security_warnings => true,
    oldtable => trigger.tgoldtable,
    newtable => trigger.tgnewtable
) AS found
WHERE (function.prorettype <> 'trigger'::regtype OR trigger.tgrelid IS NOT NULL)
AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = function.oid AND deptype = 'e')
ORDER BY 1;
