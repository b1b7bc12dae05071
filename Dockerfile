FROM golang:1.26 AS build
WORKDIR /src

# Where modules come from; unset means Go's own default.
ARG GOPROXY

# The modules are a layer of their own, which lives until go.mod changes.
COPY go.mod go.sum ./
RUN go mod download

COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/wsproxy .

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

# 503 while draining counts as unhealthy, which is what it is for. Give the
# container at least SHUTDOWN_TIMEOUT and 5 s more between SIGTERM and SIGKILL.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 CMD ["/wsproxy", "healthcheck"]
ENTRYPOINT ["/wsproxy"]
