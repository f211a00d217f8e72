{{ mark }}

-- Nothing cascades: what others have built on the warehouse makes this fail, and stays. Schema medallion
-- stays as well, for the record of applied migrations stands in it.
{% for drop in drops %}
{{ drop }}
{%- endfor %}
