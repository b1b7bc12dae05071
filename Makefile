# wsproxy: `make run` to try it, `make test` before a commit, `make help` for the rest.

SHELL := bash
.DEFAULT_GOAL := build

BIN     ?= bin/wsproxy
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
IMAGE   ?= wsproxy
PREFIX  ?= /usr/local
# Whether the binary has the page of the web terminal: auto, yes or no.
PAGE    ?= auto

# What `make run` sets; each can be given on the command line or in the environment.
PORT              ?= 8080
BIND              ?= 127.0.0.1
LOG_FORMAT        ?= text
TUNNEL_DOMAIN     ?= tunnel.localhost
TUNNEL_PUBLIC_URL ?= http://*.tunnel.localhost:$(PORT)
WEB_TERMINAL      ?= on

# Only a proxy that nobody else can reach may lead to this machine's own
# services, and then no web page but those of this machine may use it: a
# browser lets every page on the internet connect to localhost.
ifneq ($(filter $(BIND),127.0.0.1 ::1 localhost),)
ALLOWED_TARGETS ?= 127.0.0.0/8,::1/128
ALLOWED_ORIGINS ?= http://localhost:*,http://127.0.0.1:*
TUNNEL_BIND     ?= $(subst localhost,127.0.0.1,$(BIND))
# Not every resolver knows names below localhost.
TUNNEL_RAW_HOST ?= localhost
endif

.PHONY: help
help: ## print this
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

.PHONY: build
build: ## build a static binary, bin/wsproxy, with the web terminal if node and npm are there
	@tags=$$(PAGE='$(PAGE)' .ci/page) && set -x && CGO_ENABLED=0 go build $$tags -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o '$(BIN)' .

.PHONY: install
install: build ## install the binary, PREFIX=/usr/local
	install -d '$(DESTDIR)$(PREFIX)/bin'
	install -m 755 '$(BIN)' '$(DESTDIR)$(PREFIX)/bin/wsproxy'

.PHONY: release
release: PAGE := $(patsubst auto,yes,$(PAGE))
release: ## build for linux, macOS and Windows into dist/, with checksums
	@PAGE='$(PAGE)' .ci/release '$(VERSION)' $(PLATFORMS)

# What the server of both is told.
run demo: export PORT := $(PORT)
run demo: export BIND := $(BIND)
run demo: export LOG_FORMAT := $(LOG_FORMAT)
run demo: export TUNNEL_DOMAIN := $(TUNNEL_DOMAIN)
run demo: export TUNNEL_PUBLIC_URL := $(TUNNEL_PUBLIC_URL)
run demo: export ALLOWED_TARGETS := $(ALLOWED_TARGETS)
run demo: export ALLOWED_ORIGINS := $(ALLOWED_ORIGINS)
run demo: export TUNNEL_BIND := $(TUNNEL_BIND)
run demo: export TUNNEL_RAW_HOST := $(TUNNEL_RAW_HOST)
run demo: export WEB_TERMINAL := $(WEB_TERMINAL)

.PHONY: run
run: build ## build and run it on this machine, without any configuration
	@BIN='$(BIN)' PAGE='$(PAGE)' .ci/greet
	@'$(BIN)'

.PHONY: demo
demo: build ## the same with a shell of yours to open in the browser, without an sshd
	@CGO_ENABLED=0 go build -trimpath -o '$(BIN)-demo' ./internal/demo
	@'$(BIN)-demo' -binary '$(BIN)'

.PHONY: test
test: ## all checks: format, vet, staticcheck, race tests, fuzzing, end to end, examples
	@.ci/test

.PHONY: fuzz
fuzz: ## run every fuzz target for long, FUZZTIME=1m each
	@FUZZTIME='$(or $(FUZZTIME),1m)' FUZZGUIDE='$(or $(FUZZGUIDE),all)' .ci/fuzz

# The reference server is in this program; no profile makes it faster than it was
# when the aims were set.
BENCH_BIN := $(BIN)-bench
.PHONY: $(BENCH_BIN)
$(BENCH_BIN):
	@CGO_ENABLED=0 go build -trimpath -pgo=off -o '$@' ./internal/bench

.PHONY: bench
bench: build $(BENCH_BIN) ## measure it: one table of before, now and aim; BEFORE=binary, ROUNDS=5, BENCH='-only relay -v', BROWSER=yes
	@'$(BENCH_BIN)' table -binary '$(BIN)' $(if $(BEFORE),-before '$(BEFORE)') $(if $(ROUNDS),-rounds '$(ROUNDS)') $(BENCH)
	@$(if $(filter yes,$(BROWSER)),cd page/web && npm run bench)

.PHONY: bench-scale
bench-scale: build $(BENCH_BIN) ## 20,000 relays and 2,000 tunnels in one process, for ten minutes; BENCH='-relays 8800 -tunnels 800 -alive 1m'
	@'$(BENCH_BIN)' scale -binary '$(BIN)' $(BENCH)

.PHONY: bench-soak
bench-soak: build $(BENCH_BIN) ## mixed load for an hour, nothing may grow; BENCH='-duration 20m -csv soak.csv'
	@'$(BENCH_BIN)' soak -binary '$(BIN)' $(BENCH)

.PHONY: bench-document
bench-document: build $(BENCH_BIN) ## all three, into docs/performance.md: a quiet machine for 90 minutes; BEFORE, TABLE, SCALE and SOAK are their flags
	@trap 'exit 130' INT; failed=; \
	'$(BENCH_BIN)' table -binary '$(BIN)' -gc -save -document docs/performance.md $(if $(BEFORE),-before '$(BEFORE)') $(TABLE) || failed+=' table'; \
	'$(BENCH_BIN)' scale -binary '$(BIN)' -document docs/performance.md -plot docs/images/scale.svg $(SCALE) || failed+=' scale'; \
	'$(BENCH_BIN)' soak -binary '$(BIN)' -document docs/performance.md -plot docs/images/soak.svg $(SOAK) || failed+=' soak'; \
	if [[ $$failed ]]; then echo "failed, as is said above:$$failed" >&2; exit 1; fi

.PHONY: bench-go
bench-go: ## the benchmarks of single parts
	go test -run '^$$' -bench . -benchmem ./...

.PHONY: attack
attack: ## attack the server beside a neighbour, ATTACK=-short; -only NAME, -list, -v
	@go run ./internal/attack $(ATTACK)

.PHONY: profile
profile: ## measure anew what the compiler optimizes for, default.pgo
	@.ci/profile

.PHONY: fmt
fmt: ## format the source
	gofmt -w .

.PHONY: image
image: ## build the container image, with docker or else buildah
	@VERSION='$(VERSION)' IMAGE='$(IMAGE)' .ci/image

.PHONY: image-check
image-check: ## build the image with buildah, without a registry, and look into it
	@VERSION='$(VERSION)' .ci/image-check
