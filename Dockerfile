# syntax=docker/dockerfile:1

# There is no build step: Node runs the TypeScript. One stage installs the packages, the other is what ships.
FROM node:24-bookworm-slim AS packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# No package that ships needs an install script: native code arrives as prebuilt optional packages.
RUN --mount=type=cache,target=/cache npm ci --omit=dev --ignore-scripts --cache /cache

FROM node:24-bookworm-slim
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Countersign" \
      org.opencontainers.image.description="A standards-compliant OpenID Provider and identity service" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"

# Production needs JWT_ISSUER, and refuses to start without DATABASE_URL and ENCRYPTION_MASTER_KEY: see README.md.
ENV NODE_ENV=production \
    PORT=3000 \
    DATA_DIR=/data

WORKDIR /app
COPY --from=packages /app/node_modules ./node_modules
COPY package.json LICENSE ./
COPY db ./db
COPY adapters ./adapters
COPY interactions ./interactions
COPY views ./views
COPY src ./src

# All that is written: the control socket, and the embedded database and generated secrets in development. The rest of
# the file system may be read-only (with a tmpfs on /tmp). A new volume takes over this owner.
RUN install --directory --owner=node --group=node --mode=0700 /data \
 && install --directory --owner=node --group=node /app/node_modules/.cache
VOLUME /data

# By number, so that Kubernetes can tell that it is not root (runAsNonRoot).
USER 1000:1000

# Filled here, since the file system may be read-only later (see src/countersign.js).
RUN ["node", "--input-type=module", "--eval", "import { enableCompileCache } from 'node:module'; enableCompileCache('/app/node_modules/.cache/countersign'); await import('/app/src/cli.ts'); await import('/app/src/main.ts'); await import('/app/src/app.ts')"]

EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --start-interval=1s --retries=3 \
  CMD ["node", "-e", "process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'; fetch((process.env.TLS_CERT_PATH ? 'https' : 'http') + '://127.0.0.1:' + process.env.PORT + '/health/ready').then((response) => process.exit(response.ok ? 0 : 1), () => process.exit(1))"]

# docker run countersign            serves
# docker run countersign migrate    migrates the database; so does every other command of src/countersign.js
ENTRYPOINT ["node", "src/countersign.js"]
CMD ["serve"]
