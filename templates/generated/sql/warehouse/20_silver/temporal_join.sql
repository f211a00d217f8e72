{%- if at_own_time -%}
-- The version of an event's own time: where that is older than the first, the first reaches back; in a gap the
-- last earlier one counts.
{% endif -%}
CREATE VIEW {{ name }} AS
{{ definition }};

CREATE VIEW {{ travel_view }} AS
{{ travel_definition }};
