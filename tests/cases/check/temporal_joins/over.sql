SELECT id FROM half_a_key
