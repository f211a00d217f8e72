SELECT id, count(*) AS n FROM dim_unhashed_history GROUP BY id
