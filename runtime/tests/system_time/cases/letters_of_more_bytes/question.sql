SELECT 'größer 😀' AS "ü"
FROM dim_customer FOR SYSTEM_TIME AS OF '2023-07-01' AS é
WHERE é.email <> 'ß'
