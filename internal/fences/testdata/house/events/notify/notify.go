package notify

import (
	"example.test/house/examples/demo"
	"example.test/house/internal/controlplane"
)

const N = demo.N + controlplane.N
