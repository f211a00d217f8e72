-- What was pruned, and when.
CREATE TABLE {{ archive }} (
    {{ definitions.at(4) }},
    "pruned_at" timestamptz NOT NULL DEFAULT now()
);
