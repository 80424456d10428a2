package gc

import "example.test/dep"

const N = dep.N
