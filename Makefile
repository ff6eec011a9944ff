# The commands that README.md names. Each works on a fresh clone; what is built
# once is kept in bin/ and in Go's and Docker's caches.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
export CGO_ENABLED ?= 0
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
CONSUL  := bin/consul
LINT    := bin/golangci-lint
BROWSER := ^TestInABrowser
BURSTS  := burst-undisturbed burst-registrator burst-consul burst-docker burst-idle

.PHONY: build demo test lint unit e2e browser screenshots chromium groovy images clean load bench bench-tools faults faults-short faults-build burst $(BURSTS)

build: ## bin/bg, static
	go build -ldflags "-X main.version=$(VERSION)" -o bin/bg ./cmd/bg

demo: build ## the stack, two deploys of the sample under load, a table
	bin/bg demo

test: lint unit e2e faults-short browser ## everything that a change has to pass

lint: $(LINT)
	$(LINT) run --allow-parallel-runners ./...
	cd examples/books-ms && ../../$(LINT) run --allow-parallel-runners ./...

unit: build images $(CONSUL) groovy ## every package, with the race detector
	CGO_ENABLED=1 go build -race ./...
	CGO_ENABLED=1 PATH="$(CURDIR)/bin:$$PATH" go test -race -p 1 -count=1 -timeout 20m -skip '$(BROWSER)' $$(go list ./... | grep -v /e2e)
	cd examples/books-ms && CGO_ENABLED=1 go test -race -count=1 -timeout 5m ./...

e2e: build images $(CONSUL) groovy ## scenarios on real Docker, Consul and nginx
	CGO_ENABLED=1 PATH="$(CURDIR)/bin:$$PATH" go test -race -count=1 -timeout 30m -skip '$(BROWSER)' ./e2e

# By themselves, after all others: beside them a browser starves.
browser: build images $(CONSUL) chromium ## what people see, in a real Chromium
	CGO_ENABLED=1 PATH="$(CURDIR)/bin:$$PATH" go test -race -p 1 -count=1 -timeout 30m -run '$(BROWSER)' \
		$$(grep -rl --include='*_test.go' 'func TestInABrowser' . | xargs -n 1 dirname | sort -u)

screenshots: build images $(CONSUL) chromium ## the pictures of docs/consul-ui.md, taken anew
	BG_SCREENSHOTS="$(CURDIR)/docs/consul-ui" PATH="$(CURDIR)/bin:$$PATH" go test -count=1 -timeout 20m -run '$(BROWSER)TheConsulUI' ./e2e

chromium: ## Debian's Chromium, unless BG_CHROMIUM names another
	@[ -n "$${BG_CHROMIUM:-}" ] || command -v chromium >/dev/null || \
		if [ "$$(id -u)" = 0 ]; then apt-get update && apt-get install -y --no-install-recommends chromium; \
		else echo 'make chromium: run `apt-get install chromium` as root, or set BG_CHROMIUM to a Chromium' >&2; exit 1; fi

groovy: ## Debian's Groovy, for the tests of the Jenkins pipelines
	@command -v groovy >/dev/null && command -v java >/dev/null || \
		if [ "$$(id -u)" = 0 ]; then apt-get update && apt-get install -y --no-install-recommends groovy default-jre-headless; \
		else echo 'make groovy: run `apt-get install groovy default-jre-headless` as root' >&2; exit 1; fi

# CELLS at a time; FAULTS is an expression that picks some of them by group and name.
CELLS  ?= 3
FAULTS ?=
MATRIX  = cd e2e && PATH="$(CURDIR)/bin:$$PATH" ../bin/faults.test -test.run '^(TestFaults|TestTheRealProgram.*)$$' -test.parallel $(CELLS) -test.timeout 120m

faults: faults-build ## the fault matrix, each cell under load; writes docs/faults.md (root, a quarter of an hour)
	$(if $(FAULTS),,rm -f bin/faults.json)
	$(MATRIX) -cells '$(FAULTS)' $(if $(FAULTS),,-results ../bin/faults.json -report ../docs/faults.md)

faults-short: faults-build ## seven cells of it
	$(MATRIX) -test.short

faults-build: build images $(CONSUL)
	go build -tags faults -o bin/bg-faults ./cmd/bg
	go test -c -tags faults -o bin/faults.test ./e2e

load: build images $(CONSUL) ## 100 switches under every kind of client, 2,000,000 requests (a quarter of an hour)
	PATH="$(CURDIR)/bin:$$PATH" go test -tags load -run 'TestSwitchesUnderEveryKindOfClient|TestAWebSocketOutlives' -v -count=1 -timeout 3h ./e2e

# ROUNDS of each measurement, MOST instances of a color; BENCH is an expression that picks parts by name, which then are only shown.
ROUNDS ?= 10
MOST   ?= 500
BENCH  ?=

bench: build images $(CONSUL) bench-tools ## bg beside a pipeline of shell commands and the floor; writes bench/RESULTS.md (root, twenty minutes, a quiet machine)
	go build -o bin/floor ./bench/floor
	go test -c -tags bench -o bin/bench.test ./bench
	cd bench && PATH="$(CURDIR)/bin:$$PATH" ../bin/bench.test -test.run '^TestBench($(BENCH))' -test.timeout 3h -rounds $(ROUNDS) -most $(MOST) $(if $(BENCH),,-results RESULTS.md)

# consul-template is the version that bg links, built by the settings of its own module.
bench-tools:
	@command -v docker-compose >/dev/null && command -v jq >/dev/null && command -v curl >/dev/null && [ -x /usr/bin/time ] || \
		if [ "$$(id -u)" = 0 ]; then apt-get update && apt-get install -y --no-install-recommends docker-compose jq curl time; \
		else echo 'make bench: run `apt-get install docker-compose jq curl time` as root' >&2; exit 1; fi
	@[ -x bin/consul-template ] || GOBIN="$(CURDIR)/bin" go install "github.com/hashicorp/consul-template@$$(go list -m -f '{{.Version}}' github.com/hashicorp/consul-template)"

images: ## the images of the stack and the sample, pulled or built
	bin/bg stack images redis:8

# The tools are pinned in modules of their own.
$(CONSUL): tools/go.mod tools/go.sum
	install -D -m 755 "$$(tools/images/build.sh --consul-binary)" $@

$(LINT): tools/lint/go.mod tools/lint/go.sum
	cd tools/lint && go build -o ../../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

clean: ## what was built here; images and containers stay
	rm -rf bin

burst: $(BURSTS) ## crowds of containers, with kills in their midst; the idle cost (root, half an hour)

burst-undisturbed: RUN := ^TestBurst$$/^undisturbed
burst-registrator: RUN := ^TestBurst$$/^registrator_killed
burst-consul:      RUN := ^TestBurst$$/^Consul_killed
burst-docker:      RUN := ^TestBurstWithDockerKilled$$
burst-idle:        RUN := ^TestIdleCost$$
$(BURSTS): build $(CONSUL)
	PATH="$(CURDIR)/bin:$$PATH" go test -tags burst -run '$(RUN)' -v -count 1 -timeout 30m ./registrator
