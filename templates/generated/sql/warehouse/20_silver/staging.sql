-- Of each key the last change, unless it ended the row.
CREATE VIEW {{ name }} AS
{{ definition }};

CREATE VIEW {{ travel_view }} AS
{{ travel_definition }};
