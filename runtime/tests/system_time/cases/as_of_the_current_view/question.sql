select * from Dim_Customer for system_time as of timestamp '2023-07-01 12:00:00' c where c.active;
