package shared

import "example.test/house/gc"

const N = gc.N
