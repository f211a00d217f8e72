SELECT id FROM lookup_store FOR SYSTEM_TIME AS OF '2023-07-01' s (id, manager)
