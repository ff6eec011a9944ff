# The commands that README.md names. Each works on a fresh clone; what is built
# once is kept in bin/ and in Go's and Docker's caches.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
export CGO_ENABLED ?= 0
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
CONSUL  := bin/consul
LINT    := bin/golangci-lint

.PHONY: build demo test lint unit e2e images clean burst

build: ## bin/bg, static
	go build -ldflags "-X main.version=$(VERSION)" -o bin/bg ./cmd/bg

demo: build ## the stack, two deploys of the sample under load, a table
	bin/bg demo

test: lint unit e2e ## everything that a change has to pass

lint: $(LINT)
	$(LINT) run ./...
	cd examples/books-ms && ../../$(LINT) run ./...

unit: build images $(CONSUL) ## every package, with the race detector
	CGO_ENABLED=1 go build -race ./...
	CGO_ENABLED=1 PATH="$(CURDIR)/bin:$$PATH" go test -race -p 1 -count=1 -timeout 20m $$(go list ./... | grep -v /e2e)
	cd examples/books-ms && CGO_ENABLED=1 go test -race -count=1 -timeout 5m ./...

e2e: build images $(CONSUL) ## scenarios on real Docker, Consul and nginx
	CGO_ENABLED=1 PATH="$(CURDIR)/bin:$$PATH" go test -race -count=1 -timeout 30m ./e2e

images: ## the images of the stack and the sample, pulled or built
	bin/bg stack images redis:8

# The tools are pinned in modules of their own.
$(CONSUL): tools/go.mod tools/go.sum
	install -D -m 755 "$$(tools/images/build.sh --consul-binary)" $@

$(LINT): tools/lint/go.mod tools/lint/go.sum
	cd tools/lint && go build -o ../../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

clean: ## what was built here; images and containers stay
	rm -rf bin

burst: build $(CONSUL) ## crowds of containers, with kills in their midst; the idle cost (root, half an hour)
	PATH="$(CURDIR)/bin:$$PATH" go test -tags burst -run 'TestBurst|TestIdleCost' -v -count 1 -timeout 90m ./registrator
