# syntax=docker/dockerfile:1

# The same Node that the tests run on (the package `node` in package-lock.json; a test compares them).
ARG NODE_VERSION=24.21.0

# There is no build step: Node runs the TypeScript. This stage installs the packages and lists them; the last one is
# what ships, without a shell or a package manager.
FROM node:${NODE_VERSION}-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# No package that ships needs an install script: native code arrives as prebuilt optional packages.
RUN --mount=type=cache,target=/cache npm ci --omit=dev --ignore-scripts --cache /cache
# What is in the image, for whoever looks for a vulnerable package (CycloneDX).
RUN npm sbom --package-lock-only --omit=dev --sbom-type=application --sbom-format=cyclonedx > sbom.cdx.json
# Nothing reads these at run time: types and sources of types (Node runs no TypeScript out of node_modules), source maps,
# manuals, the compiler (an optional peer of i18next), and what is for bundlers. Licences stay.
RUN find node_modules -type f \( -name '*.ts' -o -name '*.mts' -o -name '*.cts' -o -name '*.map' -o -iname 'readme*.md' -o -iname 'changelog*.md' -o -iname 'history.md' \) -delete \
 && rm -rf node_modules/typescript node_modules/@typescript node_modules/.bin node_modules/.package-lock.json node_modules/swagger-ui-dist/swagger-ui-es-bundle*.js \
 && find node_modules -type d -empty -delete

COPY LICENSE ./
COPY db ./db
COPY adapters ./adapters
COPY interactions ./interactions
COPY views ./views
COPY src ./src
# Compiled once, here, by the user of below, whose number is part of the cache's name (see src/countersign.js); down to the last
# file, since for a single one that is missing each start would load what strips types, which takes 14 MB. All that is written
# later is in /data: the control socket, and the embedded database and generated secrets in development.
RUN install --directory --owner=1000 --group=1000 --mode=0700 /image/data \
 && install --directory --owner=1000 --group=1000 /image/cache
USER 1000:1000
RUN ["node", "--input-type=module", "--eval", "import { globSync } from 'node:fs'; import { enableCompileCache } from 'node:module'; enableCompileCache('/image/cache'); for (const file of globSync('/app/{adapters,db,interactions,src}/**/*.ts', { exclude: ['**/*.docs.ts'] })) await import(file)"]

# The C library, certificates and time zones, and no more.
FROM gcr.io/distroless/cc-debian12
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Countersign" \
      org.opencontainers.image.description="A standards-compliant OpenID Provider and identity service" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.cyclonedx.sbom="/app/sbom.cdx.json"

# Production needs JWT_ISSUER, and refuses to start without DATABASE_URL and ENCRYPTION_MASTER_KEY: see README.md.
ENV NODE_ENV=production \
    NODE_OPTIONS=--max-semi-space-size=32 \
    PORT=3000 \
    DATA_DIR=/data

WORKDIR /app
# From what changes least to what changes most.
COPY --from=build /usr/local/bin/node /usr/local/bin/node
COPY --from=build --chown=1000:1000 /image/data /data
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/package.json /app/LICENSE /app/sbom.cdx.json ./
COPY db ./db
COPY adapters ./adapters
COPY interactions ./interactions
COPY views ./views
COPY src ./src
COPY --from=build /image/cache ./node_modules/.cache/countersign

# The rest of the file system may be read-only. A new volume takes over the folder's owner.
VOLUME /data

# By number, so that Kubernetes can tell that it is not root (runAsNonRoot).
USER 1000:1000

EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --start-interval=1s --retries=3 CMD ["node", "src/health-check.ts"]

# docker run countersign            serves
# docker run countersign migrate    migrates the database; so does every other command of src/countersign.js
ENTRYPOINT ["node", "src/countersign.js"]
CMD ["serve"]
