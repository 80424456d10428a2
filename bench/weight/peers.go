//go:build peers

package main

// The peers that nothing else here imports, so that go.mod keeps them.
import (
	_ "github.com/fluxcd/pkg/git/gogit"
	_ "github.com/fluxcd/pkg/runtime/conditions"
	_ "github.com/fluxcd/pkg/runtime/events"
	_ "github.com/fluxcd/pkg/tar"
)
