package registry

import (
	_ "github.com/google/go-containerregistry/pkg/registry"
	_ "oras.land/oras-go/v2/registry/remote"
)
