# Needs Go, git and make; what else is used is built from Go modules.

# The race detector needs a C compiler. Without one the tests run without it.
RACE := $(shell command -v $$(go env CC) >/dev/null 2>&1 && echo -race)
TESTFLAGS ?=

.PHONY: help demo test binaries bench weight deps lint fmt fuzz clean

help: ## what there is
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## walk the road, on an embedded control plane or on $KUBECONFIG
	@mkdir -p .cache
	@go -C examples build -o ../.cache/quickstart ./quickstart
	@.cache/quickstart $(ARGS)

test: binaries fmt ## every test, with the race detector, on a real control plane
	$(if $(RACE),,@echo "no C compiler: testing without the race detector")
	go vet ./...
	go test $(RACE) -timeout 25m $(TESTFLAGS) ./...
	go -C ssa/fluxssa vet ./...
	go -C ssa/fluxssa test $(RACE) -timeout 15m $(TESTFLAGS) ./...
	go -C kustomize/sops vet ./...
	go -C kustomize/sops test $(RACE) -timeout 15m $(TESTFLAGS) ./...
	go -C examples vet ./...
	go -C examples test $(RACE) -timeout 15m $(TESTFLAGS) ./...
	go -C bench vet ./...
	go -C bench test $(RACE) -timeout 15m $(TESTFLAGS) ./...

binaries: ## build the control plane and the S3 gateway, once for this machine
	@go run ./internal/controlplane/ensure -workloads
	@go run ./internal/s3gateway/ensure

bench: ## measure against the peers; ARGS="-run REGEXP -json"
	go -C bench run . $(ARGS)

weight: ## what each package costs its importer; ARGS=-check fails above the limits
	go -C bench run ./weight $(ARGS)

deps: ## record the dependencies of each package anew
	go test ./internal/fences -run TestDependencies -update

lint: ## golangci-lint, built from its module
	@mkdir -p .cache
	go -C tools/lint build -o ../../.cache/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	.cache/golangci-lint run ./...
	cd ssa/fluxssa && ../../.cache/golangci-lint run ./...
	cd kustomize/sops && ../../.cache/golangci-lint run ./...

fmt: ## fail if a file is not formatted
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "not gofmt-clean:"; echo "$$out"; exit 1; }

fuzz: ## each fuzz target for FUZZTIME (default 20s)
	@for pkg in $$(go list ./...); do \
	  for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "$$pkg $$target"; go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(or $(FUZZTIME),20s) $$pkg || exit 1; \
	  done; done

clean: ## what make built here; the control plane's binaries are in the user's cache
	rm -rf .cache
