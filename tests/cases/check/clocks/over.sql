SELECT sale_id FROM vw_view
