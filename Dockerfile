# Go compiles both: what runs in the browser, and the server.
FROM golang:1.26 AS go

# The page of the web terminal.
FROM node:24 AS page
COPY --from=go /usr/local/go /usr/local/go
ENV PATH=/usr/local/go/bin:$PATH
WORKDIR /src
# Where modules come from; unset means Go's own default.
ARG GOPROXY
# Where npm has its packages from; unset means its own default.
ARG NPM_CONFIG_REGISTRY

# What it is built with is a layer of its own, which lives until it changes.
COPY page/web/package.json page/web/package-lock.json page/web/.npmrc page/web/
RUN cd page/web && npm ci --no-audit --no-fund --loglevel=error
COPY go.mod go.sum ./
COPY client/js client/js
COPY page page
RUN cd page/web && node build.mjs

FROM go AS build
WORKDIR /src
ARG GOPROXY

# The modules are a layer of their own, which lives until go.mod changes.
COPY go.mod go.sum ./
RUN go mod download

COPY . .
COPY --from=page /src/page/dist page/dist
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -tags page -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/wsproxy .

FROM scratch
ARG VERSION=dev
LABEL org.opencontainers.image.title="wsproxy" \
      org.opencontainers.image.description="Relays TCP over WebSocket, and tunnels HTTP and TCP back" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"

# For the keys of tokens and for services behind TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/wsproxy /wsproxy

# A number, for there is no /etc/passwd to look a name up in.
USER 65532:65532
EXPOSE 8080

# 503 while draining counts as unhealthy, which is what it is for. Give the container
# at least SHUTDOWN_DELAY, SHUTDOWN_TIMEOUT and 5 s between SIGTERM and SIGKILL.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 CMD ["/wsproxy", "healthcheck"]
ENTRYPOINT ["/wsproxy"]
