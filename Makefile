# Meridian. `make help` lists the targets.
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
GOFLAGS_BUILD := -trimpath -ldflags "-X main.version=$(VERSION)"
SEEDS ?= 1000
NIGHTLY_MINUTES ?= 60
# Each night other worlds: days since 1970, a million seeds each.
NIGHTLY_FIRST_SEED ?= $(shell expr $$(date +%s) / 86400 \* 1000000)
GOLANGCI := .cache/bin/golangci-lint
GOLANGCI_VERSION := v2.15.0

.DEFAULT_GOAL := build
.PHONY: help up build web test check lint race sim mutants nemesis bench bench-dns bench-edge nightly geo bench-geo proto clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: build ## build, then three regions, a router and the web client on this machine
	exec bin/meridian up

build: web ## bin/meridian, with the web client in it where Node is there
	go build $(GOFLAGS_BUILD) -o bin/meridian ./cmd/meridian

web: ## the web client, where its sources are newer than what is built
	@scripts/web.sh

test: ## everything: build, formats, vet, Go, web, browser and process tests (up to 40 min)
	scripts/test.sh

check: ## the rules of the house and the fast tests (under 2 min)
	scripts/check.sh

lint: $(GOLANGCI) ## golangci-lint, installed into .cache/bin (a few minutes the first time)
	$(GOLANGCI) run ./...

$(GOLANGCI):
	GOBIN=$(CURDIR)/.cache/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

race: ## the Go tests under the race detector
	go test -race -short -p 1 -timeout 30m ./...

sim: build ## the simulation: make sim SEEDS=5000
	bin/meridian sim --seeds $(SEEDS) --progress

mutants: ## search anew the worlds that catch each missing mechanism; ONLY=stale or a pattern for some
	go test ./sim -run '^Test(Claim)?Mutants$$' -count 1 -timeout 2h -v -record -only '$(ONLY)'

nemesis: build ## real processes under every fault, about 20 min; the report lies in .cache/nemesis
	scripts/nemesis.sh full

bench: build ## messages/s, latencies and bytes per idle connection of one region; STORES=real: on Cassandra and Redis
	bin/meridian bench $(if $(STORES),--stores $(STORES))

bench-dns: build ## DNS queries/s and CPU per query, beside Knot and gdnsd, unsigned and signed, about 4 min
	scripts/bench-dns.sh

bench-edge: build ## sockets that end in another region than their person's home: memory, files, added time, beside HAProxy, about 2 min
	scripts/bench-edge.sh

nightly: build ## what takes hours: many seeds, races, fuzzing, the benchmark
	bin/meridian sim --minutes $(NIGHTLY_MINUTES) --first-seed $(NIGHTLY_FIRST_SEED) --json
	$(MAKE) mutants
	$(MAKE) race lint
	scripts/fuzz.sh 2m
	$(MAKE) nemesis
	MERIDIAN_CASSANDRA_NODES=3 go test ./cmd/meridian -run '^TestBackupOfACluster$$' -count 1 -timeout 20m
	bin/meridian bench
	$(MAKE) bench-geo

geo: ## compile the country table anew (needs npm)
	go generate ./router/geo/...

bench-geo: ## a full city database in the router's tables: time, memory, decisions (needs npm)
	scripts/bench-geo.sh

proto: ## generate the protobuf code anew (needs protoc)
	go generate ./proto/...

clean: ## remove what was built; not data, not node_modules
	rm -rf bin .cache
	find web/dist -mindepth 1 ! -name .keep -delete
