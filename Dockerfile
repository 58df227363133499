# Adulis in a container; docs/container.md says how to build and run it, and what of it has been tried.
#
#   docker build --tag adulis .     builds everything inside
#   cargo xtask image               builds the binary outside and passes it as BINARY=prebuilt

# Where the binary and ONNX Runtime come from: the stage `built`, or `prebuilt`, which takes deploy/docker/prebuilt.
ARG BINARY=built
ARG RUST_IMAGE=rust:1.95-bookworm
# Has to have glibc 2.28 or newer and libstdc++, and to be no older than RUST_IMAGE.
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${RUST_IMAGE} AS built
WORKDIR /src
COPY . .
RUN cargo xtask image --stage-only && mv deploy/docker/prebuilt /adulis

FROM scratch AS prebuilt
COPY deploy/docker/prebuilt /adulis

FROM ${BINARY} AS binary

# Stops the build if the base image lacks a library, or has too old a glibc.
FROM ${BASE_IMAGE} AS checked
COPY --from=binary /adulis /opt/adulis
RUN test -f /opt/adulis/lib/libonnxruntime.so \
    && ldd /opt/adulis/adulis /opt/adulis/lib/libonnxruntime.so | tee /tmp/libraries \
    && ! grep "not found" /tmp/libraries \
    && /opt/adulis/adulis --version

FROM ${BASE_IMAGE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="adulis" \
      org.opencontainers.image.description="An inference server on Axum: a folder of models becomes a microservice" \
      org.opencontainers.image.source="https://github.com/adulis/adulis" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# The server looks for ONNX Runtime in lib/ beside its binary.
COPY --from=checked /opt/adulis /opt/adulis
COPY LICENSE /opt/adulis/LICENSE
ENV PATH=/opt/adulis:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    ADULIS_CACHE_DIR=/tmp/adulis

# A number, so that Kubernetes can see that it isn't root. Nothing in the image belongs to it: it writes to /tmp only.
USER 65532:65532
WORKDIR /
# REST, gRPC, metrics
EXPOSE 8000 8001 8002

# SIGTERM drains: readiness goes first, then requests in flight are answered.
STOPSIGNAL SIGTERM
# The binary asks itself: the image needs no HTTP client and no shell for it.
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 \
    CMD ["adulis", "probe", "http://127.0.0.1:8000/v2/health/ready", "--timeout", "2s"]

ENTRYPOINT ["adulis"]
CMD ["serve", "/models", "--http", "0.0.0.0:8000", "--grpc", "0.0.0.0:8001", "--metrics", "0.0.0.0:8002"]
