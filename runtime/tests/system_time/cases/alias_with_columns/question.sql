SELECT id FROM lookup_store AS s (id, manager) FOR SYSTEM_TIME AS OF '2023-07-01'
