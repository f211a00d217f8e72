-- The sample: a year in the life of seven shops. Runs once, after source.sql.
--
-- It plays the year 2025 (UTC) into change_log, every change of the captured tables since the shops
-- took their log into use on 2 December 2024, and then fills the tables with what the log adds up to.
-- So a table always equals the fold of its log. Nothing is random: where chance would have its part,
-- a die falls the same way each time. All people, titles and addresses are made up.

BEGIN;

SET LOCAL TimeZone = 'UTC';
SET LOCAL DateStyle = 'ISO';
SET LOCAL work_mem = '64MB';
SET LOCAL jit = off;

-- 1. Tools

-- A die with so many sides, from 0: who throws, and which of their throws it is, decide how it falls.
CREATE FUNCTION pg_temp.roll(thrower bigint, throw integer, sides bigint) RETURNS integer
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    x bigint := (thrower * 374761393 + throw * 668265263::bigint) & 4294967295;
BEGIN
    x := ((x # (x >> 13)) * 1274126177) & 4294967295;
    x := ((x # (x >> 15)) * 1540483477) & 4294967295;
    RETURN (x # (x >> 16)) % sides;
END
$$;

-- A moment in the opening hours of one of so many days from a first one.
CREATE FUNCTION pg_temp.some_day(first date, thrower bigint, throw integer, days integer) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT first
        + pg_temp.roll(thrower, throw, days) * interval '1 day'
        + (36000 + pg_temp.roll(thrower, throw + 500, 43200)) * interval '1 second'
$$;

-- One of a list, whose items stand between commas.
CREATE FUNCTION pg_temp.pick(list text, nth integer) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    items text[] := string_to_array(list, ',');
BEGIN
    RETURN items[1 + nth % cardinality(items)];
END
$$;

CREATE FUNCTION pg_temp.email(first_name text, last_name text, host text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT translate(lower(first_name || '.' || last_name), ' ''', '') || '@' || host
$$;

-- A row, as its changes add up.
CREATE AGGREGATE pg_temp.fold(jsonb) (SFUNC = jsonb_concat, STYPE = jsonb, INITCOND = '{}');

-- What is done to a row. What one till (0: the office) does at one moment is one transaction, in
-- the order of its steps. A patch holds the whole row for an insert, what changes for an update
-- (besides last_update), and nothing for a delete.
CREATE TEMPORARY TABLE deed (
    moment timestamptz, till integer, step integer, relation text COLLATE "C", key bigint, op char(1), patch jsonb
);

-- 2. Words

CREATE TEMPORARY TABLE word AS
SELECT
    'Amber,Borrowed,Broken,Careful,Crooked,Distant,Drowsy,Eleventh,Empty,Faithful,Foreign,Frozen,Gentle,Gilded,'
    'Hollow,Hungry,Idle,Inland,Jealous,Last,Late,Lucky,Midnight,Modest,Northern,Painted,Paper,Patient,Quiet,'
    'Restless,Salted,Secret,Silver,Stubborn,Sunken,Tender,Thirsty,Unlit,Velvet,Winter' AS adjective,
    'Accordion,Alibi,Anchor,Apprentice,Archive,Bakery,Beekeeper,Bicycle,Bridge,Cartographer,Cello,Chess Club,'
    'Compass,Courier,Dairy,Envelope,Ferry,Foghorn,Garden,Glacier,Harbour,Heiress,Hotel,Kettle,Lantern,Letter,'
    'Lighthouse,Locksmith,Meridian,Orchard,Parade,Passenger,Quarry,Referee,Satellite,Tailor,Tightrope,Umbrella,'
    'Violinist,Weather' AS noun,
    'Aldermoor,Birch Row,Calvera,Dunmarrow,Eastwater,Ferrol Street,Glasswick,Halden,Inverlow,Juniper Bay,'
    'Kestrel Hill,Lower Tarn,Marisol,Nine Elms,Oakhaven,Port Selby,Quillon,Ravensea,Saltmarsh,Tolvane,Upper Ness,'
    'Vantry,Westerlee,Yarrow,Zell' AS place,
    'A retired tram driver,A lighthouse keeper,The youngest of nine sisters,A tax inspector,A stage magician,'
    'A nervous pilot,The village postwoman,A piano tuner,An understudy,A night baker,A minor diplomat,'
    'A deep-sea cook,A substitute teacher,A beekeeper,A florist,The twin of the mayor' AS hero,
    'inherits a map with one street missing,wakes up in the wrong decade,is mistaken for a spy,'
    'buys a hotel that nobody can leave,wins a race by accident,finds a letter sent to the future,'
    'takes in a stranger who never sleeps,loses a bet against the sea,must give a concert in three days,'
    'hears a secret over a bad line,hides a stolen cello,adopts a retired racehorse,'
    'opens a bakery on a glacier,promises one ship to two crews,is elected by one vote' AS plot,
    'and the whole town wants a share,but the clock in the square runs backwards,and only the cat saw it,'
    'while the snow keeps falling,and nobody believes a word,until the last ferry leaves,'
    'but an old friend knows better,and has one night to put it right,and falls in love with the bailiff,'
    'as the harvest fails,and learns to dance,but the bill comes due,and sets out on foot' AS turn,
    'Agnes,Ailbhe,Anton,Beatriz,Bram,Carla,Ciaran,Dario,Delia,Eamon,Edith,Elio,Emre,Fenna,Filipa,Gaia,Gareth,Greta,'
    'Hana,Henrik,Ines,Ingrid,Iris,Ivo,Jelle,Joana,Jonas,Kaia,Kieran,Lars,Leonor,Livia,Lotte,Luca,Maeve,Marco,Marit,'
    'Mateus,Mira,Moana,Nadia,Nils,Noor,Nuala,Olav,Orla,Otto,Paula,Pietro,Rafael,Ronja,Rui,Sanna,Sofia,Tamati,'
    'Teresa,Tomas,Una,Vera,Wiremu' AS first_name,
    'Adler,Almeida,Barros,Beckett,Bellini,Berg,Brennan,Caruso,Claes,Conti,Cordeiro,Dahl,De Smet,Doyle,Eriksen,'
    'Fabbri,Farrell,Ferreira,Fraser,Gallagher,Goossens,Greco,Hagen,Harris,Haugen,Hayes,Holm,Iversen,Jacobs,'
    'Janssens,Kavanagh,Keane,Knudsen,Lambert,Larsen,Leal,Lynch,MacLeod,Maes,Marchetti,Martins,McGrath,Moen,'
    'Moreira,Murray,Neves,Ngata,Nolan,O''Dea,Olsen,Orsini,Parata,Peeters,Pinto,Power,Quinn,Ramos,Reid,Ricci,'
    'Rossi,Ruud,Ryan,Santos,Serra,Sheehan,Solberg,Sousa,Strand,Tangaroa,Tavares,Teixeira,Thorne,Urso,Valente,'
    'Verhaegen,Vik,Walsh,Wouters,Young,Zanetti' AS last_name,
    'Anvil,Barley,Chapel,Copper,Custom House,Drover,Elder,Fennel,Fish,Granary,Heron,Ivy,Larch,Linen,Mill,Old Quay,'
    'Orchard,Pilot,Printer,Quince,Rope,Saddler,Spring,Station,Tannery,Thistle,Tinker,Wharf' AS street,
    'Street,Lane,Road,Row,Hill,Square,Walk' AS way,
    'post.example,mail.example,letterbox.example,home.example' AS host;

-- 3. The seven shops, each with a region of its own: how big it is (of 100, from and below), and how
-- many of a hundred returns are late

CREATE TEMPORARY TABLE shop (store_id, share_from, share_below, late_share, country, district, towns) AS
VALUES
    (1, 0, 24, 18, 'Ireland', 'Munster', 'Cork,Cobh,Kinsale,Mallow'),
    (2, 24, 43, 12, 'Portugal', 'Norte', 'Porto,Braga,Aveiro,Guimarães'),
    (3, 43, 58, 24, 'Canada', 'Nova Scotia', 'Halifax,Truro,Lunenburg,Wolfville'),
    (4, 58, 71, 16, 'Italy', 'Friuli', 'Trieste,Udine,Gorizia,Cividale'),
    (5, 71, 82, 31, 'Norway', 'Vestland', 'Bergen,Voss,Odda,Florø'),
    (6, 82, 92, 20, 'Belgium', 'Flanders', 'Ghent,Bruges,Aalst,Kortrijk'),
    (7, 92, 100, 14, 'New Zealand', 'Tasman', 'Nelson,Motueka,Picton,Blenheim');

INSERT INTO country (country_id, country, last_update)
SELECT store_id, country, '2024-12-02 08:00:00+00' FROM shop;

INSERT INTO city (city_id, city, country_id, last_update)
SELECT (store_id - 1) * 4 + n, town, store_id, '2024-12-02 08:00:00+00'
FROM shop, string_to_table(towns, ',') WITH ORDINALITY AS t (town, n);

-- 4. People: who they are, when they sign up, and what becomes of them

CREATE TEMPORARY TABLE person AS
SELECT
    n AS customer_id, shop.store_id,
    pg_temp.pick(word.first_name, n * 2111 % 4800 / 80) AS first_name,
    pg_temp.pick(word.last_name, n * 2111) AS last_name,
    pg_temp.pick(word.host, pg_temp.roll(n, 1, 4)) AS host,
    CASE
        WHEN n <= 480 THEN timestamptz '2024-12-02 08:40:00+00'
        ELSE pg_temp.some_day(date '2025-01-03' + (n - 481) * 3, n, 2, 1)
    END AS signed_up,
    CASE WHEN n <= 480 THEN date '2024-11-30' - pg_temp.roll(n, 3, 2200) END AS known_since
FROM generate_series(1, 599) AS n
JOIN shop ON pg_temp.roll(n, 4, 100) BETWEEN share_from AND share_below - 1
CROSS JOIN word;

-- A few have themselves deleted soon, and come back.
CREATE TEMPORARY TABLE waverer AS
SELECT customer_id, signed_up + interval '10 days' AS left_at, signed_up + interval '40 days' AS back_at
FROM person WHERE customer_id IN (490, 505, 520, 535, 550);

-- Some move house in the first half of the year, to another region and its shop or within their
-- own, and some of them move back there in the second half.
CREATE TEMPORARY TABLE relocation AS
SELECT
    customer_id,
    pg_temp.some_day(first, customer_id, 10 + half, 165) AS moment,
    CASE
        WHEN half = 2 OR pg_temp.roll(customer_id, 13, 100) >= 30 THEN store_id
        ELSE 1 + (store_id + pg_temp.roll(customer_id, 14, 6)) % 7
    END AS to_store
FROM person
CROSS JOIN (VALUES (1, date '2025-01-10', 55), (2, '2025-07-01', 14)) AS season (half, first, share)
WHERE customer_id <= 480 AND pg_temp.roll(customer_id, 15, 100) < share;

-- Some are barred, every other one of them for a while only.
CREATE TEMPORARY TABLE pause AS
SELECT
    customer_id,
    pg_temp.some_day('2025-03-03', customer_id, 20, 210) AS barred_at,
    CASE customer_id % 2 WHEN 0 THEN pg_temp.some_day('2025-11-01', customer_id, 21, 40) END AS allowed_at
FROM person WHERE customer_id <= 480 AND pg_temp.roll(customer_id, 22, 100) < 13;

-- Every address in the order of writing: shops (kind 1), staff (2; the last one comes in June, to
-- manage shop 3), customers (3).
CREATE TEMPORARY TABLE home AS
SELECT row_number() OVER (ORDER BY moment, kind, owner) AS address_id, *
FROM (
    SELECT timestamptz '2024-12-02 08:10:00+00' AS moment, 1 AS kind, store_id AS owner, store_id AS region FROM shop
    UNION ALL
    SELECT '2024-12-02 08:10:00+00', 2, n, (n - 1) / 3 + 1 FROM generate_series(1, 21) AS n
    UNION ALL
    VALUES (timestamptz '2025-06-02 07:00:00+00', 2, 22, 3)
    UNION ALL
    SELECT signed_up, 3, customer_id, store_id FROM person
    UNION ALL
    SELECT moment, 3, customer_id, to_store FROM relocation
) AS written;

INSERT INTO deed
SELECT home.moment, 0, 1, 'address', home.address_id, 'I', to_jsonb(r)
FROM home
JOIN shop ON shop.store_id = home.region
CROSS JOIN word
CROSS JOIN LATERAL (
    SELECT
        home.address_id,
        1 + pg_temp.roll(home.address_id, 30, 180) || ' ' || pg_temp.pick(street, pg_temp.roll(home.address_id, 31, 28))
        || ' ' || pg_temp.pick(way, pg_temp.roll(home.address_id, 32, 7)) AS address,
        CASE WHEN home.address_id % 8 = 0 THEN 'Flat ' || 1 + pg_temp.roll(home.address_id, 33, 20) END AS address2,
        shop.district,
        (home.region - 1) * 4 + 1 + pg_temp.roll(home.address_id, 34, 6) % 4 AS city_id,
        (10000 * home.region + pg_temp.roll(home.address_id, 35, 9000))::text AS postal_code,
        '555' || 1000000 + pg_temp.roll(home.address_id, 36, 8999999) AS phone,
        home.moment AS last_update
) AS r;

-- Here and there the post office gives an address another code.
INSERT INTO deed
SELECT
    pg_temp.some_day('2025-02-03', address_id, 37, 300), 0, 1, 'address', address_id, 'U',
    jsonb_build_object('postal_code', (10000 * region + 9000 + pg_temp.roll(address_id, 38, 999))::text)
FROM home WHERE moment < '2025-01-01' AND address_id % 10 = 3;

INSERT INTO deed
SELECT signing.moment, 0, 2, 'customer', r.customer_id, 'I', to_jsonb(r)
FROM person
LEFT JOIN waverer USING (customer_id)
JOIN home ON home.kind = 3 AND home.owner = customer_id AND home.moment = person.signed_up
CROSS JOIN unnest(ARRAY[person.signed_up, waverer.back_at]) AS signing (moment)
CROSS JOIN LATERAL (
    SELECT
        person.customer_id, person.store_id, person.first_name, person.last_name,
        pg_temp.email(person.first_name, person.last_name, person.host) AS email,
        home.address_id, true AS activebool,
        coalesce(person.known_since, signing.moment::date) AS create_date,
        signing.moment AS last_update, 1 AS active
) AS r
WHERE signing.moment IS NOT NULL;

INSERT INTO deed
SELECT left_at, 0, 1, 'customer', customer_id, 'D', jsonb '{}' FROM waverer
UNION ALL
SELECT barred_at, 0, 1, 'customer', customer_id, 'U', '{"activebool": false, "active": 0}' FROM pause
UNION ALL
SELECT allowed_at, 0, 1, 'customer', customer_id, 'U', '{"activebool": true, "active": 1}'
FROM pause WHERE allowed_at IS NOT NULL
UNION ALL
SELECT moment, 0, 2, 'customer', customer_id, 'U', jsonb_build_object('address_id', address_id, 'store_id', to_store)
FROM relocation
JOIN home USING (moment)
WHERE home.kind = 3 AND home.owner = customer_id;

-- Half of the old customers change their mail address, some their last name too.
INSERT INTO deed
SELECT
    pg_temp.some_day('2025-01-20', customer_id, 40, 320), 0, 1, 'customer', customer_id, 'U',
    CASE
        WHEN chance > 3 THEN jsonb_build_object('email', lower(first_name) || customer_id || '@quickmail.example')
        ELSE jsonb_build_object('last_name', other, 'email', pg_temp.email(first_name, other, host))
    END
FROM person
CROSS JOIN LATERAL (
    SELECT
        pg_temp.roll(customer_id, 41, 100) AS chance,
        pg_temp.pick(word.last_name, pg_temp.roll(customer_id, 42, 80)) AS other
    FROM word
) AS drawn
WHERE customer_id <= 480 AND chance < 50;

-- 5. Shops and staff: three people a shop, a manager and two at the counter

INSERT INTO deed
SELECT moment, 0, 2, 'store', owner, 'I', to_jsonb(r)
FROM home
CROSS JOIN LATERAL (SELECT owner AS store_id, owner * 3 - 2 AS manager_staff_id, address_id, moment AS last_update) AS r
WHERE kind = 1
UNION ALL
SELECT moment, 0, 3, 'staff', owner, 'I', to_jsonb(r)
FROM home
CROSS JOIN LATERAL (
    SELECT pg_temp.pick(first_name, owner * 17) AS first_name, pg_temp.pick(last_name, owner * 29) AS last_name
    FROM word
) AS named
CROSS JOIN LATERAL (
    SELECT
        owner AS staff_id, named.first_name, named.last_name, address_id,
        pg_temp.email(named.first_name, named.last_name, 'shop.example') AS email,
        region AS store_id, true AS active,
        lower(left(named.first_name, 1)) || owner AS username,
        moment AS last_update
) AS r
WHERE kind = 2
UNION ALL
VALUES
    (timestamptz '2025-06-02 07:00:00+00', 0, 4, 'store', 3, 'U', jsonb '{"manager_staff_id": 22}'),
    ('2025-06-02 07:00:00+00', 0, 5, 'staff', 7, 'U', '{"active": false}');

-- 6. Films: 960 to begin with, and a new release every nine days

INSERT INTO deed
SELECT
    '2024-12-02 08:05:00+00', 0, 1, relation, n, 'I',
    jsonb_build_object(relation || '_id', n, 'name', name, 'last_update', timestamptz '2024-12-02 08:05:00+00')
FROM (
    VALUES
        ('language', 'English,French,Italian,Norwegian,Portuguese,Māori'),
        ('category', 'Adventure,Animals,Comedy,Crime,Drama,Family,Fantasy,History,Music,Mystery,Thriller,Travel,War')
) AS list (relation, names)
CROSS JOIN string_to_table(names, ',') WITH ORDINALITY AS t (name, n);

CREATE TEMPORARY TABLE release AS
SELECT
    n AS film_id,
    CASE
        WHEN n <= 960 THEN timestamptz '2024-12-02 08:20:00+00'
        ELSE timestamptz '2025-01-09 08:00:00+00' + (n - 961) * interval '9 days'
    END AS moment,
    CASE WHEN n > 960 THEN 4.99 ELSE (ARRAY[0.99, 2.99, 4.99, 0.99, 1.99, 2.99])[1 + pg_temp.roll(n, 50, 6)] END AS rate,
    (ARRAY['G', 'PG', 'PG-13', 'PG-13', 'R', 'NC-17'])[1 + pg_temp.roll(n, 51, 6)] AS rating,
    3 + pg_temp.roll(n, 52, 5) AS days
FROM generate_series(1, 1000) AS n;

INSERT INTO deed
SELECT moment, 0, 2, 'film', r.film_id, 'I', to_jsonb(r)
FROM release
CROSS JOIN word
CROSS JOIN LATERAL (
    SELECT
        CASE WHEN film_id % 3 = 2 THEN '' ELSE 'The ' END || CASE film_id % 3
            WHEN 0 THEN pg_temp.pick(noun, film_id * 617 % 1000 / 25) || ' of ' || pg_temp.pick(place, film_id * 617)
            ELSE pg_temp.pick(adjective, film_id * 617 / 40) || ' ' || pg_temp.pick(noun, film_id * 617)
        END AS title,
        pg_temp.pick(hero, pg_temp.roll(film_id, 53, 16)) || ' ' || pg_temp.pick(plot, pg_temp.roll(film_id, 54, 15))
        || ', ' || pg_temp.pick(turn, pg_temp.roll(film_id, 55, 13)) || '.' AS description
) AS told
CROSS JOIN LATERAL (
    SELECT
        film_id, title, description,
        CASE WHEN film_id <= 960 THEN 1962 + pg_temp.roll(film_id, 56, 63) ELSE 2025 END AS release_year,
        1 + greatest(pg_temp.roll(film_id, 57, 20) - 14, 0) AS language_id,
        CASE pg_temp.roll(film_id, 58, 12) WHEN 0 THEN 2 + film_id % 5 END AS original_language_id,
        days AS rental_duration, rate AS rental_rate,
        70 + pg_temp.roll(film_id, 59, 110) AS length,
        9.99 + pg_temp.roll(film_id, 60, 21) AS replacement_cost,
        rating, moment AS last_update,
        (ARRAY['Trailers', 'Commentaries', 'Deleted Scenes', 'Behind the Scenes'])[
            1 + film_id % 3:2 + film_id % 4
        ] AS special_features,
        to_tsvector('pg_catalog.english', title || ' ' || description) AS fulltext
) AS r;

INSERT INTO deed
SELECT moment, 0, 3, 'film_category', r.film_id * 100 + r.category_id, 'I', to_jsonb(r)
FROM release
CROSS JOIN LATERAL (
    SELECT film_id, 1 + (film_id * 5 + n) % 13 AS category_id, moment AS last_update
    FROM generate_series(0, pg_temp.roll(film_id, 61, 5) / 4 * 6, 6) AS n
) AS r;

-- Prices change: the cheapest rise in April, some others fall during the year, a new release falls
-- when it is 90 days old, and films for everybody are cheap in December.
CREATE TEMPORARY TABLE price AS
SELECT film_id, moment, rate, lead(moment, 1, 'infinity') OVER (PARTITION BY film_id ORDER BY moment) AS until
FROM (
    SELECT film_id, moment, rate FROM release
    UNION ALL
    SELECT film_id, '2025-04-01 06:00:00+00', 1.19
    FROM release WHERE film_id <= 960 AND rate = 0.99
    UNION ALL
    SELECT film_id, pg_temp.some_day('2025-02-10', film_id, 62, 270), rate - 0.50
    FROM release WHERE film_id <= 960 AND rate > 0.99 AND film_id % 5 = 4
    UNION ALL
    SELECT film_id, moment + interval '90 days', 2.99
    FROM release WHERE film_id > 960 AND moment < '2025-09-30'
    UNION ALL
    SELECT film_id, '2025-12-01 06:00:00+00', 0.79
    FROM release WHERE film_id <= 960 AND rating = 'G'
) AS priced;

INSERT INTO deed
SELECT price.moment, 0, 1, 'film', film_id, 'U', jsonb_build_object('rental_rate', price.rate)
FROM price
JOIN release USING (film_id)
WHERE price.moment > release.moment;

-- 7. Copies: some films are sought after (pull, of 1,000), most are not; a new release comes to
-- every shop a day later

CREATE TEMPORARY TABLE copy AS
SELECT
    row_number() OVER (ORDER BY moment, n) AS inventory_id,
    film_id, shop.store_id,
    moment + CASE WHEN film_id <= 960 THEN interval '5 minutes' ELSE interval '1 day' END AS arrived,
    3 + n % 3 + pull * pull * 10 / 1000000 AS times
FROM generate_series(1, 2380) AS n
CROSS JOIN LATERAL (SELECT pg_temp.roll(n, 70, 1000) AS luck, pg_temp.roll(n, 71, 100) AS share) AS drawn
CROSS JOIN LATERAL (SELECT CASE WHEN n <= 2100 THEN 1000 - luck * (luck + 1000) / 2000 ELSE 900 END AS pull) AS ranked
JOIN release ON film_id = CASE WHEN n <= 2100 THEN 1 + (1000 - pull) * 389 % 1000 ELSE 961 + (n - 2101) / 7 END
JOIN shop ON CASE WHEN n <= 2100 THEN share BETWEEN share_from AND share_below - 1 ELSE store_id = 1 + n % 7 END;

-- 8. Rentals. The year is cut into tickets, more of them on busy days: winter and weekends. A copy
-- goes out at even distances of tickets, not quite regularly, and never while it is out.

CREATE TEMPORARY TABLE ticket AS
SELECT row_number() OVER (ORDER BY day, n) - 1 AS ticket, day::date AS day
FROM generate_series(timestamp '2025-01-01', '2025-12-31', '1 day') AS day
CROSS JOIN LATERAL generate_series(
    1,
    (ARRAY[23, 21, 19, 18, 16, 15, 17, 18, 17, 21, 24, 30])[extract(month FROM day)::integer]
    * (ARRAY[6, 6, 7, 8, 13, 15, 10])[extract(isodow FROM day)::integer] / 10
) AS n;

CREATE TEMPORARY TABLE outing AS
WITH attempt AS (
    SELECT
        copy.*,
        inventory_id * 100 + nth AS number,
        (nth * 1000 + pg_temp.roll(inventory_id * 100 + nth, 80, 1000)) * tickets / (times * 1000) AS ticket
    FROM copy
    CROSS JOIN generate_series(0, 20) AS nth
    CROSS JOIN (SELECT count(*) AS tickets FROM ticket) AS year
    WHERE nth < times
),
planned AS (
    SELECT
        attempt.*,
        late_share, release.days,
        pg_temp.some_day(day, number, 81, 1) AS moment,
        CASE
            WHEN pg_temp.roll(number, 82, 1000) < 4 THEN 'infinity'
            WHEN pg_temp.roll(number, 83, 100) < late_share THEN pg_temp.some_day(day + days + 1, number, 84, 5)
            ELSE pg_temp.some_day(day + 1, number, 84, days - 1)
        END AS back
    FROM attempt
    JOIN ticket USING (ticket)
    JOIN release USING (film_id)
    JOIN shop USING (store_id)
    -- Shop 6 is losing ground, shop 7 is gaining it.
    WHERE store_id < 6
    OR pg_temp.roll(number, 85, 24) >= abs((store_id - 6) * 12 - extract(month FROM day))
)
SELECT *, row_number() OVER (PARTITION BY inventory_id ORDER BY moment) AS turn
FROM (
    SELECT *, greatest(arrived, max(back) OVER earlier) AS free_from
    FROM planned
    WINDOW earlier AS (
        PARTITION BY inventory_id ORDER BY moment ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
) AS queued
WHERE moment > free_from
ORDER BY pg_temp.roll(number, 86, 1000000), number
LIMIT 16030;

-- Some copies go to another shop early in the morning of an outing, some are withdrawn in autumn.
CREATE TEMPORARY TABLE transfer AS
SELECT
    inventory_id,
    (moment::date + time '07:30') AT TIME ZONE 'UTC' AS moved_at,
    1 + (store_id + pg_temp.roll(inventory_id, 72, 6)) % 7 AS to_store
FROM outing WHERE inventory_id % 40 = 11 AND turn = 4 AND free_from::date < moment::date;

INSERT INTO deed
SELECT arrived, 0, 1, 'inventory', r.inventory_id, 'I', to_jsonb(r)
FROM copy
CROSS JOIN LATERAL (SELECT copy.inventory_id, film_id, store_id, arrived AS last_update) AS r
UNION ALL
SELECT moved_at, 0, 1, 'inventory', inventory_id, 'U', jsonb_build_object('store_id', to_store) FROM transfer
UNION ALL
SELECT max(back) + interval '9 hours', 0, 1, 'inventory', inventory_id, 'D', '{}'
FROM outing WHERE inventory_id % 30 = 7
GROUP BY inventory_id
HAVING max(back) BETWEEN '2025-09-15' AND '2025-12-24';

-- Who rents: the customers of a shop in a month, from the one after they signed up; keen ones
-- stand in the list more than once.
CREATE TEMPORARY TABLE clientele AS
SELECT store_id, month, array_agg(customer_id ORDER BY customer_id) AS customers
FROM (
    SELECT
        customer_id, month,
        coalesce(
            (
                SELECT to_store FROM relocation AS r
                WHERE r.customer_id = person.customer_id AND moment < month
                ORDER BY moment DESC LIMIT 1
            ),
            store_id
        ) AS store_id
    FROM person
    LEFT JOIN waverer USING (customer_id)
    LEFT JOIN pause USING (customer_id)
    CROSS JOIN generate_series(timestamptz '2025-01-01', '2025-12-01', '1 month') AS month
    CROSS JOIN generate_series(0, (ARRAY[0, 0, 0, 1, 1, 2, 4])[1 + pg_temp.roll(customer_id, 87, 7)])
    WHERE coalesce(back_at, signed_up) < month
    AND (barred_at >= month + interval '1 month' OR allowed_at < month OR barred_at IS NULL)
) AS regular
GROUP BY store_id, month;

-- Members, every fourth customer, pay when they rent, and are forgiven when they are late; the
-- others pay when they bring the copy back, 0.50 more for each day begun. Some have a voucher.
CREATE TEMPORARY TABLE hire AS
SELECT
    row_number() OVER (ORDER BY outing.moment, inventory_id) AS rental_id,
    inventory_id, customer_id, outing.moment, back,
    stand.store_id * 3 - pg_temp.roll(number, 89, 2) AS staff_id,
    stand.store_id * 3 - pg_temp.roll(number, 90, 2) AS back_staff_id,
    rate, customer_id % 4 = 0 AS member,
    CASE customer_id % 4 WHEN 0 THEN outing.moment ELSE back END AS paid_at,
    0.50 * greatest(ceil(extract(epoch FROM nullif(back, 'infinity') - outing.moment) / 86400) - days, 0) AS fee,
    pg_temp.roll(number, 91, 1000) < 47 AS voucher
FROM outing
LEFT JOIN transfer USING (inventory_id)
CROSS JOIN LATERAL (SELECT CASE WHEN outing.moment > moved_at THEN to_store ELSE store_id END AS store_id) AS stand
JOIN clientele ON clientele.store_id = stand.store_id AND month = date_trunc('month', outing.moment)
CROSS JOIN LATERAL (SELECT customers[1 + pg_temp.roll(number, 88, cardinality(customers))] AS customer_id) AS chosen
JOIN price ON price.film_id = outing.film_id AND outing.moment >= price.moment AND outing.moment < until;

INSERT INTO deed
SELECT moment, r.staff_id, 1, 'rental', r.rental_id, 'I', to_jsonb(r)
FROM hire
CROSS JOIN LATERAL (
    SELECT
        hire.rental_id, moment AS rental_date, inventory_id, customer_id, NULL::timestamptz AS return_date,
        hire.staff_id, moment AS last_update
) AS r
UNION ALL
SELECT back, back_staff_id, 1, 'rental', rental_id, 'U', jsonb_build_object('return_date', back)
FROM hire WHERE back < '2026-01-01'
UNION ALL
-- Now and then a clerk asks whether name and address still hold: the row is touched, nothing changes.
SELECT moment, staff_id, 2, 'customer', customer_id, 'U', '{}'
FROM hire WHERE pg_temp.roll(rental_id, 92, 100) < 28
UNION ALL
SELECT payment_date, staff_id, 3, 'payment', payment_id, 'I', to_jsonb(r)
FROM (
    SELECT
        row_number() OVER (ORDER BY paid_at, rental_id) AS payment_id, customer_id,
        CASE WHEN member THEN staff_id ELSE back_staff_id END AS staff_id, rental_id,
        CASE WHEN member THEN rate ELSE rate + fee END AS amount, paid_at AS payment_date
    FROM hire WHERE paid_at < '2026-01-01' AND NOT voucher
) AS r;

-- 9. The log, and the tables as it leaves them

CREATE TEMPORARY TABLE played AS
SELECT *, row_number() OVER (PARTITION BY position ORDER BY step, relation, key) AS seq
FROM (
    SELECT
        *,
        dense_rank() OVER (ORDER BY moment, till) AS position,
        pg_temp.fold(
            CASE op WHEN 'U' THEN patch || jsonb_build_object('last_update', moment) ELSE patch END
        ) OVER story AS full_row,
        lead(op) OVER story IS NULL AS is_last
    FROM deed
    WINDOW story AS (PARTITION BY relation, key ORDER BY moment, till, step ROWS UNBOUNDED PRECEDING)
) AS told;

INSERT INTO change_log (position, seq, committed_at, relation, op, full_row)
SELECT position, seq, moment + position * interval '1 microsecond', relation, op, full_row
FROM played
ORDER BY position, seq;

DO $$
DECLARE
    relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY[
        'address', 'language', 'category', 'film', 'film_category', 'store', 'staff', 'inventory', 'customer', 'rental',
        'payment'
    ]
    LOOP
        EXECUTE format(
            'INSERT INTO %1$I SELECT r.* FROM played CROSS JOIN jsonb_populate_record(NULL::%1$I, full_row) AS r
            WHERE relation = %1$L AND is_last AND op <> ''D''
            ORDER BY position, seq',
            relation
        );
    END LOOP;
END
$$;

-- Nobody captures the cast.

INSERT INTO actor (actor_id, first_name, last_name, last_update)
SELECT n, pg_temp.pick(first_name, n * 7), pg_temp.pick(last_name, n * 11), '2024-12-02 08:05:00+00'
FROM generate_series(1, 160) AS n
CROSS JOIN word;

INSERT INTO film_actor (actor_id, film_id, last_update)
SELECT 1 + (film_id * 7 + n * 53) % 160, film_id, release.moment
FROM release
CROSS JOIN generate_series(1, 3 + film_id % 3) AS n;

-- What comes next is numbered on from here.
DO $$
DECLARE
    numbered record;
BEGIN
    FOR numbered IN
        SELECT attrelid::regclass AS relation, attname AS key
        FROM pg_attribute
        JOIN pg_class ON pg_class.oid = attrelid
        WHERE attidentity <> '' AND relnamespace = 'public'::regnamespace AND NOT relispartition
    LOOP
        EXECUTE format(
            'SELECT setval(pg_get_serial_sequence(%1$L, %2$L), max(%2$I)) FROM %1$s',
            numbered.relation, numbered.key
        );
    END LOOP;
END
$$;

-- The tools and the words are temporary, and go.
DISCARD TEMP;

COMMIT;
