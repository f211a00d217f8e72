# The warehouse alone: no shell, no package, no secret, and nobody's but its own. What it is to do are its arguments, where
# its databases are the environment's to say:
#
#     docker build --tag warehouse .
#     docker run --rm --env DATABASE_URL --env SOURCE_DATABASE_URL warehouse run
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils gcc libc6-dev make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /medallion
COPY . .
RUN scripts/release \
    && mkdir -p /image/tmp \
    && chmod 1777 /image/tmp \
    && cp target/handed-out/warehouse /image/

FROM scratch
COPY --from=build /image/ /
# What a file is read into has no name, and is below /tmp.
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["/warehouse"]
CMD ["--help"]
