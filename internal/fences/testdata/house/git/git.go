package git

import (
	"example.test/house/artifact"
	"example.test/house/internal/plain"
)

const N = artifact.N + plain.N
