# The images of the operator and of the sidecar, and what goes with them. `npm run images` builds them too, without Docker.
#
#   docker build --target sidecar .
#   docker build --target operator .
#   docker build --target materials --output materials .   # licences and software bills of materials

# Has npm and a shell. No file of it gets into an image.
ARG BUILD_IMAGE=docker.io/library/node:24-trixie-slim
# Has the libraries that Node.js is linked to, no shell and no Node.js.
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian13:nonroot

FROM ${BUILD_IMAGE} AS build
# Packages and the build need no root either.
RUN ["mkdir", "/src"]
RUN ["chown", "65532:65532", "/src"]
WORKDIR /src
USER 65532:65532
ENV HOME=/tmp
COPY --chown=65532:65532 package.json package-lock.json .npmrc ./
# Where packages come from can be told by a secret: --secret id=npmrc,src=$HOME/.npmrc
RUN --mount=type=secret,id=npmrc,target=/tmp/.npmrc,uid=65532 ["npm", "ci", "--no-audit", "--no-fund"]
COPY --chown=65532:65532 . .
RUN ["npm", "run", "build"]

# What is in the bundles: one folder for each.
FROM scratch AS materials
COPY --from=build /src/dist/LICENSES.txt /src/dist/sbom.cdx.json /sidecar/
COPY --from=build /src/dist/operator/LICENSES.txt /src/dist/operator/sbom.cdx.json /operator/

FROM ${RUNTIME_IMAGE} AS runtime
ARG VERSION=0.0.0-dev
ARG REVISION=unknown
LABEL org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The very program that package.json names, that the tests run on, and that compiled the sidecar.
COPY --from=build --chown=0:0 /src/node_modules/node/bin/node /usr/local/bin/node
COPY --from=build --chown=0:0 /src/node_modules/node/node_modules/node-linux-*/LICENSE /usr/local/share/doc/node/LICENSE
COPY --chown=0:0 --chmod=0644 LICENSE /app/LICENSE
# By number, so that Kubernetes can tell that it is not root.
USER 65532:65532
WORKDIR /app

FROM runtime AS sidecar
LABEL org.opencontainers.image.title="macp-auth-sidecar" \
      org.opencontainers.image.description="Mints short-lived JWTs for MACP agents on localhost, and serves the public keys"
# Root's, so that the program cannot change itself.
COPY --from=build --chown=0:0 /src/dist/LICENSES.txt /src/dist/sidecar.cjs /src/dist/sidecar.code /src/dist/start.cjs /app/
# From here on: sidecar/bundle/command.ts.
ENV UV_THREADPOOL_SIZE=2 \
    MALLOC_ARENA_MAX=2 \
    MALLOC_TRIM_THRESHOLD_=1048576
EXPOSE 3200
# Kubernetes has probes of its own.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/usr/local/bin/node", "-e", \
    "const e = process.env; require('node:http').get({ host: e.MACP_AUTH_BIND_ADDRESS || '127.0.0.1', port: e.PORT || 3200, path: '/healthz' }, (r) => process.exit(r.statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"]
ENTRYPOINT ["/usr/local/bin/node", "--max-semi-space-size=4", "--v8-pool-size=1", "--disable-warning=DEP0169", "/app/start.cjs"]

FROM runtime AS operator
LABEL org.opencontainers.image.title="macp-auth-operator" \
      org.opencontainers.image.description="Kubernetes operator that makes, publishes and rotates the keys of MACP agents' JWTs"
COPY --from=build --chown=0:0 /src/dist/operator/LICENSES.txt /src/dist/operator/operator.cjs /app/
EXPOSE 8081
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/usr/local/bin/node", "-e", \
    "const e = process.env; require('node:http').get({ host: e.MACP_AUTH_OPERATOR_HEALTH_ADDRESS || '127.0.0.1', port: e.MACP_AUTH_OPERATOR_HEALTH_PORT || 8081, path: '/healthz' }, (r) => process.exit(r.statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"]
# From here on: operator/bundle/command.ts.
ENTRYPOINT ["/usr/local/bin/node", "--max-semi-space-size=4", "--heap-growing-percent=20", "/app/operator.cjs"]
