CREATE ROLE "poller" LOGIN;
GRANT SELECT ON "public"."orders", "public"."price" TO "poller";
