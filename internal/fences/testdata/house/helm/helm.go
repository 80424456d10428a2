package helm

import "example.test/house/internal/shared"

const N = shared.N
