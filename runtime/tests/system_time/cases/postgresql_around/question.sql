SELECT c.email COLLATE "C", count(*) FILTER (WHERE p.amount > 1::numeric), percentile_disc(0.5) WITHIN GROUP (ORDER BY p.amount), data #>> '{a,b}', data @> '{"a": 1}', $tag$FOR SYSTEM_TIME ALL$tag$
FROM dim_customer FOR SYSTEM_TIME AS OF '2023-07-01' c JOIN LATERAL (SELECT * FROM fact_payment LIMIT 1) p ON true
GROUP BY GROUPING SETS ((c.email), ()) ORDER BY 1 USING <
