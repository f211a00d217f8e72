-- The test's own record of the stock: which film each copy was, and where it stood, from when to when.
-- What happens to a copy within one transaction counts as one change.
CREATE SCHEMA record;

CREATE TABLE record.stock (
    inventory_id integer NOT NULL,
    film_id integer NOT NULL,
    store_id integer NOT NULL,
    known_from timestamptz NOT NULL,
    known_until timestamptz NOT NULL DEFAULT 'infinity',
    made_by xid8
);

INSERT INTO record.stock (inventory_id, film_id, store_id, known_from)
SELECT inventory_id, film_id, store_id, '-infinity'
FROM public.inventory;

CREATE INDEX stock_inventory_id_idx ON record.stock (inventory_id);

CREATE FUNCTION record.note_stock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (OLD.inventory_id, OLD.film_id, OLD.store_id) = (NEW.inventory_id, NEW.film_id, NEW.store_id) THEN
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        DELETE FROM record.stock
        WHERE inventory_id = OLD.inventory_id AND made_by = pg_current_xact_id();
        UPDATE record.stock
        SET known_until = clock_timestamp()
        WHERE inventory_id = OLD.inventory_id AND known_until = 'infinity';
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO record.stock
        VALUES (NEW.inventory_id, NEW.film_id, NEW.store_id, clock_timestamp(), 'infinity', pg_current_xact_id());
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER note_stock AFTER INSERT OR UPDATE OR DELETE ON public.inventory
    FOR EACH ROW EXECUTE FUNCTION record.note_stock();
