-- Nothing is stored: another year is another number here. The planner knows how many days there are, and a join
-- computes them in a few milliseconds.
CREATE VIEW {{ name }} AS
SELECT
    to_char("date_day", 'YYYYMMDD')::integer AS "date_key",
    "date_day"::date AS "date_day",
    EXTRACT(year FROM "date_day")::integer AS "year",
    EXTRACT(quarter FROM "date_day")::integer AS "quarter",
    EXTRACT(month FROM "date_day")::integer AS "month",
    EXTRACT(week FROM "date_day")::integer AS "week_of_year",
    to_char("date_day", 'FMMonth') AS "month_name",
    to_char("date_day", 'FMDay') AS "day_name",
    EXTRACT(isodow FROM "date_day") > 5 AS "is_weekend",
    EXTRACT(isodow FROM "date_day") < 6 AS "is_weekday"
FROM (
    SELECT ({{ first }}::date + "number")::timestamp AS "date_day"
    FROM generate_series(0, ({{ first }}::date + {{ length }}::interval)::date - {{ first }}::date - 1) AS "number"
) AS "day";

-- The days are the same as of any time.
CREATE VIEW {{ travel_view }} AS
SELECT
    {{ names.at(4) }}
FROM {{ name }};
