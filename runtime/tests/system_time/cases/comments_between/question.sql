SELECT * -- all
FROM dim_customer_hist /* which */ FOR -- when
  SYSTEM_TIME AS OF /* then */ '2023-07-01' -- it was
WHERE active -- FOR SYSTEM_TIME ALL
