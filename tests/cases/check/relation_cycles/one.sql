SELECT id FROM vw_two
