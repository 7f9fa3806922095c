# syntax=docker/dockerfile:1
#
# One image a program, all from one build:
#   docker build --target wallet --tag bursar-wallet .
# Targets: identity, wallet, transaction, admin, sandbox, gateway.

FROM rust:1.95-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /bursar
COPY . .
ENV SQLX_OFFLINE=true
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/bursar/target \
    cargo build --release --locked --workspace --exclude bursar-devmesh --bins \
    && mkdir /programs \
    && cp target/release/bursar-identity target/release/bursar-wallet \
        target/release/bursar-transaction target/release/bursar-admin \
        target/release/bursar-sandbox target/release/bursar-gateway \
        target/release/bursar-verify /programs/

# No shell, no package manager, not root.
FROM gcr.io/distroless/cc-debian12:nonroot AS service
ENV BURSAR_GRPC_ADDRESS=0.0.0.0:9090 \
    BURSAR_HTTP_ADDRESS=0.0.0.0:9091
EXPOSE 9090 9091

FROM service AS identity
COPY --from=build /programs/bursar-identity /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/bursar-identity"]

FROM service AS wallet
COPY --from=build /programs/bursar-wallet /programs/bursar-verify /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/bursar-wallet"]

FROM service AS transaction
COPY --from=build /programs/bursar-transaction /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/bursar-transaction"]

FROM service AS admin
COPY --from=build /programs/bursar-admin /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/bursar-admin"]

FROM service AS sandbox
COPY --from=build /programs/bursar-sandbox /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/bursar-sandbox"]

# The gateway's configuration is generated from the contract while building.
FROM build AS gateway-configuration
COPY <<EOF /settings.toml
listen = "0.0.0.0:8080"
# For development: reflection tells the whole contract to anybody.
reflection = true

[services]
identity = { grpc = "identity:9090", http = "identity:9091" }
wallet = { grpc = "wallet:9090", http = "wallet:9091" }
transaction = { grpc = "transaction:9090", http = "transaction:9091" }
admin = { grpc = "admin:9090", http = "admin:9091" }
EOF
RUN mkdir -p /etc/bursar \
    && /programs/bursar-gateway generate --settings /settings.toml --output-dir /etc/bursar

FROM envoyproxy/envoy:distroless-v1.40.0 AS gateway
COPY --from=gateway-configuration /etc/bursar /etc/bursar
EXPOSE 8080
CMD ["--config-path", "/etc/bursar/envoy.json"]
