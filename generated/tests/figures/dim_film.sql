-- What `dim_film` has to say, straight from the source's tables of one state.
SELECT
    film.film_id,
    film.title,
    film.description,
    film.release_year,
    film.language_id,
    (SELECT name FROM language WHERE language.language_id = film.language_id) AS language,
    film.original_language_id,
    film.rental_duration,
    film.rental_rate,
    film.length,
    film.replacement_cost,
    film.rating,
    film.special_features,
    film.last_update
FROM film
