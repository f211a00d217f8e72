-- The questions of large_histories.sql, over each storage, with the indexes that stand now.
SELECT measure(:'shape', storage, :'indexes', question, sql, runs)
FROM (VALUES
    ('together', 'together', 'sys_start <= $2', 'sys_start DESC', 'sys_end > $2'),
    ('apart by year', 'by_year', 'sys_end > $2', 'sys_end', 'sys_start <= $2'),
    ('apart by month', 'by_month', 'sys_end > $2', 'sys_end', 'sys_start <= $2')
) AS stored (storage, name, bound, step, rest)
CROSS JOIN (VALUES (10), (50), (95)) AS time (percent)
CROSS JOIN LATERAL (VALUES
    ('one key now at 100', format('SELECT * FROM %I WHERE id = $1 AND sys_end = ''infinity''', name), 300),
    ('history of a key at 0', format('SELECT * FROM %I WHERE id = $1 ORDER BY sys_start', name), 300),
    ('all keys now at 100', format('SELECT * FROM %I WHERE sys_end = ''infinity''', name), 3),
    (format('one key at %s', percent), format(
        'SELECT * FROM (SELECT * FROM %I WHERE id = $1 AND %s ORDER BY %s LIMIT 1) AS version WHERE %s',
        name, bound, step, rest), 300),
    (format('one key, plainly at %s', percent),
        format('SELECT * FROM %I WHERE id = $1 AND sys_start <= $2 AND sys_end > $2', name), 300),
    (format('all keys at %s', percent),
        format('SELECT * FROM %I WHERE sys_start <= $2 AND sys_end > $2', name), 3)
) AS question (question, sql, runs)
WHERE percent = 10 OR question LIKE '% at ' || percent
\g /dev/null
